"""Auxiliary targets: variables that a network may learn to predict besides its outputs, for its
training's sake only (docs/losses.md). Where their truth comes from is the business of the data.
"""

from __future__ import annotations

from collections.abc import Iterable

from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable

STATE_CLASS = "aux_state_class"
"""Target that stands for one variable per class: aux_state_class_1 and so on."""

STATE_CLASSES = ("clear", "liquid cloud", "ice cloud", "liquid and ice cloud", "precipitating")
"""What the classes 1 to 5 are."""

PLACE_TARGETS = ("aux_slat", "aux_clat", "aux_slon", "aux_clon")
"""The targets of place."""


def _target(name: str, long_name: str) -> Variable:
    return Variable(name, "1", long_name, role="auxiliary")


_SINGLE = (
    _target("aux_slat", "sine of latitude"),
    _target("aux_clat", "cosine of latitude"),
    _target("aux_slon", "sine of longitude"),
    _target("aux_clon", "cosine of longitude"),
    _target("aux_sin_year", "sine of the time of year, no-leap calendar"),
    _target("aux_cos_year", "cosine of the time of year, no-leap calendar"),
    _target("aux_sin_day", "sine of the time of day, universal time"),
    _target("aux_cos_day", "cosine of the time of day, universal time"),
    Variable("ptend_rh", "1/s", "relative humidity tendency", (LEVEL,), role="auxiliary"),
)

_TARGETS: dict[str, tuple[Variable, ...]] = {
    **{v.name: (v,) for v in _SINGLE},
    STATE_CLASS: tuple(
        _target(f"{STATE_CLASS}_{k}", f"1 in a column of class {k} ({meaning}), 0 elsewhere")
        for k, meaning in enumerate(STATE_CLASSES, start=1)
    ),
}


def auxiliary_names() -> list[str]:
    """Return the names of all auxiliary targets."""
    return list(_TARGETS)


def target_of(variable: Variable) -> str:
    """Return the auxiliary target that a variable belongs to."""
    return STATE_CLASS if variable.name.startswith(f"{STATE_CLASS}_") else variable.name


def auxiliary_variables(names: Iterable[str]) -> tuple[Variable, ...]:
    """Return the variables of auxiliary targets, in order; ContractError names the near ones."""
    found: list[Variable] = []
    for name in names:
        if name not in _TARGETS:
            raise ContractError(
                f"unknown auxiliary target {name!r}{near_names(name, _TARGETS)}; known: "
                f"{', '.join(_TARGETS)}"
            )
        found += _TARGETS[name]
    return tuple(found)


def with_targets(network_outputs: VariableSet, names: Iterable[str]) -> VariableSet:
    """Return a network's outputs with auxiliary targets between values and carried state;
    ContractError for a target that is unknown or stands twice.
    """
    added = auxiliary_variables(names)
    if not added:
        return network_outputs
    values, carried = (network_outputs.of_role(role).variables for role in ("value", "carried"))
    return VariableSet(network_outputs.name, values + added + carried, network_outputs.sizes)
