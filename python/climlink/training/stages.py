"""The stages of a run, one after the other, each by Lightning; and where an interrupted run goes
on.
"""

from __future__ import annotations

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from climlink.data.files import replacing
from climlink.signals import Interrupted
from climlink.training.assembly import Parts, Stage
from climlink.training.averaging import StageAverage
from climlink.training.callbacks import EpochCheckpoint, MetricsFile, PlainCheckpointIO, RunBar
from climlink.training.checkpoint import (
    BEST,
    CHECKPOINT_FOLDER,
    LAST,
    Progress,
    load_weights,
    read_checkpoint,
)
from climlink.training.column_data import StageData
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.module import ColumnTraining
from climlink.training.processes import Processes, first
from climlink.training.quiet import quieted

METRICS_FILE = "metrics.csv"
BOARD_FOLDER = "tensorboard"
START = "start_{}.ckpt"
"""Checkpoint that a stage with ``start_from: best`` begins from, as the stage before left it."""
_OF_LIGHTNING = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
Bar = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Place:
    """Where a run computes and writes."""

    directory: Path
    processes: Processes
    environment: ClusterEnvironment
    rank: int

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.directory / CHECKPOINT_FOLDER


def run_stages(
    parts: Parts, place: Place, *, resume: bool, bar: Bar | None, stop_after: int | None
) -> None:
    """Train all stages, or from the last checkpoint what is left of them, up to ``stop_after``
    epochs in all.
    """
    total = sum(stage.steps for stage in parts.stages)
    done = read_checkpoint(place.checkpoints / LAST)[1].progress if resume else None
    for number, stage in enumerate(parts.stages):
        left = stage.epochs if stop_after is None else stop_after - stage.begun.epochs
        if left <= 0:
            return
        if done is not None and (number, True) <= (done.stage, done.stage_ended):
            continue
        halfway = done is not None and number == done.stage
        if number > 0 and not halfway:
            first(place.rank, partial(_keep_start, stage, place.checkpoints))
            start = _start(stage, place.checkpoints)
            load_weights(parts.emulator, read_checkpoint(start)[0], start)
        module = parts.module(stage, None if done is None else done.best_skill)
        callbacks = [*_callbacks(stage, place), *([RunBar(bar, total, stage.name)] if bar else [])]
        with _quiet_lightning():
            trainer = _trainer(stage.config, min(left, stage.epochs), callbacks, place)
            _fit(trainer, module, stage.data, place.checkpoints / LAST if halfway else None)
        stage.data.release()
        if trainer.should_stop:
            return
        done = (done or Progress()).model_copy(update={"best_skill": module.best_skill})
        done = done.model_copy(update={"stage": number, "stage_ended": True})


def _start(stage: Stage, checkpoints: Path) -> Path:
    """Return the checkpoint that a stage behind the first begins from."""
    name = START.format(stage.name) if stage.start_from == "best" else LAST
    return checkpoints / name


def _keep_start(stage: Stage, checkpoints: Path) -> None:
    """Keep the best checkpoint for a stage that begins from it: its own epochs may replace it, and
    be done again after an interruption.
    """
    start = _start(stage, checkpoints)
    if stage.start_from == "best" and not start.exists():
        with replacing(start) as beside:
            shutil.copyfile(checkpoints / BEST, beside)


def _callbacks(stage: Stage, place: Place) -> list[Callback]:
    config = stage.config
    callbacks: list[Callback] = [
        MetricsFile(
            place.directory / METRICS_FILE,
            stage.name,
            place.directory / BOARD_FOLDER if config.tensorboard else None,
        ),
        EpochCheckpoint(place.checkpoints, config.keep_checkpoints),
    ]
    if config.averaging.kind != "none":
        per_epoch = stage.data.steps_per_epoch
        callbacks.append(
            StageAverage(config.averaging, steps_per_epoch=per_epoch, epochs=stage.epochs)
        )
    return callbacks


def _trainer(
    config: TrainingConfig, epochs: int, callbacks: list[Callback], place: Place
) -> pl.Trainer:
    """Return Lightning's trainer of a stage."""
    processes = place.processes
    whole = config.precision == "bf16-true"
    several = processes.world > 1
    return pl.Trainer(
        accelerator=processes.accelerator,
        devices=processes.devices,
        num_nodes=processes.nodes,
        # The graph is the same in every batch, and may leave out parameters: those of a confidence
        # that no loss counts.
        strategy=DDPStrategy(static_graph=True) if several else "auto",
        precision=None if whole else config.precision,
        sync_batchnorm=several and config.sync_batchnorm,
        deterministic=config.deterministic,
        max_epochs=epochs,
        gradient_clip_val=config.gradient_clip,
        gradient_clip_algorithm=config.gradient_clip_by,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0 if config.validation.source == "none" else 1.0,
        use_distributed_sampler=False,
        default_root_dir=place.directory,
        # Always named: without one Lightning looks for a cluster and calls MPI_Init wherever
        # mpi4py is installed.
        plugins=[
            place.environment,
            PlainCheckpointIO(),
            *([NetworkInBFloat16()] if whole else []),
        ],
    )


def _fit(
    trainer: pl.Trainer, module: ColumnTraining, data: StageData, resume_from: Path | None
) -> None:
    """Hand a stage to Lightning."""
    _check_batch_norm(trainer, module)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SIGTERMException as end:
        raise Interrupted(signal.SIGTERM) from end
    except (
        SystemExit
    ) as end:  # what Lightning makes of a KeyboardInterrupt; a library does not end the process
        raise KeyboardInterrupt from end


def _check_batch_norm(trainer: pl.Trainer, module: ColumnTraining) -> None:
    """Raise TrainingError where batch norms should share their statistics and torch cannot."""
    normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())
    on_cpu = trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu"
    if normed and on_cpu and module.config.sync_batchnorm:
        raise TrainingError(
            "torch synchronizes batch norms on GPUs only; with several processes on CPUs set "
            "sync_batchnorm: false (each then takes the statistics of its own columns)"
        )


class NetworkInBFloat16(Precision):
    """Keeps the network's weights in bfloat16; what surrounds it in the graph stays as it is."""

    precision = "bf16-true"

    def __init__(self) -> None:
        self._network: nn.Module | None = None
        self._hooks: list[Any] = []

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Convert the network, and what goes in and comes out."""
        assert isinstance(module, ColumnTraining)
        self._network = network = module.emulator.network.to(torch.bfloat16)
        self._hooks = [
            network.register_forward_pre_hook(lambda _, given: _cast(given, torch.bfloat16)),
            network.register_forward_hook(lambda _, __, result: _cast(result, torch.float32)),
        ]
        return module

    def teardown(self) -> None:
        """Leave the network in float32."""
        for hook in self._hooks:
            hook.remove()
        if self._network is not None:
            self._network.float()


def _cast(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(t.to(dtype) for t in tensors)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on hardware, workers and loggers, which say nothing about the
    run.
    """
    with warnings.catch_warnings(), quieted(_OF_LIGHTNING, logging.ERROR):
        for message in (
            ".*does not have many workers.*",
            ".*`__len__` on your dataset.*|.*IterableDataset.*",
            ".*isinstance\\(treespec, LeafSpec\\).*",
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
