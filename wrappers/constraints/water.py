"""Constraints on the tendencies of water and wind."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.wrappers.constants import RD_OVER_CP
from climlink.wrappers.constraints.base import (
    ConstraintContext,
    NoParameters,
    PhysicalConstraint,
    ratio,
)
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import Strict
from climlink.wrappers.thermodynamics import liquid_fraction
from climlink.wrappers.vertical import MidpointHeight, PressureLevels

STATE_OF = {
    "ptend_q0001": "state_q0001",
    "ptend_q0002": "state_q0002",
    "ptend_q0003": "state_q0003",
}
"""Water tendencies and the state they change."""

MASKABLE = ("ptend_t", *STATE_OF, "ptend_u", "ptend_v")
"""Tendencies of the host that may be masked by level; not ptend_qn, which is split into liquid and
ice before the mask acts.
"""


class Prune(PhysicalConstraint):
    """Zero the water and wind tendencies (not temperature) on the pruned levels."""

    name: ClassVar[str] = "prune"

    if TYPE_CHECKING:
        kept: Tensor

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        kept = torch.ones(context.level_count, dtype=torch.float64)
        kept[: context.pruned_levels] = 0.0
        self.register_buffer("kept", kept)
        self.names = ["ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn", "ptend_u", "ptend_v"]

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every present water and wind tendency times 0 on pruned levels, times 1 below."""
        changed: dict[str, Tensor] = {}
        for name in self.names:
            if name in outputs:
                changed[name] = outputs[name] * self.kept
        return changed


