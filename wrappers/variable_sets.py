"""Ordered variable sets: the only owner of order, widths and offsets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL, Role, VariableEntry, VariableLayout
from climlink.wrappers.variables import Variable, variable

_FOLDER = Path(__file__).parent
DEFAULT_LEVEL_COUNT = 60


@dataclass(frozen=True)
class VariableSet:
    """An ordered list of variables packed into one row; ``sizes`` gives the length of each
    dimension, levels from the top down.

    ContractError for a name that stands twice, a dimension without a size, or a size below 1.
    """

    name: str
    variables: tuple[Variable, ...]
    sizes: Mapping[str, int] = field(default_factory=lambda: {LEVEL: DEFAULT_LEVEL_COUNT})
    _offsets: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        small = [f"{d}={n}" for d, n in self.sizes.items() if n < 1]
        if small:
            raise ContractError(
                f"variable set {self.name!r} needs sizes of at least 1, got {', '.join(small)}"
            )
        position = 0
        for v in self.variables:
            if v.name in self._offsets:
                raise ContractError(f"variable {v.name!r} stands twice in set {self.name!r}")
            lacking = [d for d in v.dims if d not in self.sizes]
            if lacking:
                raise ContractError(
                    f"variable {v.name!r} of set {self.name!r} has dims {list(v.dims)}; no size is "
                    f"given for {lacking}"
                )
            self._offsets[v.name] = position
            position += math.prod(self.shape_of(v))

    def shape_of(self, v: Variable) -> tuple[int, ...]:
        """Return the sizes of a variable's dimensions, () for one value."""
        return tuple(self.sizes[d] for d in v.dims)

    def _width(self, v: Variable) -> int:
        return math.prod(self.shape_of(v))

    def __contains__(self, name: object) -> bool:
        return name in self._offsets

    def __getitem__(self, name: str) -> Variable:
        """Return a variable by name; ContractError names the near ones."""
        self.offset(name)
        return next(v for v in self.variables if v.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(v.name for v in self.variables)

    @property
    def width(self) -> int:
        """Length of a packed row."""
        return sum(self._width(v) for v in self.variables)

    @property
    def level_count(self) -> int:
        """Number of levels; 0 where there is no vertical dimension."""
        return self.sizes.get(LEVEL, 0)

    @property
    def profiles(self) -> tuple[Variable, ...]:
        """The profile variables, in order."""
        return tuple(v for v in self.variables if v.is_profile)

    @property
    def scalars(self) -> tuple[Variable, ...]:
        """The variables of one value, in order."""
        return tuple(v for v in self.variables if not v.dims)

    @property
    def only_columns(self) -> bool:
        """Whether every variable is a profile or one value."""
        return all(v.is_profile or not v.dims for v in self.variables)

    def of_role(self, *roles: Role) -> VariableSet:
        """Return the set of the variables of some roles, in the same order."""
        return VariableSet(
            self.name, tuple(v for v in self.variables if v.role in roles), self.sizes
        )

    def offset(self, name: str) -> int:
        """Return the first position (0-based) of a variable in the row; ContractError names the
        near ones.
        """
        if name not in self._offsets:
            raise ContractError(
                f"variable {name!r} is not in set {self.name!r}{near_names(name, self._offsets)}"
            )
        return self._offsets[name]

    def width_of(self, name: str) -> int:
        """Return the number of values of one variable."""
        return self._width(self[name])

    def slice(self, name: str) -> slice:
        """Return the positions of one variable in the row."""
        start = self.offset(name)
        return slice(start, start + self.width_of(name))

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return rows ``[batch, width]`` from named tensors ``[batch, dims...]``; one value is
        ``[batch]`` or ``[batch, 1]``.

        Raises ContractError for missing or unknown names, wrong shapes, and tensors that differ in
        type or number of samples.
        """
        missing = [n for n in self.names if n not in values]
        unknown = [n for n in values if n not in self]
        if missing or unknown:
            hint = near_names(unknown[0], self.names) if unknown else ""
            raise ContractError(f"set {self.name!r}: missing {missing}, unknown {unknown}{hint}")
        columns = []
        for v in self.variables:
            value, shape = values[v.name], self.shape_of(v)
            if (
                tuple(value.shape[1:]) != shape
                and not (not shape and tuple(value.shape[1:]) == (1,))
            ) or value.ndim < 1:
                wanted = ", ".join(["batch", *map(str, shape or (1,))])
                raise ContractError(f"{v.name} must have shape [{wanted}], got {list(value.shape)}")
            columns.append(value.reshape(value.shape[0], self._width(v)))
        batches = {c.shape[0] for c in columns}
        if len(batches) != 1:
            raise ContractError(
                f"set {self.name!r}: variables differ in their number of columns: {sorted(batches)}"
            )
        types = {str(c.dtype).removeprefix("torch.") for c in columns}
        if len(types) != 1:
            raise ContractError(
                f"set {self.name!r}: variables differ in their type, cast them to one first: "
                f"{sorted(types)}"
            )
        return torch.cat(columns, dim=1)

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return named views ``[batch, dims...]`` of rows ``[batch, width]``."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ContractError(
                f"rows of set {self.name!r} must have shape [batch, {self.width}], got "
                f"{list(rows.shape)}"
            )
        return {
            v.name: rows[:, self.slice(v.name)].reshape(rows.shape[0], *self.shape_of(v))
            for v in self.variables
        }

    def layout(self) -> VariableLayout:
        """Return the manifest's record of this set."""
        entries = [
            VariableEntry(
                name=v.name,
                units=v.units,
                long_name=v.long_name,
                dims=list(v.dims),
                width=self._width(v),
                offset=self._offsets[v.name],
                lag=v.lag,
                role=v.role,
            )
            for v in self.variables
        ]
        return VariableLayout(set=self.name, width=self.width, variables=entries)

    @classmethod
    def from_layout(cls, layout: VariableLayout, sizes: Mapping[str, int]) -> VariableSet:
        """Return the set that a manifest records."""
        return cls(layout.set, tuple(Variable.from_entry(e) for e in layout.variables), dict(sizes))


@cache
def _set_names() -> dict[str, tuple[str, tuple[str, ...]]]:
    raw: dict[str, Any] = yaml.safe_load(
        (_FOLDER / "variable_sets.yaml").read_text(encoding="utf-8")
    )
    blocks = raw.pop("blocks")
    sets = {}
    for role, members in raw.items():
        for name, items in members.items():
            sets[name] = (role, tuple(n for item in items for n in _members(item, blocks)))
    return sets


def _members(item: str, blocks: Mapping[str, list[str]]) -> list[str]:
    """Return the names that an item of variable_sets.yaml stands for."""
    if not item.startswith("*"):
        return [item]
    block, marked, representation = item[1:].partition("@")
    return [n + marked + representation for n in blocks[block]]


def variable_set_names(role: str | None = None) -> list[str]:
    """Return the names of all sets, or those of one role: host_input, host_output, network_input,
    network_output.
    """
    return [name for name, (r, _) in _set_names().items() if role in (None, r)]


def set_members(name: str) -> tuple[str, ...]:
    """Return the names of the variables of a set in order; ContractError names the near sets."""
    if name not in _set_names():
        raise ContractError(
            f"unknown variable set {name!r}{near_names(name, _set_names())}; known: "
            f"{', '.join(_set_names())}"
        )
    return _set_names()[name][1]


@cache
def variable_set(name: str, level_count: int = DEFAULT_LEVEL_COUNT) -> VariableSet:
    """Return a named set for a number of levels; ContractError names the near ones."""
    return VariableSet(name, tuple(variable(n) for n in set_members(name)), {LEVEL: level_count})
