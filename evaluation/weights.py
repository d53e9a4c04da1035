"""Exact weights of cells and columns: area, mass of air, latitude bins. Everything is float64 and
sums to 1 where it says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError

Array = NDArray[np.float64]

ZONAL_BIN_DEG = 10.0
"""Width of the latitude bins of zonal means; the published figures have 18 bins from pole to pole.
"""


def layer_thickness(hyai: Array, hybi: Array, p0_pa: float, surface_pressure: Array) -> Array:
    """Return dp of every layer, the difference of P0 hyai + ps hybi: [..., level, column] in Pa
    from surface pressure [..., column].
    """
    interfaces = p0_pa * hyai[:, None] + hybi[:, None] * surface_pressure[..., None, :]
    return np.asarray(np.diff(interfaces, axis=-2))


def mass_weights(
    area: Array, hyai: Array, hybi: Array, p0_pa: float, surface_pressure: Array
) -> Array:
    """Return the share of the atmosphere's mass in every cell, [level, column], from surface
    pressure [column] in Pa; the sum is 1.
    """
    mass = layer_thickness(hyai, hybi, p0_pa, surface_pressure) * area
    return np.asarray(mass / mass.sum())


def area_weights(area: Array) -> Array:
    """Return the share of the area of every column, [column]; the sum is 1. EvaluationError for an
    area that is not positive.
    """
    if not (np.isfinite(area).all() and (area > 0.0).all()):
        bad = int(np.flatnonzero(~(np.isfinite(area) & (area > 0.0)))[0])
        raise EvaluationError(f"area must be positive; column {bad} has {area[bad]}")
    return np.asarray(area / area.sum())


def zonal_weights(
    latitude: Array, area: Array, width_deg: float = ZONAL_BIN_DEG
) -> tuple[Array, Array]:
    """Return the centres [bin] in degrees and the weights [bin, column] of area-weighted means in
    latitude bins from -90 to 90.

    Weights of a bin sum to 1, or are all 0 where the grid has no column in it. Bins are closed at
    their southern edge, the last at both.
    """
    edges = np.arange(-90.0, 90.0 + 0.5 * width_deg, width_deg)
    number = np.clip(np.digitize(latitude, edges) - 1, 0, len(edges) - 2)
    weights = np.where(number == np.arange(len(edges) - 1)[:, None], area, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return 0.5 * (edges[1:] + edges[:-1]), np.divide(
        weights, total, out=np.zeros_like(weights), where=total > 0.0
    )