class LiquidIcePartition(PhysicalConstraint):
    """Split the total cloud tendency so that the new cloud has the liquid fraction of the new
    temperature.

    T1 = T + dt ptend_t, qn1 = qc + qi + dt ptend_qn, f = liquid_fraction(T1): ptend_q0002 = (f qn1
    - qc)/dt and ptend_q0003 = ((1 - f) qn1 - qi)/dt; both are zero on pruned levels. Float64: in
    float32 noise of 3e-7 becomes 1e-4.
    """

    name: ClassVar[str] = "liquid_ice_partition"

    if TYPE_CHECKING:
        kept: Tensor

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        self.requires_state = ["state_t", "state_q0002", "state_q0003"]
        self.requires_outputs = ["ptend_t", "ptend_qn"]
        self.produces = ["ptend_q0002", "ptend_q0003"]
        self.time_step: float = context.require_time_step(self.name)
        kept = torch.ones(context.level_count, dtype=torch.float64)
        kept[: context.pruned_levels] = 0.0
        self.register_buffer("kept", kept)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ptend_q0002 and ptend_q0003 [batch, level]."""
        fraction = liquid_fraction(state["state_t"] + self.time_step * outputs["ptend_t"])
        cloud = state["state_q0002"] + state["state_q0003"] + self.time_step * outputs["ptend_qn"]
        liquid = (fraction * cloud - state["state_q0002"]) / self.time_step
        ice = ((1.0 - fraction) * cloud - state["state_q0003"]) / self.time_step
        return {"ptend_q0002": liquid * self.kept, "ptend_q0003": ice * self.kept}


class OutputMaskParameters(Strict):
    """Levels (0-based from the top) per tendency: ``zero`` sets it to zero, ``remove`` to -state/dt
    (all of the species goes).
    """

    zero: dict[str, list[int]] = Field(default_factory=dict)
    remove: dict[str, list[int]] = Field(default_factory=dict)


class OutputMask(PhysicalConstraint):
    """Replace tendencies on named levels by zero, or by the removal of all that is there (the
    competition's "ptend trick").
    """

    name: ClassVar[str] = "output_mask"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = OutputMaskParameters

    def __init__(self, context: ConstraintContext, parameters: OutputMaskParameters) -> None:
        super().__init__()
        for rule, names, allowed in (
            ("remove", parameters.remove, tuple(STATE_OF)),
            ("zero", parameters.zero, MASKABLE),
        ):
            unknown = [n for n in names if n not in allowed]
            if unknown:
                raise ContractError(
                    f"output_mask cannot {rule} {unknown}, only "
                    f"{list(allowed)}{near_names(unknown[0], allowed)}"
                )
        self.requires_outputs = list(dict.fromkeys([*parameters.zero, *parameters.remove]))
        self.requires_state = [STATE_OF[n] for n in parameters.remove]
        n = context.level_count
        step = context.require_time_step(self.name)
        zeros = [LevelMask(name, None, levels, n, step) for name, levels in parameters.zero.items()]
        removals = [
            LevelMask(name, STATE_OF[name], levels, n, step)
            for name, levels in parameters.remove.items()
        ]
        self.tendencies = [*parameters.zero, *parameters.remove]
        self.masks = nn.ModuleList([*zeros, *removals])

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the masked tendencies; where both rules name a level, removal wins."""
        changed: dict[str, Tensor] = {}
        for i, mask in enumerate(self.masks):
            name = self.tendencies[i]
            changed[name] = mask(state, changed[name] if name in changed else outputs[name])
        return changed


class LevelMask(nn.Module):
    """One tendency replaced on some levels, by zero (no species) or by -species/dt."""

    if TYPE_CHECKING:
        chosen: Tensor

    def __init__(
        self,
        tendency: str,
        species: str | None,
        levels: list[int],
        level_count: int,
        time_step_s: float,
    ) -> None:
        super().__init__()
        outside = [k for k in levels if not 0 <= k < level_count]
        if outside:
            raise ContractError(
                f"output_mask of {tendency}: levels {outside} are outside 0..{level_count - 1}"
            )
        self.species: str = species or ""
        self.time_step: float = time_step_s
        chosen = torch.zeros(level_count, dtype=torch.bool)
        chosen[levels] = True
        self.register_buffer("chosen", chosen)

    def forward(self, state: dict[str, Tensor], value: Tensor) -> Tensor:
        """Return the tendency [batch, level] with the chosen levels replaced."""
        replacement = torch.zeros_like(value)
        if self.species != "":
            replacement = -state[self.species] / self.time_step
        return torch.where(self.chosen, replacement, value)


class StratosphericWaterParameters(Strict):
    """The tropopause is the lowest level at or above ``maximum_pressure_pa`` where d(theta)/dz
    exceeds ``stability_k_per_km``.
    """

    stability_k_per_km: float = 10.0
    maximum_pressure_pa: float = 40000.0


class StratosphericWater(PhysicalConstraint):
    """No vapour tendency and no cloud at and above the tropopause of the input state (Hu et al.
    2025, E3SM-MMF coupling).

    theta = T (ps/p)^(R/cp), z by the hydrostatic sum of E3SM, d(theta)/dz across the two
    neighbouring levels; a column without tropopause counts its top level only.
    """

    name: ClassVar[str] = "stratospheric_water"
    parameters_type: ClassVar[type[Strict]] = StratosphericWaterParameters

    def __init__(
        self, context: ConstraintContext, parameters: StratosphericWaterParameters
    ) -> None:
        super().__init__()
        if context.level_count < 3:
            raise ContractError(
                f"stratospheric_water needs at least 3 levels, got {context.level_count}"
            )
        self.requires_state = ["state_t", "state_q0001", "state_q0002", "state_q0003", "state_ps"]
        self.requires_outputs = ["ptend_q0001", "ptend_q0002", "ptend_q0003"]
        self.levels = PressureLevels(context.require_hybrid(self.name))
        self.height = MidpointHeight(context.require_hybrid(self.name))
        self.time_step: float = context.require_time_step(self.name)
        self.stability: float = parameters.stability_k_per_km / 1000.0
        self.maximum_pressure: float = parameters.maximum_pressure_pa
        self.kappa: float = RD_OVER_CP

    def stratosphere(self, state: dict[str, Tensor]) -> Tensor:
        """Return True [batch, level] at and above the tropopause."""
        pressure = self.levels.midpoints(state["state_ps"])
        theta = state["state_t"] * (state["state_ps"].reshape(-1, 1) / pressure) ** self.kappa
        height = self.height(state["state_t"], state["state_q0001"], state["state_ps"])
        gradient = (theta[:, :-2] - theta[:, 2:]) / (height[:, :-2] - height[:, 2:])
        stable = (gradient > self.stability) & (pressure[:, 1:-1] <= self.maximum_pressure)
        # A level is stratospheric if it, or any level below it, is stable.
        at_or_above = stable.to(torch.int64).flip(1).cumsum(1).flip(1) > 0
        first = torch.ones_like(at_or_above[:, :1])
        return torch.cat([first, at_or_above, torch.zeros_like(first)], dim=1)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the three water tendencies [batch, level]."""
        above = self.stratosphere(state)
        vapor = outputs["ptend_q0001"]
        return {
            "ptend_q0001": torch.where(above, torch.zeros_like(vapor), vapor),
            "ptend_q0002": torch.where(
                above, -state["state_q0002"] / self.time_step, outputs["ptend_q0002"]
            ),
            "ptend_q0003": torch.where(
                above, -state["state_q0003"] / self.time_step, outputs["ptend_q0003"]
            ),
        }


class PositivityParameters(Strict):
    """Which tendencies are limited; ``repair: column`` takes what was added from the rest of the
    column, in proportion to its water.
    """

    tendencies: list[Literal["ptend_q0001", "ptend_q0002", "ptend_q0003"]] = Field(
        default=["ptend_q0001", "ptend_q0002", "ptend_q0003"], min_length=1
    )
    repair: Literal["none", "column"] = "none"


class Positivity(PhysicalConstraint):
    """No species below zero after the step: ptend >= -q/dt.

    With ``repair: column`` what the limit added is taken back from the levels that are not pruned,
    in proportion to their water, so that the dp-weighted column sum is that of the unlimited
    tendency; where they hold too little they are emptied.
    """

    name: ClassVar[str] = "positivity"
    parameters_type: ClassVar[type[Strict]] = PositivityParameters

    if TYPE_CHECKING:
        gives: Tensor

    def __init__(self, context: ConstraintContext, parameters: PositivityParameters) -> None:
        super().__init__()
        self.names = list(parameters.tendencies)
        self.states = [STATE_OF[n] for n in self.names]
        self.requires_outputs = list(self.names)
        self.repair: bool = parameters.repair == "column"
        self.requires_state = [*self.states, *(["state_ps"] if self.repair else [])]
        self.levels = PressureLevels(context.require_hybrid(self.name))
        self.time_step: float = context.require_time_step(self.name)
        gives = torch.ones(context.level_count, dtype=torch.float64)
        gives[: context.pruned_levels] = 0.0
        self.register_buffer("gives", gives)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the limited tendencies [batch, level]."""
        changed: dict[str, Tensor] = {}
        for i, name in enumerate(self.names):
            before = state[self.states[i]]
            limited = torch.maximum(outputs[name], -before / self.time_step)
            if self.repair:
                limited = self._repaired(before, outputs[name], limited, state["state_ps"])
            changed[name] = limited
        return changed

    def _repaired(
        self, before: Tensor, wanted: Tensor, limited: Tensor, surface_pressure: Tensor
    ) -> Tensor:
        interfaces = self.levels.interfaces(surface_pressure)
        weight = interfaces[:, 1:] - interfaces[:, :-1]
        added = (weight * self.time_step * (limited - wanted)).sum(1, keepdim=True)
        water = (before + self.time_step * limited).clamp(min=0.0) * self.gives
        available = (weight * water).sum(1, keepdim=True)
        share = ratio(added, available).clamp(max=1.0)
        lowered = torch.maximum(limited - share * water / self.time_step, -before / self.time_step)
        return torch.where((share > 0.0) & (self.gives > 0.0), lowered, limited)
