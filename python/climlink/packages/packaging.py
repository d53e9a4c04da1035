"""climlink.package: a verified package out of a user's own network, with normalization, constraints
and ranges in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from climlink.data.statistics import compute_statistics, read_statistics
from climlink.data.store import ColumnStore
from climlink.packages.export import ExportSource, export_package
from climlink.packages.golden_sequences import Sequences
from climlink.packages.golden_sources import golden_source
from climlink.packages.module_rows import check_module, network_of
from climlink.packages.package import Package, open_package
from climlink.packages.read import check_code, read_archive_file
from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork, trainable_parameters
from climlink.wrappers.contract import COLUMN_GRANULE, EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import START, Coordinate
from climlink.wrappers.manifest import ArchitectureEntry, ConstraintEntry, NormalizationConfig
from climlink.wrappers.network_check import check_network
from climlink.wrappers.normalization import Scaling, output_floor
from climlink.wrappers.recorded_statistics import (
    difference_scale,
    training_distribution,
    training_ranges,
)
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.wrapped_emulator import WrappedEmulator
from climlink.wrappers.yaml_file import fault

PRUNED_LEVELS = 15
"""Levels that the rule ``prune`` takes away unless told otherwise (published)."""

SetName = str | VariableSet


def package(
    module: nn.Module | str | Path,
    *,
    name: str,
    inputs: SetName,
    outputs: SetName = "mmf368",
    output: str | Path = "wrap_model.pt",
    golden: Any = None,
    statistics: Statistics | ColumnStore | str | Path | None = None,
    normalization: str | NormalizationConfig | Scaling = "none",
    constraints: Sequence[str | ConstraintEntry] = (),
    carried: Mapping[str, str] | None = None,
    confidence: bool = False,
    host_inputs: SetName | None = None,
    host_outputs: SetName | None = None,
    pruned_levels: int | None = None,
    hybrid: HybridCoordinate | None = None,
    time_step_s: float | None = None,
    coordinates: Mapping[str, Coordinate] | None = None,
    batch_granule: int | None = None,
    seed: int | None = None,
    training: Mapping[str, Any] | None = None,
) -> Package:
    """Write a package made of a network of any kind, and return it.

    ``module`` takes float32 rows [row, n_input] in the order of ``inputs`` and gives rows in the
    order of ``outputs``: an nn.Module, a TorchScript file, or a climlink network. ``normalization``
    is ``none`` where it takes and gives physical units, a Scaling with the user's own numbers, or
    ``moments`` or ``range`` of climlink's normalization, from ``statistics``. ``golden`` is where
    golden samples come from: a store, a folder of ClimSim pairs, an array [row, n_input], or a
    mapping of arrays by name; without it they are drawn from ``statistics``. ``constraints`` are
    names of rules (docs/constraints.md). ``carried`` pairs outputs with inputs of the next step;
    their variables have role ``carried``, the input ``start`` is added. A host that sends raw rows
    in another order declares it with ``host_inputs``. The vertical grid and the time step in
    seconds come from the store or pairs unless given. Where a variable is a field ``batch_granule``
    is 1: every sample is a forward of its own.

    Raises ContractError where module, sets, constraints and data do not fit together (the message
    says what), PackageError if the file cannot be written.
    """
    known = None if statistics is None else _statistics(statistics)
    source = golden_source(golden, time_step_s)
    grid = hybrid or source.hybrid
    levels = {} if grid is None else {"level_count": grid.level_count}
    network_inputs, network_outputs = _set(inputs, levels), _set(outputs, levels)
    pairs = _pairs(carried, network_inputs, network_outputs)
    rules = [ConstraintEntry(name=c) if isinstance(c, str) else c for c in constraints]
    contract = _contract(
        inputs=_with_start(
            network_inputs if host_inputs is None else _set(host_inputs, levels), bool(pairs)
        ),
        outputs=network_outputs if host_outputs is None else _set(host_outputs, levels),
        network_inputs=network_inputs,
        network_outputs=network_outputs,
        hybrid=grid,
        carried=[{"output": o, "input": i} for o, i in pairs.items()],
        constraints=rules,
        pruned_levels=_pruned(pruned_levels, rules),
        normalization=_configuration(normalization),
        time_step_s=time_step_s or source.time_step_s,
        coordinates=dict(coordinates or {}),
        batch_granule=batch_granule
        or (COLUMN_GRANULE if _small(network_inputs, network_outputs) else 1),
    )
    emulator = _emulator(module, contract, confidence=confidence)
    _normalize(emulator, normalization, known)
    candidates = source.rows(contract.inputs.of_role("value"), known)
    if not isinstance(module, ColumnEmulator | RowNetwork):
        check_module(emulator, _host_rows(emulator, candidates))
    made = ExportSource(
        name=name,
        emulator=emulator,
        architecture=ArchitectureEntry(
            name=_name_of(module),
            configuration=None,
            trainable_parameters=trainable_parameters(emulator.network),
        ),
        statistics_digest=None if known is None else known.digest,
        difference_scale=_difference_scale(emulator, candidates, known),
        training_ranges={} if known is None else training_ranges(contract, known),
        training_distribution=None if known is None else training_distribution(contract, known),
        data_digest=source.digest,
        seed=seed,
        training=dict(training or {}) | {"golden": source.kind},
    )
    return open_package(export_package(made, candidates, output).path)


def _contract(**parts: Any) -> EmulatorContract:
    try:
        return EmulatorContract.of(**parts)
    except ValidationError as error:
        raise ContractError(fault(error)) from error


def _set(given: SetName, levels: dict[str, int]) -> VariableSet:
    return given if isinstance(given, VariableSet) else variable_set(given, **levels)


def _small(*sets: VariableSet) -> bool:
    """Say whether no variable is a field: those have two dimensions and more."""
    return all(len(v.dims) < 2 or v.role == "carried" for s in sets for v in s.variables)


def _pairs(
    carried: Mapping[str, str] | None, inputs: VariableSet, outputs: VariableSet
) -> dict[str, str]:
    """Return {output: input} of what is carried; ContractError where roles and pairs disagree."""
    pairs = dict(carried or {})
    given, taken = outputs.of_role("carried").names, inputs.of_role("carried").names
    if sorted(pairs) != sorted(given) or sorted(pairs.values()) != sorted(taken):
        raise ContractError(
            f"carried must pair the outputs of role carried {list(given)} with the inputs of role "
            f"carried {list(taken)}, each once; got {pairs}"
        )
    return pairs


def _with_start(inputs: VariableSet, carries: bool) -> VariableSet:
    if not carries or START in inputs:
        return inputs
    start = Variable(START, "1", "1 on the first step of a sample, 0 later", role="start")
    return VariableSet(
        inputs.name,
        (*inputs.of_role("value").variables, start, *inputs.of_role("carried").variables),
        inputs.sizes,
    )


def _pruned(given: int | None, rules: Sequence[ConstraintEntry]) -> int:
    if given is not None:
        return given
    return PRUNED_LEVELS if any(r.name == "prune" for r in rules) else 0


def _configuration(normalization: str | NormalizationConfig | Scaling) -> NormalizationConfig:
    if isinstance(normalization, NormalizationConfig):
        return normalization
    scheme = "given" if isinstance(normalization, Scaling) else normalization
    try:
        return NormalizationConfig.model_validate({"scheme": scheme})
    except ValidationError as error:
        raise ContractError(
            f"normalization must be none, moments, range, or a Scaling; got {scheme!r:.80}"
        ) from error


def _normalize(
    emulator: WrappedEmulator, normalization: object, statistics: Statistics | None
) -> None:
    scheme = emulator.contract.normalization.scheme
    if isinstance(normalization, Scaling):
        emulator.normalization.give(normalization)
    elif scheme in ("moments", "range"):
        if statistics is None:
            raise ContractError(
                f"normalization {scheme!r} is made from statistics: give them, or a Scaling with "
                "your own numbers"
            )
        emulator.fit(statistics)


def _statistics(given: Statistics | ColumnStore | str | Path) -> Statistics:
    if isinstance(given, Statistics):
        return given
    if isinstance(given, ColumnStore):
        return compute_statistics(given)
    path = Path(given)
    return compute_statistics(ColumnStore.open(path)) if path.is_dir() else read_statistics(path)


def _emulator(
    module: nn.Module | str | Path, contract: EmulatorContract, *, confidence: bool
) -> WrappedEmulator:
    if isinstance(module, ColumnEmulator | RowNetwork):
        check_network(module, contract)
        return WrappedEmulator(contract, module).eval()
    graph = module if isinstance(module, nn.Module) else _load(Path(module))
    return WrappedEmulator(contract, network_of(graph, contract, confidence=confidence)).eval()


def _load(path: Path) -> torch.jit.ScriptModule:
    """Return the graph of a TorchScript file, once its code is known to do no more than compute."""
    content = read_archive_file(path)
    check_code(content, path)
    try:
        return torch.jit.load(path, map_location="cpu")
    except RuntimeError as error:
        line = str(error).strip().splitlines()[0]
        raise ContractError(f"{path}: torch {torch.__version__} cannot load it: {line}") from error


def _name_of(module: nn.Module | str | Path) -> str:
    return type(module).__name__ if isinstance(module, nn.Module) else Path(module).name


def _host_rows(emulator: WrappedEmulator, values: Tensor) -> Tensor:
    """Return host rows [row, n_input] of samples that begin, from their value inputs."""
    return Sequences.of(emulator).first(values) if emulator.contract.carried else values


def _difference_scale(
    emulator: WrappedEmulator, values: Tensor, statistics: Statistics | None
) -> dict[str, list[float]]:
    """Return s of the difference formula: the training spread where it is known, else that of the
    network's own answers.
    """
    outputs = emulator.contract.outputs.of_role("value")
    if statistics is not None and all(
        n in statistics.variables and statistics[n].has("std") for n in outputs.names
    ):
        return difference_scale(emulator.contract, statistics)
    with torch.no_grad():
        y = emulator(_host_rows(emulator, values))[:, : outputs.width].to(torch.float64)
    floors = [output_floor(v) for v in outputs.variables for _ in range(outputs.width_of(v.name))]
    scale = torch.maximum(y.std(dim=0, correction=0), torch.tensor(floors, dtype=torch.float64))
    return {n: scale[outputs.slice(n)].tolist() for n in outputs.names}
