"""Tendencies and fluxes as power per area, W/m2, as ClimSim compares them (Yu et al. 2023, arXiv
2306.08754, section 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.offline.blocks import Block
from climlink.wrappers.constants import (
    GRAVITY,
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_VAPORIZATION,
    WATER_DENSITY,
)
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

_PER_MASS = {
    "ptend_t": HEAT_CAPACITY_DRY_AIR,
    "ptend_q0001": LATENT_HEAT_VAPORIZATION,
    "ptend_q0002": LATENT_HEAT_VAPORIZATION,
    "ptend_q0003": LATENT_HEAT_VAPORIZATION,
}
_WINDS = ("ptend_u", "ptend_v")
_PRECIPITATION = ("cam_out_PRECC", "cam_out_PRECSC")


def energy_factors(block: Block, outputs: VariableSet, relative_area: Array) -> Array:
    """Return what turns every output into W/m2, [time, column, width].

    Profiles: dp/g times cp (temperature), Lv (each water species) or the wind speed of the input
    state (winds); precipitation: Lv times the density of water; fluxes: 1; all times the area of
    the column over its mean, ``relative_area`` [column]. Published code multiplies a wind tendency
    by the magnitude of the same array's wind tendencies, so that truth and prediction get different
    factors in other units; here both get that of the state.
    """
    mass = block.thickness / GRAVITY
    factors = np.ones_like(block.truth)
    for v in outputs.variables:
        where = outputs.slice(v.name)
        if v.name in _PER_MASS:
            factors[..., where] = _PER_MASS[v.name] * mass
        elif v.name in _WINDS:
            factors[..., where] = block.wind * mass
        elif v.name in _PRECIPITATION:
            factors[..., where] = LATENT_HEAT_VAPORIZATION * WATER_DENSITY
    return np.asarray(factors * relative_area[:, None])
