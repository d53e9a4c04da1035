"""A training run from configuration to checkpoint."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from climlink.config import merged
from climlink.data.files import make_folder, remove_folder, replacing
from climlink.data.statistics import write_statistics
from climlink.progress import progress_bar
from climlink.threads import intra_op_threads
from climlink.training.assembly import Parts, assemble
from climlink.training.callbacks import numbers, read_metrics
from climlink.training.checkpoint import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    LAST,
    STATISTICS_FILE,
    CheckpointRecord,
    find_checkpoint,
    read_checkpoint,
)
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.processes import (
    environment_of,
    first,
    launch,
    process_group,
    processes_of,
)
from climlink.training.stages import BOARD_FOLDER, METRICS_FILE, Place, run_stages

_PLACES = ("output", "store", "statistics", "variables")
FREE_ON_RESUME = (
    "device",
    "devices",
    "nodes",
    "threads",
    "workers",
    "memory_limit_gib",
    "tensorboard",
    *_PLACES,
)
"""Settings that may differ between a run and its continuation: where it runs, not what it computes
(the store's digest is compared).
"""


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
    processes = processes_of(config)
    options = Options(resume, overwrite, progress, stop_after)
    if environment_of(processes) is None:
        launch(processes, config.model_dump_json(), json.dumps(dataclasses.asdict(options)))
    else:
        run_process(config, options)
    line = read_metrics(directory / METRICS_FILE)[-1]
    return RunResult(
        directory,
        find_checkpoint(directory),
        int(line["epoch"]),
        time.monotonic() - started,
        numbers(line),
    )


@dataclass(frozen=True)
class Options:
    """How a call of ``train`` runs what the configuration says."""

    resume: bool
    overwrite: bool
    progress: bool
    stop_after: int | None


def run_process(config: TrainingConfig, options: Options) -> None:
    """Do the part of this process in a run."""
    processes = processes_of(config)
    environment = environment_of(processes)
    assert environment is not None
    with (
        ExitStack() as held,
        _torch_state(config),
        process_group(processes, environment) as rank,
    ):
        begun = first(rank, partial(_begin, config, options, held))
        if begun is None:  # process 0 did it
            own = {"statistics": config.run_directory / STATISTICS_FILE}
            begun = assemble(config.model_copy(update=own))
        place = Place(config.run_directory, processes, environment, rank)
        resume = options.resume and (place.checkpoints / LAST).exists()
        with progress_bar(config.name, hidden=rank > 0 or not options.progress) as bar:
            run_stages(begun, place, resume=resume, bar=bar, stop_after=options.stop_after)


def _begin(config: TrainingConfig, options: Options, held: ExitStack) -> Parts:
    """Return what the run is made of, once its folder is ready for it and ``held``."""
    directory = config.run_directory
    _check_directory(directory, options.resume, options.overwrite)
    parts = assemble(config)
    make_folder(directory)
    held.enter_context(_alone(directory))
    last = directory / CHECKPOINT_FOLDER / LAST
    if options.resume and last.exists():
        _check_resumable(last, parts.record)
    else:
        _start_directory(directory, config, parts)
    return parts


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold a run folder; TrainingError where another training does. The system frees it however a
    process ends.
    """
    folder = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise TrainingError(
            f"{directory}: another training writes in this folder; wait for it, or end it"
        ) from error
    finally:
        os.close(folder)


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


def _start_directory(directory: Path, config: TrainingConfig, parts: Parts) -> None:
    """Write what the run starts from, the file of its architecture included, after removing what
    an overwritten run left.
    """
    for name in (CONFIG_FILE, METRICS_FILE, STATISTICS_FILE):
        (directory / name).unlink(missing_ok=True)
    for file in (directory / CHECKPOINT_FOLDER).glob("*.ckpt"):
        file.unlink()
    if (directory / BOARD_FOLDER).exists():
        remove_folder(directory / BOARD_FOLDER)
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
    # Keys that came after the run was begun have their defaults there.
    defaults = TrainingConfig.model_construct().model_dump(mode="json")
    whole = merged(defaults, record.training)
    settings = {k: v for k, v in whole.items() if k not in FREE_ON_RESUME}
    architecture = {k: v for k, v in settings["architecture"].items() if k != "file"}
    return {**settings, "architecture": architecture}


@contextmanager
def _torch_state(config: TrainingConfig) -> Iterator[None]:
    """Seed torch, set its threads and its arithmetic for a run, and give all back afterwards."""
    precision = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(), intra_op_threads(config.threads):
        torch.manual_seed(config.seed)
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = config.tf32
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.allow_tf32 = convolutions
            torch.use_deterministic_algorithms(deterministic)
