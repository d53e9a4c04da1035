"""The figure of the free runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from climlink.evaluation.figures.style import pressure_axis
from climlink.evaluation.stability.dynamics import TEMPERATURE, Array
from climlink.evaluation.stability.free_run import Bounds, FreeRun, FreeRuns
from climlink.evaluation.stability.semi_online import TEMPERATURE_RANGE_K

_FONT = 12
_HOT, _COLD = "#d62728", "#1f77b4"


def free_run_figure(runs: Sequence[FreeRuns], bounds: Bounds, pressure_hpa: Array) -> Figure:
    """Return, part by part, hottest and coldest temperature against days, and the extremes of the
    run by level with the training range.
    """
    figure = Figure(figsize=(9.0, 4.4 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 2, squeeze=False)
    for (left, right), one in zip(panels, runs, strict=True):
        known = ((one.emulator, "-", "emulator"), (one.reference, "--", "reference"))
        for run, line, label in known:
            if run is not None:
                _series(left, run, line, label)
                _profiles(right, run, line, pressure_hpa)
        left.set_title(one.part.title, fontsize=_FONT)
        left.set_xlabel("days", fontsize=_FONT)
        left.set_ylabel("temperature (K)", fontsize=_FONT)
        left.legend(
            fontsize=_FONT - 2,
            frameon=False,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.15),
        )
        _range(right, bounds, one.part.levels, pressure_hpa)
        right.set_title("extremes by level", fontsize=_FONT)
        right.set_xlabel("temperature (K)", fontsize=_FONT)
        right.set_ylabel("pressure (hPa)", fontsize=_FONT)
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=_FONT - 1)
    return figure


def _series(axes: Axes, run: FreeRun, line: str, label: str) -> None:
    """Draw hottest and coldest by day, no farther than where a run ends."""
    for values, colour, which in ((run.hottest, _HOT, "hottest"), (run.coldest, _COLD, "coldest")):
        shown = np.clip(values, *TEMPERATURE_RANGE_K)
        axes.plot(run.days, shown, line, color=colour, label=f"{which}, {label}", linewidth=1.5)
    if run.ended is not None:
        axes.axvline(run.lived_days, color="0.3", linewidth=1.0, linestyle=":")


def _profiles(axes: Axes, run: FreeRun, line: str, pressure_hpa: Array) -> None:
    """Draw the extremes of a run by level."""
    for values, colour in ((run.high, _HOT), (run.low, _COLD)):
        shown = np.clip(values, *TEMPERATURE_RANGE_K)
        axes.plot(shown, pressure_hpa, line, color=colour, linewidth=1.5)


def _range(axes: Axes, bounds: Bounds, moving: NDArray[np.bool_], pressure_hpa: Array) -> None:
    """Shade the training range of temperature on the levels that move."""
    if TEMPERATURE in bounds:
        low, high = (side[moving] for side in bounds[TEMPERATURE])
        axes.fill_betweenx(pressure_hpa[moving], low, high, color="0.85", zorder=0)
    pressure_axis(axes, pressure_hpa[moving])
