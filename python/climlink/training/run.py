"""A training run from configuration to checkpoint."""

from __future__ import annotations

import logging
import shutil
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

from climlink.data.columns import source_names
from climlink.data.errors import DataError
from climlink.data.files import make_folder, replacing
from climlink.data.statistics import compute_statistics, read_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.packages.scripting import scripted
from climlink.signals import Interrupted
from climlink.threads import intra_op_threads
from climlink.training.callbacks import (
    EpochCheckpoint,
    MetricsFile,
    PlainCheckpointIO,
    read_metrics,
)
from climlink.training.checkpoint import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    LAST,
    STATISTICS_FILE,
    CheckpointRecord,
    find_checkpoint,
    read_checkpoint,
)
from climlink.training.column_data import ColumnData
from climlink.training.config import TrainingConfig, load_training
from climlink.training.data import Encoder, HostOutputs, host_outputs
from climlink.training.errors import TrainingError
from climlink.training.features import with_features
from climlink.training.module import ColumnTraining
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.recorded_statistics import difference_scale, training_ranges
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.wrapped_emulator import WrappedEmulator

METRICS_FILE = "metrics.csv"
_PLACES = ("output", "store", "statistics", "variables")
_FREE_ON_RESUME = ("device", "threads", "workers", "memory_limit_gib", *_PLACES)
"""Settings that may differ between a run and its continuation: where it runs, not what it computes
(the store's digest is compared).
"""

_REFRESH = 5  # batches between updates of the progress bar


@dataclass(frozen=True)
class RunResult:
    """What a call of ``train`` did."""

    directory: Path
    checkpoint: Path
    """The checkpoint to export: the best on held-out times, or the last."""
    epochs: int
    """Epochs that the run has behind it now."""
    seconds: float
    """Wall time of this call."""
    metrics: dict[str, float]
    """The last line of metrics.csv."""


@dataclass(frozen=True)
class _Parts:
    """Everything a run is made of before Lightning takes over."""

    store: ColumnStore
    statistics: Statistics
    record: CheckpointRecord
    module: ColumnTraining
    data: ColumnData


def train(
    config: str | Path | TrainingConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    overrides: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> RunResult:
    """Train an emulator and return where it lies.

    ``resume`` goes on after the last whole epoch of the same run, with the weights, optimizer and
    batches it would have had; with nothing to resume it starts. ``overwrite`` starts again in a
    directory that holds a run. ``overrides`` replaces keys of the configuration. ``stop_after``
    ends this call after so many epochs in all; the schedule still spans ``epochs``. Raises
    TrainingError, ConfigError, StoreError, ContractError or FileError, and Interrupted at SIGTERM;
    torch's threads and random numbers are left as they were.
    """
    started = time.monotonic()
    config = load_training(config, overrides).resolved()
    directory = config.run_directory
    last = directory / CHECKPOINT_FOLDER / LAST
    _check_directory(directory, resume, overwrite)
    with _torch_state(config):
        parts = _assemble(config, progress)
        if resume and last.exists():
            _check_resumable(last, parts.record)
        else:
            _start_directory(directory, config, parts)
        _fit(
            config,
            parts,
            directory,
            last if resume and last.exists() else None,
            progress,
            stop_after,
        )
    lines = read_metrics(directory / METRICS_FILE)
    metrics = {k: float(v) for k, v in lines[-1].items() if v != ""}
    return RunResult(
        directory,
        find_checkpoint(directory),
        int(metrics["epoch"]),
        time.monotonic() - started,
        metrics,
    )


def _check_directory(directory: Path, resume: bool, overwrite: bool) -> None:
    """Raise TrainingError where a run would be lost."""
    if resume and overwrite:
        raise TrainingError("resume and overwrite exclude each other")
    if (directory / CONFIG_FILE).exists() and not (resume or overwrite):
        raise TrainingError(
            f"{directory} already holds a run; go on with it (resume), replace it (overwrite) or "
            "choose another name"
        )
    if directory.exists() and any(directory.iterdir()) and not (directory / CONFIG_FILE).exists():
        raise TrainingError(
            f"{directory} is not empty and holds no run; choose another name or output directory"
        )


def _start_directory(directory: Path, config: TrainingConfig, parts: _Parts) -> None:
    """Write what the run starts from, the file of its architecture included, after removing what
    an overwritten run left.
    """
    for name in (CONFIG_FILE, METRICS_FILE, STATISTICS_FILE):
        (directory / name).unlink(missing_ok=True)
    for file in (directory / CHECKPOINT_FOLDER).glob("*.ckpt"):
        file.unlink()
    make_folder(directory)
    write_statistics(parts.statistics, directory / STATISTICS_FILE)
    source = config.architecture.file
    if source is not None and source.resolve() != (directory / source.name).resolve():
        with replacing(directory / source.name) as beside:
            shutil.copyfile(source, beside)
    with replacing(directory / CONFIG_FILE) as beside:
        beside.write_text(
            yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=120),
            encoding="utf-8",
        )


