"""What a checkpoint holds besides weights, and how a trained emulator is read back from it."""

from __future__ import annotations

import hashlib
import pickle
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from climlink.architectures import Architecture, ArchitectureError, ArchitectureOrigin, find
from climlink.training.errors import TrainingError
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.layout import Strict
from climlink.wrappers.wrapped_emulator import WrappedEmulator
from climlink.wrappers.yaml_file import fault

LAST = "last.ckpt"
BEST = "best.ckpt"
CONFIG_FILE = "config.yaml"
STATISTICS_FILE = "statistics.nc"
CHECKPOINT_FOLDER = "checkpoints"
_KEY = "climlink"
_PREFIX = "emulator."


RECORD_VERSION = 3
"""Of the record in a checkpoint: 2 holds the variable sets whole, 3 knows stages."""


class Progress(Strict):
    """Where in a run a checkpoint was written; nothing is behind a run that begins."""

    stage: int = Field(default=0, description="number of the stage, from 0")
    stage_ended: bool = Field(default=False, description="nothing of the stage is left")
    epochs: int = Field(default=0, description="behind it, over all stages")
    steps: int = Field(default=0, description="optimizer steps behind it, over all stages")
    best_skill: float | None = Field(default=None, description="highest so far; null: none scored")


class CheckpointRecord(Strict):
    """Everything besides weights that export needs, and what a resumed run is checked against."""

    version: int = RECORD_VERSION
    contract: EmulatorContract
    architecture: str
    architecture_origin: ArchitectureOrigin
    architecture_configuration: dict[str, Any] = Field(description="explicit numbers, no preset")
    seed: int
    data_digest: str
    statistics_digest: str
    training: dict[str, Any] = Field(description="the training configuration as it was run")
    training_ranges: dict[str, list[list[float]]] = Field(
        description="host input -> [minimum [width], maximum [width]], fill left out"
    )
    difference_scale: dict[str, list[float]] = Field(
        description="host output -> s of the difference formula [width]"
    )
    budget: int = Field(description="epochs that the configuration asks for, over all stages")
    progress: Progress = Field(default_factory=Progress)
    stopped_early: bool = Field(
        default=False, description="the training ended itself before the budget of epochs"
    )
    averaged: list[str] = Field(
        default_factory=list, description="checkpoints whose mean the weights are"
    )


@dataclass(frozen=True)
class RunProgress:
    """How far a run got."""

    epochs: int
    """Epochs behind it."""
    budget: int
    """Epochs that its configuration asks for."""
    stopped_early: bool
    """Whether it ended itself before that."""
    resume: str | None
    """The command that goes on with it; None for a checkpoint that lies alone."""

    @property
    def finished(self) -> bool:
        """Whether it spent its budget or ended itself."""
        return self.stopped_early or self.epochs >= self.budget

    def __str__(self) -> str:
        return f"{self.epochs} of {self.budget} epochs"


@dataclass(frozen=True)
class TrainedEmulator:
    """An emulator read from a checkpoint, in evaluation mode on the CPU (averaged weights, where
    the run averaged).
    """

    emulator: WrappedEmulator
    record: CheckpointRecord
    path: Path
    epochs: int
    """Passes over the data that its weights have seen."""

    @property
    def contract(self) -> EmulatorContract:
        """The contract of the emulator."""
        return self.record.contract


def attach_record(checkpoint: dict[str, Any], record: CheckpointRecord) -> None:
    """Store a record in a checkpoint, as JSON text: readable without unpickling anything of
    climlink.
    """
    checkpoint[_KEY] = record.model_dump_json()


def read_checkpoint(path: Path) -> tuple[dict[str, Any], CheckpointRecord]:
    """Return a checkpoint and its record; TrainingError if it is missing, broken, foreign or newer.
    Runs no code from the file.
    """
    if not path.is_file():
        raise TrainingError(
            f"{path}: no checkpoint here; train first with climlink train CONFIG.yaml"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path}: not a readable checkpoint ({str(error).splitlines()[0]:.200})"
        ) from error
    if not isinstance(checkpoint, Mapping) or _KEY not in checkpoint:
        raise TrainingError(
            f"{path}: a checkpoint, but not one that climlink train wrote (it has no {_KEY!r} "
            "record)"
        )
    try:
        record = CheckpointRecord.model_validate_json(checkpoint[_KEY])
    except ValidationError as error:
        raise TrainingError(
            f"{path}: the record does not fit this climlink ({fault(error)}); use the version that "
            "wrote it"
        ) from error
    return dict(checkpoint), record


