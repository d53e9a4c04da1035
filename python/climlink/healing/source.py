"""What a healing starts from: the training run of a package, and the constraints of the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from climlink.data.lags import needs_lags
from climlink.packages.export import export_run
from climlink.packages.read import EmulatorPackage
from climlink.training.checkpoint import (
    CHECKPOINT_FOLDER,
    STATISTICS_FILE,
    TrainedEmulator,
    load_checkpoint,
)
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.wrappers.constraints import changed_entries
from climlink.wrappers.manifest import ConstraintEntry

_NETWORK = "network."


@dataclass(frozen=True)
class Source:
    """A trained emulator to heal, with the constraints that its package has."""

    run: Path
    checkpoint: Path
    training: TrainingConfig
    constraints: tuple[ConstraintEntry, ...]

    @property
    def statistics(self) -> Path:
        """What its normalization was made from."""
        return self.run / STATISTICS_FILE

    def export(
        self,
        run: Path,
        package: Path,
        constraints: Sequence[ConstraintEntry],
        without: Sequence[str],
    ) -> EmulatorPackage:
        """Export a checkpoint of the same contract with the source's constraints, and these
        changes.
        """
        own = load_checkpoint(run).record.contract.constraints
        wanted = changed_entries(self.constraints, constraints, without)
        names = [e.name for e in wanted]
        return export_run(
            run,
            package,
            constraints=[e for e in wanted if e not in own],
            without=[e.name for e in own if e.name not in names],
        )


def find_source(given: Path) -> Source:
    """Return the source that a run folder is, or that a package was exported from.

    TrainingError where the package's training run is not where its manifest says, or holds other
    weights, and for networks that a healing cannot train: those with inputs of earlier steps (the
    labels hold the reference's last step, the hybrid had another), and those without statistics.
    """
    if given.is_dir():
        source = _of_run(given, load_checkpoint(given))
    else:
        source = _of_package(EmulatorPackage.read(given))
    if not source.statistics.is_file():
        raise TrainingError(
            f"{source.statistics} is not there: what trains on needs the normalization of "
            "its first training; give the folder of the training run"
        )
    contract = load_checkpoint(source.checkpoint).contract
    if needs_lags(contract.inputs.names, contract.level_count):
        raise TrainingError(
            f"{given} reads inputs of earlier steps, or of place, which are stored with them: the "
            "hybrid's are those of what was applied, which the labels of the reference physics do "
            "not hold; heal a package without them"
        )
    return source


def _of_run(run: Path, trained: TrainedEmulator) -> Source:
    training = TrainingConfig.model_validate(trained.record.training)
    return Source(run, trained.path, training, tuple(trained.record.contract.constraints))


def _of_package(package: EmulatorPackage) -> Source:
    recorded = package.manifest.provenance.training
    run = recorded.get("output") or (f"runs/{recorded['name']}" if "name" in recorded else None)
    remedy = "give the folder of its training run instead of the package"
    if run is None:
        raise TrainingError(f"{package.path} does not say which run trained it: {remedy}")
    # The best first, then the last: a package may be of either.
    checkpoints = sorted((Path(run) / CHECKPOINT_FOLDER).glob("*.ckpt"))
    if not checkpoints:
        raise TrainingError(
            f"{package.path}: its training run is not at {run}, seen from {Path.cwd()}: go where "
            f"it was trained, or {remedy}; a package alone has neither its data nor its statistics"
        )
    for path in checkpoints:
        trained = load_checkpoint(path)
        if _same_network(package, trained):
            source = _of_run(Path(run), trained)
            return replace(source, constraints=tuple(package.manifest.constraints or ()))
    raise TrainingError(
        f"{package.path} was exported from other weights than those in {run}: export that run "
        f"again, or {remedy}"
    )


def _same_network(package: EmulatorPackage, trained: TrainedEmulator) -> bool:
    """Tell whether a package's network has the weights of a checkpoint."""
    theirs, ours = package.load().state_dict(), trained.emulator.state_dict()
    names = [n for n in ours if n.startswith(_NETWORK)]
    return all(
        n in theirs and theirs[n].shape == ours[n].shape and torch.equal(ours[n], theirs[n].cpu())
        for n in names
    )
