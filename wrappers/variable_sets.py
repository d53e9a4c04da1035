"""Variables and ordered variable sets: the only owner of names, order, widths and offsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.manifest import VariableEntry, VariableLayout

_FOLDER = Path(__file__).parent
DEFAULT_LEVEL_COUNT = 60
ENCODINGS = ("variable", "log", "exponential")
"""Representations that the normalization makes: scaled by one number per variable, signed logarithm, exponential cloud transform."""

FEATURES = ("log10", "step", "not_positive", "unfilled")
"""Representations that are fields of their own: logarithm above a floor, difference to the level above, x <= 0, fill value as zero."""

REPRESENTATIONS = ENCODINGS + FEATURES
"""What a network input may be besides the value itself, written ``name@representation``."""


@dataclass(frozen=True)
class Variable:
    """One physical quantity: ClimSim name, units, meaning, ``profile`` or ``scalar``, lag in time steps.

    ``representation`` is empty for the value itself; network inputs may carry the same quantity in another encoding,
    written ``name@representation``.
    """

    name: str
    units: str
    long_name: str
    kind: str
    lag: int = 0
    representation: str = ""
    plausible: tuple[float, float] | None = None
    """Smallest and largest value that a file may hold, in ``units``; None for what is computed."""

    @property
    def is_profile(self) -> bool:
        """True for a value per level, False for one value per column."""
        return self.kind == "profile"

    @property
    def base_name(self) -> str:
        """Catalogue name without the representation."""
        return self.name.split("@")[0]

    @property
    def field_name(self) -> str:
        """Name of the physical field that is normalized, and of its statistics: encodings share the field of their base."""
        return self.name if self.representation in FEATURES else self.base_name


@cache
def _catalogue() -> dict[str, Variable]:
    raw = yaml.safe_load((_FOLDER / "variables.yaml").read_text(encoding="utf-8"))
    return {
        name: _variable(name, kind, entry)
        for kind, section in (("profile", raw["profiles"]), ("scalar", raw["scalars"]))
        for name, entry in section.items()
    }


def _variable(name: str, kind: str, entry: dict[str, Any]) -> Variable:
    # YAML 1.1 takes 1e-4 for a text; float() reads both.
    low, high = entry.get("range", (None, None))
    plausible = None if low is None else (float(low), float(high))
    meaning = (name, entry["units"], entry["long_name"], kind)
    return Variable(*meaning, lag=entry.get("lag", 0), plausible=plausible)


def variable(name: str) -> Variable:
    """Return the catalogue's variable, or one of its representations (``state_t@log``); ContractError names the near ones."""
    base, marked, representation = name.partition("@")
    known = _catalogue().get(base)
    if known is None:
        raise ContractError(f"unknown variable {name!r}{near_names(base, _catalogue())}")
    if not marked:
        return known
    if representation not in REPRESENTATIONS:
        raise ContractError(f"unknown representation {representation!r} of {base}{near_names(representation, REPRESENTATIONS)}")
    return Variable(name, "1", f"{known.long_name}, {representation} representation", known.kind, known.lag, representation)


def variable_names() -> list[str]:
    """Return every name of the catalogue, sorted."""
    return sorted(_catalogue())


