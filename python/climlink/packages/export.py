"""Export: the only place where a WrappedEmulator becomes TorchScript and a package, and a package
becomes a WrappedEmulator again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from climlink.architectures import ArchitectureError, architecture_names, find
from climlink.data.errors import StoreError
from climlink.data.files import FileError, replacing
from climlink.data.statistics import read_statistics
from climlink.data.store import ColumnStore
from climlink.packages.golden import GoldenSamples, choose_golden
from climlink.packages.golden_sequences import Sequences, check_chain, choose_sequences
from climlink.packages.golden_sources import store_rows
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.packages.scripting import scripted
from climlink.provenance import climlink_version, git_revision, kernel_identity
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.training.checkpoint import (
    STATISTICS_FILE,
    TrainedEmulator,
    load_checkpoint,
    run_progress,
)
from climlink.training.closure import require_closed_columns
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.training.fits import with_fits
from climlink.training.unskilled import unskilled_entry
from climlink.wrappers.column_emulator import trainable_parameters
from climlink.wrappers.constants import RECORDED
from climlink.wrappers.constraints import changed_entries
from climlink.wrappers.contract import EmulatorContract, confidence_of
from climlink.wrappers.difference import CPU_TOLERANCE, CUDA_TOLERANCE, SAME_KERNELS_TOLERANCE
from climlink.wrappers.errors import ManifestError
from climlink.wrappers.layout import VariableLayout
from climlink.wrappers.manifest import (
    GOLDEN_INPUTS_ENTRY,
    GOLDEN_OUTPUTS_ENTRY,
    MANIFEST_ENTRY,
    ArchitectureEntry,
    ConstraintEntry,
    GoldenEntry,
    Manifest,
    ProvenanceEntry,
    ToleranceEntry,
    TrainingDistribution,
)
from climlink.wrappers.recorded_statistics import training_distribution
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator


@dataclass(frozen=True)
class ExportSource:
    """A trained emulator and what its manifest must say about it.

    ``difference_scale`` gives s of the difference formula per value output (confidence and carried
    state have 1); ``training_ranges`` minimum and maximum per host input. ``architecture`` is None
    for a network of which nothing can be said.
    """

    name: str
    emulator: WrappedEmulator
    architecture: ArchitectureEntry | None
    statistics_digest: str | None
    difference_scale: dict[str, list[float]]
    training_ranges: dict[str, list[list[float]]] = field(default_factory=dict)
    training_distribution: TrainingDistribution | None = None
    data_digest: str | None = None
    seed: int | None = None
    training: dict[str, Any] = field(default_factory=dict)


@intra_op_threads(RUNTIME_THREADS)
def export_package(source: ExportSource, candidates: Tensor, output: str | Path) -> EmulatorPackage:
    """Write ``wrap_model.pt`` beside ``output`` and rename it into place; an existing package
    survives any failure.

    The training ranges that constraints act on are those that the manifest records.
    Golden samples are chosen and answered with the Runtime's number of threads.
    ``candidates`` [row, n_input], float32, are host rows to choose the golden samples from; with
    carried state, rows of the value inputs in their order, [row, n_value_input]. Raises
    ContractError if too few are away from thresholds or the module does not script, PackageError if
    the file cannot be written.
    """
    emulator = source.emulator.cpu().eval()
    emulator.constraints.give_ranges(source.training_ranges)
    # Never frozen here: freezing folds the buffers away, and the Runtime freezes after it has
    # placed the module.
    script = scripted(emulator)
    scale = torch.tensor(_scale_of_values(source), dtype=torch.float64)
    if emulator.contract.carried:
        chosen = choose_sequences(emulator, script, candidates, scale)
    else:
        chosen = choose_golden(emulator, candidates, scale)
    with torch.no_grad():
        golden_outputs = script(chosen.rows)
    if emulator.contract.carried:
        check_chain(Sequences.of(emulator), chosen, golden_outputs)
    golden = {
        GOLDEN_INPUTS_ENTRY: raw_rows(chosen.rows),
        GOLDEN_OUTPUTS_ENTRY: raw_rows(golden_outputs),
    }
    manifest = _manifest(source, script, chosen, golden)
    buffer = io.BytesIO()
    torch.jit.save(
        script, buffer, _extra_files={MANIFEST_ENTRY: manifest.to_json().encode(), **golden}
    )
    write_package(Path(output), buffer.getvalue())
    return EmulatorPackage.read(output)


def _scale_of_values(source: ExportSource) -> list[float]:
    """Return s of every value of an output row, [n_value]."""
    outputs = source.emulator.contract.outputs.of_role("value")
    known = ((source.difference_scale[v.name], outputs.width_of(v.name)) for v in outputs.variables)
    return [s for scale, width in known for s in (scale * width if len(scale) == 1 else scale)]


def export_run(
    run: str | Path,
    output: str | Path,
    columns: str | Path | None = None,
    *,
    unfinished: bool = False,
    unskilled_to_mean: bool = False,
    constraints: Sequence[ConstraintEntry] = (),
    without: Sequence[str] = (),
) -> EmulatorPackage:
    """Export the emulator of a training run (folder or checkpoint), see ``source_of_run``."""
    source, store = source_of_run(
        run,
        columns,
        unfinished=unfinished,
        unskilled_to_mean=unskilled_to_mean,
        constraints=constraints,
        without=without,
    )
    return export_package(source, store_rows(store, source.emulator.contract.inputs), output)


def source_of_run(
    run: str | Path,
    columns: str | Path | None = None,
    *,
    unfinished: bool = False,
    unskilled_to_mean: bool = False,
    constraints: Sequence[ConstraintEntry] = (),
    without: Sequence[str] = (),
) -> tuple[ExportSource, ColumnStore]:
    """Return the emulator of a training run (folder or checkpoint), ready to export, and the store
    that golden columns come from: ``columns`` or the run's own.

    ``unskilled_to_mean`` answers outputs that had no skill on the run's held-out times with their
    training mean: for offline scores. ``constraints`` are added at their place in the fixed order,
    or replace the run's own of their name, and those named in ``without`` are left out; what they
    need of training, ranges and fits, comes from the run's statistics and store.

    Raises TrainingError for a run that cannot be read or has not finished, unless ``unfinished``,
    and for a closure where the columns of the run's store do not close; StoreError for a store that
    is not there or has another vertical grid.
    """
    progress = run_progress(run)
    if not (progress.finished or unfinished):
        go_on = f"go on with `{progress.resume}`, or " if progress.resume else ""
        raise TrainingError(
            f"{run}: the run is not finished: {progress}; {go_on}export it as it is with "
            "--unfinished"
        )
    trained = load_checkpoint(run)
    record = trained.record
    store = ColumnStore.open(columns if columns is not None else record.training["store"])
    if store.hybrid.entry() != record.contract.hybrid:
        raise StoreError(
            f"{store.path} has another vertical grid than the emulator; give a store of the same "
            "grid with --columns"
        )
    emulator = trained.emulator
    added = _made_of_run(trained, constraints, unskilled_to_mean=unskilled_to_mean)
    if added or without:
        entries = changed_entries(record.contract.constraints, added, without)
        emulator = emulator.with_constraints(entries)
    source = ExportSource(
        name=str(record.training["name"]),
        emulator=emulator,
        architecture=ArchitectureEntry(
            name=record.architecture,
            configuration=record.architecture_configuration,
            trainable_parameters=trainable_parameters(trained.emulator.network),
        ),
        statistics_digest=record.statistics_digest,
        difference_scale=record.difference_scale,
        training_ranges=record.training_ranges,
        training_distribution=_distribution(trained),
        data_digest=record.data_digest,
        seed=record.seed,
        training={**record.training, "epochs_done": trained.epochs, "finished": progress.finished},
    )
    return source, store


def _made_of_run(
    trained: TrainedEmulator, constraints: Sequence[ConstraintEntry], *, unskilled_to_mean: bool
) -> list[ConstraintEntry]:
    """Return constraints to add, with what is fitted to the run's own store: the coefficients of
    ``stable_top``, the humidity of ``cloud_evaporation``, and the levels and means of
    ``unskilled_to_mean`` where it is asked for.
    """
    training = trained.record.training
    validation = ValidationConfig.model_validate(training["validation"])
    if not (unskilled_to_mean or constraints):
        return []
    store = ColumnStore.open(training["store"])
    if store.digest != trained.record.data_digest:
        raise TrainingError(
            f"{store.path}: not the store that the run was trained on (digest "
            f"{store.digest:.12}..., recorded {trained.record.data_digest:.12}...); put it back"
        )
    added = with_fits(constraints, store, validation)
    asked = trained.record.contract.model_copy(update={"constraints": added})
    require_closed_columns(store, asked)
    if unskilled_to_mean:
        added.append(unskilled_entry(trained.emulator, store, validation))
    return added


def _distribution(trained: TrainedEmulator) -> TrainingDistribution | None:
    """Return how the run's inputs were distributed, None for a checkpoint that lies alone."""
    path = trained.path.parent.parent / STATISTICS_FILE
    if not path.is_file():
        return None
    statistics = read_statistics(path)
    if statistics.digest != trained.record.statistics_digest:
        raise TrainingError(
            f"{path}: not the statistics that the run was trained with (digest "
            f"{statistics.digest:.12}..., recorded {trained.record.statistics_digest:.12}...); put "
            "the run's own back"
        )
    return training_distribution(trained.contract, statistics)


