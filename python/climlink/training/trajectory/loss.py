"""The objective of a stage that trains through recorded steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.training.config import TrainingConfig
from climlink.training.data import Batch
from climlink.training.errors import TrainingError
from climlink.training.losses import ColumnLoss
from climlink.training.trajectory.rollout import MeanTendencyErrors, Rollout, Sequence
from climlink.wrappers.wrapped_emulator import WrappedEmulator


class TrajectoryLoss(nn.Module):
    """The stage's loss on errors along a trajectory (MeanTendencyErrors), a mean over its steps."""

    def __init__(self, config: TrainingConfig, emulator: WrappedEmulator, loss: ColumnLoss) -> None:
        """TrainingError for a loss or a contract that trajectories cannot have."""
        super().__init__()
        assert config.trajectory is not None
        if config.loss.needs_confidence or config.loss.host_outputs:
            what = "host_outputs" if config.loss.host_outputs else "a confidence"
            raise TrainingError(
                f"loss: a trajectory is scored by the state it reaches, not by {what}; leave that "
                "out of the stage's loss"
            )
        self.loss = loss
        self._truncate = config.trajectory.truncate
        self._rollout = Rollout(emulator.contract)
        self._errors = MeanTendencyErrors(self._rollout, emulator)

    def forward(self, emulator: WrappedEmulator, batch: Sequence) -> Tensor:
        """Return the loss, a scalar, of an emulator for a batch of trajectories."""
        errors, outputs = self._rollout.errors(emulator, batch, self._truncate)
        total = torch.zeros((), device=batch.inputs.device)
        for step, (error, output) in enumerate(zip(errors, outputs, strict=True)):
            rows = self._errors(error, output - batch.outputs[step].to(torch.float64), step + 1)
            total = total + self.loss.of_rows(emulator, rows, rows[:, :0], _no_error(rows))
        return total / len(errors)

    def blame(self, emulator: WrappedEmulator, batch: Sequence) -> str:
        """Return, for people, in which step (from 1) which state is no longer finite, and what to
        do.
        """
        for what, part in zip(("inputs", "outputs"), batch, strict=True):
            if not bool(torch.isfinite(part).all()):
                return (
                    f"recorded {what} are not finite; check the store with climlink data describe"
                )
        cure = "begin with fewer steps, lower optimizer.learning_rate or set gradient_clip"
        with torch.no_grad():
            errors, outputs = self._rollout.errors(emulator, batch)
        for step, (error, output) in enumerate(zip(errors, outputs, strict=True), start=1):
            left = [
                m.name
                for m in self._rollout.moved
                if not bool(torch.isfinite(error[:, m.input]).all())
            ]
            if left or not bool(torch.isfinite(output).all()):
                named = ", ".join(left) or "a flux"
                return f"{named} of step {step} of the trajectory is not finite; {cure}"
        return f"every step is finite, so the sum overflowed; {cure}"


def _no_error(rows: Tensor) -> Batch:
    """Return a batch whose targets are zero: what is scored against it are errors."""
    return Batch(rows[:, :0], torch.zeros_like(rows), rows[:, :0], rows[:, :0])
