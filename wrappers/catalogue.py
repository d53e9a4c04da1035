"""A user's own variables and sets beside the shipped ones, from YAML or Python;
docs/own-variables.md says how a file looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field, model_validator

from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL, MOST_DIMS, START, Size, Strict
from climlink.wrappers.units import same_units
from climlink.wrappers.variable_sets import (
    DEFAULT_LEVEL_COUNT,
    VariableSet,
    set_members,
    variable_set,
    variable_set_names,
)
from climlink.wrappers.variables import Variable, shipped_variables, variable
from climlink.wrappers.yaml_file import load_config, misfit

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_MEMBERS = "*"
"""Before the name of a set among the members of another: all of its members."""

Problem = tuple[tuple[str, ...], str]
"""Keys of a catalogue file, and what is wrong there."""


@dataclass(frozen=True)
class Catalogue:
    """Own variables, ordered sets of own and shipped ones, and sizes of own dimensions (``level``
    has the size of the vertical grid).

    A set may name another as ``*NAME``. ContractError lists what clashes with the shipped
    catalogue and what does not fit together; a variable that is the shipped one in units, dims and
    lag may be given again.
    """

    variables: tuple[Variable, ...] = ()
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [f"{'.'.join(keys)}: {problem}" for keys, problem in _problems(self)]
        if problems:
            raise ContractError("\n".join(problems))

    def variable(self, name: str) -> Variable:
        """Return an own or shipped variable, or one of its representations; ContractError names
        the near ones.
        """
        base, marked, representation = name.partition("@")
        own = next((v for v in self.variables if v.name == base), None)
        if own is None and base not in shipped_variables():
            known = [*(v.name for v in self.variables), *shipped_variables()]
            raise ContractError(f"unknown variable {base!r}{near_names(base, known)}")
        found = own if own is not None else variable(base)
        return found.represented(representation) if marked else found

    def set_names(self) -> list[str]:
        """Return the names of all sets, own ones first."""
        return list(dict.fromkeys([*self.sets, *variable_set_names()]))

    def members(self, name: str) -> tuple[str, ...]:
        """Return the names of a set's variables in order; ContractError names the near sets."""
        if name in variable_set_names():
            return set_members(name)
        if name not in self.sets:
            known = self.set_names()
            unknown = f"unknown variable set {name!r}{near_names(name, known)}"
            raise ContractError(f"{unknown}; known: {', '.join(known)}")
        return _expanded(self.sets, (name,))

    def variable_set(self, name: str, level_count: int = DEFAULT_LEVEL_COUNT) -> VariableSet:
        """Return an own or shipped set for a number of levels; ContractError names the near
        ones.
        """
        if name in variable_set_names():
            return variable_set(name, level_count)
        variables = tuple(self.variable(n) for n in self.members(name))
        used = {d for v in variables for d in v.dims}
        return VariableSet(
            name,
            variables,
            {LEVEL: level_count} | {d: n for d, n in self.dims.items() if d in used},
        )


class _VariableRecord(Strict):
    """One variable of a catalogue file."""

    units: str
    long_name: str = ""
    dims: list[str] = Field(default_factory=list)
    lag: int = Field(default=0, ge=0)
    range: list[float] | None = Field(default=None, min_length=2, max_length=2)

    def variable(self, name: str) -> Variable:
        plausible = None if self.range is None else (self.range[0], self.range[1])
        own = Variable(
            name, self.units, self.long_name, tuple(self.dims), self.lag, "value", plausible
        )
        shipped = shipped_variables().get(name)
        if shipped is None or _clash(own, shipped):
            return own
        return replace(shipped, plausible=plausible or shipped.plausible)


