"""Averages of weights: over the batches of a stage, and of checkpoints that training kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from climlink.data.files import replacing
from climlink.training.checkpoint import CheckpointRecord, attach_record, read_checkpoint
from climlink.training.errors import TrainingError
from climlink.training.optimizer_config import AveragingConfig


class StageAverage(WeightAveraging):
    """Lightning's WeightAveraging as AveragingConfig says it. Before averaging begins, the average
    is the weights themselves at the end of every epoch.
    """

    def __init__(self, config: AveragingConfig, *, steps_per_epoch: int, epochs: int) -> None:
        super().__init__(use_buffers=True, avg_fn=self._mean)
        self._config = config
        self._per_epoch = steps_per_epoch
        whole = int(config.start * epochs) * steps_per_epoch
        ema = config.kind == "ema"
        self._first = int(config.start * epochs * steps_per_epoch) if ema else whole
        self._epoch_ends = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Say whether batch ``step_idx`` (from 0) of the stage is followed by an update."""
        if step_idx is None:
            return False
        begun, since = step_idx >= self._first, step_idx - self._first
        if begun and self._config.kind == "ema":
            return since % self._config.every == 0
        epochs = since // self._per_epoch
        return self._epoch_ends and not (begun and epochs % self._config.every)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update; before the start the count is kept at zero, which makes an update a copy."""
        self._epoch_ends = trainer.is_last_batch
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step <= self._first and self._average_model is not None:
            self._average_model.n_averaged.zero_()

    def _mean(self, average: Tensor, current: Tensor, count: Tensor) -> Tensor:
        """Return the new average; constants, and integers, stay what they are."""
        if not average.is_floating_point():
            return current
        ema = self._config.kind == "ema"
        weight = 1.0 - self._config.decay if ema else 1.0 / (int(count) + 1)
        return torch.where(average == current, current, average.lerp(current, weight))


def average_checkpoints(paths: Sequence[str | Path], output: str | Path) -> Path:
    """Write a checkpoint whose weights are the mean of those of others, and return its path.

    The mean is formed in float64; running statistics of batch norms are averaged too. TrainingError
    where they are not of one network on one set of data, begun from one seed.
    """
    files = [Path(p) for p in paths]
    if len(files) < 2:
        raise TrainingError(f"an average needs at least two checkpoints, got {len(files)}")
    read = [read_checkpoint(p) for p in files]
    first = read[0][1]
    for path, (_, record) in zip(files[1:], read[1:], strict=True):
        _require_same(files[0], first, path, record)
    states = [checkpoint["state_dict"] for checkpoint, _ in read]
    newest, record = max(read, key=lambda one: one[1].progress.epochs)
    result = {
        **{k: newest[k] for k in ("epoch", "global_step", "pytorch-lightning_version")},
        "state_dict": {k: _mean_of([state[k] for state in states]) for k in states[0]},
    }
    attach_record(result, record.model_copy(update={"averaged": [str(p) for p in files]}))
    with replacing(Path(output)) as beside:
        torch.save(result, beside)
    return Path(output)


def _require_same(
    path: Path, record: CheckpointRecord, other_path: Path, other: CheckpointRecord
) -> None:
    """Raise TrainingError unless two checkpoints hold weights of one network from one start."""
    for key in (
        "contract",
        "architecture",
        "architecture_configuration",
        "seed",
        "data_digest",
        "statistics_digest",
    ):
        one, two = getattr(record, key), getattr(other, key)
        if one != two:
            told = "" if key == "contract" else f" ({one!r:.80} and {two!r:.80})"
            raise TrainingError(
                f"{path} and {other_path} differ in {key.replace('_', ' ')}{told}: a mean of their "
                "weights is no network; average checkpoints of one training, and the outputs of "
                "different ones (climlink ensemble mean)"
            )


def _mean_of(values: list[Tensor]) -> Tensor:
    """Return the mean, in the type of the values; of integers the largest, which counts most."""
    stacked = torch.stack(values)
    if not stacked.is_floating_point():
        return stacked.amax(dim=0)
    constant = bool((stacked == stacked[:1]).all())
    return values[0] if constant else stacked.to(torch.float64).mean(dim=0).to(values[0].dtype)
