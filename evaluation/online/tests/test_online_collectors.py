"""Tropopause, residuals from history, monthly means alone, and time against longitude, on fields
whose answer is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from climlink.evaluation.online.blocks import REFERENCE, Block
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.online.history import HistoryGrid
from climlink.evaluation.online.states import Tropopause
from climlink.evaluation.report import write_report

Writers = Callable[..., Any]


def test_the_tropopause_lies_where_the_lapse_rate_ends() -> None:
    hyai = np.linspace(0.01, 0.0, 61) * 0.0
    hybi = np.linspace(0.02, 1.0, 61)
    lat = np.array([-45.0, 45.0])
    middle = 0.5 * (hybi[1:] + hybi[:-1])
    grid = HistoryGrid(
        lat,
        np.zeros(2),
        np.full(2, 2 * np.pi),
        0.5 * (hyai[1:] + hyai[:-1]),
        middle,
        hyai,
        hybi,
        1e5,
    )
    # 6.5 K/km up to 200 hPa (south) and 120 hPa (north), then isothermal: d(theta)/dz is 4 K/km
    # below and 15 K/km above.
    exponent = 287.04231 * 0.0065 / 9.80616
    kinks = np.array([0.2, 0.12])
    t = 300.0 * np.maximum(middle[:, None], kinks) ** exponent
    values = {
        REFERENCE: {
            "T": t[None].astype(np.float32),
            "Q": np.zeros((1, 60, 2), np.float32),
            "PS": np.full((1, 2), 1e5, np.float32),
        }
    }
    usable = {REFERENCE: {name: np.ones(1, dtype=bool) for name in ("T", "Q", "PS")}}
    collector = Tropopause(grid)
    collector.add(Block(grid, np.ones(1), np.full(1, 0.5), np.ones(1, dtype=bool), values, usable))
    found = collector.result()["tropopause_hpa"]
    spacing = 1000.0 * np.diff(middle).max()
    assert float(found.sel(zonal_lat=-45.0)) == pytest.approx(200.0, abs=1.5 * spacing)
    assert float(found.sel(zonal_lat=45.0)) == pytest.approx(120.0, abs=1.5 * spacing)


def test_residuals_of_a_state_that_stays_are_its_sources(history: Writers, tmp_path: Path) -> None:
    writer = history()
    one = writer.state(1)
    still = {name: np.repeat(values, 4, axis=0) for name, values in one.items()}
    fluxes = {
        "FSNT": 240.0,
        "FLUT": 230.0,
        "FSNS": 160.0,
        "FLNS": 60.0,
        "SHFLX": 20.0,
        "LHFLX": 80.0,
    }
    still |= {name: np.full((4, writer.columns), value) for name, value in fluxes.items()}
    still |= {
        "PRECT": np.full((4, writer.columns), 3e-8),
        "PRECSC": np.full((4, writer.columns), 1e-9),
    }
    run = writer.daily(tmp_path / "a", 0, still)
    found = evaluate_online(run, writer.daily(tmp_path / "b", 0, still))
    # E - P in mm/day, and what enters: absorbed sun less OLR less what the surface takes, plus
    # heat, plus the ice that leaves as snow.
    water = (80.0 / 2.501e6 - 3e-8 * 1000.0) * 86400.0
    energy = 240.0 - 230.0 - 160.0 + 60.0 + 20.0 + 80.0 + 3.337e5 * 1e-9 * 1000.0
    np.testing.assert_allclose(found.numbers["residual_water"].sel(member="run"), -water, rtol=1e-6)
    np.testing.assert_allclose(
        found.numbers["residual_energy"].sel(member="run"), -energy, rtol=1e-6
    )
    assert found.numbers["residual_water"].shape == (2, 3)


def test_monthly_means_alone_are_enough(history: Writers, tmp_path: Path) -> None:
    writer = history()
    edges = [0.0, 31.0, 59.0, 90.0, 120.0]
    for name, seed in (("truth", 1), ("run", 2)):
        fields = writer.state(4, seed=seed)
        for k in range(4):
            month = {key: values[k : k + 1] for key, values in fields.items()}
            writer.file(
                tmp_path / name / f"x.eam.h0.0001-{k + 1:02d}.nc",
                [(edges[k], edges[k + 1])],
                month,
                frequency="month_1",
            )
    found = evaluate_online(tmp_path / "run", tmp_path / "truth")
    error = writer.state(4, seed=2)["V"] - writer.state(4, seed=1)["V"]
    ps = writer.state(4, seed=1)["PS"]
    dp = np.stack(
        [
            (writer.hyai[k + 1] - writer.hyai[k]) * 1e5 + (writer.hybi[k + 1] - writer.hybi[k]) * ps
            for k in range(3)
        ],
        axis=1,
    )
    expected = [np.sqrt(np.average(error[k] ** 2, weights=dp[k] * writer.area)) for k in range(4)]
    np.testing.assert_allclose(
        found.numbers["monthly_rmse_V"].sel(pair="run"), expected, rtol=1e-10
    )
    assert found.numbers.sizes["area_day"] == 4
    assert not any(str(name).startswith("daily_rmse") for name in found.numbers)
    page = write_report(found.report, tmp_path / "report")
    assert (page.parent / "figures" / "growth_monthly_state.png").is_file()


def test_time_against_longitude_follows_a_cloud_around_the_equator(
    history: Writers, tmp_path: Path
) -> None:
    writer = history(16, 24)
    rain = np.zeros((6, writer.columns))
    for day in range(6):
        rain[day, (writer.lon == 45.0 * day) & (np.abs(writer.lat) < 10.0)] = 1e-7
    rain[:, np.abs(writer.lat) > 12.0] = 5e-7  # beyond 10 degrees nothing counts
    runs = [writer.daily(tmp_path / name, 0, {"PRECT": rain}) for name in ("a", "b")]
    found = evaluate_online(runs[0], runs[1])
    rows = found.numbers["hovmoeller_precipitation"].sel(member="run")
    assert (
        np.diff(found.numbers["longitude"].values)[0] == 15.0
    )  # a bin for each of the 24 longitudes
    np.testing.assert_array_equal(rows.values.argmax(axis=1), np.arange(6) * 3)
    np.testing.assert_allclose(rows.values.max(axis=1), 8.64, rtol=1e-6)
    assert (
        "errors of the state: run and reference share no field on levels with PS"
        in found.summary.excluded
    )
