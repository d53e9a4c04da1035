"""Histories of both hosts: streams, times, gaps, damaged files, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import netCDF4
import numpy as np
import pytest

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.online.history import read_history, require_comparable

Writers = Callable[..., "HistoryWriter"]  # noqa: F821
MONTHS = [(0.0, 31.0), (31.0, 59.0), (59.0, 90.0), (90.0, 120.0)]


def _months(  # type: ignore[no-untyped-def]
    writer, run: Path, numbers: list[int], **options: object
) -> Path:
    for number in numbers:
        fields = writer.state(1, seed=number)
        writer.file(
            run / f"run.cam.h0.0001-{number + 1:02d}.nc",
            [MONTHS[number]],
            fields,
            frequency="month_1",
            **options,
        )
    return run


def _why(run: Path) -> str:
    return "; ".join(f"{e.what}: {e.why}" for e in read_history(run).excluded)


def test_a_mean_lies_in_the_middle_of_its_interval_whatever_its_time_says(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    stream = read_history(_months(writer, tmp_path / "a", [0, 1])).streams["monthly"]
    np.testing.assert_allclose(stream.middle, [15.5, 45.0])
    # Another epoch, in hours: the same times.
    hours = [(-31.0 * 24, 0.0)], [(0.0, 28.0 * 24)]
    for number, intervals in enumerate(hours):
        writer.file(
            tmp_path / "b" / f"b.eam.h0.0001-{number + 1:02d}.nc",
            intervals,
            writer.state(1),
            units="hours since 0001-02-01 00:00:00",
            frequency="month_1",
        )
    np.testing.assert_allclose(read_history(tmp_path / "b").streams["monthly"].middle, [15.5, 45.0])


def test_fields_are_lazy_until_they_are_asked_for_and_fill_becomes_nan(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    fields = writer.state(5)
    fields["T"][3, 1, 2] = 1e20
    writer.daily(tmp_path / "a", 0, fields, fill=1e20)
    stream = read_history(tmp_path / "a").streams["daily"]
    lazy = stream.dataset(["T", "PS"], chunk=2)
    assert isinstance(lazy["T"].data, da.Array)
    assert lazy["T"].chunks[0] == (2, 2, 1)
    expected = fields["T"].astype(np.float32)
    expected[3, 1, 2] = np.nan
    np.testing.assert_array_equal(lazy["T"].values, expected)
    np.testing.assert_array_equal(
        stream.load(["PS"], np.array([4, 1]))["PS"], fields["PS"][[4, 1]].astype(np.float32)
    )


def test_streams_are_told_by_how_often_records_come(history: Writers, tmp_path: Path) -> None:
    writer = history()
    writer.file(
        tmp_path / "c.eam.h3.0001-01-01-00000.nc", [(0.0, 1.0), (1.0, 2.0)], writer.state(2)
    )
    writer.file(
        tmp_path / "c.eam.h1.0001-01-01-00000.nc",
        [(k / 24, k / 24) for k in range(1, 7)],
        writer.state(6),
        bounds=False,
    )
    writer.file(
        tmp_path / "c.eam.h2.0001-01-01-00000.nc", [(0.0, 5.0), (5.0, 10.0)], writer.state(2)
    )
    found = read_history(tmp_path)
    assert {c: s.name for c, s in found.streams.items()} == {"daily": "h3", "hourly": "h1"}
    assert "stream h2: is neither monthly, daily nor hourly" in _why(tmp_path)


def test_missing_months_and_days_are_listed(history: Writers, tmp_path: Path) -> None:
    writer = history()
    assert "month 0001-02, 0001-03: missing in h0" in _why(_months(writer, tmp_path / "a", [0, 3]))
    writer.daily(tmp_path / "b", 0, writer.state(2))
    writer.daily(tmp_path / "b", 3, writer.state(2))
    writer.daily(tmp_path / "b", 9, writer.state(1))
    assert "day 0001-01-03: missing in h1" in _why(tmp_path / "b")
    assert "days 0001-01-06 to 0001-01-09: missing in h1" in _why(tmp_path / "b")


@pytest.mark.parametrize(
    ("file_format", "share"),
    [("NETCDF4", 0.7), ("NETCDF3_64BIT_DATA", 0.9), ("NETCDF3_64BIT_DATA", 0.001)],
)
def test_a_truncated_last_file_is_left_out_and_named(
    history: Writers, tmp_path: Path, file_format: str, share: float
) -> None:
    run = _months(history(), tmp_path / "a", [0, 1, 2], file_format=file_format)
    last = run / "run.cam.h0.0001-03.nc"
    last.write_bytes(last.read_bytes()[: int(share * last.stat().st_size)])
    found = read_history(run)
    assert len(found.streams["monthly"].start) == 2
    assert "run.cam.h0.0001-03.nc: truncated or damaged file (the last one of its stream" in _why(
        run
    )


def test_files_without_records_and_records_without_times_are_named(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    writer.daily(tmp_path, 0, writer.state(2))
    writer.file(
        tmp_path / "history" / "case.eam.h1.0001-01-03-00000.nc",
        [],
        {"T": np.empty((0, 3, writer.columns))},
        frequency="day_1",
    )
    broken = writer.file(
        tmp_path / "history" / "case.eam.h1.0001-01-04-00000.nc",
        [(3.0, 4.0), (4.0, 5.0)],
        writer.state(2),
    )
    with netCDF4.Dataset(broken, "a") as data:
        data["time_bnds"][1] = np.nan
    why = _why(tmp_path)
    assert "case.eam.h1.0001-01-03-00000.nc: holds no record" in why
    assert "case.eam.h1.0001-01-04-00000.nc, record 2: has no time" in why
    assert len(read_history(tmp_path).streams["daily"].start) == 3


def test_a_record_that_stands_twice_is_taken_from_the_later_file(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    writer.daily(tmp_path, 0, writer.state(4, seed=1))
    later = writer.state(2, seed=2)
    writer.daily(tmp_path, 3, later)
    found = read_history(tmp_path)
    stream = found.streams["daily"]
    assert len(stream.start) == 5
    assert "1 records of h1: stand twice" in _why(tmp_path)
    np.testing.assert_array_equal(
        stream.load(["T"], np.array([3]))["T"][0], later["T"][0].astype(np.float32)
    )


def test_a_month_that_is_not_whole_is_no_monthly_mean(history: Writers, tmp_path: Path) -> None:
    writer = history()
    _months(writer, tmp_path, [0])
    writer.file(
        tmp_path / "run.cam.h0.0001-02.nc", [(31.0, 40.0)], writer.state(1), frequency="month_1"
    )
    assert len(read_history(tmp_path).streams["monthly"].start) == 1
    assert "month 0001-02 of h0: its mean covers 9 days" in _why(tmp_path)


def test_what_is_no_history_of_one_run_is_refused(history: Writers, tmp_path: Path) -> None:
    writer = history()
    with pytest.raises(EvaluationError, match=r"holds no history: expected history/CASE"):
        read_history(tmp_path)
    _months(writer, tmp_path, [0])
    writer.file(tmp_path / "other.eam.h0.0001-02.nc", [MONTHS[1]], writer.state(1))
    with pytest.raises(EvaluationError, match="several cases: other, run"):
        read_history(tmp_path)
    writer.daily(tmp_path / "b", 0, writer.state(1))
    with netCDF4.Dataset(next((tmp_path / "b" / "history").glob("*.nc")), "a") as data:
        data.renameVariable("hyai", "hyaj")
    with pytest.raises(EvaluationError, match=r"hyai missing; expected the grid"):
        read_history(tmp_path / "b")


def test_runs_that_cannot_be_compared_are_refused_with_what_differs(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    reference = read_history(writer.daily(tmp_path / "reference", 0, writer.state(2)))

    def refused(run: Path, why: str) -> None:
        with pytest.raises(EvaluationError, match=why):
            require_comparable(read_history(run), reference)

    wider = history(8, 5)
    refused(
        wider.daily(tmp_path / "wider", 0, wider.state(2)),
        "not on one grid: lat has 40 values and 32",
    )
    moved = history()
    moved.lat = moved.lat + 0.01
    refused(
        moved.daily(tmp_path / "moved", 0, moved.state(2)),
        r"not on one grid: lat differs by up to 0\.01",
    )
    refused(
        writer.daily(tmp_path / "calendar", 0, writer.state(2), calendar="proleptic_gregorian"),
        "calendar proleptic_gregorian.*noleap",
    )
    refused(
        writer.daily(tmp_path / "later", 7, writer.state(2)),
        "from 0001-01-08 to 0001-01-10.*no record of one time in common",
    )
    instants = tmp_path / "instants"
    writer.file(
        instants / "i.eam.h1.0001-01-01-00000.nc",
        [(0.5, 0.5), (1.5, 1.5)],
        writer.state(2),
        frequency="day_1",
        bounds=False,
    )
    refused(
        instants, r"although they overlap: their daily records lie at 0\.5000 and 0\.5000 of a day"
    )
    refused(
        _months(writer, tmp_path / "months", [0]), "has monthly history, .* daily: none in common"
    )


def test_fields_in_other_units_or_shapes_are_refused_and_lacking_ones_listed(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    reference = writer.daily(tmp_path / "reference", 0, writer.state(2))
    other = writer.daily(tmp_path / "units", 0, writer.state(2), other_units={"Q": "g/kg"})
    with pytest.raises(
        EvaluationError,
        match=r"Q \(daily\) is in 'g/kg' in the run and in 'kg/kg' in the reference",
    ):
        evaluate_online(other, reference)
    flat = writer.state(2) | {"U": np.zeros((2, writer.columns))}
    with pytest.raises(EvaluationError, match=r"U \(daily\) lies over \('ncol',\) in the run"):
        evaluate_online(writer.daily(tmp_path / "flat", 0, flat), reference)
    fewer = {
        name: values for name, values in writer.state(2).items() if name not in ("CLDICE", "LHFLX")
    }
    found = evaluate_online(writer.daily(tmp_path / "fewer", 0, fewer), reference)
    assert "CLDICE (daily): the run has not written it" in found.summary.excluded
    assert "rmse.CLDICE" not in found.summary.metrics
    only = writer.daily(tmp_path / "only", 0, {"TS": np.ones((2, writer.columns))})
    with pytest.raises(
        EvaluationError, match="neither a state on levels with PS nor precipitation in common"
    ):
        evaluate_online(only, reference)


def test_a_constant_error_is_the_daily_error(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.state(4)
    off = {name: values[1:3] for name, values in truth.items()}
    off = off | {"T": off["T"] + 0.5, "Q": off["Q"] + 5e-4}
    found = evaluate_online(
        writer.daily(tmp_path / "a", 51, off), writer.daily(tmp_path / "b", 50, truth)
    ).numbers.sel(pair="run")
    np.testing.assert_array_equal(found["daily_day"], [1.0, 2.0])
    np.testing.assert_allclose(found["daily_rmse_T"], 0.5, rtol=1e-6)  # float32 in the files
    np.testing.assert_allclose(found["daily_rmse_Q"], 5e-4, rtol=1e-5)
    with pytest.raises(EvaluationError, match="holds no history"):
        evaluate_online(tmp_path / "none", tmp_path / "b")
