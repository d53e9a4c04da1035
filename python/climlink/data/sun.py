"""Where the sun stands: the orbit of 1990 by Berger's formulas, as E3SM (shr_orb_mod) and the
embedded model (aqua_sun) have it.

Berger 1978, J. Atmos. Sci. 35, 2362-2367.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import DAYS_PER_YEAR, SECONDS_PER_DAY

Array = NDArray[np.float64]

SOLAR_CONSTANT = 1360.9
"""Sunlight at the mean distance, W/m2."""
_ECCENTRICITY = 0.016708
_OBLIQUITY = np.deg2rad(23.4411)
_PERIHELION = np.deg2rad(102.7 + 180.0)
"""Longitude of perihelion from the moving vernal equinox."""
_EQUINOX_DAY = 80.5


def _longitude_at_equinox() -> float:
    """Return the mean longitude at the vernal equinox in radians (eq. 7)."""
    e, beta = _ECCENTRICITY, np.sqrt(1.0 - _ECCENTRICITY**2)
    terms = (
        (0.5 * e + 0.125 * e**3) * (1.0 + beta) * np.sin(_PERIHELION),
        -0.25 * e**2 * (0.5 + beta) * np.sin(2.0 * _PERIHELION),
        0.125 * e**3 * (1.0 / 3.0 + beta) * np.sin(3.0 * _PERIHELION),
    )
    return float(2.0 * sum(terms))


def sun(seconds: NDArray[np.int64], latitude: Array, longitude: Array) -> tuple[Array, Array]:
    """Return the cosine of the solar zenith angle, 0 at night, and the sunlight on a horizontal
    plane at the top of the atmosphere in W/m2, at that very moment.

    ``seconds`` since 0000-01-01-00000 in the no-leap calendar, degrees north and east, each [row].
    """
    day = seconds / SECONDS_PER_DAY % DAYS_PER_YEAR + 1.0
    mean = _longitude_at_equinox() + (day - _EQUINOX_DAY) * 2.0 * np.pi / DAYS_PER_YEAR
    anomaly, e = mean - _PERIHELION, _ECCENTRICITY
    # The true longitude, eq. 6.
    true = mean + e * (
        2.0 * np.sin(anomaly)
        + e
        * (
            1.25 * np.sin(2.0 * anomaly)
            + e * (13.0 / 12.0 * np.sin(3.0 * anomaly) - 0.25 * np.sin(anomaly))
        )
    )
    declination = np.arcsin(np.sin(_OBLIQUITY) * np.sin(true))
    nearness = ((1.0 + e * np.cos(true - _PERIHELION)) / (1.0 - e**2)) ** 2
    phi, hour = np.deg2rad(latitude), 2.0 * np.pi * (day % 1.0) + np.deg2rad(longitude)
    cosine = np.maximum(
        np.sin(phi) * np.sin(declination) - np.cos(phi) * np.cos(declination) * np.cos(hour), 0.0
    )
    return np.asarray(cosine), np.asarray(SOLAR_CONSTANT * nearness * cosine)
