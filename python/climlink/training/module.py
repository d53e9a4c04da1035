"""The Lightning module: one optimization step, the skill on held-out columns, and what a checkpoint
holds besides weights.
"""

from __future__ import annotations

from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from climlink.training.augment import Augmentation, step_generator
from climlink.training.checkpoint import CheckpointRecord, Progress, attach_record
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch
from climlink.training.errors import TrainingError
from climlink.training.optimizer_config import OptimizerConfig
from climlink.training.processes import gathered
from climlink.training.schedule import RateSchedule
from climlink.training.scores import SKILL, RunningScores
from climlink.training.trajectory.rollout import Sequence
from climlink.training.validation import HeldOut, scored_variables
from climlink.wrappers.column_budgets import TOA_NET
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_SCHEDULE = "rate_schedule"


class Objective(Protocol):
    """What a stage minimizes over the batches that its data gives."""

    def __call__(self, emulator: WrappedEmulator, batch: Any) -> Tensor:
        """Return the loss of a process's columns, a mean over them."""

    def blame(self, emulator: WrappedEmulator, batch: Any) -> str:
        """Return, for people, why the loss of a batch is not finite."""


class ColumnTraining(pl.LightningModule):
    """A WrappedEmulator in one stage of training. Its state_dict is the emulator's, under
    ``emulator.``.

    ``augment(batch, generator)`` is applied before the objective. The data module's
    ``share_weight(batch number)`` is what the process's mean counts in the mean over all processes.
    """

    def __init__(
        self,
        emulator: WrappedEmulator,
        config: TrainingConfig,
        record: CheckpointRecord,
        objective: Objective,
        augment: Augmentation | None,
        *,
        steps: int,
        epochs: int,
    ) -> None:
        """``config``, ``steps`` and ``epochs`` are the stage's, ``record.progress`` where it
        begins.
        """
        super().__init__()
        self.emulator = emulator
        self.objective = objective
        self.config = config
        self._steps, self._epochs = steps, epochs
        self.best_skill = record.progress.best_skill
        self._record = record
        self.augment = augment
        contract = emulator.contract
        scored = scored_variables(contract)
        self._scores = RunningScores(scored, contract.pruned_levels, unranked=(TOA_NET,))
        self._scores_top = TOA_NET in scored
        self._losses: list[Tensor] = []
        self._values: dict[str, float] | None = None
        self._schedule_state: dict[str, Any] | None = None

    @property
    def progress(self) -> Progress:
        """What is behind the run at the end of this epoch."""
        begun = self._record.progress
        return Progress(
            stage=begun.stage,
            epochs=begun.epochs + self.current_epoch + 1,
            steps=begun.steps + self.global_step,
            stage_ended=self.current_epoch + 1 >= self._epochs,
            best_skill=self.best_skill,
        )

    def on_train_epoch_start(self) -> None:
        """Forget the losses and scores of the last epoch."""
        self._losses, self._values = [], None
        self._scores.reset()

    def on_train_batch_start(self, batch: Batch | Sequence, batch_idx: int) -> None:
        """Set the learning rate, and the random numbers of the batch."""
        self.schedule.before(self.global_step)
        torch.manual_seed(self._generator(batch_idx).initial_seed() ^ 1)  # not those of augment

    def training_step(self, batch: Batch | Sequence, batch_idx: int) -> Tensor:
        """Return the loss of a batch; TrainingError if it is not finite."""
        if self.augment is not None:
            batch = self.augment(batch, self._generator(batch_idx))
        loss = self.objective(self.emulator, batch)
        if not bool(torch.isfinite(loss)):
            where = f"epoch {self.progress.epochs}, batch {batch_idx + 1}"
            why = self.objective.blame(self.emulator, batch)
            raise TrainingError(f"the loss is {float(loss.detach())} in {where}: {why}")
        # Gradients are averaged over processes, which may have different numbers of columns.
        loss = loss * self.trainer.datamodule.share_weight(batch_idx)  # type: ignore[attr-defined]
        self._losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch | Sequence, batch_idx: int) -> None:
        """Advance a schedule that goes by steps."""
        self.schedule.after_batch(self.global_step - 1)

    def on_train_epoch_end(self) -> None:
        """Advance a schedule that goes by epochs; checkpoints are written after it."""
        self.schedule.after_epoch(self.epoch_values().get(SKILL))

    def epoch_values(self) -> dict[str, float]:
        """Return what the epoch scored over all processes: ``train_loss``, and ``r2_<output>`` and
        ``skill`` where times are held out. To be called in every process.
        """
        if self._values is None:
            losses = gathered(torch.stack(self._losses).mean())
            sums = gathered(self._scores.sums.to(self.device))
            self._scores.reset()
            for of_process in sums:
                self._scores.merge(of_process)
            loss = float(torch.stack(losses).mean())
            self._values = {"train_loss": loss, **self._scores.values()}
        return self._values

    def validation_step(self, batch: HeldOut, batch_idx: int) -> None:
        """Add held-out columns to the scores of what the host receives, and of ``toa_net``."""
        rows, _ = self.emulator.normalized_forward(batch.rows)
        predicted = self.emulator.constrain(batch.rows, rows)
        if self._scores_top:
            top = self.emulator.physical_outputs(rows)[TOA_NET]
            predicted = torch.cat([predicted, top], dim=1)
        self._scores.add(predicted, batch.truth)

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer; its schedule is advanced by this module, before checkpoints are
        written (Lightning would do it after).
        """
        optimizer = make_optimizer(self.emulator, self.config.optimizer)
        self.schedule = RateSchedule(
            optimizer,
            self.config.schedule,
            self.config.optimizer,
            steps=self._steps,
            epochs=self._epochs,
        )
        if self._schedule_state is not None:
            self.schedule.load_state_dict(self._schedule_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the contract, the architecture and the provenance, where the run stands, and whether
        this is where the training ends itself.
        """
        checkpoint[_SCHEDULE] = self.schedule.state_dict()
        news = {"progress": self.progress, "stopped_early": self.trainer.should_stop}
        attach_record(checkpoint, self._record.model_copy(update=news))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the schedule of an interrupted stage."""
        self._schedule_state = checkpoint[_SCHEDULE]

    def _generator(self, batch_idx: int) -> torch.Generator:
        """Return this process's random numbers in a batch."""
        epoch = self._record.progress.epochs + self.current_epoch
        return step_generator(self.config.seed, epoch, batch_idx, self.global_rank)


def make_optimizer(emulator: WrappedEmulator, config: OptimizerConfig) -> Optimizer:
    """Return the optimizer of the network's parameters; biases and norms (one dimension) decay only
    if configured. TrainingError where it cannot train them.
    """
    parameters = [p for p in emulator.network.parameters() if p.requires_grad]
    every = config.decayed == "all"
    decayed = [p for p in parameters if p.ndim > 1 or every]
    plain = [p for p in parameters if p.ndim <= 1 and not every]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain}]
    if config.decays:
        for group, decay in zip(groups, (config.weight_decay, 0.0), strict=True):
            group["weight_decay"] = decay
    try:
        return config.build([g for g in groups if g["params"]])
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"optimizer {config.name} cannot train this network: {error}"
        ) from error
