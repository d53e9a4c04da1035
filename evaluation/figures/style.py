"""Habits of the field that every figure keeps: pressure downward, diverging colours for
differences, units.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

BIAS_COLOURS = "RdBu_r"
"""Colour map of differences, white at zero; moisture may take BIAS_COLOURS_WATER (brown is dry)."""
BIAS_COLOURS_WATER = "BrBG"
FIELD_COLOURS = "viridis"

_PRESSURE_TICKS_HPA = (0.1, 1.0, 10.0, 30.0, 100.0, 200.0, 500.0, 1000.0)


def pressure_axis(
    axes: Axes, pressure_hpa: NDArray[np.float64], *, logarithmic: bool = True
) -> None:
    """Make the vertical axis one of pressure in hPa, downward, with ticks at the usual levels;
    ``pressure_hpa`` is what is drawn.
    """
    if logarithmic:
        axes.set_yscale("log")
    low, high = float(pressure_hpa.min()), float(pressure_hpa.max())
    axes.set_ylim(high * 1.05, low)
    axes.set_yticks(
        [t for t in _PRESSURE_TICKS_HPA if low <= t <= high],
        [f"{t:g}" for t in _PRESSURE_TICKS_HPA if low <= t <= high],
    )
    axes.minorticks_off()


def symmetric_limit(*fields: NDArray[np.float64], quantile: float = 0.99) -> float:
    """Return the limit of a diverging colour scale that shows fields alike: a quantile of their
    magnitude, never 0.
    """
    values = (
        np.abs(np.concatenate([f[np.isfinite(f)].ravel() for f in fields]))
        if fields
        else np.empty(0)
    )
    limit = float(np.quantile(values, quantile)) if values.size else 0.0
    return limit if limit > 0.0 else 1.0
