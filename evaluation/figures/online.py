"""Figures of online runs: error growth, profiles and sections of error, drift, areas, budgets,
survival. Rain has figures of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from climlink.evaluation.figures.style import (
    BIAS_COLOURS,
    BIAS_COLOURS_WATER,
    WIDTH_IN,
    pressure_axis,
    symmetric_limit,
)
from climlink.evaluation.online.blocks import CLIMATOLOGY, PERSISTENCE, REFERENCE, RUN, TWIN
from climlink.evaluation.online.fields import PROFILES
from climlink.evaluation.survival import SurvivalCurve

Array = NDArray[np.float64]

LINES: dict[str, dict[str, Any]] = {
    REFERENCE: {"color": "black", "linewidth": 1.6, "label": "reference"},
    TWIN: {"color": "0.55", "linewidth": 1.4, "linestyle": "--", "label": "twin of the reference"},
    CLIMATOLOGY: {"color": "#2563a8", "linewidth": 1.4, "linestyle": ":", "label": "climatology"},
    PERSISTENCE: {"color": "#4d7c0f", "linewidth": 1.2, "linestyle": "-.", "label": "persistence"},
    RUN: {"color": "#c2410c", "linewidth": 1.6, "label": "run"},
}
SATURATED: dict[str, Any] = {"color": "0.55", "linewidth": 1.0, "label": "independent states"}
"""How each member is drawn, in every figure."""
_TITLE_CHARACTERS = 30
"""What fits over a panel of half the width."""
_LOWEST_SHOWN_HPA = 1.0
_NOTHING = 0.01


def panels(
    count: int, columns: int = 2, height: float = 2.1, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of the usual width with ``count`` panels in rows of ``columns``, each
    ``height`` inches high.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH_IN, height * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of one panel above all panels."""
    handles, labels = axes.get_legend_handles_labels()
    columns = len(labels) if len(labels) <= 3 else -(-len(labels) // 2)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)


def growth_figure(numbers: xr.Dataset, names: Sequence[str], prefix: str) -> Figure:
    """Draw PREFIX_rmse_NAME against time on a logarithmic axis, with the twin's below which an
    error is internal variability, forecasts without a model, and the level of independent states.
    """
    figure, grid = panels(len(names))
    days = numbers[f"{prefix}_day"].values
    for axes, name in zip(grid, names, strict=True):
        shown = PROFILES[name]
        rmse = numbers[f"{prefix}_rmse_{name}"]
        for pair, line in LINES.items():
            if pair in rmse["pair"].values:
                values = rmse.sel(pair=pair).values * shown.scale
                values = np.where(values > 0.0, values, np.nan)
                marked = _marked(line, values) if pair in (TWIN, RUN) else line
                axes.plot(days, values, **marked)
                if pair == TWIN and np.isfinite(values).any():
                    axes.fill_between(days, values, np.nanmin(values), color="0.9", zorder=0)
        spread = numbers.get(f"{prefix}_saturated_{name}")
        if spread is not None:
            axes.axhline(float(spread) * shown.scale, **SATURATED)
        logarithmic(axes, rmse.values * shown.scale)
        axes.set_title(f"{shown.label} ({name})", fontsize=10)
        axes.set_ylabel(f"RMSE, {shown.units}")
        axes.set_xlabel("day")
        axes.grid(True, color="0.9", linewidth=0.6)
    legend_above(figure, grid[0])
    return figure


def logarithmic(axes: Axes, values: Array) -> None:
    """Make the vertical axis logarithmic, over a decade at least; where nothing is above zero say
    so, because it cannot be drawn.
    """
    positive = values[np.isfinite(values) & (values > 0.0)]
    if not positive.size:
        axes.text(0.5, 0.5, "no difference", transform=axes.transAxes, ha="center", va="center")
        return
    axes.set_yscale("log")
    low, high = float(positive.min()), float(positive.max())
    if high < 10.0 * low:
        middle = np.sqrt(low * high)
        axes.set_ylim(middle / 4.0, middle * 4.0)


def _marked(line: Mapping[str, Any], values: Array) -> dict[str, Any]:
    """Return a line's style, with markers where points are few."""
    return {
        **line,
        **({"marker": "o", "markersize": 3.5} if np.isfinite(values).sum() <= 40 else {}),
    }


def profile_figure(numbers: xr.Dataset, names: Sequence[str]) -> Figure:
    """Draw the error of the mean over the compared days against pressure."""
    figure, grid = panels(len(names), 2, 2.8)
    pressure = numbers["level_hpa"].values
    for number, (axes, name) in enumerate(zip(grid, names, strict=True)):
        shown, values = PROFILES[name], numbers[f"profile_rmse_{name}"]
        for pair, line in LINES.items():
            if pair in values["pair"].values:
                axes.plot(values.sel(pair=pair).values * shown.scale, pressure, **line)
        pressure_axis(axes, np.maximum(pressure, 0.0))
        axes.set_xlim(left=0.0)
        axes.set_xlabel(f"RMSE, {shown.units}")
        axes.set_title(f"{shown.label} ({name})", fontsize=10)
        axes.grid(True, color="0.9", linewidth=0.6)
        if number % 2 == 0:
            axes.set_ylabel("pressure, hPa")
    legend_above(figure, grid[0])
    return figure


def section_figure(numbers: xr.Dataset, names: Sequence[str]) -> Figure:
    """Draw zonal-mean bias against latitude and pressure, with the reference's tropopause, and dots
    where the twin differs as much.
    """
    figure, grid = panels(len(names), 2, 2.9)
    filled = np.isfinite(numbers[f"zonal_{names[0]}"].values).any(
        axis=0
    )  # a coarse grid leaves bins of latitude empty
    numbers = numbers.isel(zonal_lat=np.flatnonzero(filled))
    latitude, pressure = numbers["zonal_lat"].values, numbers["level_hpa"].values
    low = pressure >= min(_LOWEST_SHOWN_HPA, float(pressure.max()))
    for number, (axes, name) in enumerate(zip(grid, names, strict=True)):
        shown, bias = PROFILES[name], numbers[f"zonal_bias_{name}"]
        run = bias.sel(pair=RUN).values[low] * shown.scale
        mesh = _mesh(axes, latitude, pressure[low], run, symmetric_limit(run), water=shown.water)
        if TWIN in bias["pair"].values:
            _dots(axes, latitude, pressure[low], run, bias.sel(pair=TWIN).values[low] * shown.scale)
        if "tropopause_hpa" in numbers:
            axes.plot(latitude, numbers["tropopause_hpa"].values, color="black", linewidth=1.4)
        axes.set_xticks([-60, -30, 0, 30, 60], ["60S", "30S", "0", "30N", "60N"])
        axes.set_title(f"{shown.label} ({name})", fontsize=10)
        if number % 2 == 0:
            axes.set_ylabel("pressure, hPa")
        _colour_bar(figure, axes, mesh, shown.units)
    return figure


def first_period_figure(numbers: xr.Dataset, names: Sequence[str]) -> Figure:
    """Draw the mean error of the first days against time and pressure, inside and outside of
    30S-30N.
    """
    bands = list(numbers["band"].values)
    figure, grid = panels(len(names) * len(bands), len(bands), 2.9)
    days, pressure = numbers["first_day"].values, numbers["level_hpa"].values
    low = pressure >= min(_LOWEST_SHOWN_HPA, float(pressure.max()))
    for row, name in enumerate(names):
        shown, bias = PROFILES[name], numbers[f"first_bias_{name}"]
        limit = symmetric_limit(bias.sel(pair=RUN).values[..., low] * shown.scale)
        for column, band in enumerate(bands):
            axes = grid[row * len(bands) + column]
            run = bias.sel(pair=RUN, band=band).values[:, low].T * shown.scale
            mesh = _mesh(axes, days, pressure[low], run, limit, water=shown.water)
            if TWIN in bias["pair"].values:
                _dots(
                    axes,
                    days,
                    pressure[low],
                    run,
                    bias.sel(pair=TWIN, band=band).values[:, low].T * shown.scale,
                )
            axes.set_title(fill(f"{shown.label}, {band}", _TITLE_CHARACTERS), fontsize=10)
            axes.set_xlabel("day")
            if column == 0:
                axes.set_ylabel("pressure, hPa")
            _colour_bar(figure, axes, mesh, shown.units)
    return figure


def _mesh(
    axes: Axes, x: Array, pressure: Array, values: Array, limit: float, *, water: bool
) -> QuadMesh:
    """Draw cells about (x, pressure) in diverging colours on a pressure axis, and return what a
    colour bar needs.
    """
    axes.set_facecolor("0.85")
    colours = BIAS_COLOURS_WATER if water else BIAS_COLOURS
    mesh = axes.pcolormesh(
        x,
        pressure,
        values,
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        shading="nearest",
        rasterized=True,
    )
    pressure_axis(axes, pressure)
    return mesh


def _colour_bar(figure: Figure, axes: Axes, mesh: QuadMesh, units: str) -> None:
    """Put a colour bar of few ticks below a panel."""
    bar = figure.colorbar(
        mesh, ax=axes, label=units, extend="both", location="bottom", ticks=MaxNLocator(4)
    )
    bar.ax.minorticks_off()


def _dots(axes: Axes, x: Array, pressure: Array, run: Array, twin: Array) -> None:
    """Put a dot where the twin is as far from the reference as the run and the error is seen: it is
    internal variability there.
    """
    with np.errstate(invalid="ignore"):
        told = np.abs(run) > _NOTHING * symmetric_limit(
            run
        )  # where neither has any cloud there is nothing to tell
        level, column = np.nonzero((np.abs(run) <= np.abs(twin)) & told)
    step = max(1, len(pressure) // 24)
    kept = level % step == 0
    axes.plot(
        x[column[kept]],
        pressure[level[kept]],
        linestyle="none",
        marker=".",
        markersize=2.5,
        color="0.25",
    )


def series_figure(numbers: xr.Dataset, series: Mapping[str, tuple[str, float]], day: str) -> Figure:
    """Draw variables of every member against time: ``series`` has the variable's title with units,
    and a factor.
    """
    figure, grid = panels(len(series))
    for axes, (name, (title, scale)) in zip(grid, series.items(), strict=True):
        values = numbers[name]
        for member in (REFERENCE, TWIN, RUN):
            if "member" in values.dims and member in values["member"].values:
                one = values.sel(member=member).values * scale
                if np.isfinite(one).any():
                    axes.plot(numbers[day].values, one, **_marked(LINES[member], one))
        if "member" not in values.dims:
            axes.plot(
                numbers[day].values, values.values * scale, **_marked(LINES[RUN], values.values)
            )
        _time_panel(axes, title)
    legend_above(figure, grid[0])
    return figure


def area_figure(numbers: xr.Dataset, kind: str, quantities: Mapping[str, str]) -> Figure:
    """Draw area means or spreads (``kind`` mean or std) of quantities, one after the other, by
    region.
    """
    regions = list(numbers["region"].values)
    figure, grid = panels(len(quantities) * len(regions), 2)
    for row, (quantity, label) in enumerate(quantities.items()):
        for column, region in enumerate(regions):
            axes = grid[row * len(regions) + column]
            for member in (REFERENCE, TWIN, RUN):
                values = numbers[f"area_{kind}_{quantity}"].sel(region=region)
                if member in values["member"].values:
                    one = values.sel(member=member).values
                    axes.plot(numbers["area_day"].values, one, **_marked(LINES[member], one))
            _time_panel(axes, region)
            axes.ticklabel_format(axis="y", useOffset=False)
            if column % 2 == 0:
                axes.set_ylabel(label)
    legend_above(figure, grid[0])
    return figure


def _time_panel(axes: Axes, title: str) -> None:
    axes.set_title(fill(title, _TITLE_CHARACTERS), fontsize=10)
    axes.set_xlabel("day")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(True, color="0.9", linewidth=0.6)


def survival_figure(
    curve: SurvivalCurve, skill: SurvivalCurve | None, planned_days: float | None
) -> Figure:
    """Draw the probability to live longer than a day, as steps with the interval shaded, and that
    to have skill for longer.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.7), layout="constrained")
    axes = figure.subplots()
    shown = [(curve, RUN, "Kaplan-Meier estimate")]
    if skill is not None:
        shown.append((skill, CLIMATOLOGY, "alive and better than climatology"))
    for one, member, label in shown:
        color = LINES[member]["color"]
        axes.step(one.days, one.probability, where="post", color=color, label=label)
    axes.fill_between(
        curve.days,
        curve.low,
        curve.high,
        step="post",
        color="#c2410c",
        alpha=0.18,
        label="95 % interval",
    )
    if planned_days is not None:
        axes.axvline(planned_days, color="0.4", linestyle=":", label="planned end")
    axes.set_ylim(0.0, 1.05)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("day")
    axes.set_ylabel("share of members alive")
    axes.grid(True, color="0.9", linewidth=0.6)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def ensemble_growth_figure(
    rows: Mapping[str, tuple[Array, Array]],
    beside: Mapping[str, tuple[Array, Array]],
    saturated: float | None,
    name: str,
) -> Figure:
    """Draw the error of one field of every member against the day, each to its own end, with those
    of the twin and of forecasts without a model, and the level of independent states.
    """
    shown = PROFILES[name]
    figure = Figure(figsize=(WIDTH_IN, 4.4), layout="constrained")
    axes = figure.subplots()
    for label, (days, values) in rows.items():
        line = axes.plot(days, values * shown.scale, linewidth=1.2, label=label)[0]
        last = np.flatnonzero(np.isfinite(values))
        if len(last):
            axes.plot(
                days[last[-1]],
                values[last[-1]] * shown.scale,
                marker="o",
                markersize=5,
                color=line.get_color(),
            )
    for pair, (days, values) in beside.items():
        axes.plot(days, np.where(values > 0.0, values, np.nan) * shown.scale, **LINES[pair])
    if saturated is not None:
        axes.axhline(saturated * shown.scale, **SATURATED)
    drawn = [values for _, values in [*rows.values(), *beside.values()]]
    logarithmic(axes, np.concatenate(drawn) * shown.scale)
    axes.set_xlabel("day")
    axes.set_ylabel(f"RMSE of {shown.label}, {shown.units}")
    axes.grid(True, color="0.9", linewidth=0.6)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure
