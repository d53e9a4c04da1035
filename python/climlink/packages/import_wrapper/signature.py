"""Signature of a graph with several tensors: what each of them holds, in which order of axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from climlink.config import StrictModel, load_config
from climlink.wrappers.catalogue import SHIPPED, Catalogue, read_catalogue
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL, MOST_DIMS, START, CarriedPair, Size
from climlink.wrappers.variable_sets import DEFAULT_LEVEL_COUNT, VariableSet
from climlink.wrappers.variables import Variable

SAMPLE, VARIABLE, ROW = "sample", "variable", "row"
"""Axes that are no dimension of a variable: the batch, variables side by side, a packed row."""

NEXT = "_next"
"""What the name of a carried output has behind that of its input."""

SHOWN = 40
"""Characters of a tensor's variables that messages show."""


class TensorEntry(StrictModel):
    """One tensor: variables, or carried state, along named axes.

    Without ``sample`` among the axes the batch comes first. ``variables`` are names in order, or
    the name of a set: its variables of these dimensions, all of them for ``row``.
    """

    axes: list[str]
    variables: list[str] | str | None = None
    carried: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _axes_fit(self) -> TensorEntry:
        special = sorted({VARIABLE, ROW} & set(self.axes))
        if _twice(self.axes):
            raise ValueError(f"axes: {_twice(self.axes)} stands twice in {self.axes}")
        if (self.variables is None) == (self.carried is None):
            raise ValueError("give either variables, or carried with the name of the state")
        if self.variables is not None and not self.variables:
            raise ValueError("variables is empty; name at least one")
        if self.carried is not None and special:
            raise ValueError(f"carried state has dims of its own, not the axis {special[0]}")
        if ROW in self.axes and set(self.axes) - {SAMPLE, ROW}:
            raise ValueError(f"beside the axis row there can only be sample, got {self.axes}")
        return self

    @property
    def sample_axis(self) -> int:
        """Position of the batch among the tensor's axes."""
        return self.axes.index(SAMPLE) if SAMPLE in self.axes else 0

    @property
    def own_axes(self) -> tuple[str, ...]:
        """The axes without the batch."""
        return tuple(a for a in self.axes if a != SAMPLE)

    @property
    def dims(self) -> tuple[str, ...]:
        """The axes that are dimensions of variables."""
        return tuple(a for a in self.own_axes if a not in (VARIABLE, ROW))

    @property
    def label(self) -> str:
        """What the tensor is called in messages where the graph gives it no name."""
        if self.carried is not None:
            return f"carried {self.carried}"
        listed = self.variables or ""
        names = listed if isinstance(listed, str) else ", ".join(listed)
        return names if len(names) <= SHOWN else f"{names[:SHOWN]}…"

    def named_variables(self, known: Catalogue) -> tuple[Variable, ...]:
        """Return the variables in order; ContractError for unknown ones, and dims the axes lack."""
        if isinstance(self.variables, str):
            members = [known.variable(n) for n in known.members(self.variables)]
            found = [v for v in members if ROW in self.axes or v.dims == self.dims]
        else:
            found = [known.variable(n) for n in self.variables or ()]
        if _twice(v.name for v in found):
            raise ContractError(f"{_twice(v.name for v in found)} stands twice in one tensor")
        if len(found) != 1 and not {VARIABLE, ROW} & set(self.axes):
            got = f"{len(found)} ({self.label})"
            raise ContractError(f"the axes {self.axes} hold one variable, got {got}: add variable")
        for v in found if ROW not in self.axes else ():
            lacking = sorted(set(v.dims) - set(self.dims))
            if lacking:
                has = f"{v.name} has dims {list(v.dims)}"
                raise ContractError(f"{has}; the axes {self.axes} lack {lacking}")
        return tuple(found)


class ArgumentEntry(TensorEntry):
    """An argument of forward, by its name there; the parts of a tuple ``h`` are ``h.0``, ``h.1``.

    ``initial`` names a tensor of the graph that carried state begins with, zeros without.
    ``subtract`` and ``gain`` name arrays of what the host did outside of the graph:
    (x - subtract) * gain.
    """

    name: str = Field(min_length=1)
    initial: str | None = Field(default=None, min_length=1)
    subtract: str | None = None
    gain: str | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> ArgumentEntry:
        if self.initial is not None and self.carried is None:
            raise ValueError(f"{self.name}: initial is for carried state")
        if self.carried is not None and (self.subtract or self.gain):
            raise ValueError(f"{self.name}: subtract and gain are for variables, not for state")
        return self


class ResultEntry(TensorEntry):
    """A result of forward, in its order; ``scale`` names an array to multiply it by."""

    scale: str | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> ResultEntry:
        if self.carried is not None and self.scale:
            raise ValueError(f"carried {self.carried}: scale is for variables, not for state")
        return self


class Signature(StrictModel):
    """What a graph takes and gives: sizes of dimensions, arguments by name, results in order.

    ``variables`` is a file of own variables and sets beside the shipped ones. ``arrays`` is the npz
    or netCDF file with the arrays that arguments and results name.
    """

    dims: dict[str, Size] = Field(default_factory=dict)
    variables: Path | None = None
    arrays: Path | None = None
    arguments: list[ArgumentEntry] = Field(min_length=1)
    results: list[ResultEntry] = Field(min_length=1)
    _catalogue: Catalogue = PrivateAttr(default=SHIPPED)

    @model_validator(mode="after")
    def _fits_together(self) -> Signature:
        reserved = sorted({SAMPLE, VARIABLE, ROW} & set(self.dims))
        if reserved:
            raise ValueError(f"dims: {', '.join(reserved)} cannot be the name of a dimension")
        if self.variables is None and self._without_size():
            raise ValueError(self._without_size())
        if _twice(a.name for a in self.arguments):
            raise ValueError(f"arguments: {_twice(a.name for a in self.arguments)} stands twice")
        self._check_carried()
        self._check_arrays()
        return self

    def _without_size(self) -> str:
        """Return a sentence on an axis whose size is not known, empty if there is none."""
        known = {LEVEL, *self.dims, *self._catalogue.dims}
        for entry in (*self.arguments, *self.results):
            for axis in (a for a in entry.dims if a not in known):
                near = near_names(axis, known | {SAMPLE, VARIABLE, ROW})
                return f"axis {axis!r} of {entry.label} has no size: give it in dims{near}"
        return ""

    def _check_carried(self) -> None:
        taken = {a.carried: a for a in self.arguments if a.carried is not None}
        given = {r.carried: r for r in self.results if r.carried is not None}
        for entries in (self.arguments, self.results):
            twice = _twice(e.carried for e in entries if e.carried is not None)
            if twice:
                raise ValueError(f"carried {twice} stands twice")
        for what, lacking in (("result", taken.keys() - given), ("argument", given.keys() - taken)):
            if lacking:
                listed = ", ".join(sorted(lacking))
                raise ValueError(f"carried {listed} has no {what} of the same name")
        for name, a in taken.items():
            taken_as, given_as = self._sizes_text(a), self._sizes_text(given[name])
            if sorted(a.dims) != sorted(given[name].dims):
                raise ValueError(f"carried {name} goes in as {taken_as}, comes out as {given_as}")
            if len(a.dims) > MOST_DIMS:
                raise ValueError(
                    f"carried {name} is {taken_as}; at most {MOST_DIMS} dims fit a host"
                )
            if name == START:
                raise ValueError(f"carried {START}: this name marks the first step; take another")

    def _sizes_text(self, entry: TensorEntry) -> str:
        sizes = {d: self.dims.get(d) for d in entry.dims}
        listed = " x ".join(f"{d} {n or '?'}" for d, n in sizes.items()) or "one value"
        known = [n for n in sizes.values() if n is not None]
        return f"[{listed}]" + (f", {math.prod(known)} values" if len(known) == len(sizes) else "")

    def _check_arrays(self) -> None:
        named = [n for a in self.arguments for n in (a.subtract, a.gain) if n]
        named += [r.scale for r in self.results if r.scale]
        if named and self.arrays is None:
            raise ValueError(f"arrays must name the file that holds {', '.join(named)}")
        if self.arrays is not None and not named:
            raise ValueError("arrays: nothing names an array of it with subtract, gain or scale")

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Return the signature in a YAML file; the files that it names are relative to it.

        ConfigError names the line that does not fit, ContractError what own variables clash with.
        """
        read = load_config(path, cls)
        named = {"arrays": read.arrays, "variables": read.variables}
        beside = {k: path.parent / f for k, f in named.items() if f is not None}
        read = read.model_copy(update=beside)
        if read.variables is not None:
            read._catalogue = read_catalogue(read.variables)
        return read

    def named_variables(self, entry: TensorEntry) -> tuple[Variable, ...]:
        """Return a tensor's variables in order, shipped or own."""
        return entry.named_variables(self._catalogue)

    @property
    def level_count(self) -> int:
        """Number of levels where the data do not say it."""
        return self.dims.get(LEVEL, DEFAULT_LEVEL_COUNT)

    def at(self, level_count: int) -> tuple[VariableSet, VariableSet]:
        """Return the variables that go in and come out, each once, in the order of the tensors.

        ContractError for unknown variables, dims that do not fit the axes, and another number of
        levels than ``dims`` says.
        """
        if self.dims.get(LEVEL, level_count) != level_count:
            said = f"the signature says level: {self.dims[LEVEL]}"
            raise ContractError(f"{said}, the data have {level_count} levels")
        if self._without_size():
            raise ContractError(self._without_size())
        taken = [v for a in self.arguments if a.carried is None for v in self.named_variables(a)]
        given = [(v, r) for r in self.results if r.carried is None for v in self.named_variables(r)]
        for v, r in given:
            if ROW not in r.axes and set(v.dims) != set(r.dims):
                has = f"{v.name} has dims {list(v.dims)}"
                raise ContractError(f"{has}; the axes {r.axes} of its result have {list(r.dims)}")
        if _twice(v.name for v, _ in given):
            raise ContractError(f"results: {_twice(v.name for v, _ in given)} stands twice")
        if not taken or not given:
            lacking = "result" if taken else "argument"
            raise ContractError(f"no {lacking} has variables: there is nothing but carried state")
        sizes = {**self._catalogue.dims, **self.dims, LEVEL: level_count}
        other = [d for d, n in self._catalogue.dims.items() if sizes[d] != n]
        if other:
            raise ContractError(f"dims: {other[0]} has another size in {self.variables}")
        outputs = VariableSet("signature_outputs", tuple(v for v, _ in given), sizes)
        return VariableSet("signature_inputs", tuple(dict.fromkeys(taken)), sizes), outputs


