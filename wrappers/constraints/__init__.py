"""Physical constraints in their fixed order: what turns denormalized network outputs into what a
host may use.

The order is that of ``CONSTRAINTS``. A sequence may leave any of them out but never reorder them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint
from climlink.wrappers.constraints.closure import EnergyClosure, WaterClosure
from climlink.wrappers.constraints.cloud import CloudEvaporation
from climlink.wrappers.constraints.ranges import InputClip, RangeRelaxation
from climlink.wrappers.constraints.skill import UnskilledToMean
from climlink.wrappers.constraints.surface import (
    NetShortwaveClosure,
    Night,
    NonNegativeSurface,
    SnowWithinPrecipitation,
)
from climlink.wrappers.constraints.top import StableTop
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
        InputClip,
        UnskilledToMean,
        StableTop,
        RangeRelaxation,
        Prune,
        LiquidIcePartition,
        OutputMask,
        StratosphericWater,
        Positivity,
        CloudEvaporation,
        NonNegativeSurface,
        SnowWithinPrecipitation,
        Night,
        NetShortwaveClosure,
        WaterClosure,
        EnergyClosure,
    )
}
"""Every constraint by its name in the manifest, in the order of application."""

__all__ = [
    "CONSTRAINTS",
    "ConstraintContext",
    "ConstraintSequence",
    "PhysicalConstraint",
    "build_constraint",
    "changed_entries",
]


def changed_entries(
    entries: Sequence[ConstraintEntry],
    added: Sequence[ConstraintEntry] = (),
    without: Sequence[str] = (),
) -> list[ConstraintEntry]:
    """Return constraints with others put at their place in the fixed order, each instead of one of
    its name, and without some; ContractError for a name that is not known, not there, or twice.
    """
    for name in (e.name for e in added):
        _check_known(name)
    named = [*(e.name for e in added), *without]
    twice = [n for n in named if named.count(n) > 1]
    if twice:
        raise ContractError(f"constraint {twice[0]!r} is named twice: add it or leave it out, once")
    there = [e.name for e in entries]
    for name in without:
        if name not in there:
            raise ContractError(
                f"no constraint {name!r} to leave out{near_names(name, there)}; there are: "
                f"{', '.join(there) or 'none'}"
            )
    order = list(CONSTRAINTS)
    kept = [e for e in entries if e.name not in named]
    return sorted([*kept, *added], key=lambda e: order.index(_check_known(e.name)))


def _check_known(name: str) -> str:
    """Return the name of a constraint; ContractError if there is none of that name."""
    if name not in CONSTRAINTS:
        raise ContractError(
            f"unknown constraint {name!r}{near_names(name, CONSTRAINTS)}; known: "
            f"{', '.join(CONSTRAINTS)}"
        )
    return name


def build_constraint(entry: ConstraintEntry, context: ConstraintContext) -> PhysicalConstraint:
    """Return the constraint that a manifest entry names; ContractError for unknown names or
    parameters.
    """
    kind = CONSTRAINTS[_check_known(entry.name)]
    try:
        parameters = kind.parameters_type.model_validate(entry.parameters)
    except ValidationError as error:
        raise ContractError(f"constraint {entry.name!r}: {fault(error)}") from error
    return kind(context, parameters)  # type: ignore[call-arg]


class ConstraintSequence(nn.Module):
    """Constraints applied one after the other, checked at construction to be in order and to have
    what they require.
    """

    if TYPE_CHECKING:
        rules: Any

    def __init__(
        self,
        entries: Sequence[ConstraintEntry],
        context: ConstraintContext,
        network_outputs: Sequence[str],
    ) -> None:
        super().__init__()
        rules = [build_constraint(e, context) for e in entries]
        wanted = [n for n in CONSTRAINTS if n in {e.name for e in entries}]
        if [e.name for e in entries] != wanted:
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

    @torch.jit.unused
    def give_ranges(self, ranges: Mapping[str, list[list[float]]]) -> None:
        """Give every rule the training ranges of the host inputs (see PhysicalConstraint)."""
        for rule in self.rules:
            cast(PhysicalConstraint, rule).give_ranges(ranges)

    def seen(self, x: Tensor) -> Tensor:
        """Return what the network sees of host rows [batch, n_input], float32."""
        for rule in self.rules:
            x = rule.seen(x)
        return x

    def input_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what constraints add to what the network sees, {"constraint/input": [batch,
        width]}, float64, in the input's units.
        """
        added: dict[str, Tensor] = {}
        for i, rule in enumerate(self.rules):
            for name, value in rule.input_changes(x).items():
                added[self.names[i] + "/" + name] = value
        return added

    def range_use(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return the sum of what the rules tell, [batch, 3] (see WrappedEmulator.range_use)."""
        use = torch.zeros(x.shape[0], 3, dtype=torch.float64, device=x.device)
        for rule in self.rules:
            use = use + rule.range_use(x, state)
        return use

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