def obstacle_to_rebuilding(package: EmulatorPackage) -> str | None:
    """Return why the package's network cannot be built from Python here; None where its
    architecture is recorded and installed.
    """
    m = package.manifest
    if m.architecture is None or m.architecture.configuration is None or m.normalization is None:
        return "the manifest does not say how its network is built"
    chosen = m.provenance.training.get("architecture")
    file = chosen.get("file") if isinstance(chosen, dict) else None
    if file is not None:
        made = f"its network {m.architecture.name!r} was made from the file {Path(file).name}"
        return f"{made}, which is not in a package"
    if m.architecture.name not in architecture_names():
        return f"its architecture {m.architecture.name!r} is not installed here"
    try:
        find(m.architecture.name)
    except ArchitectureError as error:
        return str(error)
    return None


def eager_emulator(package: EmulatorPackage) -> WrappedEmulator:
    """Return the package's emulator as plain Python modules, rebuilt from the manifest with the
    graph's parameters and buffers.

    Raises ManifestError if manifest and graph do not belong together, or the network cannot be
    built here.
    """
    manifest = package.manifest
    contract = EmulatorContract.from_manifest(manifest)
    obstacle = obstacle_to_rebuilding(package)
    if obstacle is not None:
        raise ManifestError(f"{package.path} cannot be rebuilt from Python: {obstacle}")
    assert manifest.architecture is not None
    assert manifest.architecture.configuration is not None
    assert manifest.normalization is not None
    architecture = find(manifest.architecture.name)
    network = architecture.build_for(contract, manifest.architecture.configuration)
    emulator = WrappedEmulator(contract, network)
    try:
        emulator.load_state_dict(package.load().state_dict())
    except RuntimeError as error:
        raise ManifestError(
            f"{package.path}: the graph's parameters are not those of the manifest's architecture: "
            f"{error}"
        ) from error
    if emulator.normalization.digest() != manifest.normalization.buffers_digest:
        raise ManifestError(
            f"{package.path}: the normalization buffers are not the ones the manifest was written "
            "for"
        )
    return emulator.eval()


