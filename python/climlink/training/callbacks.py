"""What happens after each epoch: a checkpoint, a line in metrics.csv; and how checkpoints get to
the disk.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from climlink.data.files import replacing
from climlink.training.checkpoint import BEST, LAST
from climlink.training.module import ColumnTraining
from climlink.training.scores import RunningScores


class PlainCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it is asked to: Lightning's own goes through the folder for
    temporary files, which may be full.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write in one piece: torch, writing by itself, hides why a disk refuses."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).write_bytes(buffer.getbuffer())


class EpochCheckpoint(Checkpoint):
    """Writes last.ckpt after every epoch and best.ckpt when the held-out scores improve; each
    beside its old file, then renamed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._best: float | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save."""
        assert isinstance(pl_module, ColumnTraining)
        score = RunningScores.summary(pl_module.epoch_values())
        improved = score is not None and (self._best is None or score > self._best)
        if improved:
            self._best = score
        with replacing(self._folder / LAST) as last:
            trainer.save_checkpoint(last)
            if improved:
                # Before last.ckpt, which says that it is there: a run that ends in between does
                # this epoch again.
                with replacing(self._folder / BEST) as best:
                    shutil.copyfile(last, best)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score of the interrupted run."""
        self._best = state_dict["best"]


class MetricsFile(Callback):
    """One line per epoch: epoch from 1, optimizer steps so far, learning rate, seconds of the
    epoch, training loss and scores.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the line; lines of epochs that an interrupted run began and did not save are
        replaced.
        """
        assert isinstance(pl_module, ColumnTraining)
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.monotonic() - self._started, 3),
            **pl_module.epoch_values(),
        }
        kept = (
            [r for r in read_metrics(self._path) if int(r["epoch"]) < row["epoch"]]
            if self._path.exists()
            else []
        )
        with (
            replacing(self._path) as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows([*kept, row])


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the lines of a metrics.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
