"""The range policy: what the network sees is clipped to its training ranges, and the state is drawn
back to where it is outside of them. A hybrid that needs it is alive on support.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.wrappers.constants import GRAVITY, HEAT_CAPACITY_DRY_AIR, SECONDS_PER_DAY
from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import Strict
from climlink.wrappers.statistics import FILL_THRESHOLD
from climlink.wrappers.vertical import PressureLevels

SUPPORT_HEATING_W_M2 = 0.1
"""Global mean heating by relaxation beyond which a run is alive on support, not alive."""
SUPPORT_MASS = 0.01
"""Share of the mass touched by relaxation beyond which a run is alive on support, not alive."""

TENDENCY_OF = {
    "state_t": "ptend_t",
    "state_q0001": "ptend_q0001",
    "state_q0002": "ptend_q0002",
    "state_q0003": "ptend_q0003",
    "state_u": "ptend_u",
    "state_v": "ptend_v",
}
"""States that may be relaxed, and the tendency that does it."""

Ranges = Mapping[str, list[list[float]]]
"""{host input: [minimum, maximum]} of training, one number or one per value each."""


def _limits(
    rule: str, name: str, ranges: Ranges, width: int, margin: float
) -> tuple[Tensor, Tensor]:
    """Return lower and upper limit [width], float64, of a host input: its training range, widened
    by ``margin`` times its length on both sides.
    """
    if name not in ranges:
        raise ContractError(
            f"constraint {rule!r} needs the training range of {name}{near_names(name, ranges)}; "
            f"ranges are known of the inputs {', '.join(ranges) or 'none'}"
        )
    low, high = (torch.tensor(end, dtype=torch.float64).expand(width) for end in ranges[name])
    wider = margin * (high - low)
    return low - wider, high + wider


class InputClipParameters(Strict):
    """``inputs``: what is clipped; null: every value input whose training range is known.
    ``margin`` widens the ranges on both sides, in parts of their length.
    """

    inputs: list[str] | None = Field(default=None, min_length=1)
    margin: float = Field(default=0.0, ge=0)


class InputClip(PhysicalConstraint):
    """The network sees no value of the host outside the training range: every one is clipped by
    itself, before anything is derived from it. Constraints see the true state.

    Fill values, NaN and infinities pass as they are. Alone it made an unstable hybrid worse: what
    the network says of the edge of its range goes on for ever there.
    """

    name: ClassVar[str] = "input_clip"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = InputClipParameters

    if TYPE_CHECKING:
        lower: Tensor
        upper: Tensor

    def __init__(self, context: ConstraintContext, parameters: InputClipParameters) -> None:
        super().__init__()
        inputs = context.require_inputs(self.name)
        values = inputs.of_role("value").names
        for name in parameters.inputs or []:
            if name not in values:
                raise ContractError(
                    f"input_clip cannot clip {name!r}{near_names(name, values)}: input set "
                    f"{inputs.name!r} sends {', '.join(values)}"
                )
        self._inputs = inputs
        self._chosen = parameters.inputs
        self._margin = parameters.margin
        chosen = list(values) if parameters.inputs is None else parameters.inputs
        self.input_names = list(chosen)
        self.starts = [inputs.slice(n).start for n in chosen]
        self.stops = [inputs.slice(n).stop for n in chosen]
        self.fill_threshold: float = FILL_THRESHOLD
        for name, value in (("lower", -float("inf")), ("upper", float("inf"))):
            self.register_buffer(name, torch.full((inputs.width,), value, dtype=torch.float64))

    @torch.jit.unused
    def give_ranges(self, ranges: Ranges) -> None:
        """Fill the limits; ContractError where a named input, or every one, has no range."""
        known = [n for n in self._inputs.of_role("value").names if n in ranges]
        chosen = known if self._chosen is None else self._chosen
        if not chosen:
            raise ContractError(
                "input_clip needs training ranges, and none is known of any input; export from "
                "the training run, or give statistics"
            )
        for name in chosen:
            where = self._inputs.slice(name)
            width = self._inputs.width_of(name)
            limits = _limits(self.name, name, ranges, width, self._margin)
            self.lower[where], self.upper[where] = limits

    def seen(self, x: Tensor) -> Tensor:
        """Return host rows [batch, n_input] within the limits."""
        if not self.enabled:
            return x
        # A range of training columns, rounded as a row is, never clips one of them.
        limited = torch.minimum(torch.maximum(x.to(torch.float64), self.lower), self.upper)
        ordinary = torch.isfinite(x) & (x < self.fill_threshold)
        return torch.where(ordinary, limited.to(x.dtype), x)

    def input_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what clipping adds to every input that it may clip."""
        added = self.seen(x).to(torch.float64) - x.to(torch.float64)
        added = torch.where(torch.isfinite(x), added, torch.zeros_like(added))
        changes: dict[str, Tensor] = {}
        for i, name in enumerate(self.input_names):
            changes[name] = added[:, self.starts[i] : self.stops[i]]
        return changes

    def range_use(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return the number of clipped values, and zeros, [batch, 3]."""
        clipped = torch.isfinite(x) & (self.seen(x) != x)
        count = clipped.to(torch.float64).sum(1, keepdim=True)
        return torch.cat([count, torch.zeros_like(count), torch.zeros_like(count)], dim=1)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return nothing: no output is changed."""
        changed: dict[str, Tensor] = {}
        return changed


Rate = Annotated[float, Field(ge=0)]


class RangeRelaxationParameters(Strict):
    """``rates_per_day``: host state -> rate in 1/day, one or one per level. ``margin`` widens the
    training ranges on both sides, in parts of their length.
    """

    rates_per_day: dict[str, Rate | list[Rate]] = Field(min_length=1)
    margin: float = Field(default=0.0, ge=0)


class RangeRelaxation(PhysicalConstraint):
    """Where a state is outside its training range its tendency is given -rate (x - clip(x)): it is
    drawn back to the edge at the stated rate, and left alone inside.

    On pruned levels only the temperature is relaxed: the tendencies of water and wind are zero.
    """

    name: ClassVar[str] = "range_relaxation"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = RangeRelaxationParameters

    if TYPE_CHECKING:
        relaxations: Any

    def __init__(self, context: ConstraintContext, parameters: RangeRelaxationParameters) -> None:
        super().__init__()
        names = list(parameters.rates_per_day)
        for name in names:
            if name not in TENDENCY_OF:
                raise ContractError(
                    f"range_relaxation cannot relax {name!r}{near_names(name, TENDENCY_OF)}, only "
                    f"{', '.join(TENDENCY_OF)}"
                )
        self.states = names
        self.tendencies = [TENDENCY_OF[n] for n in names]
        self.requires_state = [*names, "state_ps"]
        self.requires_outputs = list(self.tendencies)
        self.relaxations = nn.ModuleList(
            Relaxation(_rate(n, rate, context)) for n, rate in parameters.rates_per_day.items()
        )
        self.levels = PressureLevels(context.require_hybrid(self.name))
        self.heat_capacity: float = HEAT_CAPACITY_DRY_AIR
        self.gravity: float = GRAVITY
        self._margin = parameters.margin

    @torch.jit.unused
    def give_ranges(self, ranges: Ranges) -> None:
        """Fill the limits; ContractError where a state that is relaxed has no range."""
        for name, part in zip(self.states, self.relaxations, strict=True):
            assert isinstance(part, Relaxation)
            limits = _limits(self.name, name, ranges, part.rate.numel(), self._margin)
            part.lower[:], part.upper[:] = limits

    def range_use(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return zero, W/m2 of heating and share of the mass that is touched, [batch, 3]."""
        interfaces = self.levels.interfaces(state["state_ps"])
        thickness = interfaces[:, 1:] - interfaces[:, :-1]
        touched = torch.zeros_like(thickness)
        heating = torch.zeros_like(thickness)
        for i, relaxation in enumerate(self.relaxations):
            value = state[self.states[i]]
            touched = torch.maximum(touched, relaxation.outside(value))
            if self.states[i] == "state_t":
                heating = self.heat_capacity / self.gravity * relaxation(value).abs()
        column = (heating * thickness).sum(1)
        share = (touched * thickness).sum(1) / thickness.sum(1)
        use = torch.stack([torch.zeros_like(column), column, share], dim=1)
        return use if self.enabled else torch.zeros_like(use)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tendencies [batch, level] with relaxation added."""
        changed: dict[str, Tensor] = {}
        for i, relaxation in enumerate(self.relaxations):
            tendency = self.tendencies[i]
            changed[tendency] = outputs[tendency] + relaxation(state[self.states[i]])
        return changed


class Relaxation(nn.Module):
    """Relaxation of one profile toward its range; limits are infinite until they are given."""

    if TYPE_CHECKING:
        rate: Tensor
        lower: Tensor
        upper: Tensor

    def __init__(self, rate_per_s: Tensor) -> None:
        super().__init__()
        self.register_buffer("rate", rate_per_s)
        self.register_buffer("lower", torch.full_like(rate_per_s, -float("inf")))
        self.register_buffer("upper", torch.full_like(rate_per_s, float("inf")))

    def forward(self, value: Tensor) -> Tensor:
        """Return -rate (x - clip(x)) [batch, level], in the units of x per second."""
        return -self.rate * (value - torch.minimum(torch.maximum(value, self.lower), self.upper))

    def outside(self, value: Tensor) -> Tensor:
        """Return 1 where a level is relaxed, else 0, [batch, level], float64."""
        beyond = (value < self.lower) | (value > self.upper)
        return (beyond & (self.rate > 0.0)).to(torch.float64)


def _rate(name: str, per_day: float | list[float], context: ConstraintContext) -> Tensor:
    """Return the rate of a state [level] in 1/s, float64, as it acts; ContractError for a wrong
    length, no rate at all, and a rate that would overshoot within a step.
    """
    n, step = context.level_count, context.require_time_step(RangeRelaxation.name)
    given = per_day if isinstance(per_day, list) else [per_day]
    if len(given) not in (1, n):
        raise ContractError(
            f"range_relaxation of {name}: expected 1 rate or {n}, one per level, got {len(given)}"
        )
    most = SECONDS_PER_DAY / step
    fast = [r for r in given if r > most]
    if fast:
        raise ContractError(
            f"range_relaxation of {name}: {max(fast):g} per day is more than the whole excess in a "
            f"time step of {step:g} s; the largest rate is {most:g} per day"
        )
    rate = torch.tensor(given, dtype=torch.float64).expand(n) / SECONDS_PER_DAY
    if name != "state_t":
        rate = torch.cat(
            [torch.zeros_like(rate[: context.pruned_levels]), rate[context.pruned_levels :]]
        )
    if not bool((rate > 0.0).any()):
        raise ContractError(
            f"range_relaxation of {name}: no rate is above 0 on a level where it can act; leave "
            "the state out"
        )
    return rate