def _manifest(
    source: ExportSource,
    script: torch.jit.ScriptModule,
    chosen: GoldenSamples,
    golden: dict[str, bytes],
) -> Manifest:
    emulator = source.emulator
    contract, replay = emulator.contract, tolerances(chosen)
    outputs = output_layout(contract, has_confidence=emulator.network.has_confidence)
    return Manifest(
        name=source.name,
        dims=contract.dims,
        coordinates=contract.coordinates,
        inputs=contract.input_layout,
        outputs=outputs,
        carried=contract.carried,
        batch_granule=contract.batch_granule,
        network_inputs=contract.network_input_layout,
        network_outputs=contract.network_output_layout,
        time_step_s=contract.time_step_s,
        calendar=contract.calendar,
        hybrid=contract.hybrid,
        pruned_levels=contract.pruned_levels,
        normalization=emulator.normalization.entry(source.statistics_digest),
        constraints=contract.constraints,
        constants=RECORDED,
        architecture=source.architecture,
        allowed_precisions=["float32"],
        difference_scale={
            v.name: source.difference_scale[v.name] if v.role == "value" else [1.0]
            for v in outputs.variables
        },
        tolerances=replay,
        same_kernels_tolerance=SAME_KERNELS_TOLERANCE,
        training_ranges=source.training_ranges,
        training_distribution=source.training_distribution,
        operators=sorted(torch.jit.export_opnames(script)),
        golden=golden_entry(chosen, golden, replay),
        provenance=provenance_entry(source.data_digest, source.seed, source.training),
    )


