"""Figures and captions of online reports: read on a phone, on either pressure axis, rain by its
cadence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.evaluation.figures.online import growth_figure, profile_figure
from climlink.evaluation.figures.style import PressureScale, pressure_scale
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.report import write_report
from climlink.evaluation.report.write import readable_width

Writers = Callable[..., Any]
PHONE_PX = 390 - 2 * 16
"""Width of a phone less the margins of the page."""


@pytest.fixture(scope="module")
def numbers() -> xr.Dataset:
    """Return numbers of an evaluation, as far as two figures need them."""
    generator = np.random.default_rng(1)
    pairs = ["run", "twin", "climatology", "persistence"]
    return xr.Dataset(
        {
            "daily_rmse_T": (("pair", "daily_day"), generator.uniform(1.0, 2.0, (4, 5))),
            "daily_saturated_T": ((), 4.0),
            "profile_rmse_T": (("pair", "lev"), generator.uniform(1.0, 2.0, (4, 6))),
        },
        coords={
            "pair": pairs,
            "daily_day": np.arange(1.0, 6.0),
            "level_hpa": ("lev", np.array([0.5, 20.0, 120.0, 400.0, 700.0, 990.0])),
        },
    )


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [("log", [1, 10, 30, 100, 200, 500, 1000]), ("linear", [200, 400, 600, 800, 1000])],
)
def test_pressure_runs_downward_on_the_scale_that_is_asked_for(
    numbers: xr.Dataset, scale: PressureScale, ticks: list[float]
) -> None:
    with pressure_scale(scale):
        axes = profile_figure(numbers, ["T"]).axes[0]
    assert axes.get_yscale() == scale
    np.testing.assert_array_equal(axes.get_yticks(), ticks)
    bottom, top = axes.get_ylim()
    assert bottom > 990.0
    assert top == 0.5
    after = profile_figure(numbers, ["T"]).axes[0]
    assert after.get_yscale() == "log"  # the choice ends with its block


def test_growth_is_drawn_beside_all_that_it_is_held_against(numbers: xr.Dataset) -> None:
    figure = growth_figure(numbers, ["T"], "daily")
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert set(drawn) == {
        "run",
        "twin of the reference",
        "climatology",
        "persistence",
        "independent states",
    }
    for pair, label in (("run", "run"), ("climatology", "climatology")):
        np.testing.assert_array_equal(
            drawn[label].get_ydata(), numbers["daily_rmse_T"].sel(pair=pair)
        )
    np.testing.assert_array_equal(drawn["independent states"].get_ydata(), 4.0)


def test_a_report_is_read_on_a_phone_and_says_what_rain_it_means(
    history: Writers, tmp_path: Path
) -> None:
    writer = history(16, 4)  # with latitudes within 10 degrees of the equator
    rain = {"truth": writer.state(48, seed=5)["PRECT"], "run": writer.state(48, seed=6)["PRECT"]}
    hours = [(k / 24.0, (k + 1) / 24.0) for k in range(48)]
    for name, seed in (("truth", 1), ("run", 2), ("twin", 3)):
        state = writer.state(2, seed=seed)
        fields = {n: state[n] for n in ("T", "Q", "PS", "PRECT", "LHFLX")}
        writer.daily(tmp_path / name, 0, fields)
        if name in rain:
            path = tmp_path / name / "history" / "case.eam.h2.0001-01-01-00000.nc"
            writer.file(path, hours, {"PRECT": rain[name]}, frequency="hour_1")
    folders = [tmp_path / name for name in ("run", "truth", "twin")]
    report = evaluate_online(folders[0], folders[1], twin=folders[2]).report
    page = write_report(report, tmp_path / "report").read_text(encoding="utf-8")
    pictures = {p.name: p for s in report.sections for p in s.pictures}
    widths = {name: readable_width(p.figure) for name, p in pictures.items()}
    assert max(widths.values()) <= PHONE_PX, widths
    assert page.count("min-width: ") == len(pictures)
    for name in ("precipitation_map", "precipitation_intensity"):
        assert "hourly means" in pictures[name].caption
    assert "daily means" in pictures["hovmoeller_precipitation"].caption
    assert "Dots: the twin" in pictures["zonal_bias_state"].caption
    assert "Dashed grey: two reference runs" in pictures["growth_daily_state"].caption
    alone = evaluate_online(folders[2], folders[1]).report
    captions = {p.name: p.caption for s in alone.sections for p in s.pictures}
    assert "daily means" in captions["precipitation_intensity"]
    assert "twin" not in " ".join(captions.values())


def test_the_command_takes_a_pressure_axis_and_further_references(
    history: Writers, tmp_path: Path
) -> None:
    writer = history()
    for name, seed in (("truth", 1), ("run", 2), ("other", 3)):
        state = writer.state(2, seed=seed)
        writer.daily(tmp_path / name, 0, {n: state[n] for n in ("T", "PS")})
    command = ["evaluate", "online", str(tmp_path / "run"), "--reference", str(tmp_path / "truth")]
    command += ["--independent", str(tmp_path / "other"), "--json"]
    made = {}
    for scale in ("log", "linear"):
        folder = tmp_path / scale
        done = CliRunner().invoke(app, [*command, "--pressure-axis", scale, "-o", str(folder)])
        assert done.exit_code == 0, done.output
        made[scale] = {p.name: p.read_bytes() for p in (folder / "figures").iterdir()}
    changed = {name for name in made["log"] if made["log"][name] != made["linear"][name]}
    assert changed == {"rmse_profile_state.png", "zonal_bias_state.png", "first_days.png"}
    assert "saturated.last_day_rmse.T" in done.output
    refused = CliRunner().invoke(app, [*command, "--pressure-axis", "theta"])
    assert refused.exit_code == 2