def _assemble(config: TrainingConfig, progress: bool) -> _Parts:
    """Return store, statistics, fitted emulator and data of a run."""
    store = ColumnStore.open(config.store)
    contract = config.contract(store.hybrid, store.time_step_s)
    _require_variables(store, contract)
    architecture = config.architecture.find()
    network = architecture.build_for(contract, config.architecture.configuration)
    emulator = WrappedEmulator(contract, network)
    if architecture.origin.kind != "built_in":
        scripted(emulator)  # now, not at export, after hours of training
    statistics = _statistics(config, store, emulator)
    emulator.fit(statistics)
    chosen = host_outputs(config.loss.host_outputs, contract.outputs)
    host = HostOutputs(
        chosen,
        output_scale(chosen, statistics)
        if chosen.variables
        else torch.zeros(0, dtype=torch.float64),
    )
    data = ColumnData(Encoder(store, emulator, host), config)
    record = CheckpointRecord(
        contract=contract,
        architecture=architecture.name,
        architecture_origin=architecture.origin,
        architecture_configuration=config.architecture.configuration,
        seed=config.seed,
        data_digest=store.digest,
        statistics_digest=statistics.digest,
        training=config.model_dump(mode="json"),
        training_ranges=training_ranges(contract, statistics),
        difference_scale=difference_scale(contract, statistics),
    )
    return _Parts(
        store,
        statistics,
        record,
        ColumnTraining(emulator, config, record, host, data.steps_per_epoch),
        data,
    )


def _require_variables(store: ColumnStore, contract: EmulatorContract) -> None:
    """Raise TrainingError naming the set whose variables the store neither holds nor can derive."""
    for what, variables in (
        ("input_set", contract.inputs),
        ("output_set", contract.outputs),
        ("network_output_set", contract.network_outputs),
    ):
        try:
            source_names(variables.names, store.variables)
        except DataError as error:
            cannot = f"{store.path} cannot serve {what} {variables.name!r}"
            raise TrainingError(f"{cannot}: {error}") from error


def _statistics(
    config: TrainingConfig, store: ColumnStore, emulator: WrappedEmulator
) -> Statistics:
    """Return statistics of every input and output: read or computed, and completed with the graph's
    own features.
    """
    statistics = (
        compute_statistics(store)
        if config.statistics is None
        else read_statistics(config.statistics)
    )
    if statistics.data_digest not in (None, store.digest):
        raise TrainingError(
            f"{config.statistics}: statistics of other data (digest "
            f"{statistics.data_digest:.12}...) than {store.path} ({store.digest:.12}...); compute "
            "them again or leave statistics out"
        )
    contract, times = emulator.contract, store.indices("train")
    size = store.read_together
    parts = (times[i : i + size] for i in range(0, len(times), size))
    blocks = (torch.from_numpy(store.pack(contract.inputs, part)) for part in parts)
    return with_features(statistics, emulator.fields, contract.network_inputs, blocks)


