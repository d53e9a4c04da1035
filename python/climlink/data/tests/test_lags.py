"""Lagged inputs from consecutive pairs: against plain numpy, left out and counted where a
predecessor is missing, and through a store.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from climlink.data.climsim import Pair, file_name, find_pairs
from climlink.data.columns import read_columns
from climlink.data.describe import describe
from climlink.data.errors import DataError, StoreError
from climlink.data.grid import find_grid, read_grid
from climlink.data.lags import LaggedReader, lag_names, with_history
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.variable_sets import variable_set

FIRST = Stamp.parse("0008-02-28-84000")
STEP = 1200
# Five consecutive steps across the end of a month, one missing, then two.
NUMBERS = (0, 1, 2, 3, 4, 6, 7)
COMPLETE = (2, 3, 4)
DTYPES = StoreConfig(lags=True, input_dtype="float64", time_chunk=2)


def _stamp(number: int) -> Stamp:
    return FIRST.plus(number * STEP)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pairs of NUMBERS."""
    return write_dataset(tmp_path_factory.mktemp("lags") / "source", [_stamp(n) for n in NUMBERS])


def _file(source: Path, kind: str, number: int) -> dict[str, np.ndarray]:
    """Return the variables of one file as they stand there, [level, column] or [column]."""
    (path,) = source.rglob(file_name(kind, _stamp(number)))
    with xr.open_dataset(path, engine="netcdf4", decode_times=False) as dataset:
        return {str(name): dataset[name].values for name in dataset.variables}


def _reference(source: Path, n: int) -> dict[str, np.ndarray]:
    """The lagged inputs written out by hand from the files, without any of the code under test."""
    b, a = (
        {k: _file(source, "mli", k) for k in (n, n - 1, n - 2)},
        {k: _file(source, "mlo", k) for k in (n - 1, n - 2)},
    )
    expected = {}
    for prefix, later, earlier in (("", n, n - 1), ("tm_", n - 1, n - 2)):
        expected[prefix + "state_t_dyn"] = (b[later]["state_t"] - a[earlier]["state_t"]) / 1200.0
        expected[prefix + "state_u_dyn"] = (b[later]["state_u"] - a[earlier]["state_u"]) / 1200.0
        water = sum(
            b[later][q] - a[earlier][q] for q in ("state_q0001", "state_q0002", "state_q0003")
        )
        expected[prefix + "state_q0_dyn"] = water / 1200.0
        for x in ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u"):
            expected[prefix + x + "_prvphy"] = (a[earlier][x] - b[earlier][x]) / 1200.0
    for x in ("state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX", "pbuf_COSZRS"):
        expected["tm_" + x] = b[n - 1][x]
    with xr.open_dataset(find_grid(source), engine="netcdf4") as grid:
        expected["clat"], expected["slat"] = (
            np.cos(np.pi * grid["lat"].values / 180),
            np.sin(np.pi * grid["lat"].values / 180),
        )
        expected["icol"] = np.arange(len(grid["lat"])) + 1.0
    return expected


@pytest.mark.parametrize("number", COMPLETE)
def test_lagged_inputs_are_those_of_a_straightforward_reference(source: Path, number: int) -> None:
    pairs = find_pairs(source)
    grid = read_grid(find_grid(source))
    pair = next(p for p in pairs if p.stamp == _stamp(number))
    columns = LaggedReader(pairs, grid).read(pair)
    expected = _reference(source, number)
    assert set(expected) == lag_names(grid.level_count)
    for name, values in expected.items():
        # water is summed in another order: a rounding of 0.01 kg/kg over 1200 s
        np.testing.assert_allclose(
            columns[name], values.T, rtol=1e-12, atol=1e-20 if "q0" in name else 1e-15, err_msg=name
        )
    assert np.array_equal(
        columns["state_q0002_prvphy"], LaggedReader(pairs, grid).read(pair)["state_q0002_prvphy"]
    )


def test_pairs_without_history_are_left_out_and_counted(source: Path, tmp_path: Path) -> None:
    assert [p.stamp for p in with_history(find_pairs(source), 1200.0)] == [
        _stamp(n) for n in COMPLETE
    ]
    done = prepare(
        source,
        tmp_path / "s.zarr",
        split=Split(test=(str(_stamp(4)), str(_stamp(7)))),
        config=DTYPES,
    )
    assert (done.status, done.records, done.left_out) == ("made", 3, 4)
    store = ColumnStore.open(tmp_path / "s.zarr")
    assert store.stamps == tuple(_stamp(n) for n in COMPLETE)
    assert [int(i) for i in store.indices("test")] == [2]
    again = prepare(
        source,
        tmp_path / "s.zarr",
        split=Split(test=(str(_stamp(4)), str(_stamp(7)))),
        config=DTYPES,
    )
    assert (again.status, again.left_out, again.digest) == ("already complete", 4, done.digest)
    described = describe(tmp_path / "s.zarr")
    assert described["lagged_inputs"] is True
    assert described["left_out_without_history"] == 4
    assert described["variables"]["tm_state_q0_dyn"]["units"] == "kg/kg/s"


