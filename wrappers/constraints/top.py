"""A temperature tendency for the levels where an emulator of weather has nothing to say: linear in
state and sun, with guaranteed damping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from climlink.wrappers.constants import SECONDS_PER_DAY
from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict

LEAST_DAMPING_PER_S = 1.0 / (30.0 * SECONDS_PER_DAY)
"""Of the temperature on every level: an excess is gone by 1/e within 30 days."""

COEFFICIENTS = ("intercept", "temperature", "solin", "coszrs")


class StableTopParameters(Strict):
    """``levels`` (0-based from the top), declared or all above ``above_pa`` (Pa, where the surface
    is at 1e5 Pa), and per level ``intercept`` (K/s), ``temperature`` (1/s, at most -1/(30 days)),
    ``solin`` (K/s per W/m2) and ``coszrs`` (K/s).

    Where there are none of these yet, training and export fit them, and record R² on held-out
    times.
    """

    above_pa: float | None = Field(default=None, gt=0)
    levels: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    intercept: list[float] = Field(default_factory=list)
    temperature: list[float] = Field(default_factory=list)
    solin: list[float] = Field(default_factory=list)
    coszrs: list[float] = Field(default_factory=list)
    held_out_r2: list[float | None] | None = Field(
        default=None, description="per level; null: nothing was held out, or it does not vary"
    )

    @property
    def fitted(self) -> bool:
        """Whether the coefficients are there."""
        return bool(self.temperature)

    @model_validator(mode="after")
    def _fits(self) -> StableTopParameters:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels must be different, got {self.levels}")
        given = {name: len(getattr(self, name)) for name in COEFFICIENTS}
        if not self.fitted:
            if any(given.values()):
                raise ValueError(f"give all of {', '.join(COEFFICIENTS)}, or none to have them fit")
            if bool(self.levels) == (self.above_pa is not None):
                raise ValueError("give levels, or above_pa, to have the coefficients fitted there")
            return self
        if self.held_out_r2 is not None:
            given["held_out_r2"] = len(self.held_out_r2)
        if set(given.values()) != {len(self.levels)}:
            raise ValueError(
                f"expected one number per level: there are {len(self.levels)} levels, and {given}"
            )
        weakest = max(self.temperature)
        if weakest > -LEAST_DAMPING_PER_S:
            raise ValueError(
                f"temperature must be at most -1/(30 days) = {-LEAST_DAMPING_PER_S:.4g} per s on "
                f"every level, got {weakest:.4g}"
            )
        return self


class StableTop(PhysicalConstraint):
    """On named levels ptend_t = intercept + temperature T + solin SOLIN + coszrs COSZRS, whatever
    the network says: a fitted tendency whose damping is guaranteed.

    Alone it moves the instability to the first emulated level below; use it with closure or with
    the range policy.
    """

    name: ClassVar[str] = "stable_top"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = StableTopParameters

    if TYPE_CHECKING:
        replaced: Tensor
        intercept: Tensor
        temperature: Tensor
        solin: Tensor
        coszrs: Tensor

    def __init__(self, context: ConstraintContext, parameters: StableTopParameters) -> None:
        super().__init__()
        _check(context, parameters)
        self.requires_state = ["state_t", "pbuf_SOLIN", "pbuf_COSZRS"]
        self.requires_outputs = ["ptend_t"]
        replaced = torch.zeros(context.level_count, dtype=torch.bool)
        replaced[parameters.levels] = True
        self.register_buffer("replaced", replaced)
        for name in COEFFICIENTS:
            whole = torch.zeros(context.level_count, dtype=torch.float64)
            whole[parameters.levels] = torch.tensor(getattr(parameters, name), dtype=torch.float64)
            self.register_buffer(name, whole)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ptend_t [batch, level] in K/s."""
        fitted = (
            self.intercept
            + self.temperature * state["state_t"]
            + self.solin * state["pbuf_SOLIN"]
            + self.coszrs * state["pbuf_COSZRS"]
        )
        return {"ptend_t": torch.where(self.replaced, fitted, outputs["ptend_t"])}


def _check(context: ConstraintContext, parameters: StableTopParameters) -> None:
    """Raise ContractError for levels that are not there, and coefficients that are not fitted or
    overshoot within a step.
    """
    outside = [k for k in parameters.levels if k >= context.level_count]
    if outside:
        raise ContractError(
            f"stable_top: levels {outside} are outside 0..{context.level_count - 1}"
        )
    if not parameters.fitted:
        raise ContractError(
            "stable_top has no coefficients: `climlink train` and `climlink export RUN "
            "--constraint 'stable_top={above_pa: PA}'` fit them to the run's store"
        )
    step = context.require_time_step(StableTop.name)
    strongest = min(parameters.temperature)
    if strongest < -1.0 / step:
        raise ContractError(
            f"stable_top: a temperature coefficient of {strongest:.4g} per s overshoots within a "
            f"time step of {step:g} s; at least {-1.0 / step:.4g} is allowed"
        )
