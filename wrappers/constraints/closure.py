"""Closure of a column's water and energy, for a reference physics that closes them column by
column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from climlink.wrappers.column_budgets import (
    ENERGY_OUTPUTS,
    ENERGY_STATE,
    TOA_NET,
    WATER_OUTPUTS,
    implied_toa_net,
    layer_mass,
    water_residual,
)
from climlink.wrappers.constants import HEAT_CAPACITY_DRY_AIR
from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint, ratio
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict
from climlink.wrappers.vertical import PressureLevels

SUNLIGHT_OUTPUTS = (
    "cam_out_NETSW",
    "cam_out_SOLS",
    "cam_out_SOLL",
    "cam_out_SOLSD",
    "cam_out_SOLLD",
)
"""The net sunlight at the surface, and the parts that it is the sum of."""


class ClosureParameters(Strict):
    """``top_level``: the highest level (0-based from the top) that a closure changes; null: the
    highest that is not pruned.
    """

    top_level: int | None = Field(default=None, ge=0)


class EnergyClosureParameters(ClosureParameters):
    """``sunlight_share``: where the sun shines, the share of the residual that is taken from the
    sunlight that reaches the surface, in all its parts alike; the rest, and all at night, is taken
    from temperature.
    """

    sunlight_share: float = Field(default=0.0, ge=0.0, le=1.0)


class Closure(PhysicalConstraint):
    """What both closures share: mass of the layers, the time step, and the levels they change."""

    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = ClosureParameters

    if TYPE_CHECKING:
        changed: Tensor

    def __init__(self, context: ConstraintContext, parameters: ClosureParameters) -> None:
        super().__init__()
        top, n = parameters.top_level, context.level_count
        top = context.pruned_levels if top is None else top
        if top >= n:
            raise ContractError(
                f"{self.name}: top_level must be at most {n - 1}, the lowest level; got {top}"
            )
        self.levels = PressureLevels(context.require_hybrid(self.name))
        self.time_step: float = context.require_time_step(self.name)
        changed = torch.zeros(n, dtype=torch.float64)
        changed[top:] = 1.0
        self.register_buffer("changed", changed)

    def mass(self, state: dict[str, Tensor]) -> Tensor:
        """Return the mass of the layers [batch, level] in kg/m2."""
        return layer_mass(self.levels.interfaces(state["state_ps"]))


class WaterClosure(Closure):
    """Take the water that a column makes from nothing out of its vapour, in proportion to the
    vapour that is there after the step, so that what is left falls as precipitation.

    No level is left with less than nothing: what a column does not hold stays as residual. Water
    that is lacking is added in the same proportion.
    """

    name: ClassVar[str] = "water_closure"

    def __init__(self, context: ConstraintContext, parameters: ClosureParameters) -> None:
        super().__init__(context, parameters)
        self.requires_state = ["state_q0001", "state_ps"]
        self.requires_outputs = list(WATER_OUTPUTS)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ptend_q0001 [batch, level]."""
        mass, dt = self.mass(state), self.time_step
        vapour, tendency = state["state_q0001"], outputs["ptend_q0001"]
        held = (vapour + dt * tendency).clamp(min=0.0) * self.changed
        available = (mass * held).sum(dim=1, keepdim=True)
        surplus = dt * water_residual(outputs, mass)
        share = ratio(surplus, available)
        taken = tendency - share.clamp(max=1.0) * held / dt
        # Rounding may not empty a level below zero; what is below it already is not this rule's.
        least = torch.minimum(tendency, -vapour / dt)
        return {"ptend_q0001": torch.where(held > 0.0, torch.maximum(taken, least), tendency)}


class EnergyClosure(Closure):
    """Take the energy that a column makes from nothing out of its temperature, by one amount of
    K/s on all levels that it changes, and out of the sunlight that it lets through; what crosses
    the top is the network's ``toa_net``.
    """

    name: ClassVar[str] = "energy_closure"
    parameters_type: ClassVar[type[Strict]] = EnergyClosureParameters

    def __init__(self, context: ConstraintContext, parameters: EnergyClosureParameters) -> None:
        super().__init__(context, parameters)
        self.requires_state = [*ENERGY_STATE, "state_ps"]
        self.requires_outputs = [*ENERGY_OUTPUTS, TOA_NET]
        self.heat_capacity: float = HEAT_CAPACITY_DRY_AIR
        self.share: float = parameters.sunlight_share
        self.sunlight = list(SUNLIGHT_OUTPUTS)
        if self.share > 0.0:
            self.requires_outputs += self.sunlight[1:]  # the net is among the others

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ptend_t [batch, level] and the sunlight at the surface [batch, 1]."""
        mass = self.mass(state)
        residual = implied_toa_net(state, outputs, mass, self.time_step) - outputs["toa_net"]
        net = outputs["cam_out_NETSW"]
        wanted = ratio(self.share * residual, net)
        # A sun half or twice as bright would hide what is wrong elsewhere.
        less = wanted.clamp(min=-1.0, max=0.5)
        capacity = self.heat_capacity * (mass * self.changed).sum(dim=1, keepdim=True)
        cooling = (residual - less * net) / capacity
        changed = {"ptend_t": outputs["ptend_t"] - cooling * self.changed}
        if self.share > 0.0:
            for name in self.sunlight:
                changed[name] = outputs[name] * (1.0 - less)
        return changed
