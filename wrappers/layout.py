"""Records of packed rows: named variables with dimensions, their order, coordinates, and what is
carried from step to step.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LEVEL = "level"
"""The vertical dimension, from the model top down: variables that have it and no other are
profiles.
"""

START = "start"
"""Input that is 1 on the first step of a sample, where the graph makes its own state, and 0 later.
"""

MOST_DIMS = 3
"""Dimensions of a variable besides the sample: the host's arrays have rank 4 at most."""

WIDEST_ROW = 2_000_000_000
"""Values of a row: beyond this a 32-bit count overflows."""

Role = Literal["value", "confidence", "auxiliary", "carried", "start"]
"""What a variable is in its row: a quantity, the confidence of one, what a network predicts for its
training's sake only, carried state, or the mark of the first step.
"""

INPUT_ROLES: tuple[Role, ...] = ("value", "carried", "start")
OUTPUT_ROLES: tuple[Role, ...] = ("value", "confidence", "carried")
"""In the order in which they stand in an output row."""

NETWORK_OUTPUT_ROLES: tuple[Role, ...] = ("value", "confidence", "auxiliary", "carried")
"""In the order in which they stand in a network's output row: a host never receives the auxiliary
ones.
"""


class Strict(BaseModel):
    """A record that refuses unknown keys, converts no type and cannot be changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


Size = Annotated[int, Field(ge=1, le=WIDEST_ROW)]
"""Length of a dimension."""


class VariableEntry(Strict):
    """One variable of a packed row: name, units, dimensions, number of values, first position
    (0-based) and role.

    Its values are packed in C order of ``dims``, the last fastest.
    """

    name: str = Field(min_length=1)
    units: str
    long_name: str
    dims: list[str] = Field(
        max_length=MOST_DIMS, description="names of dimensions; none for one value"
    )
    width: int = Field(ge=1)
    offset: int = Field(ge=0)
    lag: int = Field(default=0, ge=0, description="steps back in time the value belongs to")
    role: Role = "value"


class VariableLayout(Strict):
    """An ordered list of variables that fills a packed row without gaps."""

    set: str = Field(description="name of the variable set, such as host_v2_q")
    width: int = Field(ge=1, le=WIDEST_ROW)
    variables: list[VariableEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _contiguous(self) -> VariableLayout:
        names = [v.name for v in self.variables]
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"variable names repeat in set {self.set!r}: {twice}")
        position = 0
        for v in self.variables:
            if v.offset != position:
                raise ValueError(
                    f"{v.name} starts at {v.offset} in set {self.set!r}, expected {position}: "
                    "offsets must be contiguous"
                )
            position += v.width
        if position != self.width:
            raise ValueError(
                f"set {self.set!r} says width {self.width}, its variables fill {position}"
            )
        return self

    def of_role(self, *roles: Role) -> list[VariableEntry]:
        """Return the variables of some roles, in order."""
        return [v for v in self.variables if v.role in roles]

    def width_of(self, *roles: Role) -> int:
        """Return how many values of the row have one of these roles."""
        return sum(v.width for v in self.of_role(*roles))

    def check_dims(self, dims: dict[str, int]) -> None:
        """Raise ValueError unless every width is the product of the sizes of its dimensions."""
        for v in self.variables:
            unknown = [d for d in v.dims if d not in dims]
            if unknown or len(set(v.dims)) != len(v.dims):
                raise ValueError(
                    f"{v.name} of set {self.set!r} has dims {v.dims}; expected each once, out of "
                    f"{sorted(dims)}"
                )
            if v.width != math.prod(dims[d] for d in v.dims):
                sizes = " x ".join(f"{d} {dims[d]}" for d in v.dims) or "one value"
                raise ValueError(
                    f"{v.name} of set {self.set!r} has width {v.width}, its dims say {sizes}"
                )


class Coordinate(Strict):
    """Values along a dimension, such as latitudes in degrees_north: strictly rising or falling."""

    units: str
    values: list[float] = Field(min_length=1)

    @model_validator(mode="after")
    def _monotonic(self) -> Coordinate:
        steps = [b - a for a, b in pairwise(self.values)]
        if not (all(s > 0 for s in steps) or all(s < 0 for s in steps)):
            raise ValueError("values must rise or fall strictly")
        return self


class CarriedPair(Strict):
    """An output that the host hands back as an input of the next step."""

    output: str
    input: str


def check_rows(inputs: VariableLayout, outputs: VariableLayout, carried: list[CarriedPair]) -> None:
    """Raise ValueError unless roles, their order, the mark ``start`` and the carried pairs fit
    together.
    """
    _check_roles(inputs, INPUT_ROLES)
    _check_output_order(outputs, OUTPUT_ROLES)
    starts = [v for v in inputs.variables if v.role == START or v.name == START]
    if bool(carried) != bool(starts):
        raise ValueError(
            f"carried state needs an input {START!r} of role {START!r}"
            if carried
            else f"the input {START!r} is for carried state, and nothing is carried"
        )
    if any((v.name, v.role, v.dims, v.units) != (START, START, [], "1") for v in starts):
        raise ValueError(
            f"{START!r} must be one input without dims, in units '1', of role {START!r}"
        )
    _check_pairs(inputs, outputs, carried)


def check_network_rows(inputs: VariableLayout, outputs: VariableLayout) -> None:
    """Raise ValueError unless a network reads what a host may send, and gives values, then
    auxiliary ones, then carried state.
    """
    _check_roles(inputs, INPUT_ROLES)
    _check_output_order(outputs, NETWORK_OUTPUT_ROLES)


def _check_output_order(outputs: VariableLayout, allowed: tuple[Role, ...]) -> None:
    _check_roles(outputs, allowed)
    places = [allowed.index(v.role) for v in outputs.variables]
    if places != sorted(places):
        raise ValueError(f"outputs must stand in the order {', '.join(allowed)}")
    if places[0] != 0:
        raise ValueError(
            f"outputs must begin with a value: there is nothing but {', '.join(allowed[1:])}"
        )


def _check_roles(layout: VariableLayout, allowed: tuple[Role, ...]) -> None:
    for v in layout.variables:
        if v.role not in allowed:
            raise ValueError(
                f"{v.name} of set {layout.set!r} has role {v.role!r}; expected {', '.join(allowed)}"
            )


def _check_pairs(
    inputs: VariableLayout, outputs: VariableLayout, carried: list[CarriedPair]
) -> None:
    given = {v.name: v for v in outputs.of_role("carried")}
    taken = {v.name: v for v in inputs.of_role("carried")}
    for what, known, named in (
        ("outputs", given, [p.output for p in carried]),
        ("inputs", taken, [p.input for p in carried]),
    ):
        if sorted(named) != sorted(known):
            raise ValueError(
                f"carried must name every one of the {what} of role carried once "
                f"({sorted(known)}); it names {sorted(named)}"
            )
    for pair in carried:
        o, i = given[pair.output], taken[pair.input]
        if (o.dims, o.width, o.units) != (i.dims, i.width, i.units):
            raise ValueError(
                f"carried {o.name} -> {i.name}: dims, width and units must be equal; they are "
                f"{o.dims}, {o.width}, {o.units!r} and {i.dims}, {i.width}, {i.units!r}"
            )
