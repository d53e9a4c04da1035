"""The optimizer, the schedule of its learning rate, and the averaging of weights: classes of torch
by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch.optim import Optimizer, lr_scheduler

from climlink.config import StrictModel
from climlink.wrappers.errors import near_names

PLATEAU = "ReduceLROnPlateau"
_TO_THE_END = ("T_max", "total_steps", "total_iters")
"""Arguments of schedules that count until the end, where they are not given."""
_PEAK = "max_lr"
"""Argument of schedules that rise themselves, and to what: the learning rate."""
_NEED_CODE = {
    "LBFGS", "SparseAdam", "Optimizer", "LRScheduler", "LambdaLR", "MultiplicativeLR",
    "SequentialLR", "ChainedScheduler",
}  # fmt: skip
"""Classes that take functions or other schedules, or no dense gradient of one pass."""


def _classes(module: Any, base: type) -> dict[str, type]:
    """Return the classes of a module of torch that numbers alone configure, by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, base) and not name.startswith("_")
        if name not in _NEED_CODE
    }


OPTIMIZERS: Mapping[str, type] = _classes(torch.optim, Optimizer)
SCHEDULES: Mapping[str, type] = _classes(lr_scheduler, lr_scheduler.LRScheduler)


def _known(name: str, known: Mapping[str, type], where: str) -> str:
    if name not in known:
        same = [n for n in known if n.lower() == name.lower()]
        near = f"; did you mean {same[0]!r}?" if same else near_names(name, known)
        raise ValueError(f"{where} has no {name!r}{near}; known: {', '.join(sorted(known))}")
    return name


def parameters_of(kind: type) -> dict[str, inspect.Parameter]:
    """Return what a class of torch can be given, but for the parameters or the optimizer."""
    found = dict(inspect.signature(kind).parameters)
    return {n: p for n, p in found.items() if n not in ("params", "optimizer", "last_epoch")}


def _check_arguments(kind: type, given: Mapping[str, Any], reserved: Mapping[str, str]) -> None:
    """Raise ValueError for an argument that a class does not have, or that another key sets."""
    known = parameters_of(kind)
    for name in given:
        if name in reserved:
            raise ValueError(f"{name} of {kind.__name__} is set by {reserved[name]}")
        if name not in known:
            near = near_names(name, known)
            names = ", ".join(n for n in known if n not in reserved)
            raise ValueError(f"{kind.__name__} has no argument {name!r}{near}; it has {names}")


class OptimizerConfig(StrictModel):
    """An optimizer of torch.optim."""

    name: str = Field(default="AdamW", description="a class of torch.optim")
    learning_rate: float = Field(default=1e-3, gt=0, description="at the peak of the schedule")
    weight_decay: float = Field(
        default=0.01, ge=0, description="decay of the weights, decoupled where the class does so"
    )
    decayed: Literal["matrices", "all"] = Field(
        default="matrices", description="decay weights only, or biases and norms too (published)"
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the class, such as betas"
    )

    @model_validator(mode="after")
    def _constructible(self) -> OptimizerConfig:
        kind = OPTIMIZERS[_known(self.name, OPTIMIZERS, "torch.optim")]
        reserved = {"lr": "learning_rate", "weight_decay": "weight_decay"}
        _check_arguments(kind, self.arguments, reserved)
        _attempt(lambda: self.build([{"params": [_parameter()]}]), self.name)
        return self

    @property
    def decays(self) -> bool:
        """Whether the class knows a weight decay."""
        return "weight_decay" in parameters_of(OPTIMIZERS[self.name])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        """Return the optimizer of some groups of parameters."""
        optimizer = OPTIMIZERS[self.name](groups, lr=self.learning_rate, **self.arguments)
        assert isinstance(optimizer, Optimizer)
        return optimizer


class ScheduleConfig(StrictModel):
    """The learning rate over a stage: a linear rise, then a schedule of torch.optim.lr_scheduler.

    Arguments that count until the end (T_max, total_steps, total_iters) are filled from the length
    of the stage where they are not given.
    """

    name: str | None = Field(
        default="CosineAnnealingLR",
        description="a class of torch.optim.lr_scheduler; null: a constant rate. ReduceLROnPlateau "
        "watches the skill on held-out times",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of the class; what counts steps counts ``interval``s, and rates are "
        "absolute (eta_min)",
    )
    warmup_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="part of the stage's batches over which the rate rises linearly; the schedule "
        "begins after it where it goes by steps",
    )
    interval: Literal["step", "epoch"] = Field(
        default="step", description="what the schedule counts: batches or epochs"
    )

    @model_validator(mode="after")
    def _constructible(self) -> ScheduleConfig:
        if self.name is None:
            if self.arguments:
                raise ValueError("a constant rate (name: null) takes no arguments")
            return self
        kind = SCHEDULES[_known(self.name, SCHEDULES, "torch.optim.lr_scheduler")]
        _check_arguments(kind, self.arguments, {})
        if self.name == PLATEAU and self.interval != "epoch":
            raise ValueError(f"{PLATEAU} needs interval: epoch; it acts on what an epoch scored")
        if self.name == "OneCycleLR" and self.warmup_fraction:
            raise ValueError("OneCycleLR rises itself (pct_start); set warmup_fraction: 0")
        rate = 1.0
        trial = torch.optim.AdamW([_parameter()], lr=rate)
        _attempt(lambda: self.build(trial, 100, rate), self.name)
        return self

    def build(self, optimizer: Optimizer, length: int, peak: float) -> Any:
        """Return the schedule of an optimizer over ``length`` steps or epochs, whose highest rate
        is ``peak``.
        """
        assert self.name is not None
        kind = SCHEDULES[self.name]
        given: dict[str, Any] = {"mode": "max"} if self.name == PLATEAU else {}
        for name in parameters_of(kind):
            if name in _TO_THE_END:
                given[name] = length
            elif name == _PEAK:
                given[name] = peak
        return kind(optimizer, **{**given, **self.arguments})


class AveragingConfig(StrictModel):
    """Averages of weights over the batches of a stage; they are what is scored, kept and exported.

    ``ema``: exponential moving average. ``swa``: the mean of the weights after every ``every``-th
    epoch. The running statistics of batch norms are averaged as weights are.
    """

    kind: Literal["none", "ema", "swa"] = Field(
        default="none", description="no average, an exponential one, or a mean over epochs"
    )
    decay: float = Field(
        default=0.999, gt=0, lt=1, description="what of the old average stays at an update (ema)"
    )
    start: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="part of the stage after which averaging begins; before it the weights count "
        "as they are",
    )
    every: int = Field(default=1, ge=1, description="batches (ema) or epochs (swa) between updates")


def _parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(1, 1))


def _attempt(make: Any, name: str) -> None:
    """Make something of torch once, so that a wrong value is told where the file has it."""
    try:
        make()
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{name}: {error}") from error