@dataclass(frozen=True)
class PackedRows:
    """Whole rows: values, the mark of the first step and state go in; values and state come out."""

    signature: Signature
    inputs: VariableSet
    outputs: VariableSet
    carried: tuple[CarriedPair, ...]

    @classmethod
    def of(cls, signature: Signature, inputs: VariableSet, outputs: VariableSet) -> PackedRows:
        """Return the rows for value sets; ContractError for state with the name of a variable."""
        states = tuple(
            Variable(a.carried, "1", "state of the graph", a.dims, role="carried")
            for a in signature.arguments
            if a.carried is not None  # its name
        )
        start = Variable(START, "1", "1 on the first step of a sample, 0 later", role="start")
        marked = (start, *states) if states else ()
        after = tuple(replace(v, name=v.name + NEXT) for v in states)
        return cls(
            signature,
            VariableSet(inputs.name, inputs.variables + marked, inputs.sizes),
            VariableSet(outputs.name, outputs.variables + after, outputs.sizes),
            tuple(CarriedPair(output=v.name + NEXT, input=v.name) for v in states),
        )

    def taken(self, entry: ArgumentEntry) -> NDArray[np.int64]:
        """Return an argument's positions in an input row, [its axes without the batch]."""
        return _positions(entry, self._names(entry, ""), self.inputs)

    def given(self, entry: ResultEntry) -> NDArray[np.int64]:
        """Return a result's positions in an output row, [its axes without the batch]."""
        return _positions(entry, self._names(entry, NEXT), self.outputs)

    def _names(self, entry: TensorEntry, suffix: str) -> list[str]:
        if entry.carried is not None:
            return [entry.carried + suffix]
        return [v.name for v in self.signature.named_variables(entry)]


def _positions(entry: TensorEntry, names: Sequence[str], row: VariableSet) -> NDArray[np.int64]:
    if ROW in entry.axes:
        return np.concatenate([_range(row, n).ravel() for n in names])
    whole = tuple(row.sizes[d] for d in entry.dims)
    parts = []
    for name in names:
        dims = row[name].dims
        values = _range(row, name).transpose([dims.index(d) for d in entry.dims if d in dims])
        # A variable that lacks a dimension of the tensor stands at every place along it.
        spread = [row.sizes[d] if d in dims else 1 for d in entry.dims]
        parts.append(np.broadcast_to(values.reshape(spread), whole))
    if VARIABLE not in entry.axes:
        return parts[0]
    return np.stack(parts, axis=entry.own_axes.index(VARIABLE))


def _range(row: VariableSet, name: str) -> NDArray[np.int64]:
    positions = row.slice(name)
    return np.arange(positions.start, positions.stop).reshape(row.shape_of(row[name]))


def _twice(names: Iterable[str]) -> str:
    """Return the names that stand more than once, as text."""
    listed = list(names)
    return ", ".join(sorted({n for n in listed if listed.count(n) > 1}))