def _check_resumable(last: Path, record: CheckpointRecord) -> None:
    """Raise TrainingError unless the run in the directory was made from the same data, statistics
    and settings.
    """
    _, old = read_checkpoint(last)
    for what, before, now in (
        ("the data digest of the store", old.data_digest, record.data_digest),
        ("the digest of the statistics", old.statistics_digest, record.statistics_digest),
    ):
        if before != now:
            raise TrainingError(
                f"cannot resume {last}: {what} was {before}, now {now}; use the same store or "
                "start a new run"
            )
    begun, asked = _settings(old), _settings(record)
    changed = [k for k in asked if asked[k] != begun.get(k)]
    if changed:
        details = ", ".join(f"{k} was {begun.get(k)!r:.80}, now {asked[k]!r:.80}" for k in changed)
        raise TrainingError(
            f"cannot resume {last} with another configuration: {details}; restore it or start a "
            "new run"
        )
    if old.architecture_origin.sha256 != record.architecture_origin.sha256:
        changed_file = f"{record.architecture_origin.where} is not what it was when the run began"
        raise TrainingError(f"cannot resume {last}: {changed_file}; restore it or start a new run")
    if old.contract != record.contract:
        what = "its variables, sets or grid have changed"
        raise TrainingError(f"cannot resume {last}: {what}; restore them or start a new run")


def _settings(record: CheckpointRecord) -> dict[str, Any]:
    """Return the settings of a run that its continuation must share; what files hold is compared,
    not where they lie.
    """
    settings = {k: v for k, v in record.training.items() if k not in _FREE_ON_RESUME}
    architecture = {k: v for k, v in settings["architecture"].items() if k != "file"}
    return {**settings, "architecture": architecture}


def _fit(
    config: TrainingConfig,
    parts: _Parts,
    directory: Path,
    resume_from: Path | None,
    progress: bool,
    stop_after: int | None,
) -> None:
    """Hand the run to Lightning."""
    callbacks: list[Callback] = [
        MetricsFile(directory / METRICS_FILE),
        EpochCheckpoint(directory / CHECKPOINT_FOLDER),
    ]
    if config.ema_decay is not None:
        # Buffers are not averaged: they are constants, and the mean of integer positions would be
        # cut to other integers.
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay, use_buffers=False))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=_REFRESH))
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator={"cuda": "gpu"}.get(config.device, config.device),
            devices=1,
            max_epochs=min(config.epochs, stop_after) if stop_after is not None else config.epochs,
            gradient_clip_val=config.gradient_clip,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if parts.data.held_out.size else 0,
            default_root_dir=directory,
            # One process: without this Lightning looks for a cluster and calls MPI_Init wherever
            # mpi4py is installed.
            plugins=[LightningEnvironment(), PlainCheckpointIO()],
        )
        try:
            trainer.fit(
                parts.module, datamodule=parts.data, ckpt_path=resume_from, weights_only=True
            )
        except SIGTERMException as end:
            raise Interrupted(signal.SIGTERM) from end
        except (
            SystemExit
        ) as end:  # what Lightning makes of a KeyboardInterrupt; a library does not end the process
            raise KeyboardInterrupt from end


@contextmanager
def _torch_state(config: TrainingConfig) -> Iterator[None]:
    """Seed torch and set its threads for a run, and give both back afterwards."""
    with torch.random.fork_rng(), intra_op_threads(config.threads):
        torch.manual_seed(config.seed)
        yield


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on hardware, workers and loggers, which say nothing about the
    run.
    """
    loggers = [
        logging.getLogger(name)
        for name in (
            "lightning.pytorch",
            "lightning.fabric",
            "lightning.pytorch.utilities.rank_zero",
        )
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings(
            "ignore", message=".*`__len__` on your dataset.*|.*IterableDataset.*"
        )
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