def find_checkpoint(run: str | Path) -> Path:
    """Return the checkpoint file of a run directory (the best one where times were held out, else
    the last), or the file itself.
    """
    path = Path(run)
    if not path.is_dir():
        return path
    folder = path / CHECKPOINT_FOLDER
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return folder / name
    raise TrainingError(
        f"{path}: no checkpoint in {folder}; the run has not finished an epoch, or this is no run "
        "directory"
    )


def run_progress(run: str | Path) -> RunProgress:
    """Return how far the run got that a run directory, or a checkpoint in one, belongs to; a
    checkpoint alone counts for itself.
    """
    chosen = find_checkpoint(run)
    last = chosen.with_name(LAST)
    _, record = read_checkpoint(last if last.is_file() else chosen)
    directory = chosen.parent.parent
    command = ["climlink", "train", str(directory / CONFIG_FILE), "-o", str(directory), "--resume"]
    resume = shlex.join(command) if (directory / CONFIG_FILE).is_file() else None
    return RunProgress(record.progress.epochs, record.budget, record.stopped_early, resume)


def load_checkpoint(run: str | Path) -> TrainedEmulator:
    """Return the trained emulator of a run directory or checkpoint file."""
    path = find_checkpoint(run)
    checkpoint, record = read_checkpoint(path)
    architecture = _architecture(path, record)
    network = architecture.build_for(record.contract, record.architecture_configuration)
    emulator = WrappedEmulator(record.contract, network)
    load_weights(emulator, checkpoint, path)
    return TrainedEmulator(emulator.eval(), record, path, record.progress.epochs)


def load_weights(emulator: WrappedEmulator, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Give an emulator the weights of a checkpoint (the averaged ones, where it has such);
    TrainingError where they do not fit.
    """
    weights = {
        k.removeprefix(_PREFIX): v
        for k, v in checkpoint["state_dict"].items()
        if k.startswith(_PREFIX)
    }
    try:
        emulator.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"{path}: the weights do not fit the recorded network: "
            f"{str(error).splitlines()[-1].strip():.200}"
        ) from error


def load_network(emulator: WrappedEmulator, run: str | Path) -> None:
    """Give the network of a fitted emulator the weights of another run (folder or checkpoint).

    TrainingError where the other one has another network, other network inputs or outputs, or
    another normalization: its weights would mean something else.
    """
    other = load_checkpoint(run)
    where = f"initial_weights: {other.path}"
    for what in ("network_inputs", "network_outputs"):
        theirs, ours = (getattr(c, what) for c in (other.contract, emulator.contract))
        if theirs != ours:
            raise TrainingError(f"{where} has other {what} than this run: give it the same sets")
    if other.emulator.normalization.digest() != emulator.normalization.digest():
        raise TrainingError(
            f"{where} was trained with another normalization: set statistics to its "
            f"{STATISTICS_FILE}, and normalization and store to what it had"
        )
    try:
        emulator.network.load_state_dict(other.emulator.network.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(
            f"{where} is of another network than this run: {reason:.200}"
        ) from error


def _architecture(path: Path, record: CheckpointRecord) -> Architecture:
    """Return the architecture of a checkpoint, from where the run had it; TrainingError if it is
    no longer there.
    """
    origin = record.architecture_origin
    try:
        return find(record.architecture, _file_of(path, origin) if origin.kind == "file" else None)
    except ArchitectureError as error:
        again = {
            "plug_in": f"; it came from {origin}: install it",
            "module": f"; it came from {origin}: import that first, or register it in a file or "
            "project",
        }
        raise TrainingError(f"{path}: {error}{again.get(origin.kind, '')}") from error


def _file_of(path: Path, origin: ArchitectureOrigin) -> Path:
    """Return the file that a run's network was made from: the run's own copy, or the original
    where it is unchanged.
    """
    original = Path(origin.where)
    places = (path.parent.parent / original.name, original)
    for place in places:
        if place.is_file() and hashlib.sha256(place.read_bytes()).hexdigest() == origin.sha256:
            return place
    raise TrainingError(
        f"{path}: its network was made from {original.name} (SHA-256 {origin.sha256}), which is "
        f"neither at {places[0]} nor at {places[1]} as it was then; put it back, or train again "
        "with the changed file"
    )
