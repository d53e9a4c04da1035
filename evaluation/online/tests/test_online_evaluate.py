"""Online evaluation as a whole: numbers against computations of their own, survival, twins, gaps,
both hosts, ensembles.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.ensemble import evaluate_ensemble
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.online.sections import survival_section, words
from climlink.evaluation.report import write_report
from climlink.evaluation.summary import OnlineSummary, read_summary
from climlink.support import Support

G, RUN_HOURS = 9.80616, [(k / 24.0, (k + 1) / 24.0) for k in range(72)]
Writers = Callable[..., Any]


def thickness(writer: Any, ps: np.ndarray) -> np.ndarray:
    """dp [record, level, column] the long way round."""
    edges = [1e5 * a + b * ps for a, b in zip(writer.hyai, writer.hybi, strict=True)]
    return np.stack([lower - upper for upper, lower in pairwise(edges)], axis=1)


def test_an_offset_is_found_as_it_was_put_in(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.state(6)
    off = truth | {"T": truth["T"] + 2.0, "PRECT": truth["PRECT"] + 1e-8, "PS": truth["PS"]}
    found = evaluate_online(
        writer.daily(tmp_path / "a", 10, off),
        writer.daily(tmp_path / "b", 10, truth),
        twin=tmp_path / "b",
    )
    metrics = found.summary.metrics
    assert metrics["rmse.T"] == pytest.approx(2.0, rel=1e-6)
    assert metrics["last_day_rmse.T"] == pytest.approx(2.0, rel=1e-6)
    assert metrics["drift.T"] == pytest.approx(2.0, rel=1e-6)
    assert metrics["drift.energy"] == pytest.approx(
        np.mean([_energy_of_two_kelvin(truth["PS"][k], writer.area) for k in (5,)]), rel=1e-4
    )
    assert metrics["precipitation.bias"] == pytest.approx(0.864, rel=1e-6)
    assert metrics["precipitation.rmse"] == pytest.approx(0.864, rel=1e-5)
    assert metrics["rmse.U"] == metrics["twin.rmse.T"] == 0.0
    assert found.summary.compared_days == 6.0
    zonal = found.numbers["zonal_bias_T"].sel(pair="run").values
    assert (
        np.isfinite(zonal).all(axis=0).sum() == 8
    )  # the bins of 10 degrees in which 8 Gaussian latitudes lie
    np.testing.assert_allclose(zonal[np.isfinite(zonal)], 2.0, rtol=1e-5)
    np.testing.assert_allclose(found.numbers["first_bias_T"].sel(pair="run").values, 2.0, rtol=1e-5)
    write_report(found.report, tmp_path / "report")
    assert read_summary(tmp_path / "report", OnlineSummary) == found.summary


def _energy_of_two_kelvin(ps: np.ndarray, area: np.ndarray) -> float:
    return float(np.average(1004.64 * 2.0 * (ps - 1e3) / G, weights=area))


def test_numbers_agree_with_a_computation_of_their_own(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth, other, twin = (writer.state(5, seed=s) for s in (1, 2, 3))
    runs = [
        writer.daily(tmp_path / n, 0, f)
        for n, f in (("truth", truth), ("other", other), ("twin", twin))
    ]
    found = evaluate_online(runs[1], runs[0], twin=runs[2], from_day=2.0)
    dp, area, lat = thickness(writer, truth["PS"]), writer.area, writer.lat
    window = slice(2, 5)
    for pair, fields in (("run", other), ("twin", twin)):
        for name in ("T", "Q", "U", "CLDLIQ"):
            error = fields[name] - truth[name]
            daily = [np.sqrt(np.average(error[k] ** 2, weights=dp[k] * area)) for k in range(5)]
            np.testing.assert_allclose(
                found.numbers[f"daily_rmse_{name}"].sel(pair=pair), daily, rtol=1e-10
            )
            mean, weight = error[window].mean(axis=0), dp[window].mean(axis=0) * area
            expected = np.sqrt(np.average(mean**2, weights=weight))
            assert float(found.numbers[f"mean_rmse_{name}"].sel(pair=pair)) == pytest.approx(
                expected, rel=1e-10
            )
            profile = [np.sqrt(np.average(mean[k] ** 2, weights=weight[k])) for k in range(3)]
            np.testing.assert_allclose(
                found.numbers[f"profile_rmse_{name}"].sel(pair=pair), profile, rtol=1e-10
            )
            band = (lat >= 20.0) & (lat < 30.0)
            zonal = (
                np.average(mean[:, band], axis=1, weights=area[band])
                if band.any()
                else np.full(3, np.nan)
            )
            np.testing.assert_allclose(
                found.numbers[f"zonal_bias_{name}"].sel(pair=pair, zonal_lat=25.0),
                zonal,
                rtol=1e-10,
            )
            inside = np.abs(lat) <= 30.0
            bias = [
                np.average(error[4, k, inside], weights=(dp[4, k] * area)[inside]) for k in range(3)
            ]
            first = (
                found.numbers[f"first_bias_{name}"].sel(pair=pair, band="inside 30S-30N").values[4]
            )
            np.testing.assert_allclose(first, bias, rtol=1e-9)
    _check_areas(found.numbers, writer, {"reference": truth, "run": other, "twin": twin})
    rain = other["PRECT"][window] * 8.64e7
    counts = np.histogram(
        rain, np.arange(-2.0, 179.0, 4.0), weights=np.broadcast_to(area, rain.shape)
    )[0]
    density = counts / (area.sum() * 3) / 4.0
    np.testing.assert_allclose(
        found.numbers["rain_density"].sel(member="run", surface="global"),
        density,
        rtol=1e-10,
        atol=1e-16,
    )
    np.testing.assert_allclose(
        found.numbers["precipitation"].sel(member="run"), rain.mean(axis=0), rtol=1e-10
    )


def _check_areas(numbers: Any, writer: Any, members: dict[str, Any]) -> None:
    area, lat = writer.area, writer.lat
    for member, fields in members.items():
        dp = thickness(writer, fields["PS"])
        water = (fields["Q"] * dp).sum(axis=1) / G
        cloud = ((fields["CLDLIQ"] + fields["CLDICE"]) * dp).sum(axis=1) / G
        columns = {
            "precipitable_water": (water, 1e-10),
            "cloud_path": (cloud, 1e-7),
            "surface_temperature": (fields["T"][:, -1], 1e-10),
        }
        for name, (
            values,
            tolerance,
        ) in columns.items():  # clouds are summed as float32, as they lie in the files
            for region, inside in (
                ("global", lat > -91),
                ("30S-30N", np.abs(lat) <= 30),
                ("30S-90S", lat <= -30),
            ):
                mean = np.average(values[:, inside], axis=1, weights=area[inside])
                spread = np.sqrt(
                    np.average(
                        (values[:, inside] - mean[:, None]) ** 2, axis=1, weights=area[inside]
                    )
                )
                np.testing.assert_allclose(
                    numbers[f"area_mean_{name}"].sel(member=member, region=region),
                    mean,
                    rtol=tolerance,
                )
                np.testing.assert_allclose(
                    numbers[f"area_std_{name}"].sel(member=member, region=region),
                    spread,
                    rtol=tolerance,
                )
        np.testing.assert_allclose(
            numbers["global_vapour"].sel(member=member),
            np.average(water, axis=1, weights=area),
            rtol=1e-10,
        )
        mass = [np.average(fields["T"][k], weights=dp[k] * area) for k in range(5)]
        np.testing.assert_allclose(
            numbers["global_temperature"].sel(member=member), mass, rtol=1e-10
        )


def test_months_are_made_of_days_and_only_whole_ones_count(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    truth, other = writer.state(70, seed=1), writer.state(70, seed=2)
    runs = [writer.daily(tmp_path / n, 0, f) for n, f in (("truth", truth), ("other", other))]
    found = evaluate_online(runs[1], runs[0])
    np.testing.assert_array_equal(found.numbers["monthly_day"], [31.0, 59.0])
    error, dp = (
        (other["T"] - truth["T"])[31:59].mean(axis=0),
        thickness(writer, truth["PS"][31:59].mean(axis=0)[None])[0],
    )
    expected = np.sqrt(np.average(error**2, weights=dp * writer.area))
    assert found.numbers["monthly_rmse_T"].values[0, 1] == pytest.approx(expected, rel=1e-10)
    assert (
        "month 0001-03 of the run: 11 of 31 records are there: it is not among the monthly means"
        in found.summary.excluded
    )


def test_a_run_that_blew_up_is_a_result(history: Writers, tmp_path: Path) -> None:
    writer = history()
    writer.daily(tmp_path / "truth", 0, writer.state(8))
    run = writer.record(
        writer.daily(tmp_path / "run", 0, writer.state(3, seed=9)),
        days=8,
        status="blown_up",
        message="on day 3.4: T is 400 K",
    )
    summary = evaluate_online(run, tmp_path / "truth").summary
    assert (summary.survived, summary.days, summary.planned_days, summary.compared_days) == (
        False,
        3.0,
        8.0,
        3.0,
    )
    assert summary.ended == "on day 3.4: T is 400 K"
    assert summary.years_per_day == 12.5
    at_once = writer.record(
        tmp_path / "at_once", days=8, status="blown_up", message="on day 0.2: U is 400 m/s"
    )
    dead = evaluate_online(at_once, tmp_path / "truth")
    assert (dead.summary.survived, dead.summary.days, dead.summary.metrics) == (False, 0.0, {})
    assert "ended before it wrote one" in dead.summary.excluded[0]
    assert "Nothing could be compared" in dead.report.words


def _support(heating: float, share: float) -> dict[str, object]:
    return Support.judged(heating, share, 2.5).model_dump()


@pytest.mark.parametrize(
    ("heating", "share", "on_support"),
    [(0.11, 0.0, True), (0.0, 0.011, True), (0.1, 0.01, False), (0.0, 0.0, False)],
)
def test_either_limit_puts_a_run_on_support(heating: float, share: float, on_support: bool) -> None:
    assert Support.judged(heating, share, 100.0).on_support is on_support


def test_a_run_that_lived_on_support_is_told_so(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(2))
    found = {}
    for name, support in {"held": (0.25, 0.002), "free": (0.01, 0.0), "plain": None}.items():
        run = writer.daily(tmp_path / name, 0, writer.state(2, seed=len(found)))
        known = None if support is None else _support(*support)
        found[name] = evaluate_online(writer.record(run, days=2, support=known), truth).summary
    held, free, plain = found["held"], found["free"], found["plain"]
    assert held.support == Support.judged(0.25, 0.002, 2.5)
    assert (held.survived, held.lived_on_support) == (True, True)
    assert (free.lived_on_support, plain.support) == (False, None)
    assert (
        "alive on support, not alive: relaxation toward the training ranges heats by 0.25 W/m2 "
        "(limit 0.1) and touches 0.2 % of the mass (limit 1 %)" in words(held)
    )
    assert all("on support" not in words(summary) for summary in (free, plain))
    rows = {
        name: dict(zip(*survival_section(summary).tables[0].columns.values(), strict=True))
        for name, summary in found.items()
    }
    assert [rows[n]["survived"] for n in rows] == ["on support", "yes", "yes"]
    assert rows["held"]["heating by relaxation, W/m2"] == "0.25"
    assert "share of the mass relaxed, %" not in rows["plain"]


def test_an_ensemble_counts_who_lived_on_support(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(3))
    for name, days, support in (("a", 3, 0.5), ("b", 3, 0.0), ("dead", 1, 0.5)):
        run = writer.daily(tmp_path / name, 0, writer.state(days, seed=days))
        status = "finished" if days == 3 else "blown_up"
        writer.record(run, days=3, status=status, message="hot", support=_support(support, 0.0))
    found = evaluate_ensemble([tmp_path / n for n in ("a", "b", "dead")], truth)
    assert (found.summary.survived, found.summary.on_support) == (2, 1)
    assert "1 of the 2 lived on support" in found.report.words
    table = next(t for s in found.report.sections for t in s.tables if t.name == "runs")
    assert table.columns["on support"] == [True, False, False]


def test_a_record_whose_support_is_none_is_refused(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(1))
    run = writer.daily(tmp_path / "run", 0, writer.state(1))
    writer.record(run, days=1, support={"heating_w_m2": "much"})
    with pytest.raises(EvaluationError, match=r"run\.json: support: "):
        evaluate_online(run, truth)


def test_a_run_under_way_is_refused_and_a_killed_one_counted(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    writer.daily(tmp_path / "truth", 0, writer.state(3))
    run = writer.record(
        writer.daily(tmp_path / "run", 0, writer.state(2)), days=3, status="running"
    )
    with (run / "log.txt").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(EvaluationError, match="still going on"):
            evaluate_online(run, tmp_path / "truth")
    summary = evaluate_online(run, tmp_path / "truth").summary
    assert not summary.survived
    assert "it was killed" in (summary.ended or "")


def test_fields_that_are_not_finite_are_located_and_left_out(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    truth = writer.state(4)
    bad = truth | {"Q": truth["Q"].copy(), "T": truth["T"] + 1.0}
    bad["Q"][2, 1, 7] = np.nan
    found = evaluate_online(
        writer.daily(tmp_path / "a", 0, bad), writer.daily(tmp_path / "b", 0, truth)
    )
    told = [
        e
        for e in found.summary.excluded
        if e.startswith("Q of the run, 1 of 4 daily records: not finite")
    ]
    assert len(told) == 1
    assert "record 3 (0001-01-03), level 2, column 8 (1 of 96 values)" in told[0]
    series = found.numbers["daily_rmse_Q"].sel(pair="run").values
    np.testing.assert_array_equal(np.isfinite(series), [True, True, False, True])
    assert found.summary.metrics["rmse.Q"] == 0.0
    assert found.summary.metrics["rmse.T"] == pytest.approx(1.0, rel=1e-6)


def _e3sm(
    writer: Any, run: Path, days: int, seed: int, precl: bool = True
) -> dict[str, np.ndarray]:
    """Write a run as E3SM does: in the run folder, a file a day and a file a month, rain in two
    parts, surface fractions in h0.
    """
    fields = writer.state(days, seed=seed)
    rain = fields.pop("PRECT")
    fields |= {"PRECC": 0.75 * rain} | ({"PRECL": 0.25 * rain} if precl else {})
    for day in range(days):
        writer.file(
            run / f"e3sm.eam.h1.0001-01-{day + 1:02d}-00000.nc",
            [(float(day), day + 1.0)],
            {name: values[day : day + 1] for name, values in fields.items()},
            frequency="day_1",
            file_format="NETCDF3_64BIT_DATA",
        )
    land = (writer.lon < 100.0) * 0.8
    month = {name: values.mean(axis=0, keepdims=True) for name, values in fields.items()}
    month |= {
        "LANDFRAC": land[None],
        "ICEFRAC": 0.1 * (1 - land)[None],
        "OCNFRAC": 0.9 * (1 - land)[None],
    }
    writer.file(
        run / "e3sm.eam.h0.0001-01.nc",
        [(0.0, 31.0)],
        month,
        frequency="month_1",
        file_format="NETCDF3_64BIT_DATA",
    )
    return fields


def test_e3sm_runs_with_their_own_files_and_words(history: Writers, tmp_path: Path) -> None:
    writer = history()
    _e3sm(writer, tmp_path / "reference", 12, seed=1)
    fields = _e3sm(writer, tmp_path / "run", 9, seed=2)
    (tmp_path / "run" / "e3sm.eam.h0.0001-01.nc").unlink()
    case = {"case": {"length": {"option": "ndays", "n": 5}, "resubmit": 1}}
    (tmp_path / "run" / "climlink_case.json").write_text(json.dumps(case))
    (tmp_path / "run" / "e3sm.log.17").write_text(
        "step 1\n 3: ERROR: model blew up in chunk 4\nstopping\n"
    )
    with gzip.open(tmp_path / "run" / "e3sm_timing.case.17.gz", "wt") as timing:
        timing.write("    Model Throughput:         18.25   simulated_years/day\n")
    (tmp_path / "run" / "atm_in").write_text(
        "&mmf_nn_emulator_nl\n climlink_package='/nowhere/wrap_model.pt'\n "
        "climlink_package_digest='ab12'\n/\n"
    )
    found = evaluate_online(tmp_path / "run", tmp_path / "reference")
    summary = found.summary
    assert (summary.host, summary.name, summary.survived, summary.planned_days, summary.days) == (
        "e3sm",
        "e3sm",
        False,
        10.0,
        9.0,
    )
    assert "day 9 of 10 (by climlink_case.json)" in (summary.ended or "")
    assert summary.years_per_day == 18.25
    assert (summary.package, summary.package_sha256) == (None, "ab12")
    assert "monthly history: the run has none" in summary.excluded
    rain = (fields["PRECC"] + fields["PRECL"]) * 8.64e7
    np.testing.assert_allclose(
        found.numbers["precipitation"].sel(member="run"), rain.mean(axis=0), rtol=1e-6
    )
    longer = evaluate_online(tmp_path / "run", tmp_path / "reference", planned_days=30.0).summary
    assert not longer.survived
    assert (
        longer.ended
        == "its last record is day 9 of 30 (as given); the log says: 3: ERROR: model blew up in "
        "chunk 4"
    )


def test_rain_is_told_by_surface_where_fractions_are_known(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    _e3sm(writer, tmp_path / "reference", 3, seed=1)
    fields = _e3sm(writer, tmp_path / "run", 3, seed=2, precl=False)
    _e3sm(writer, tmp_path / "plain", 3, seed=1, precl=False)
    found = evaluate_online(tmp_path / "run", tmp_path / "plain")
    assert (
        "PRECL (daily): not on the tape: PRECC is taken as all precipitation, as in E3SM-MMF"
        in found.summary.excluded
    )
    assert list(found.numbers["surface"].values) == ["global", "land", "ocean", "sea ice"]
    rain = fields["PRECC"] * 8.64e7
    land = writer.area * (writer.lon < 100.0)
    counts = np.histogram(
        rain, np.arange(-2.0, 179.0, 4.0), weights=np.broadcast_to(land, rain.shape)
    )[0]
    density = found.numbers["rain_density"].sel(member="run", surface="land")
    np.testing.assert_allclose(density, counts / (3 * land.sum()) / 4.0, rtol=1e-6, atol=1e-12)
    # Beside a reference that has both parts, PRECC alone is held against their sum: it is said.
    mixed = evaluate_online(tmp_path / "run", tmp_path / "reference")
    assert any("PRECL" in e for e in mixed.summary.excluded)


def test_hourly_rain_is_preferred_and_counters_are_read(history: Writers, tmp_path: Path) -> None:
    writer = history()
    for name, seed in (("truth", 1), ("run", 2)):
        state = writer.state(3, seed=seed) | {
            "NN_LIMITED": np.full((3, writer.columns), 4.0 * seed)
        }
        writer.daily(tmp_path / name, 0, state)
        rain = writer.state(72, seed=seed + 5)
        path = tmp_path / name / "history" / "case.eam.h2.0001-01-01-00000.nc"
        writer.file(path, RUN_HOURS, {"PRECT": rain["PRECT"], "PS": rain["PS"]}, frequency="hour_1")
    found = evaluate_online(tmp_path / "run", tmp_path / "truth")
    hourly = writer.state(72, seed=7)["PRECT"] * 8.64e7
    np.testing.assert_allclose(
        found.numbers["precipitation"].sel(member="run"), hourly.mean(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(found.numbers["counter_NN_LIMITED"], 8.0)
    assert found.numbers.sizes["hovmoeller_day"] == 3


def test_a_run_of_e3sm_is_alive_on_support_by_its_history(history: Writers, tmp_path: Path) -> None:
    writer = history()
    writer.daily(tmp_path / "truth", 0, writer.state(2))
    weights = writer.area / writer.area.sum()
    for name, heat, share, held in (("little", 0.08, 0.002, False), ("much", 0.12, 0.002, True)):
        uneven = np.linspace(0.0, 2.0, writer.columns)
        uneven /= (weights * uneven).sum()
        told = {"NN_RANGE_HEAT": heat, "NN_RANGE_MASS": share, "NN_RANGE_CLIPPED": 3.0}
        more = {n: np.array([[0.5], [1.5]]) * uneven * mean for n, mean in told.items()}
        writer.daily(tmp_path / name, 0, writer.state(2, seed=2) | more)
        summary = evaluate_online(tmp_path / name, tmp_path / "truth").summary
        assert summary.support is not None
        np.testing.assert_allclose(summary.support.heating_w_m2, heat, rtol=1e-6)  # float32 file
        np.testing.assert_allclose(summary.support.mass_share, share, rtol=1e-6)
        assert summary.support.clipped_values == pytest.approx(3.0, rel=1e-6)
        assert summary.lived_on_support is held
    writer.daily(tmp_path / "plain", 0, writer.state(2, seed=2))
    assert evaluate_online(tmp_path / "plain", tmp_path / "truth").summary.support is None


def test_budgets_of_the_run_are_told_by_day(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 2, writer.state(2))
    run = writer.record(writer.daily(tmp_path / "run", 2, writer.state(2)), days=4)
    head = "step,day,energy_fixer_W_m2,limiter_water_mm_day,limited_cells\n"
    rows = [f"{k},{2.0 + (k - 4) * 0.5},{k}.0,0.5,{10 * k}\n" for k in range(5, 9)]
    (run / "budgets.csv").write_text(head + "".join(rows) + "9,4.5,9")
    found = evaluate_online(run, truth)
    np.testing.assert_allclose(found.numbers["budget_day"], [1.0, 2.0])
    np.testing.assert_allclose(found.numbers["budget_energy_fixer_W_m2"], [5.5, 7.5])
    assert found.summary.metrics["conservation.limited_cells"] == pytest.approx(65.0)
    assert "last row of budgets.csv: it was not written to its end" in found.summary.excluded
    (run / "budgets.csv").write_text(head + "1,x,2,3,4\n")
    with pytest.raises(EvaluationError, match="not a table of numbers"):
        evaluate_online(run, truth)


def test_an_ensemble_counts_its_dead_and_lists_what_it_left_out(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(6))
    for number in (1, 2, 3):
        writer.record(
            writer.daily(tmp_path / f"m{number}", 0, writer.state(6, seed=number)), days=6
        )
    dead = writer.record(
        writer.daily(tmp_path / "dead", 0, writer.state(2, seed=8)),
        days=6,
        status="blown_up",
        message="on day 2.5: too warm",
    )
    wide = history(8, 5)
    wide.record(wide.daily(tmp_path / "wide", 0, wide.state(6)), days=6)
    members = [tmp_path / name for name in ("m1", "m2", "m3", "dead", "wide")]
    found = evaluate_ensemble(members, truth, twin=truth)
    summary = found.summary
    assert (summary.members, summary.survived, list(found.members)) == (
        4,
        3,
        ["m1", "m2", "m3", "dead"],
    )
    assert summary.survival == pytest.approx(0.75)
    assert 0.0 < summary.survival_low < 0.75 < summary.survival_high < 1.0
    assert any(
        e.startswith("run wide: it cannot be evaluated") and "not on one grid" in e
        for e in summary.excluded
    )
    assert "3 of 4 runs survived" in found.report.words
    assert "dead on day 2" in found.report.words
    lines = found.report.numbers["daily_rmse_T"]
    np.testing.assert_array_equal(
        np.isfinite(lines.sel(run="dead")), [True, True, False, False, False, False]
    )
    write_report(found.report, tmp_path / "report")
    with pytest.raises(EvaluationError, match="named twice"):
        evaluate_ensemble([dead, tmp_path / "m1" / ".." / "dead"], truth)
    with pytest.raises(EvaluationError, match="no run can be evaluated: run wide"):
        evaluate_ensemble([tmp_path / "wide"], truth)


def test_equal_names_are_told_apart_by_the_folders_above(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(2))
    runs = [
        writer.record(writer.daily(tmp_path / f / "hybrid", 0, writer.state(2)), days=2)
        for f in ("a", "b")
    ]
    assert list(evaluate_ensemble(runs, truth).members) == ["a_hybrid", "b_hybrid"]


def test_a_run_that_ends_before_the_window_keeps_its_growth_and_its_death(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(6))
    run = writer.record(
        writer.daily(tmp_path / "run", 0, writer.state(2, seed=4)),
        days=6,
        status="blown_up",
        message="on day 2.1: too warm",
    )
    found = evaluate_online(run, truth, from_day=3.0)
    assert not found.summary.survived
    assert found.summary.metrics["rmse.T"] is None
    assert (found.summary.metrics["last_day_rmse.T"] or 0.0) > 0.0
    assert any(
        e.startswith("means, maps and distributions: run and reference have 2 days in common")
        for e in found.summary.excluded
    )
    write_report(found.report, tmp_path / "report")


def test_months_that_no_one_shares_do_not_stand_in_the_way_of_days(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    for name, (start, end) in {"run": (0.0, 31.0), "truth": (31.0, 59.0)}.items():
        writer.daily(tmp_path / name, 29, writer.state(4, seed=len(name)))
        month = tmp_path / name / "history" / "case.eam.h0.0001-01.nc"
        writer.file(month, [(start, end)], writer.state(1), frequency="month_1")
    found = evaluate_online(tmp_path / "run", tmp_path / "truth")
    assert (
        "monthly history: run and reference have no record of one time in common"
        in found.summary.excluded
    )
    assert (found.summary.metrics["rmse.T"] or 0.0) > 0.0


def test_memory_does_not_grow_with_the_length_of_the_record(
    history: Writers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("climlink.evaluation.online.blocks._BLOCK_BYTES", 2**20)
    writer = history(16, 32)
    peaks = {}
    for days in (30, 150):
        for name in ("truth", "run"):
            for first in range(0, days, 30):
                writer.daily(tmp_path / f"{name}{days}", first, writer.state(30, seed=first))
        tracemalloc.start()
        evaluate_online(tmp_path / f"run{days}", tmp_path / f"truth{days}")
        peaks[days] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Read at once, 150 days would be 2 runs x 9 fields x 150 x 3 x 512 x 4 bytes: 14 MiB more than
    # 30 days.
    assert peaks[150] < peaks[30] + 4 * 2**20
