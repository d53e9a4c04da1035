"""How often and by how much the constraints of a package change what its network says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.wrappers.constants import GRAVITY, HEAT_CAPACITY_DRY_AIR, WATER_DENSITY
from climlink.wrappers.variables import variable

Array = NDArray[np.float64]

_COLUMN = {
    "kg/kg/s": ("mm/day", SECONDS_PER_DAY / GRAVITY),
    "K/s": ("W/m2", HEAT_CAPACITY_DRY_AIR / GRAVITY),
    "m/s2": ("N/m2", 1.0 / GRAVITY),
    "m/s": ("mm/day", SECONDS_PER_DAY * WATER_DENSITY),
    "W/m2": ("W/m2", 1.0),
}
"""Units of what a constraint adds to a whole column, and the factor to it from sum(x dp) of a
tendency, or from a scalar.
"""


@dataclass(frozen=True)
class Activity:
    """What one constraint does to one output.

    ``changed`` [width]: share of columns and times where the value is another after the constraint.
    ``added``: mean of what it adds to a column, and ``size`` the mean of its magnitude cell by
    cell, both over area, in ``units``.
    """

    constraint: str
    output: str
    units: str
    changed: Array
    added: float
    size: float


class ConstraintActivity:
    """Running sums of what constraints change, over area."""

    def __init__(self) -> None:
        self._changed: dict[str, Array] = {}
        self._added: dict[str, float] = {}
        self._size: dict[str, float] = {}
        self._rows = 0.0
        self._weight = 0.0

    def add(
        self, changes: Mapping[str, Array], thickness: Array, counted: Array, area: Array
    ) -> None:
        """Add changes {"constraint/output": [row, width]}; thickness [row, level] in Pa,
        ``counted`` and ``area`` [row].
        """
        weights = counted * area
        self._rows += float(counted.sum())
        self._weight += float(weights.sum())
        for key, given in changes.items():
            value = np.where(counted[:, None] > 0.0, given, 0.0)
            _, factor = _COLUMN[variable(key.split("/")[1]).units]
            column = value * (thickness if value.shape[1] > 1 else 1.0) * factor
            self._changed[key] = self._changed.get(key, 0.0) + (value != 0.0).sum(axis=0)
            self._added[key] = self._added.get(key, 0.0) + float(weights @ column.sum(axis=1))
            self._size[key] = self._size.get(key, 0.0) + float(weights @ np.abs(column).sum(axis=1))

    def result(self) -> list[Activity]:
        """Return the activity of every constraint on every output it can change, in order."""
        found = []
        for key, changed in self._changed.items():
            constraint, output = key.split("/")
            added, size = self._added[key] / self._weight, self._size[key] / self._weight
            units = _COLUMN[variable(output).units][0]
            found.append(Activity(constraint, output, units, changed / self._rows, added, size))
        return found