@dataclass(frozen=True)
class VariableSet:
    """An ordered list of variables packed into one row, profiles with ``level_count`` values from the model top down."""

    name: str
    variables: tuple[Variable, ...]
    level_count: int = DEFAULT_LEVEL_COUNT
    _offsets: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.level_count < 1:
            raise ContractError(f"variable set {self.name!r} needs at least one level, got level_count={self.level_count}")
        position = 0
        for v in self.variables:
            if v.name in self._offsets:
                raise ContractError(f"variable {v.name!r} stands twice in set {self.name!r}")
            self._offsets[v.name] = position
            position += self._width(v)

    def _width(self, v: Variable) -> int:
        return self.level_count if v.is_profile else 1

    def __contains__(self, name: object) -> bool:
        return name in self._offsets

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(v.name for v in self.variables)

    @property
    def width(self) -> int:
        """Length of a packed row."""
        return sum(self._width(v) for v in self.variables)

    @property
    def profiles(self) -> tuple[Variable, ...]:
        """The profile variables, in order."""
        return tuple(v for v in self.variables if v.is_profile)

    @property
    def scalars(self) -> tuple[Variable, ...]:
        """The scalar variables, in order."""
        return tuple(v for v in self.variables if not v.is_profile)

    def offset(self, name: str) -> int:
        """Return the first position (0-based) of a variable in the row; ContractError names the near ones."""
        if name not in self._offsets:
            raise ContractError(f"variable {name!r} is not in set {self.name!r}{near_names(name, self._offsets)}")
        return self._offsets[name]

    def width_of(self, name: str) -> int:
        """Return the number of values of one variable."""
        self.offset(name)
        return next(self._width(v) for v in self.variables if v.name == name)

    def slice(self, name: str) -> slice:
        """Return the positions of one variable in the row."""
        start = self.offset(name)
        return slice(start, start + self.width_of(name))

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return rows ``[batch, width]`` from named tensors: profiles ``[batch, level]``, scalars ``[batch]`` or ``[batch, 1]``.

        Raises ContractError for missing or unknown names, wrong shapes, and tensors that differ in type or number of columns.
        """
        missing = [n for n in self.names if n not in values]
        unknown = [n for n in values if n not in self]
        if missing or unknown:
            hint = near_names(unknown[0], self.names) if unknown else ""
            raise ContractError(f"set {self.name!r}: missing {missing}, unknown {unknown}{hint}")
        columns = []
        for v in self.variables:
            value = values[v.name]
            value = value[:, None] if value.ndim == 1 and not v.is_profile else value
            if value.ndim != 2 or value.shape[1] != self._width(v):
                raise ContractError(f"{v.name} must have shape [batch, {self._width(v)}], got {list(values[v.name].shape)}")
            columns.append(value)
        batches = {c.shape[0] for c in columns}
        if len(batches) != 1:
            raise ContractError(f"set {self.name!r}: variables differ in their number of columns: {sorted(batches)}")
        types = {str(c.dtype).removeprefix("torch.") for c in columns}
        if len(types) != 1:
            raise ContractError(f"set {self.name!r}: variables differ in their type, cast them to one first: {sorted(types)}")
        return torch.cat(columns, dim=1)

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return named views of rows ``[batch, width]``: profiles ``[batch, level]``, scalars ``[batch]``."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ContractError(f"rows of set {self.name!r} must have shape [batch, {self.width}], got {list(rows.shape)}")
        return {v.name: rows[:, self.slice(v.name)] if v.is_profile else rows[:, self.offset(v.name)] for v in self.variables}

    def layout(self) -> VariableLayout:
        """Return the manifest's record of this set."""
        entries = [
            VariableEntry(name=v.name, units=v.units, long_name=v.long_name, width=self._width(v), offset=self._offsets[v.name], lag=v.lag)
            for v in self.variables
        ]
        return VariableLayout(set=self.name, width=self.width, variables=entries)


@cache
def _set_names() -> dict[str, tuple[str, tuple[str, ...]]]:
    raw: dict[str, Any] = yaml.safe_load((_FOLDER / "variable_sets.yaml").read_text(encoding="utf-8"))
    blocks = raw.pop("blocks")
    sets = {}
    for role, members in raw.items():
        for name, items in members.items():
            expanded = [n for item in items for n in (blocks[item[1:]] if item.startswith("*") else [item])]
            sets[name] = (role, tuple(expanded))
    return sets


def variable_set_names(role: str | None = None) -> list[str]:
    """Return the names of all sets, or those of one role: host_input, host_output, network_input, network_output."""
    return [name for name, (r, _) in _set_names().items() if role in (None, r)]


@cache
def variable_set(name: str, level_count: int = DEFAULT_LEVEL_COUNT) -> VariableSet:
    """Return a named set for a number of levels; ContractError names the near ones."""
    if name not in _set_names():
        raise ContractError(f"unknown variable set {name!r}{near_names(name, _set_names())}; known: {', '.join(_set_names())}")
    return VariableSet(name, tuple(variable(n) for n in _set_names()[name][1]), level_count)
