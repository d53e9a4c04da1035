"""Packages that the inference benchmarks time, made once in a work folder: seeded random weights on
synthetic columns, and their compiled artefacts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from climlink import _runtime
from climlink.architectures import ColumnShape, build
from climlink.architectures.cost import multiply_adds
from climlink.data.files import read_json, replacing
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.packages.compile import Target, compile_package
from climlink.packages.compiled import CompiledArtefact, Precision, artefact_path
from climlink.packages.export import ExportSource, export_package
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.packages.reduced_precision import PrecisionError
from climlink.training.architecture_config import ArchitectureConfig
from climlink.training.assembly import assemble
from climlink.training.config import TrainingConfig
from climlink.wrappers.column_emulator import trainable_parameters
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import ArchitectureEntry
from climlink.wrappers.variable_sets import variable_set

LEVELS = 60
OUTPUT_SET = "net308"
_STAMPS = ("0008-01-14-03600", "0008-04-24-76800", "0008-07-07-54000", "0008-10-22-20400")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_REFUSED = "bfloat16_refused.json"


class InferenceBenchError(ClimlinkError):
    """A benchmark cannot be run as asked, or what it runs does not do what it says."""


@dataclass(frozen=True)
class Network:
    """A network to time: preset of an architecture, and the inputs of the recipe it belongs to."""

    architecture: str
    preset: str = "small"
    inputs: str = "net_v2_mc"

    @property
    def name(self) -> str:
        """How it is told in tables and files."""
        return f"{self.architecture}_{self.preset}"

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one column."""
        i, o = variable_set(self.inputs, LEVELS), variable_set(OUTPUT_SET, LEVELS)
        shape = ColumnShape(
            len(i.profiles), len(i.scalars), len(o.profiles), len(o.scalars), LEVELS
        )
        return multiply_adds(lambda: build(self.architecture, {"preset": self.preset}, shape))


MLP = Network("mlp", "published", "net_v2_features")
UNET = Network("unet")
TINY = Network("mlp", "tiny", "net_v2_features")
NETWORKS = {
    n.name: n
    for n in (
        MLP,
        UNET,
        *(
            Network(a)
            for a in ("squeezeformer", "pure_reslstm", "pao", "convnext", "encoder_decoder_lstm")
        ),
        Network("unet", "published"),
        TINY,
    )
}
"""By name; the last two are not among the usual ones of a table."""
USUAL = tuple(NETWORKS)[:-2]


@dataclass(frozen=True)
class Engine:
    """A way to run a package: TorchScript, or an artefact in a precision."""

    name: str
    artefact: CompiledArtefact | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of the Runtime that choose it."""
        if self.artefact is None:
            return {}
        return {"compiled": str(self.artefact.path), "compiled_sha256": self.artefact.digest}


@dataclass(frozen=True)
class Made:
    """A package in the work folder, its engines, and why it has no bfloat16 (empty if it has)."""

    network: Network
    package: EmulatorPackage
    engines: tuple[Engine, ...]
    no_bfloat16: str

    def rows(self, count: int) -> FloatRows:
        """Return golden rows again and again, float32 [count, n_input]."""
        width = self.package.manifest.n_input
        return np.ascontiguousarray(np.resize(self.package.golden_inputs, (count, width)))

    def engine(self, name: str) -> Engine:
        """Return an engine by its name; InferenceBenchError where the package has none such."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise InferenceBenchError(f"{self.package.path}: no engine {name}: {self.no_bfloat16}")


