"""Figures of offline scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from climlink.data.files import replacing
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.style import pressure_axis
from climlink.evaluation.offline.scores import R2Table
from climlink.wrappers.variable_sets import variable

_COLUMNS = 3
_LOWEST_SHOWN = -0.1


def r2_figure(table: R2Table, pressure_hpa: NDArray[np.float64], path: str | Path, *, title: str) -> None:
    """Draw R² against pressure for every profile and as bars for the scalars, and write it (PNG, PDF or SVG by suffix).

    ``pressure_hpa`` [level] is a reference pressure of the midpoints; levels above ``first_level`` are shaded; values below -0.1 lie
    outside the frame.
    """
    profiles = [n for n in table.values if variable(n).is_profile]
    scalars = [n for n in table.values if not variable(n).is_profile]
    wrong = [n for n in profiles if len(table.values[n]) != len(pressure_hpa)]
    if wrong:
        raise EvaluationError(f"pressure_hpa has {len(pressure_hpa)} levels, the scores of {', '.join(wrong)} have others")
    path = Path(path)
    rows = -(-len(profiles) // _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS + 4.0, 3.4 * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    cells = figure.add_gridspec(rows, _COLUMNS + 1, width_ratios=[1.0] * _COLUMNS + [1.3])
    summary = table.summary()
    for number, name in enumerate(profiles):
        axes = figure.add_subplot(cells[number // _COLUMNS, number % _COLUMNS])
        _profile(axes, name, table, pressure_hpa, summary[name])
        if number % _COLUMNS == 0:
            axes.set_ylabel("pressure (hPa)")
        if number // _COLUMNS == rows - 1:
            axes.set_xlabel("R²")
    _bars(figure.add_subplot(cells[:, _COLUMNS]), {n: summary[n] for n in scalars})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        figure.savefig(beside, format=path.suffix.removeprefix(".") or "png", dpi=150)


def _profile(axes: Axes, name: str, table: R2Table, pressure_hpa: NDArray[np.float64], median: float) -> None:
    """Draw one profile: pressure downward on a logarithmic axis, with the median over the levels that count."""
    axes.plot(np.clip(table.values[name], 2 * _LOWEST_SHOWN, 1.0), pressure_hpa, marker=".", markersize=3, linewidth=1.2)
    axes.axvline(median, color="0.5", linestyle="--", linewidth=1.0)
    pressure_axis(axes, pressure_hpa)
    if table.first_level > 0:
        axes.axhspan(float(pressure_hpa.min()), float(pressure_hpa[table.first_level - 1]), color="0.92", zorder=0)
    axes.set_xlim(_LOWEST_SHOWN, 1.0)
    axes.grid(True, color="0.9", linewidth=0.6)
    axes.set_title(f"{name}: median {median:.2f}", fontsize=10)


def _bars(axes: Axes, scores: dict[str, float]) -> None:
    """Draw the scalar outputs as labelled horizontal bars."""
    names = list(scores)
    places = [float(i) for i in range(len(names))]
    axes.barh(places, np.clip(list(scores.values()), 2 * _LOWEST_SHOWN, 1.0), height=0.7)
    axes.set_yticks(places, [n.removeprefix("cam_out_") for n in names])
    axes.invert_yaxis()
    axes.set_xlim(_LOWEST_SHOWN, 1.15)
    for place, name in zip(places, names, strict=True):
        axes.text(max(min(scores[name], 1.0), 0.0) + 0.02, place, f"{scores[name]:.2f}", va="center", fontsize=9)
    axes.axvline(0.0, color="0.3", linewidth=0.8)
    axes.set_xlabel("R²")
    axes.set_title("scalar outputs", fontsize=10)
