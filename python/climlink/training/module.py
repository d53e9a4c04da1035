"""The Lightning module: one optimization step, the validation scores, and what a checkpoint holds
besides weights.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from climlink.data.competition import Weights
from climlink.training.augment import Augmentation, step_generator
from climlink.training.blame import blame
from climlink.training.checkpoint import CheckpointRecord, attach_record
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch, HostOutputs
from climlink.training.errors import TrainingError
from climlink.training.losses import ColumnLoss
from climlink.training.optimizer_config import OptimizerConfig
from climlink.training.schedule import rate_factor
from climlink.training.scores import RunningScores
from climlink.wrappers.wrapped_emulator import WrappedEmulator


class ColumnTraining(pl.LightningModule):
    """A WrappedEmulator under training. Its state_dict is the emulator's, under ``emulator.``."""

    def __init__(
        self,
        emulator: WrappedEmulator,
        config: TrainingConfig,
        record: CheckpointRecord,
        host: HostOutputs,
        steps_per_epoch: int,
        score_weights: Weights | None = None,
    ) -> None:
        super().__init__()
        self.emulator = emulator
        self.loss = ColumnLoss(config.loss, emulator, host, score_weights)
        self.augment = Augmentation(config.augment, emulator, host)
        self._config = config
        self._host = host
        self._record = record
        self._steps_per_epoch = steps_per_epoch
        self._values = emulator.contract.network_outputs.of_role("value")
        self._scores = RunningScores(self._values, emulator.contract.pruned_levels)
        self._epoch_loss: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; TrainingError if it is not finite."""
        generator = step_generator(
            self._config.seed, self.current_epoch, batch_idx, self.global_rank
        )
        batch = self.augment(batch, generator)
        loss: Tensor = self.loss(self.emulator, batch)
        if not bool(torch.isfinite(loss)):
            where = f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}"
            raise TrainingError(
                f"the loss is {float(loss.detach())} in {where}: "
                f"{blame(self.emulator, batch, self._host)}"
            )
        self._epoch_loss.append(loss.detach())
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the last epoch."""
        self._epoch_loss = []

    def epoch_values(self) -> dict[str, float]:
        """Return what the epoch scored: ``train_loss``, and ``r2_<output>`` where times are held
        out.
        """
        return {"train_loss": float(torch.stack(self._epoch_loss).mean()), **self._scores.values()}

    def on_validation_epoch_start(self) -> None:
        """Start new scores."""
        self._scores.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add held-out columns to the scores of the network's own outputs."""
        rows, _ = self.emulator.network_rows(batch.inputs)
        width = self._values.width
        self._scores.add(rows[:, :width], batch.targets[:, :width])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its schedule, advanced after every batch."""
        optimizer = make_optimizer(self.emulator, self._config.optimizer)
        total = self._steps_per_epoch * self._config.epochs
        schedule = LambdaLR(
            optimizer,
            lambda step: rate_factor(self._config.schedule, step, total, self._steps_per_epoch),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the contract, the architecture and the provenance, and whether this is where the
        training ends itself.
        """
        attach_record(
            checkpoint, self._record.model_copy(update={"stopped_early": self.trainer.should_stop})
        )


def make_optimizer(emulator: WrappedEmulator, config: OptimizerConfig) -> Optimizer:
    """Return AdamW over the network's parameters; biases and norms (one dimension) decay only if
    configured.
    """
    parameters = [p for p in emulator.network.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1 or config.decayed == "all"]
    plain = [p for p in parameters if p.ndim <= 1 and config.decayed != "all"]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return AdamW([g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas)
