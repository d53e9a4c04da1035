"""Whether an emulator closes the water and the energy of every column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from climlink.config import StrictModel
from climlink.training.loss_config import Problem
from climlink.wrappers.column_budgets import TOA_NET
from climlink.wrappers.constraints.closure import EnergyClosure, WaterClosure
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import variable

CLOSURES = (WaterClosure.name, EnergyClosure.name)
"""Constraints that suppose that the reference closes column by column."""


class ClosureConfig(StrictModel):
    """Closure of columns (docs/closure.md): the constraints, and a head that predicts the net
    radiation at the top, which no output holds.
    """

    water: bool = Field(default=True, description="add the constraint water_closure")
    energy: bool = Field(
        default=True,
        description="add the constraint energy_closure, the network output toa_net and its head",
    )
    head: list[Annotated[int, Field(ge=1)]] = Field(
        default=[192, 96],
        description="widths of the hidden layers of the head that predicts toa_net",
    )
    top_level: int | None = Field(
        default=None,
        ge=0,
        description="the highest level that the closures change; null: the highest not pruned",
    )

    sunlight_share: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="by day, the share of a column's energy residual that is taken from the "
        "sunlight at the surface; the rest, and all at night, from temperature",
    )

    @model_validator(mode="after")
    def _closes(self) -> ClosureConfig:
        if not (self.water or self.energy):
            raise ValueError("expected water, energy or both; with neither, leave closure out")
        return self

    @property
    def constraints(self) -> list[ConstraintEntry]:
        """The constraints that it adds, after all others."""
        top: dict[str, Any] = {} if self.top_level is None else {"top_level": self.top_level}
        water, energy = top, {**top, "sunlight_share": self.sunlight_share}
        chosen = zip(CLOSURES, (self.water, self.energy), (water, energy), strict=True)
        return [ConstraintEntry(name=n, parameters=p) for n, on, p in chosen if on]

    @property
    def heads(self) -> dict[str, list[int]]:
        """The heads that it adds to the network."""
        return {TOA_NET: self.head} if self.energy else {}

    def problems(
        self, network_outputs: Sequence[str], constraints: Sequence[ConstraintEntry]
    ) -> Iterator[Problem]:
        """Yield what a configuration says twice, with its key."""
        for name in (n for n in self.heads if n in network_outputs):
            twice = f"{name} stands in network_output_set, and energy adds it with its head"
            yield ("closure",), f"{twice}: leave it out of the set"
        added = [c.name for c in self.constraints]
        for name in (c.name for c in constraints if c.name in added):
            yield ("constraints",), f"closure adds {name}: leave it out of constraints"

    def network_outputs(self, outputs: VariableSet) -> VariableSet:
        """Return a network's outputs with what the heads give, after the other values."""
        values, others = outputs.of_role("value"), outputs.of_role("auxiliary", "carried")
        added = tuple(variable(name) for name in self.heads if name not in outputs)
        return VariableSet(outputs.name, values.variables + added + others.variables, outputs.sizes)
