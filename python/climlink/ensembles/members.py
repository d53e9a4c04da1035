"""Members of an ensemble: packages of one contract, whatever their networks read and are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from climlink.ensembles.errors import EnsembleError
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ProvenanceEntry
from climlink.wrappers.variable_sets import VariableSet

ENSEMBLE = "ensemble"
"""Key of a package's recorded training under which an ensemble says what it is made of."""


@dataclass(frozen=True)
class Member:
    """A package that can be taken apart, with its contract."""

    package: EmulatorPackage
    contract: EmulatorContract

    @property
    def name(self) -> str:
        """How messages call it: its name and file."""
        return f"{self.package.manifest.name} ({self.package.path})"

    @property
    def provenance(self) -> ProvenanceEntry:
        """Where it comes from."""
        return self.package.manifest.provenance

    @property
    def outputs(self) -> VariableSet:
        """What its network predicts, without auxiliary targets and the like."""
        return self.contract.network_outputs.of_role("value")

    @cached_property
    def module(self) -> torch.jit.ScriptModule:
        """Its graph, in evaluation mode on the CPU, read once."""
        return self.package.load()


def read_members(packages: Sequence[EmulatorPackage | str | Path]) -> tuple[Member, ...]:
    """Return the members of an ensemble, checked against the first.

    EnsembleError for fewer than two, one that is given twice, an ensemble, a graph that cannot be
    taken apart, and a member of another contract: it names the member and the difference.
    """
    members = tuple(
        _member(p if isinstance(p, EmulatorPackage) else EmulatorPackage.read(p)) for p in packages
    )
    if len(members) < 2:
        raise EnsembleError(f"an ensemble has at least two members, got {len(members)}")
    known: dict[str, Member] = {}
    for member in members:
        twin = known.setdefault(member.package.digest, member)
        if twin is not member:
            raise EnsembleError(
                f"{member.name} is {twin.name} again, SHA-256 {member.package.digest}: give each "
                "member once, and a larger weight to one that shall count for more"
            )
    for member in members[1:]:
        difference = next(_differences(members[0].contract, member.contract), None)
        if difference is not None:
            raise EnsembleError(
                f"{member.name} has another contract than {members[0].name}: {difference}; "
                "members may differ in what their networks read and are, not in this"
            )
    return members


def _member(package: EmulatorPackage) -> Member:
    if ENSEMBLE in package.manifest.provenance.training:
        raise EnsembleError(
            f"{package.path} is an ensemble itself: give its members, which its manifest names"
        )
    if package.manifest.carried:
        raise EnsembleError(
            f"{package.path} carries state from step to step: the states of different networks "
            "have no mean; run such packages one by one"
        )
    try:
        return Member(package, EmulatorContract.from_manifest(package.manifest))
    except ContractError as error:
        raise EnsembleError(f"{package.path} cannot be a member: {error}") from error


_Part = Callable[[EmulatorContract], Any]
_PARTS: dict[str, _Part] = {
    "time step in s": lambda c: c.time_step_s,
    "calendar": lambda c: c.calendar,
    "pruned levels": lambda c: c.pruned_levels,
    "batch granule": lambda c: c.batch_granule,
    "coordinates": lambda c: c.coordinates,
}


def _differences(a: EmulatorContract, b: EmulatorContract) -> Iterator[str]:
    """Yield what differs between two contracts, in words: the second's first."""
    rows: dict[str, Callable[[EmulatorContract], VariableSet]] = {
        "inputs": lambda c: c.inputs,
        "outputs": lambda c: c.outputs,
        "network outputs": lambda c: c.network_outputs.of_role("value"),
    }
    for what, row in rows.items():
        yield from _different_rows(what, row(a), row(b))
    if a.hybrid != b.hybrid:
        yield "its vertical grid (hybrid coefficients) is another"
    for what, part in _PARTS.items():
        if part(a) != part(b):
            yield f"its {what} is {part(b)}, not {part(a)}"
    if a.constraints != b.constraints:
        mine, theirs = (
            ", ".join(f"{e.name} {e.parameters or ''}".strip() for e in c.constraints) or "none"
            for c in (a, b)
        )
        yield f"its constraints are {theirs}, not {mine}"


def _different_rows(what: str, a: VariableSet, b: VariableSet) -> Iterator[str]:
    lacking, more = ([n for n in x.names if n not in y] for x, y in ((a, b), (b, a)))
    if lacking or more:
        told = [f"lack {', '.join(lacking)}"] * bool(lacking)
        told += [f"have {', '.join(more)} besides"] * bool(more)
        yield f"its {what} ({b.name}) {' and '.join(told)}"
    elif a.names != b.names:
        place = next(i for i, (x, y) in enumerate(zip(a.names, b.names, strict=True)) if x != y)
        yield (
            f"its {what} stand in another order ({b.name}): number {place + 1} is "
            f"{b.names[place]}, not {a.names[place]}"
        )
    else:
        for x, y in zip(a.variables, b.variables, strict=True):
            mine, theirs = ((v.units, s.shape_of(v), v.role, v.lag) for v, s in ((x, a), (y, b)))
            if mine != theirs:
                yield f"{y.name} of its {what} has units, shape, role, lag {theirs}, not {mine}"
