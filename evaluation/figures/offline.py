"""Figures of offline scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.shown import shown_as
from climlink.evaluation.figures.style import WIDTH_IN, pressure_axis
from climlink.evaluation.offline.scores import R2Table

Array = NDArray[np.float64]

_COLUMNS = 2
_LOWEST_SHOWN = -0.1


def r2_lines(groups: Mapping[str, Sequence[R2Table]], pressure_hpa: Array, *, title: str) -> Figure:
    """Return R² against pressure for every profile and bars for the scalars; a group of several
    tables is its median and its range.

    ``pressure_hpa`` [level] is a reference pressure of the midpoints; levels above ``first_level``
    are shaded; values below -0.1 lie outside the frame; levels of constant truth are gaps.
    EvaluationError for pressures of other levels.
    """
    first = next(iter(groups.values()))[0]
    profiles = [n for n in first.values if first.is_profile(n)]
    scalars = [n for n, v in first.values.items() if len(v) == 1 and n not in profiles]
    wrong = [n for n in profiles if len(first.values[n]) != len(pressure_hpa)]
    if wrong:
        raise EvaluationError(
            f"pressure_hpa has {len(pressure_hpa)} levels, the scores of {', '.join(wrong)} have "
            "others"
        )
    rows = max(1, -(-len(profiles) // _COLUMNS))
    bars = 0.6 + 0.25 * max(1, len(scalars)) * max(1.0, 0.5 * len(groups))
    figure = Figure(figsize=(WIDTH_IN, 2.6 * rows + bars + 0.6), layout="constrained")
    figure.suptitle(fill(title, 60), fontsize=11)
    cells = figure.add_gridspec(rows + 1, _COLUMNS, height_ratios=[2.6] * rows + [bars])
    for number, name in enumerate(profiles):
        axes = figure.add_subplot(cells[number // _COLUMNS, number % _COLUMNS])
        for label, tables in groups.items():
            _line(
                axes,
                label,
                [_varying(t, name) for t in tables],
                pressure_hpa,
                markers=len(groups) == 1,
            )
        _frame(axes, name, first, pressure_hpa)
        if len(groups) == 1:
            median = float(np.median([t.summary()[name] for t in next(iter(groups.values()))]))
            axes.axvline(median, color="0.5", linestyle="--", linewidth=1.0)
            axes.set_title(f"{name}: median {median:.2f}", fontsize=10)
        if number % _COLUMNS == 0:
            axes.set_ylabel("pressure (hPa)")
        if number // _COLUMNS == rows - 1:
            axes.set_xlabel("R²")
    _bars(figure.add_subplot(cells[rows, :]), scalars, groups)
    if len(groups) > 1:
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(len(groups), 2),
            frameon=False,
        )
    return figure


def _varying(table: R2Table, name: str) -> Array:
    """Return R² by level, NaN, and so a gap, where the truth is constant."""
    constant = table.constant.get(name)
    return (
        table.values[name] if constant is None else np.where(constant, np.nan, table.values[name])
    )


def _line(
    axes: Axes, label: str, profiles: Sequence[Array], pressure_hpa: Array, *, markers: bool
) -> None:
    """Draw one line, or the median of several with their range behind it."""
    stack = np.clip(np.array(profiles), 2 * _LOWEST_SHOWN, 1.0)
    style = {"marker": ".", "markersize": 3} if markers else {}
    (line,) = axes.plot(
        np.median(stack, axis=0),
        pressure_hpa,
        linewidth=1.3,
        label=label,
        **style,  # type: ignore[arg-type]
    )
    if len(stack) > 1:
        axes.fill_betweenx(
            pressure_hpa,
            stack.min(axis=0),
            stack.max(axis=0),
            color=line.get_color(),
            alpha=0.2,
            linewidth=0,
        )


def _frame(axes: Axes, name: str, table: R2Table, pressure_hpa: Array) -> None:
    pressure_axis(axes, pressure_hpa)
    if table.first_level > 0:
        axes.axhspan(
            float(pressure_hpa.min()),
            float(pressure_hpa[table.first_level - 1]),
            color="0.92",
            zorder=0,
        )
    axes.set_xlim(_LOWEST_SHOWN, 1.0)
    axes.grid(True, color="0.9", linewidth=0.6)
    axes.set_title(name, fontsize=10)


def _bars(axes: Axes, names: Sequence[str], groups: Mapping[str, Sequence[R2Table]]) -> None:
    """Draw the scalar outputs as horizontal bars, one per group, with the value where there is one
    group.
    """
    places = np.arange(len(names), dtype=np.float64)
    height = 0.8 / len(groups)
    for number, tables in enumerate(groups.values()):
        scores = np.array([[t.summary()[n] for n in names] for t in tables])
        middle = np.median(scores, axis=0)
        at = places - 0.4 + (number + 0.5) * height
        axes.barh(at, np.clip(np.nan_to_num(middle), 2 * _LOWEST_SHOWN, 1.0), height=0.9 * height)
        if len(tables) > 1:
            reach = np.clip(
                np.stack([middle - scores.min(axis=0), scores.max(axis=0) - middle]), 0.0, None
            )
            axes.errorbar(middle, at, xerr=reach, fmt="none", ecolor="0.2", elinewidth=1.0)
        if len(groups) == 1:
            for place, value in zip(places, middle, strict=True):
                text = "constant" if np.isnan(value) else f"{value:.2f}"
                axes.text(
                    max(min(np.nan_to_num(value), 1.0), 0.0) + 0.02,
                    place,
                    text,
                    va="center",
                )
    axes.set_yticks(places, [n.removeprefix("cam_out_") for n in names])
    axes.invert_yaxis()
    axes.set_xlim(_LOWEST_SHOWN, 1.2 if len(groups) == 1 else 1.0)
    axes.axvline(0.0, color="0.3", linewidth=0.8)
    axes.set_xlabel("R²")
    axes.set_title("scalar outputs", fontsize=10)


def budget_lines(
    latitude_deg: Array, budgets: Mapping[str, Mapping[str, Array]], labels: Mapping[str, str]
) -> Figure:
    """Return zonal means of column budgets against latitude: {label of a line: {budget: [bin]}},
    with the title of each budget.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.2 * len(labels) + 0.6), layout="constrained")
    axes = figure.subplots(len(labels), 1, squeeze=False, sharex=True)[:, 0]
    for panel, (budget, title) in zip(axes, labels.items(), strict=True):
        for label, values in budgets.items():
            truth = label == "truth"
            panel.plot(
                latitude_deg,
                values[budget],
                color="0.1" if truth else None,
                linewidth=2.0 if truth else 1.3,
                label=label,
            )
        panel.axhline(0.0, color="0.6", linewidth=0.8)
        panel.set_title(title, fontsize=10)
        panel.set_xlim(-90.0, 90.0)
        panel.set_xticks([-90, -60, -30, 0, 30, 60, 90])
        panel.grid(True, color="0.92", linewidth=0.6)
    axes[-1].set_xlabel("latitude (°)")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(len(budgets), 2),
        frameon=False,
    )
    return figure


def scalar_means(names: Sequence[str], truth: Array, predictions: Mapping[str, Array]) -> Figure:
    """Return the mean of every scalar output as bars: truth and predictions [output] in the units
    they are shown in, one panel each.
    """
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(WIDTH_IN, 1.8 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    labels = ["truth", *predictions]
    for k, (axes, name) in enumerate(zip(panels, names, strict=False)):
        shown = shown_as(name)
        values = np.array([truth[k], *(p[k] for p in predictions.values())]) * shown.factor
        axes.bar(
            np.arange(len(values)),
            values,
            color=["0.35", *(f"C{i}" for i in range(len(predictions)))],
        )
        axes.set_title(f"{shown.label} ({shown.unit})", fontsize=10)
        axes.set_xticks([])
        axes.margins(y=0.15)
        if len(values) <= 3:
            for x, value in enumerate(values):
                axes.text(x, value, f"{value:.3g}", ha="center", va="bottom")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    colours = ["0.35", *(f"C{i}" for i in range(len(predictions)))]
    handles = [panels[0].bar(0, 0, color=c) for c in colours]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 2), frameon=False
    )
    return figure
