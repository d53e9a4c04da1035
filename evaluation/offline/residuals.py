"""What columns make from nothing: water, and the energy that only radiation at the top could
explain; as the host receives them, and before the package's closures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.blocks import Block
from climlink.wrappers.column_budgets import (
    ENERGY_OUTPUTS,
    ENERGY_STATE,
    WATER_OUTPUTS,
    implied_toa_net,
    water_residual,
)
from climlink.wrappers.constants import GRAVITY
from climlink.wrappers.constraints import EnergyClosure, WaterClosure
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

UNITS = {"water": "mm/day", "energy": "W/m2"}
REQUIRED = tuple(dict.fromkeys((*WATER_OUTPUTS, *ENERGY_OUTPUTS)))
CLOSURES = (WaterClosure.name, EnergyClosure.name)
"""Constraints that close columns."""


@dataclass(frozen=True)
class Residual:
    """Mean over area and time of a residual, its root mean square by column, and for energy R² of
    the net radiation at the top that the outputs imply; ``which`` is ``truth``, ``before`` the
    closures or ``received`` by the host.
    """

    budget: str
    which: str
    bias: float
    rms: float
    r2: float | None


class ColumnResiduals:
    """Running moments of the residuals of columns.

    The water residual is column water tendency plus precipitation in mm/day, against 0. That of
    energy is the net radiation at the top that closes the column, minus that which closes the
    truth, in W/m2: what a host, which has only the outputs, would have to find at its top.
    """

    def __init__(self, n_column: int, time_step_s: float, closures: list[str]) -> None:
        """``closures`` are those that the package declares and blocks tell the changes of."""
        self._step = time_step_s
        self._closures = closures
        self._versions = [*(["before"] if closures else []), "received"]
        self._moments = PairMoments.empty(n_column, 1 + 2 * len(self._versions))

    def add(self, block: Block, outputs: VariableSet) -> None:
        """Add a block, whose state must hold ENERGY_STATE."""
        truth = self._budgets(block, block.truth, outputs)
        given = {"received": block.prediction}
        if self._closures:
            given["before"] = self._unclosed(block, outputs)
        found = {n: self._budgets(block, v, outputs) for n, v in given.items()}
        water = [truth[..., 0], *(found[n][..., 0] for n in self._versions)]
        energy = [found[n][..., 1] for n in self._versions]
        nothing = [np.zeros_like(w) for w in water]
        target = [*nothing, *(truth[..., 1] for _ in energy)]
        self._moments.add(
            np.stack(target, axis=2), np.stack([*water, *energy], axis=2), block.counted[..., None]
        )

    def _unclosed(self, block: Block, outputs: VariableSet) -> Array:
        """Return the prediction [time, column, width] without what the closures added."""
        assert block.changes is not None
        values = block.prediction.copy()
        for key, change in block.changes.items():
            constraint, _, changed = key.partition("/")
            if constraint not in self._closures:
                continue
            where = outputs.slice(changed)
            added = change.reshape(values[..., where].shape)
            values[..., where] -= np.where(block.counted[..., None] > 0.0, added, 0.0)
        return values

    def _budgets(self, block: Block, values: Array, outputs: VariableSet) -> Array:
        """Return water residual and implied net radiation, [time, column, 2]."""
        rows = block.rows(values)
        fields = {n: torch.from_numpy(rows[:, outputs.slice(n)]) for n in REQUIRED}
        state = {n: torch.from_numpy(v) for n, v in block.state.items()}
        mass = torch.from_numpy(block.rows(block.thickness)) / GRAVITY
        water = SECONDS_PER_DAY * water_residual(fields, mass)
        top = implied_toa_net(state, fields, mass, self._step)
        return torch.cat([water, top], dim=1).numpy().reshape(*values.shape[:2], 2)

    def result(self, area: Array) -> list[Residual]:
        """Return the residuals over all columns, water first; ``area`` [column]."""
        whole = self._moments.over_columns(area)
        keys = [("water", n) for n in ("truth", *self._versions)]
        keys += [("energy", n) for n in self._versions]
        parts = zip(keys, whole.bias()[0], whole.rmse()[0], whole.r2()[0], strict=True)
        return [
            Residual(b, n, float(bias), float(rms), float(r2) if b == "energy" else None)
            for (b, n), bias, rms, r2 in parts
        ]


def obstacle(outputs: VariableSet, state: Collection[str]) -> str | None:
    """Return why residuals cannot be told; None where they can."""
    lacking = [n for n in REQUIRED if n not in outputs] + [
        n for n in ENERGY_STATE if n not in state
    ]
    return f"outputs or store lack {', '.join(lacking)}" if lacking else None
