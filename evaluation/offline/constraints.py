"""How often and by how much the constraints of a package change what its network says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.wrappers.constants import GRAVITY, HEAT_CAPACITY_DRY_AIR, WATER_DENSITY
from climlink.wrappers.constraints.ranges import (
    SUPPORT_HEATING_W_M2,
    SUPPORT_MASS,
    InputClip,
)
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
    """What one constraint does to one output, or to one input of the network.

    ``changed`` [width]: share of columns and times where the value is another after the constraint.
    ``added``: mean of what it adds to a column, and ``size`` the mean of its magnitude cell by
    cell, both over area, in ``units``; of an input, whose sum over a column means nothing, the
    means over levels in its own units.
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
            column = self._of_column(key, value, thickness)
            self._changed[key] = self._changed.get(key, 0.0) + (value != 0.0).sum(axis=0)
            self._added[key] = self._added.get(key, 0.0) + float(weights @ column.sum(axis=1))
            self._size[key] = self._size.get(key, 0.0) + float(weights @ np.abs(column).sum(axis=1))

    def _of_column(self, key: str, value: Array, thickness: Array) -> Array:
        """Return a change cell by cell such that its sum [row] is that of the column."""
        constraint, name = key.split("/")
        if constraint == InputClip.name:
            return value / value.shape[1]
        _, factor = _COLUMN[variable(name).units]
        return np.asarray(value * (thickness if value.shape[1] > 1 else 1.0) * factor)

    def result(self) -> list[Activity]:
        """Return the activity of every constraint on what it can change, in order; inputs that
        were never clipped are left out.
        """
        found = []
        for key, changed in self._changed.items():
            constraint, output = key.split("/")
            if constraint == InputClip.name and not changed.any():
                continue
            added, size = self._added[key] / self._weight, self._size[key] / self._weight
            own = variable(output).units
            units = own if constraint == InputClip.name else _COLUMN[own][0]
            found.append(Activity(constraint, output, units, changed / self._rows, added, size))
        return found


@dataclass(frozen=True)
class RangeUse:
    """How much the range policy of a package holds the columns of a store, means over area and
    time.

    ``clipped``: values per column that the network sees clipped; ``columns``: share of columns with
    any; ``heating``: by relaxation, W/m2, magnitudes; ``mass``: share that relaxation touches.
    """

    clipped: float
    columns: float
    heating: float
    mass: float

    @property
    def on_support(self) -> bool:
        """Whether relaxation exceeds what counts as support."""
        return self.heating > SUPPORT_HEATING_W_M2 or self.mass > SUPPORT_MASS


class RangeUseMean:
    """Running means of ``WrappedEmulator.range_use`` over area."""

    def __init__(self) -> None:
        self._sums = np.zeros(4)
        self._weight = 0.0

    def add(self, use: Array, weights: Array) -> None:
        """Add rows of use [row, 3] with their weights [row]; what is not finite counts as 0."""
        known = np.nan_to_num(use, nan=0.0, posinf=0.0, neginf=0.0)
        whole = np.column_stack([known[:, 0], known[:, 0] > 0.0, known[:, 1:]])
        self._sums += weights @ whole
        self._weight += float(weights.sum())

    def result(self) -> RangeUse:
        """Return the means."""
        return RangeUse(*(float(s) for s in self._sums / self._weight))
