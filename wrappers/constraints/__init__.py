"""Physical constraints in their fixed order: what turns denormalized network outputs into what a
host may use.

unskilled_to_mean, prune, liquid_ice_partition, output_mask, stratospheric_water, positivity,
non_negative_surface, snow_within_precipitation, night, net_shortwave_closure, water_closure,
energy_closure. A sequence may leave any of them out but never reorder them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint
from climlink.wrappers.constraints.closure import EnergyClosure, WaterClosure
from climlink.wrappers.constraints.skill import UnskilledToMean
from climlink.wrappers.constraints.surface import (
    NetShortwaveClosure,
    Night,
    NonNegativeSurface,
    SnowWithinPrecipitation,
)
from climlink.wrappers.constraints.water import (
    LiquidIcePartition,
    OutputMask,
    Positivity,
    Prune,
    StratosphericWater,
)
from climlink.wrappers.derived import StateFields
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.yaml_file import fault

CONSTRAINTS: dict[str, type[PhysicalConstraint]] = {
    c.name: c
    for c in (
        UnskilledToMean,
        Prune,
        LiquidIcePartition,
        OutputMask,
        StratosphericWater,
        Positivity,
        NonNegativeSurface,
        SnowWithinPrecipitation,
        Night,
        NetShortwaveClosure,
        WaterClosure,
        EnergyClosure,
    )
}
"""Every constraint by its name in the manifest."""

__all__ = [
    "CONSTRAINTS",
    "ConstraintContext",
    "ConstraintSequence",
    "PhysicalConstraint",
    "build_constraint",
]


def build_constraint(entry: ConstraintEntry, context: ConstraintContext) -> PhysicalConstraint:
    """Return the constraint that a manifest entry names; ContractError for unknown names or
    parameters.
    """
    if entry.name not in CONSTRAINTS:
        raise ContractError(
            f"unknown constraint {entry.name!r}{near_names(entry.name, CONSTRAINTS)}; known: "
            f"{', '.join(CONSTRAINTS)}"
        )
    kind = CONSTRAINTS[entry.name]
    try:
        parameters = kind.parameters_type.model_validate(entry.parameters)
    except ValidationError as error:
        raise ContractError(f"constraint {entry.name!r}: {fault(error)}") from error
    return kind(context, parameters)  # type: ignore[call-arg]


class ConstraintSequence(nn.Module):
    """Constraints applied one after the other, checked at construction to be in order and to have
    what they require.
    """

    def __init__(
        self,
        entries: Sequence[ConstraintEntry],
        context: ConstraintContext,
        network_outputs: Sequence[str],
    ) -> None:
        super().__init__()
        rules = [build_constraint(e, context) for e in entries]
        stages = [rule.stage for rule in rules]
        if stages != sorted(set(stages)):
            wanted = [n for n in CONSTRAINTS if n in {e.name for e in entries}]
            raise ContractError(
                f"constraints must each stand once, in the order {wanted}; got "
                f"{[e.name for e in entries]}"
            )
        self.produced = _check_outputs(rules, network_outputs)
        self.state_names = list(dict.fromkeys(n for rule in rules for n in rule.requires_state))
        self.names = [rule.name for rule in rules]
        self.rules = nn.ModuleList(rules)

    @torch.jit.unused
    def state_of(self, inputs: VariableSet, hybrid: HybridCoordinate | None) -> StateFields:
        """Return the module that gives the state these rules need; ContractError names the rule
        whose inputs are lacking.
        """
        for rule in self.rules:
            assert isinstance(rule, PhysicalConstraint)
            try:
                StateFields(list(rule.requires_state), inputs, hybrid)
            except ContractError as error:
                raise ContractError(f"constraint {rule.name!r} cannot act here: {error}") from error
        return StateFields(self.state_names, inputs, hybrid)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return all outputs after all constraints; the arguments are not changed."""
        result: dict[str, Tensor] = {}
        for name, value in outputs.items():
            result[name] = value
        for rule in self.rules:
            if rule.enabled:
                for name, value in rule(state, result).items():
                    result[name] = value
        return result

    def changes(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what each constraint added, {"constraint/output": [batch, width]}, in the output's
        units (new outputs are left out).
        """
        result: dict[str, Tensor] = {}
        added: dict[str, Tensor] = {}
        for name, value in outputs.items():
            result[name] = value
        for i, rule in enumerate(self.rules):
            if rule.enabled:
                for name, value in rule(state, result).items():
                    if name in result:
                        added[self.names[i] + "/" + name] = value - result[name]
                    result[name] = value
        return added

    def switch_off(self, names: Sequence[str]) -> None:
        """Leave these constraints out from now on; ContractError for a name that is not here, or
        one that outputs need to exist.
        """
        for name in names:
            if name not in self.names:
                raise ContractError(
                    f"no constraint {name!r}{near_names(name, self.names)}; there are: "
                    f"{', '.join(self.names)}"
                )
            rule = cast(PhysicalConstraint, self.rules[self.names.index(name)])
            if rule.makes:
                raise ContractError(
                    f"constraint {name!r} cannot be switched off: {rule.makes} would not exist "
                    "without it"
                )
            rule.enabled = False


def _check_outputs(
    rules: Sequence[PhysicalConstraint], network_outputs: Sequence[str]
) -> list[str]:
    """Return the names available after all rules and tell each what it alone makes; ContractError
    if a rule lacks an output.
    """
    available = list(network_outputs)
    for rule in rules:
        lacking = [n for n in rule.requires_outputs if n not in available]
        if lacking:
            raise ContractError(
                f"constraint {rule.name!r} needs the outputs {lacking}, which neither the network "
                "nor an earlier rule gives"
            )
        made = [n for n in rule.produces if n not in available]
        rule.makes = ", ".join(made)
        available += made
    return available
