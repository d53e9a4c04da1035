"""What the tendencies of a column sum to: water against precipitation, and moist enthalpy."""

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
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

BUDGETS = ("water_residual", "energy_source", "column_water", "precipitation")
UNITS = {
    "water_residual": "mm/day",
    "energy_source": "W/m2",
    "column_water": "mm/day",
    "precipitation": "mm/day",
}
MEANINGS = {
    "water_residual": "column water tendency plus precipitation",
    "energy_source": "tendency of moist enthalpy, snowfall taken out",
    "column_water": "column water tendency",
    "precipitation": "precipitation",
}
_WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")
REQUIRED = ("ptend_t", *_WATER, "cam_out_PRECC", "cam_out_PRECSC")


def column_budgets(values: Array, thickness: Array, outputs: VariableSet) -> Array:
    """Return the budgets of every column, [time, column, budget] in the order of BUDGETS, from
    outputs [time, column, width].

    With <x> = sum(x dp)/g: water residual <q1 + q2 + q3> + P, 0 where water only leaves as
    precipitation; energy source <cp T + Lv q1 - Lf q3> - Lf S, which without a surface flux in the
    tendencies is what radiation heats the column by. Tendencies T, q1 (vapour), q2, q3 (ice); P
    precipitation and S snowfall, both as mass per area.
    """
    mass = thickness / GRAVITY

    def column(name: str) -> Array:
        return np.asarray((values[..., outputs.slice(name)] * mass).sum(axis=2))

    vapour, liquid, ice = (column(n) for n in _WATER)
    rain = values[..., outputs.offset("cam_out_PRECC")] * WATER_DENSITY
    snow = values[..., outputs.offset("cam_out_PRECSC")] * WATER_DENSITY
    water = vapour + liquid + ice
    energy = (
        HEAT_CAPACITY_DRY_AIR * column("ptend_t")
        + LATENT_HEAT_VAPORIZATION * vapour
        - LATENT_HEAT_FUSION * (ice + snow)
    )
    return np.stack(
        [SECONDS_PER_DAY * (water + rain), energy, SECONDS_PER_DAY * water, SECONDS_PER_DAY * rain],
        axis=2,
    )
