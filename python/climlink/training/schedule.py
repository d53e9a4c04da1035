"""The learning rate of a stage: torch's schedules behind a linear rise, advanced by batches or by
epochs.
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from climlink.training.errors import TrainingError
from climlink.training.optimizer_config import PLATEAU, OptimizerConfig, ScheduleConfig


class RateSchedule:
    """Sets an optimizer's learning rate; its state is the one of torch's schedule.

    During the rise of ``w`` batches, batch i (from 0) has (i + 1)/(w + 1) of the schedule's rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        config: ScheduleConfig,
        rates: OptimizerConfig,
        *,
        steps: int,
        epochs: int,
    ) -> None:
        """``steps`` and ``epochs`` are the length of the stage."""
        self.optimizer = optimizer
        self._by_epoch = config.interval == "epoch"
        self._rise = round(config.warmup_fraction * steps)
        length = epochs if self._by_epoch else max(1, steps - self._rise)
        self._on_plateau = config.name == PLATEAU
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self.rate = self._rates[0]
        """Of the latest batch."""
        self._schedule = None
        if config.name is not None:
            try:
                self._schedule = config.build(optimizer, length, rates.learning_rate)
            except (TypeError, ValueError, KeyError) as error:
                raise TrainingError(
                    f"schedule {config.name} cannot run over {length} {config.interval}s of "
                    f"{type(optimizer).__name__}: {error}"
                ) from error
            self._rates = [group["lr"] for group in optimizer.param_groups]

    def before(self, step: int) -> None:
        """Set the rate of batch ``step`` (from 0) of the stage."""
        factor = min(1.0, (step + 1) / (self._rise + 1))
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = factor * rate
        self.rate = factor * self._rates[0]

    def after_batch(self, step: int) -> None:
        """Advance a schedule of steps behind batch ``step``."""
        if not self._by_epoch and step >= self._rise:
            self._advance()

    def after_epoch(self, skill: float | None) -> None:
        """Advance a schedule of epochs, by what the epoch scored where it watches that."""
        if self._by_epoch:
            self._advance(*((skill,) if self._on_plateau else ()))

    def _advance(self, *metric: float | None) -> None:
        if self._schedule is None:
            return
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate  # without the rise: most schedules go on from the rate they find
        self._schedule.step(*metric)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule stands."""
        state = {} if self._schedule is None else self._schedule.state_dict()
        return {"rates": self._rates, "schedule": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where a schedule stood."""
        self._rates = list(state["rates"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