TORCHSCRIPT, FLOAT32, BFLOAT16 = "torchscript", "aotinductor float32", "aotinductor bfloat16"


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 by instructions of its own."""
    known = Path("/proc/cpuinfo")
    text = known.read_text(encoding="utf-8") if known.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return any(_BFLOAT16_FLAGS & set(line.split()) for line in lines)


def made(
    network: Network, work: Path, say: Callable[[str], None], *, compiled: bool = True
) -> Made:
    """Return a network's package and artefacts, made and compiled where they are not there yet or
    are of an earlier package; InferenceBenchError for an artefact that does not run here.
    """
    path = work / network.name / "wrap_model.pt"
    if not path.is_file():
        say(f"{network.name}: export")
        _export(network, store_in(work), path)
    package = EmulatorPackage.read(path)
    if not compiled:
        return Made(network, package, (Engine(TORCHSCRIPT),), "nothing was compiled")
    refused = _bfloat16(package, say)
    package = EmulatorPackage.read(path)
    engines = [Engine(TORCHSCRIPT), Engine(FLOAT32, _compiled(package, "float32", say))]
    if not refused:
        engines.append(Engine(BFLOAT16, _compiled(package, "bfloat16", say)))
    for engine in engines[1:]:
        assert engine.artefact is not None
        obstacle = engine.artefact.obstacle(package)
        if obstacle:
            raise InferenceBenchError(f"{engine.artefact.path} does not run here: {obstacle}")
    return Made(network, package, tuple(engines), refused)


def store_in(work: Path) -> ColumnStore:
    """Return the store of synthetic columns in the work folder, made where it is not there yet."""
    path = work / "columns.zarr"
    if not path.exists():
        folder = write_dataset(work / "columns", _STAMPS, n_column=24, level_count=LEVELS)
        prepare(folder, path, split=Split(test=(_STAMPS[-1],)))
    return ColumnStore.open(path)


def _export(network: Network, store: ColumnStore, path: Path) -> None:
    """Write the package of a run of ``climlink train`` as it is before its first step."""
    config = TrainingConfig(
        name=network.name,
        store=store.path,
        epochs=1,
        network_input_set=network.inputs,
        architecture=ArchitectureConfig(
            name=network.architecture, configuration={"preset": network.preset}
        ),
    )
    parts = assemble(config)
    source = ExportSource(
        name=network.name,
        emulator=parts.emulator.eval(),
        architecture=ArchitectureEntry(
            name=parts.record.architecture,
            configuration=parts.record.architecture_configuration,
            trainable_parameters=trainable_parameters(parts.emulator.network),
        ),
        statistics_digest=parts.record.statistics_digest,
        difference_scale=parts.record.difference_scale,
        training_ranges=parts.record.training_ranges,
        data_digest=store.digest,
        seed=config.seed,
    )
    rows = store.pack(parts.emulator.contract.inputs, store.indices("train"))
    export_package(source, torch.from_numpy(rows), path)


def _compiled(
    package: EmulatorPackage, precision: Precision, say: Callable[[str], None]
) -> CompiledArtefact:
    """Return the artefact that stands beside the package and is of it, else compile it."""
    path = artefact_path(package.path, "cpu", precision)
    if path.is_file():
        artefact = CompiledArtefact.read(path)
        if artefact.entry.package_sha256 == package.digest:
            return artefact
    say(f"{package.path.parent.name}: compile {precision}")
    return compile_package(package, Target(precision=precision))


def _bfloat16(package: EmulatorPackage, say: Callable[[str], None]) -> str:
    """Compile a package in bfloat16 unless that is done, which writes it again; return why it has
    none, or "". What the gate refused is kept in a file: it would take as long again.
    """
    if not has_bfloat16():
        return f"{_runtime.processor_name()} has no instructions for bfloat16"
    kept = package.path.with_name(_REFUSED)
    if kept.is_file():
        told = read_json(kept)
        if told["package_sha256"] == package.digest:
            return str(told["reason"])
    try:
        _compiled(package, "bfloat16", say)
    except PrecisionError as error:
        reason = str(error).replace(f"{package.path}: ", "").replace(str(package.path), "it")
        with replacing(kept) as beside:
            told = {"package_sha256": package.digest, "reason": reason}
            beside.write_text(json.dumps(told), encoding="utf-8")
        return reason
    return ""