def output_layout(contract: EmulatorContract, *, has_confidence: bool) -> VariableLayout:
    """Return the whole output row: values, confidence where the network gives it, carried state."""
    outputs = contract.outputs
    confidence = confidence_of(contract.network_outputs).variables if has_confidence else ()
    values, carried = outputs.of_role("value").variables, outputs.of_role("carried").variables
    return VariableSet(outputs.name, values + confidence + carried, outputs.sizes).layout()


def provenance_entry(
    data_digest: str | None, seed: int | None, training: dict[str, Any]
) -> ProvenanceEntry:
    """Return where a package comes from, made here and now."""
    return ProvenanceEntry(
        climlink_version=climlink_version(),
        git_revision=git_revision(),
        torch_version=torch.__version__,
        exported_on=kernel_identity(),
        data_digest=data_digest,
        seed=seed,
        training=training,
    )


def tolerances(chosen: GoldenSamples, factor: float = 1.0) -> list[ToleranceEntry]:
    """Return the tolerances of the golden replay on a CPU and a GPU: ``factor`` times the usual
    ones, or what the columns move by.
    """
    usual: tuple[tuple[Literal["cpu", "cuda"], float], ...] = (
        ("cpu", CPU_TOLERANCE),
        ("cuda", CUDA_TOLERANCE),
    )
    least = chosen.sensitivity or 0.0
    return [
        ToleranceEntry(
            backend="torchscript", device=d, precision="float32", tolerance=max(factor * t, least)
        )
        for d, t in usual
    ]


def golden_entry(
    chosen: GoldenSamples,
    golden: dict[str, bytes],
    replay: list[ToleranceEntry],
) -> GoldenEntry:
    """Return the manifest's record of golden samples, given as entries, and of their replay."""
    return GoldenEntry(
        sample_count=chosen.rows.shape[0],
        step_count=chosen.step_count,
        chained_tolerance=chosen.chained_tolerance(max(t.tolerance for t in replay)),
        inputs_sha256=hashlib.sha256(golden[GOLDEN_INPUTS_ENTRY]).hexdigest(),
        outputs_sha256=hashlib.sha256(golden[GOLDEN_OUTPUTS_ENTRY]).hexdigest(),
        sensitivity=chosen.sensitivity,
    )


def raw_rows(rows: Tensor) -> bytes:
    """Return rows as a package stores golden columns: little-endian float32, C order."""
    return np.ascontiguousarray(rows.numpy(), dtype="<f4").tobytes()


def write_package(output: Path, content: bytes) -> None:
    """Write a package beside ``output`` and rename it into place; PackageError if the disk does not
    take it.
    """
    try:
        with replacing(output) as beside:
            beside.write_bytes(content)
    except FileError as error:
        raise PackageError(
            f"the package could not be written: {error}; what stood there before is unchanged"
        ) from error
