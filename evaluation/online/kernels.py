"""Kernels of online evaluation on plain float64 arrays: errors, integrals over columns and areas,
indices of the rain band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.wrappers.constants import (
    GRAVITY,
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_FUSION,
    LATENT_HEAT_VAPORIZATION,
    WATER_DENSITY,
)

Array = NDArray[np.float64]


def mass_shares(thickness: Array, area: Array) -> Array:
    """Return the share of the atmosphere's mass of every cell, dp area / sum(dp area) [..., level,
    column]; the sum is 1.
    """
    mass = thickness * area
    return np.asarray(mass / mass.sum(axis=(-2, -1), keepdims=True))


def weighted_rmse(difference: Array, weights: Array) -> Array:
    """Return sqrt(sum(w d²)) over cells of differences [..., level, column]; weights [..., level,
    column] sum to 1.
    """
    return np.asarray(np.sqrt((weights * difference**2).sum(axis=(-2, -1))))


def weighted_mean(values: Array, weights: Array) -> Array:
    """Return sum(w x) / sum(w) over the last axis."""
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))


def weighted_std(values: Array, weights: Array) -> Array:
    """Return sqrt(sum(w (x - mean)²) / sum(w)) over the last axis, the spread over an area."""
    centred = values - weighted_mean(values, weights)[..., None]
    return np.asarray(np.sqrt((weights * centred**2).sum(axis=-1) / weights.sum(axis=-1)))


def column_integral(values: Array, thickness: Array) -> Array:
    """Return sum(x dp) / g of [..., level, column]: kg/m2 from kg/kg and Pa."""
    return np.asarray((values * thickness).sum(axis=-2) / GRAVITY)


def energy_per_mass(temperature: Array, u: Array, v: Array, vapour: Array, ice: Array) -> Array:
    """Return cp T + (u² + v²)/2 + Lv q - Lf q_ice in J/kg: moist energy with liquid water as zero,
    without the surface's height.
    """
    kinetic = 0.5 * (u**2 + v**2)
    return (
        HEAT_CAPACITY_DRY_AIR * temperature
        + kinetic
        + LATENT_HEAT_VAPORIZATION * vapour
        - LATENT_HEAT_FUSION * ice
    )


def evaporation_m_s(latent_heat_flux: Array) -> Array:
    """Return evaporation in m/s of liquid water from the latent heat flux in W/m2."""
    return latent_heat_flux / (LATENT_HEAT_VAPORIZATION * WATER_DENSITY)


def trapezoid_residual(content: Array, sources: Array, time_d: Array) -> Array:
    """Return what is left of d(content)/dt after the sources, between neighbouring means over time:
    [record - 1] per second.

    (c[k+1] - c[k]) / dt - (s[k] + s[k+1]) / 2. For means over adjoining intervals this is exact
    where sources change linearly.
    """
    seconds = np.diff(time_d) * SECONDS_PER_DAY
    return np.asarray(np.diff(content) / seconds - 0.5 * (sources[1:] + sources[:-1]))


def precipitation_centroid(
    precipitation: Array, latitude: Array, area: Array, limit_deg: float = 20.0
) -> float:
    """Return the latitude that halves the rain between 20 S and 20 N, degrees: the precipitation
    centroid of Frierson and Hwang (2012).

    Rain [column] is summed over columns of one latitude; within a latitude's band (to the middle of
    its neighbours, in the sine of latitude) it is spread evenly, so that the index varies by less
    than the grid. A negative sum, which an emulator can make, counts as none. NaN where no rain
    falls there.
    """
    sines, totals = _bands(precipitation, latitude, area)
    limit = np.sin(np.deg2rad(limit_deg))
    clipped = np.clip(sines, -limit, limit)
    rain = np.maximum(totals, 0.0) * np.diff(clipped) / np.diff(sines)
    total = rain.sum()
    if not total > 0.0:
        return float("nan")
    sums = np.concatenate([[0.0], np.cumsum(rain)])
    return float(np.rad2deg(np.arcsin(np.interp(0.5 * total, sums, clipped))))


def net_rain_width(net: Array, latitude: Array, area: Array, centre_deg: float) -> float:
    """Return the width in degrees of the band about the centroid in which the zonal mean of
    precipitation less evaporation is positive.

    The edges are the zeros of the piecewise linear zonal mean next to the centroid (a width by P -
    E: Byrne et al. 2018, Curr. Clim. Change Rep. 4, 355). NaN where the centroid itself lies
    outside rain, or where no zero is found.
    """
    latitudes, inverse = latitude_rows(latitude)
    weight = np.bincount(inverse, area)
    zonal = np.bincount(inverse, area * net) / weight
    if (
        not np.isfinite(centre_deg)
        or len(latitudes) < 3
        or np.interp(centre_deg, latitudes, zonal) <= 0.0
    ):
        return float("nan")
    edges = []
    for direction in (-1, 1):
        beyond = np.flatnonzero((latitudes - centre_deg) * direction > 0.0)[::direction]
        inside_lat, inside = centre_deg, float(np.interp(centre_deg, latitudes, zonal))
        for k in beyond:
            if zonal[k] <= 0.0:
                edges.append(
                    inside_lat + (latitudes[k] - inside_lat) * inside / (inside - zonal[k])
                )
                break
            inside_lat, inside = float(latitudes[k]), float(zonal[k])
    return float(edges[1] - edges[0]) if len(edges) == 2 else float("nan")


def _bands(values: Array, latitude: Array, area: Array) -> tuple[Array, Array]:
    """Return edges [band + 1] in the sine of latitude and area sums [band] of the grid's latitudes,
    south to north.
    """
    latitudes, inverse = latitude_rows(latitude)
    middle = 0.5 * (latitudes[1:] + latitudes[:-1])
    edges = np.sin(np.deg2rad(np.concatenate([[-90.0], middle, [90.0]])))
    return edges, np.asarray(np.bincount(inverse, area * values), dtype=np.float64)


def latitude_rows(latitude: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the grid's latitudes [row] and the row of every column; columns within a millionth of
    a degree are one row.
    """
    _, inverse = np.unique(np.round(latitude, 6), return_inverse=True)
    return np.bincount(inverse, latitude) / np.bincount(inverse), inverse


def intensity_histogram(rain_mm_day: Array, weights: Array, edges: Array) -> Array:
    """Return area-weighted sums by bin, [bin + 2] with what lies below and above the edges first
    and last.

    Rain [record, column] or [column]; weights [column] or of rain's shape. Bins are closed at their
    lower edge.
    """
    number = np.digitize(rain_mm_day, edges)
    sums = np.bincount(
        number.ravel(),
        np.broadcast_to(weights, rain_mm_day.shape).ravel(),
        minlength=len(edges) + 1,
    )
    return np.asarray(sums, dtype=np.float64)