@pytest.mark.parametrize("input_set", ["host_v4_q", "host_v4_rh", "host_v6_q", "host_v6_rh"])
def test_a_store_packs_the_lagged_sets_as_the_files_do(
    source: Path, tmp_path: Path, input_set: str
) -> None:
    prepare(source, tmp_path / "s.zarr", split=Split(), config=DTYPES)
    store = ColumnStore.open(tmp_path / "s.zarr")
    inputs, outputs = (
        variable_set(input_set, store.level_count),
        variable_set("mmf368", store.level_count),
    )
    rows = read_columns(source, inputs, outputs)
    assert rows.stamps == store.stamps
    assert np.array_equal(store.pack(inputs, slice(None)), rows.inputs)
    assert np.array_equal(store.targets(outputs, slice(None)), rows.targets)
    expected = _reference(source, COMPLETE[1])["tm_state_u_prvphy"].T.astype(np.float32)
    assert np.array_equal(
        rows.inputs[store.n_column : 2 * store.n_column, inputs.slice("tm_state_u_prvphy")],
        expected,
    )


def test_statistics_cover_lagged_and_derived_inputs(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "s.zarr", split=Split(), config=DTYPES)
    statistics = compute_statistics(ColumnStore.open(tmp_path / "s.zarr"))
    for name in variable_set("net_v6_mc", 8).names:
        assert name in statistics.variables, name
    both = [_reference(source, n) for n in COMPLETE]
    total = np.stack([r["state_q0002_prvphy"] + r["state_q0003_prvphy"] for r in both])
    np.testing.assert_allclose(
        statistics["state_qn_prvphy"].maximum.numpy(), total.max(axis=(0, 2)), rtol=1e-12
    )
    prepare(source, tmp_path / "plain.zarr", split=Split())
    assert (
        "state_qn_prvphy"
        not in compute_statistics(ColumnStore.open(tmp_path / "plain.zarr")).variables
    )


def test_a_resumed_store_is_the_same(source: Path, tmp_path: Path) -> None:
    whole = prepare(source, tmp_path / "whole.zarr", split=Split(), config=DTYPES)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "parts.zarr", split=Split(), config=DTYPES, progress=stop)
    parts = prepare(source, tmp_path / "parts.zarr", split=Split(), config=DTYPES)
    assert (parts.status, parts.records_written, parts.digest) == ("resumed", 1, whole.digest)
    for name in lag_names(8):
        a, b = (
            ColumnStore.open(tmp_path / f"{n}.zarr").read([name], slice(None))[name]
            for n in ("whole", "parts")
        )
        assert np.array_equal(a, b), name


@pytest.mark.parametrize("last_day", [(1, 31), (2, 28), (12, 31)])
def test_a_step_before_is_exactly_one_step_before(last_day: tuple[int, int]) -> None:
    """Across ends of months and of the year, in the no-leap calendar, and not a second off."""
    midnight = Stamp(4, *last_day).plus(86400)  # of a year that has 29 February elsewhere

    def pairs(*seconds: int) -> list[Pair]:
        return [Pair(midnight.plus(s), Path("mli"), Path("mlo")) for s in seconds]

    def complete(*seconds: int) -> list[int]:
        return [p.stamp.since(midnight) for p in with_history(pairs(*seconds), STEP)]

    assert complete(-2400, -1200, 0, 1200) == [0, 1200]
    assert complete(-2400, -1200, 0, 2400, 3600, 4800) == [0, 4800]
    for off in (-1201, -1199, -600, -86400):
        with pytest.raises(DataError, match="none of the 3 pairs has the pairs of both steps"):
            complete(-2400, off, 0)


def test_what_cannot_be_had_is_said(source: Path, tmp_path: Path) -> None:
    inputs, outputs = variable_set("host_v6_q", 8), variable_set("mmf368", 8)
    with pytest.raises(
        DataError, match=f"lagged inputs need the pair of {_stamp(5)}, which is not there"
    ):
        read_columns(source, inputs, outputs, stamps=[_stamp(7)])
    apart = write_dataset(tmp_path / "apart", [FIRST, FIRST.plus(7200)])
    with pytest.raises(
        DataError, match=r"none of the 2 pairs has the pairs of both steps of 1200 s before it"
    ):
        prepare(apart, tmp_path / "s.zarr", split=Split(), config=DTYPES)
    prepare(apart, tmp_path / "plain.zarr", split=Split())
    with pytest.raises(DataError, match=r"tm_state_t_dyn.*prepared with lags: true"):
        ColumnStore.open(tmp_path / "plain.zarr").pack(inputs, slice(None))
    with pytest.raises(StoreError, match="prepared with other arguments"):
        prepare(source, tmp_path / "plain.zarr", split=Split(), config=DTYPES)


def test_a_predecessor_that_changed_is_noticed(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "source", [_stamp(n) for n in range(3)])
    done = prepare(source, tmp_path / "s.zarr", split=Split(), config=DTYPES)
    assert done.records == 1
    (first,) = source.rglob(file_name("mlo", _stamp(0)))
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(ClimlinkError, match="its source files have changed since"):
        prepare(source, tmp_path / "s.zarr", split=Split(), config=DTYPES)
