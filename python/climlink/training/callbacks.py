"""What happens after each batch and epoch: a checkpoint, a line in metrics.csv and for TensorBoard,
progress; and how checkpoints get to the disk.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from climlink.data.files import replacing
from climlink.training.checkpoint import BEST, LAST
from climlink.training.module import ColumnTraining
from climlink.training.scores import SKILL

EPOCH_FILES = "epoch_{}.ckpt"
_TEXT_COLUMNS = ("stage",)
_REFRESH = 5  # batches between updates of the progress bar


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
    """Writes last.ckpt after every epoch, best.ckpt when the skill improves, and keeps the newest
    ``kept`` as epoch_<n>.ckpt; each beside its old file, then renamed.
    """

    def __init__(self, folder: Path, kept: int = 0) -> None:
        self._folder = folder
        self._kept = kept

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save."""
        assert isinstance(pl_module, ColumnTraining)
        skill, best = pl_module.epoch_values().get(SKILL, math.nan), pl_module.best_skill
        improved = math.isfinite(skill) and (best is None or skill > best)
        if improved:
            pl_module.best_skill = skill
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self._folder / LAST)  # takes part, and writes nothing
            return
        epoch = pl_module.progress.epochs
        copies = [BEST] * improved + [EPOCH_FILES.format(epoch)] * (self._kept > 0)
        with replacing(self._folder / LAST) as last:
            trainer.save_checkpoint(last)
            for name in copies:
                # Before last.ckpt, which says that it is there: a run that ends in between does
                # this epoch again.
                with replacing(self._folder / name) as copy:
                    shutil.copyfile(last, copy)
        if self._kept:
            for file, number in kept_epochs(self._folder):
                if number <= epoch - self._kept:
                    file.unlink()


def kept_epochs(folder: Path) -> list[tuple[Path, int]]:
    """Return the checkpoints of single epochs in a folder, with their numbers, in order."""
    found = []
    for file in folder.glob(EPOCH_FILES.format("*")):
        with suppress(ValueError):
            found.append((file, int(file.stem.removeprefix("epoch_"))))
    return sorted(found, key=lambda one: one[1])


class MetricsFile(Callback):
    """One line per epoch: epoch from 1, stage, optimizer steps so far, learning rate of the last
    batch, seconds of the epoch, training loss and scores.
    """

    def __init__(self, path: Path, stage: str, board: Path | None = None) -> None:
        """``board`` is the folder for TensorBoard; None writes nothing there."""
        self._path = path
        self._stage = stage
        self._board = board
        self._writer: Any = None
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the line; lines of epochs that an interrupted run began and did not save are
        replaced.
        """
        assert isinstance(pl_module, ColumnTraining)
        values = pl_module.epoch_values()
        if not trainer.is_global_zero:
            return
        row: dict[str, Any] = {
            "epoch": pl_module.progress.epochs,
            "stage": self._stage,
            "step": pl_module.progress.steps,
            "learning_rate": pl_module.schedule.rate,
            "seconds": round(time.monotonic() - self._started, 3),
            **values,
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
        if self._board is not None:
            self._write_board(self._board, row)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()

    def _write_board(self, folder: Path, row: dict[str, Any]) -> None:
        """Add the numbers of an epoch to TensorBoard's file."""
        from torch.utils.tensorboard import SummaryWriter

        epoch = int(row["epoch"])
        if self._writer is None:
            # What an interrupted run wrote of this epoch and later ones is hidden.
            self._writer = SummaryWriter(str(folder), purge_step=epoch)
        for name, value in row.items():
            if name not in ("epoch", *_TEXT_COLUMNS):
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the lines of a metrics.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(line: dict[str, str]) -> dict[str, float]:
    """Return the numbers of a line of metrics.csv."""
    return {k: float(v) for k, v in line.items() if k not in _TEXT_COLUMNS and v != ""}


class RunBar(Callback):
    """Shows the optimizer steps of the whole run on a bar, ``bar(done, total, note)``."""

    def __init__(self, bar: Callable[[int, int, str], None], total: int, stage: str) -> None:
        self._bar, self._total, self._stage = bar, total, stage

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show how far it is."""
        assert isinstance(pl_module, ColumnTraining)
        done = pl_module.progress.steps
        if trainer.is_global_zero and (done % _REFRESH == 0 or done == self._total):
            loss = float(outputs["loss"])
            note = f"{self._stage}, epoch {pl_module.progress.epochs}, loss {loss:.4g}"
            self._bar(done, self._total, note)