class _CatalogueFile(Strict):
    """The keys of a catalogue file."""

    dims: dict[str, Size] = Field(default_factory=dict)
    variables: dict[str, _VariableRecord] = Field(default_factory=dict)
    sets: dict[str, list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> _CatalogueFile:
        catalogue = object.__new__(Catalogue)  # unchecked: here each problem has its line
        for name, value in self._parts().items():
            object.__setattr__(catalogue, name, value)
        problems = list(_problems(catalogue))
        if problems:
            raise misfit(problems)
        return self

    def _parts(self) -> dict[str, object]:
        variables = tuple(record.variable(name) for name, record in self.variables.items())
        return {
            "variables": variables,
            "sets": {n: tuple(m) for n, m in self.sets.items()},
            "dims": self.dims,
        }

    def catalogue(self) -> Catalogue:
        return Catalogue(**self._parts())  # type: ignore[arg-type]


def read_catalogue(path: str | Path) -> Catalogue:
    """Return the catalogue of a YAML file with the keys dims, variables and sets; ConfigError
    names the lines of what does not fit.
    """
    return load_config(path, _CatalogueFile).catalogue()


def _problems(c: Catalogue) -> Iterator[Problem]:
    """Yield what is wrong with a catalogue, and where."""
    for name in c.dims:
        if name == LEVEL:
            yield (
                ("dims", name),
                f"{LEVEL!r} is the vertical dimension: the grid gives its size; leave it out",
            )
    for name in {v.name for v in c.variables if [w.name for w in c.variables].count(v.name) > 1}:
        yield ("variables", name), "this variable stands twice"
    for v in c.variables:
        yield from ((("variables", v.name), problem) for problem in _of_variable(v, c.dims))
    for name in c.sets:
        yield from ((("sets", name), problem) for problem in _of_set(name, c))


def _of_variable(v: Variable, dims: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with an own variable."""
    if v.name == START or not _NAME.fullmatch(v.name):
        yield f"a name is letters, digits, '_', '.' and '-', a letter first, and not {START!r}"
    known = [LEVEL, *dims]
    for d in (d for d in v.dims if d not in known):
        unknown = f"unknown dimension {d!r}{near_names(d, known)}"
        yield f"{unknown}; give its size under dims; known: {', '.join(known)}"
    if len(v.dims) > MOST_DIMS or len(set(v.dims)) != len(v.dims):
        yield f"expected at most {MOST_DIMS} dims, none twice, got {list(v.dims)}"
    if v.plausible is not None and not v.plausible[0] < v.plausible[1]:
        yield f"range must be [smallest, largest], got {list(v.plausible)}"
    shipped = shipped_variables().get(v.name)
    if shipped is not None and _clash(v, shipped):
        both = f"climlink ships {v.name} {_shown(shipped)}, this one is {_shown(v)}"
        yield f"{both}; give it another name, or the same units, dims and lag"


def _clash(own: Variable, shipped: Variable) -> bool:
    other_shape = (own.dims, own.lag) != (shipped.dims, shipped.lag)
    return other_shape or not same_units(own.units, shipped.units)


def _shown(v: Variable) -> str:
    return f"in {v.units!r} over [{', '.join(v.dims)}]" + (f", lag {v.lag}" if v.lag else "")


def _of_set(name: str, c: Catalogue) -> Iterator[str]:
    """Yield what is wrong with an own set."""
    if not _NAME.fullmatch(name):
        yield "a name is letters, digits, '_', '.' and '-', a letter first"
        return
    try:
        members = _expanded(c.sets, (name,))
    except ContractError as error:
        yield str(error)
        return
    if not members:
        yield "a set needs at least one variable"
    if name in variable_set_names() and members != set_members(name):
        shipped = (
            f"climlink ships a set {name!r} of other variables ({', '.join(set_members(name))})"
        )
        yield f"{shipped}; choose another name"
    for n in dict.fromkeys(n for n in members if members.count(n) > 1):
        yield f"{n!r} stands twice"
    for n in dict.fromkeys(members):
        try:
            c.variable(n)
        except ContractError as error:
            yield str(error)


def _expanded(sets: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the members of the last set of a path of sets, each a member of the one before;
    ContractError for a set inside itself.
    """
    members: list[str] = []
    for item in sets[path[-1]]:
        other = item.removeprefix(_MEMBERS)
        if other == item:
            members.append(item)
        elif other in path:
            raise ContractError(f"the set is inside itself: {' -> '.join((*path, other))}")
        elif other in sets:
            members += _expanded(sets, (*path, other))
        elif other in variable_set_names():
            members += set_members(other)
        else:
            known = [*sets, *variable_set_names()]
            raise ContractError(f"unknown set {item!r}{near_names(other, known)}")
    return tuple(members)


SHIPPED = Catalogue()
"""The catalogue of those who have no variables of their own."""
