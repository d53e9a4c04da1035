"""What errors are held against: climatology, persistence, independent states, and days of skill."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.ensemble import evaluate_ensemble
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.online.history import HistoryGrid
from climlink.evaluation.online.metrics import skilful_days
from climlink.evaluation.online.yardsticks import zonal_mean

Writers = Callable[..., Any]


def weights(writer: Any, ps: np.ndarray) -> np.ndarray:
    """Mass of every cell [record, level, column] the long way round."""
    edges = [1e5 * a + b * ps for a, b in zip(writer.hyai, writer.hybi, strict=True)]
    return np.stack([lower - upper for upper, lower in pairwise(edges)], axis=1) * writer.area


def rmse(error: np.ndarray, weight: np.ndarray) -> float:
    return float(np.sqrt(np.average(error**2, weights=weight)))


def test_yardsticks_agree_with_a_computation_of_their_own(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth, other = writer.state(6, seed=1), writer.state(6, seed=2)
    found = evaluate_online(
        writer.daily(tmp_path / "run", 3, other), writer.daily(tmp_path / "truth", 3, truth)
    )
    weight = weights(writer, truth["PS"])
    rows = np.stack([writer.lat == lat for lat in np.unique(writer.lat)])
    for name in ("T", "Q", "V"):
        mean = truth[name].mean(axis=0)
        zonal = np.zeros_like(mean)
        for row in rows:  # columns of one latitude have one area
            zonal[:, row] = mean[:, row].mean(axis=1, keepdims=True)
        forecasts = {"climatology": zonal, "persistence": truth[name][0]}
        for pair, forecast in forecasts.items():
            series = found.numbers[f"daily_rmse_{name}"].sel(pair=pair)
            daily = [rmse(forecast - truth[name][k], weight[k]) for k in range(6)]
            # Forecasts are held in float32, as the files are: 6e-8 of a value, 300 K over 30 K.
            np.testing.assert_allclose(series, daily, rtol=2e-6, atol=1e-12)
            error = rmse(forecast - mean, weight.mean(axis=0))
            metric = found.summary.metrics[f"{pair}.rmse.{name}"]
            assert metric == pytest.approx(error, rel=1e-5)
        ratio = rmse(other[name][5] - truth[name][5], weight[5]) / rmse(
            zonal - truth[name][5], weight[5]
        )
        assert found.summary.metrics[f"relative_error.{name}"] == pytest.approx(ratio, rel=1e-5)
    rain = truth["PRECT"].mean(axis=0) * 8.64e7
    error = truth["PRECT"][0] * 8.64e7 - rain
    assert found.summary.metrics["persistence.precipitation.rmse"] == pytest.approx(
        rmse(error, writer.area), rel=1e-5
    )
    zonal_rain = np.array([rain[writer.lat == lat].mean() for lat in writer.lat])
    assert found.summary.metrics["climatology.precipitation.rmse"] == pytest.approx(
        rmse(zonal_rain - rain, writer.area), rel=1e-5
    )
    assert list(found.numbers["pair"].values) == ["run", "climatology", "persistence"]
    assert float(found.numbers["climatology_days"]) == 6.0


def test_what_does_not_change_is_forecast_without_error(history: Writers, tmp_path: Path) -> None:
    writer = history()
    still = {name: np.repeat(values, 4, axis=0) for name, values in writer.state(1).items()}
    still["T"] = np.repeat(still["T"][:, :, :1], writer.columns, axis=2)  # and the same all over
    off = still | {"T": still["T"] + 2.0}
    found = evaluate_online(
        writer.daily(tmp_path / "run", 0, off), writer.daily(tmp_path / "truth", 0, still)
    )
    series = found.numbers["daily_rmse_T"]
    np.testing.assert_array_equal(series.sel(pair="persistence"), 0.0)
    np.testing.assert_allclose(series.sel(pair="climatology"), 0.0, atol=3e-5)  # float32 of 300 K
    np.testing.assert_array_equal(found.numbers["daily_rmse_Q"].sel(pair="persistence"), 0.0)
    assert found.summary.metrics["skilful_days.T"] == 0.0
    # The humidity of the run is the truth's, that of climatology is not: it has skill to its end.
    assert found.summary.metrics["skilful_days.Q"] == 4.0
    assert found.summary.metrics["relative_error.Q"] == 0.0


def test_independent_states_differ_by_the_root_of_two_spreads(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    sigma, days = 3.0, 75
    truth = writer.state(days, seed=5)
    noise = np.random.default_rng(6).normal(0.0, sigma, truth["T"].shape)
    profile = np.array([210.0, 250.0, 290.0])[:, None]
    truth["T"] = profile + noise
    run = writer.record(writer.daily(tmp_path / "run", 0, truth), days=days)
    found = evaluate_online(run, writer.daily(tmp_path / "truth", 0, truth))
    spread = found.numbers["daily_saturated_T"]
    assert spread.attrs["pairs"] == days - 30
    assert spread.attrs["between"] == "states of the reference 30 days apart"
    # 45 pairs of 96 cells; their mass is uneven, so the relative error is about 1/sqrt(2 * 2000).
    assert float(spread) == pytest.approx(np.sqrt(2.0) * sigma, rel=0.05)
    assert found.summary.metrics["saturated.last_day_rmse.T"] == float(spread)
    climatology = found.numbers["daily_rmse_T"].sel(pair="climatology")
    assert float(np.sqrt((climatology**2).mean())) == pytest.approx(sigma, rel=0.05)


def test_independent_states_are_of_one_calendar_date_where_there_are_such(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    truth, later, elsewhere = (writer.state(4, seed=s) for s in (1, 2, 3))
    run = writer.record(writer.daily(tmp_path / "run", 10, writer.state(4, seed=4)), days=14)
    reference = writer.daily(tmp_path / "truth", 10, truth)
    none = evaluate_online(run, reference)
    assert "daily_saturated_T" not in none.numbers
    assert any(e.startswith("spread of independent states") for e in none.summary.excluded)
    weight = weights(writer, 0.5 * (truth["PS"] + elsewhere["PS"]))
    errors = [rmse(truth["U"][k] - elsewhere["U"][k], weight[k]) for k in range(4)]
    other = writer.daily(tmp_path / "elsewhere", 10, elsewhere)
    found = evaluate_online(run, reference, independent=[other])
    spread = found.numbers["daily_saturated_U"]
    assert float(spread) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-10)
    assert spread.attrs["pairs"] == 4
    assert f"--independent {other}" in found.command
    # A second year of the reference itself.
    writer.daily(reference, 375, later)
    weight = weights(writer, 0.5 * (truth["PS"] + later["PS"]))
    errors = [rmse(truth["U"][k] - later["U"][k], weight[k]) for k in range(4)]
    years = evaluate_online(run, reference).numbers["daily_saturated_U"]
    assert float(years) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-10)
    wide = history(8, 5)
    with pytest.raises(EvaluationError, match="not on one grid"):
        evaluate_online(
            run, reference, independent=[wide.daily(tmp_path / "wide", 10, wide.state(4))]
        )


def test_yardsticks_do_not_depend_on_how_long_a_run_lived(history: Writers, tmp_path: Path) -> None:
    writer = history()
    truth = writer.daily(tmp_path / "truth", 0, writer.state(9, seed=1))
    near = writer.state(9, seed=1)
    near = near | {"T": near["T"] + 0.5}
    far = {name: values[:3] for name, values in writer.state(9, seed=3).items()}
    runs = [
        writer.record(writer.daily(tmp_path / "near", 0, near), days=9),
        writer.record(
            writer.daily(tmp_path / "far", 0, far), days=9, status="blown_up", message="on day 3.2"
        ),
    ]
    found = evaluate_ensemble(runs, truth)
    lived, died = (found.members[name].numbers["daily_rmse_T"] for name in ("near", "far"))
    for pair in ("climatology", "persistence"):
        np.testing.assert_array_equal(
            lived.sel(pair=pair).values[:3], died.sel(pair=pair).values[:3]
        )
    assert (found.summary.survived, found.summary.skilful) == (1, 1)
    assert "1 of 2 also ended closer to the reference than climatology" in found.report.words
    table = next(t for s in found.report.sections for t in s.tables if t.name == "runs").columns
    assert table["T beats climatology until"] == [9.0, 0.0]
    assert table["last T RMSE over climatology's"][0] < 0.5
    assert table["last T RMSE over climatology's"][1] > 1.0


@pytest.mark.parametrize(
    ("run", "until"),
    [
        ([1.0, 2.0, 3.0], 3.0),
        ([1.0, 5.0, 3.0], 1.0),
        ([4.0, 1.0, 1.0], 0.0),
        ([1.0, 2.0, np.nan], 2.0),
        ([np.nan, np.nan, np.nan], np.nan),
    ],
)
def test_skill_ends_where_climatology_is_reached(run: list[float], until: float) -> None:
    found = skilful_days(np.array([1.0, 2.0, 3.0]), np.array(run), np.full(3, 4.0))
    np.testing.assert_equal(found, until)


@pytest.mark.parametrize("longitudes", [1, 8])
def test_zonal_means_keep_what_depends_on_latitude_alone(longitudes: int) -> None:
    """On a grid of few columns to a latitude bins of 10 degrees stand for it."""
    lat = np.repeat(np.linspace(-85.0, 85.0, 18), longitudes)
    area = np.random.default_rng(1).uniform(1.0, 2.0, lat.size)
    nothing = np.zeros(2)
    grid = HistoryGrid(lat, 0.0 * lat, area, nothing, nothing, nothing, nothing, 1e5)
    np.testing.assert_allclose(zonal_mean(grid, np.stack([lat, lat**2])), [lat, lat**2], rtol=1e-12)
    values = np.random.default_rng(2).normal(0.0, 1.0, lat.size)
    means = zonal_mean(grid, values)
    first = slice(0, longitudes)
    assert means[0] == pytest.approx(np.average(values[first], weights=area[first]), rel=1e-12)
    assert np.average(means, weights=area) == pytest.approx(
        np.average(values, weights=area), abs=1e-12
    )
