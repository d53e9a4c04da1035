"""Habits of the field that every figure keeps: pressure downward, diverging colours for
differences, units.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

BIAS_COLOURS = "RdBu_r"
"""Colour map of differences, white at zero; moisture may take BIAS_COLOURS_WATER (brown is dry)."""
BIAS_COLOURS_WATER = "BrBG"
FIELD_COLOURS = "viridis"

WIDTH_IN = 5.5
"""Width of figures. At matplotlib's 10 points, text is 9 pixels high where a phone shows the figure
358 pixels wide, 390 less the margins of the page.
"""

_TICKS_HPA = {
    "log": (0.1, 1.0, 10.0, 30.0, 100.0, 200.0, 500.0, 1000.0),
    "linear": (0.0, 200.0, 400.0, 600.0, 800.0, 1000.0),
}
PressureScale = Literal["log", "linear"]
_scale: ContextVar[PressureScale] = ContextVar("pressure_scale", default="log")


@contextmanager
def pressure_scale(scale: PressureScale) -> Iterator[None]:
    """Draw pressure axes within the block on this scale: ``log`` shows all levels alike, ``linear``
    shows air by its mass.
    """
    token = _scale.set(scale)
    try:
        yield
    finally:
        _scale.reset(token)


def pressure_axis(axes: Axes, pressure_hpa: NDArray[np.float64]) -> None:
    """Make the vertical axis one of pressure in hPa, downward, with ticks at the usual levels, on
    the scale of the enclosing pressure_scale; ``pressure_hpa`` is what is drawn.
    """
    scale = _scale.get()
    axes.set_yscale(scale)
    low, high = float(pressure_hpa.min()), float(pressure_hpa.max())
    axes.set_ylim(high * 1.05, low)
    ticks = [t for t in _TICKS_HPA[scale] if low <= t <= high * 1.05]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
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
