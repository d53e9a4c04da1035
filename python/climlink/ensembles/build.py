"""An ensemble as one package: the members' mean before the constraints, which act once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from climlink.data.store import ColumnStore
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import training_record
from climlink.ensembles.members import ENSEMBLE, Member
from climlink.ensembles.network import EnsembleNetwork, Mean
from climlink.packages.export import ExportSource, export_package
from climlink.packages.golden_sources import store_rows
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.column_emulator import trainable_parameters
from climlink.wrappers.contract import EmulatorContract, without_start
from climlink.wrappers.manifest import ArchitectureEntry, NormalizationConfig
from climlink.wrappers.normalization import Scaling
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_NEEDED = ("normalized_forward", "physical_outputs")

CONFIDENCE = "spread"
"""What an ensemble's confidence is, as its recorded training says."""


def equal_weights(members: Sequence[Member]) -> Tensor:
    """Return weights [member, n] with which every member counts alike."""
    count, width = len(members), members[0].outputs.width
    return torch.full((count, width), 1.0 / count, dtype=torch.float64)


def ensemble_emulator(
    members: Sequence[Member], weights: Tensor, combination: nn.Module | None = None
) -> WrappedEmulator:
    """Return members (see ``read_members``) as one emulator: mean, ``combination``, constraints.

    ``weights`` [member, n] are of network outputs, not negative and of sum 1. The scale of the
    outputs, which the spread is told in, is that of the first member's normalization.
    EnsembleError for weights that do not fit, and a graph that an older climlink made.
    """
    _check_weights(members, weights)
    for member in members:
        if not all(hasattr(member.module, name) for name in _NEEDED):
            raise EnsembleError(
                f"{member.name}: its graph does not give its outputs before the constraints; "
                "export it again with this climlink"
            )
    offset, scale = output_scaling(members[0])
    network = EnsembleNetwork(
        [m.module for m in members],
        members[0].outputs.names,
        weights,
        offset,
        scale,
        Mean() if combination is None else combination,
    )
    emulator = WrappedEmulator(_contract(members[0]), network)
    emulator.normalization.give(Scaling(output_factor=scale, output_offset=offset))
    emulator.constraints.give_ranges(_common_ranges(members))
    return emulator.eval()


def output_scaling(member: Member) -> tuple[Tensor, Tensor]:
    """Return offset and scale of a member's network outputs [n], float64, physical units."""
    outputs = member.contract.network_outputs
    where = torch.cat([torch.arange(outputs.width)[outputs.slice(n)] for n in member.outputs.names])
    state = member.module.state_dict()
    offset, scale = (
        state[f"normalization.output_{n}"].to(torch.float64) for n in ("mean", "scale")
    )
    return offset[where], scale[where]


def write_ensemble(
    members: Sequence[Member],
    weights: Tensor,
    output: str | Path,
    *,
    name: str,
    combination: nn.Module | None = None,
    columns: ColumnStore | None = None,
    record: dict[str, Any] | None = None,
) -> EmulatorPackage:
    """Write the package of an ensemble and return it.

    Golden columns come from ``columns``, or are those of the members. ``record`` says how a
    combination or weights were found, for the manifest. EnsembleError as ``ensemble_emulator``,
    ContractError where too few golden columns can be found.
    """
    emulator = ensemble_emulator(members, weights, combination)
    kind = "mean" if combination is None else "stack"
    first = members[0].package.manifest
    digests = {m.provenance.data_digest for m in members}
    values = emulator.contract.outputs.names
    known = [m.package.manifest.training_distribution for m in members]
    source = ExportSource(
        name=name,
        emulator=emulator,
        architecture=ArchitectureEntry(
            name=f"{ENSEMBLE}_{kind}",
            configuration=None,
            trainable_parameters=trainable_parameters(emulator.network),
        ),
        statistics_digest=None,
        difference_scale={n: first.difference_scale[n] for n in values},
        training_ranges=_common_ranges(members),
        # Of members that were trained on other data there is no common one to be found.
        training_distribution=known[0] if all(d == known[0] for d in known) else None,
        data_digest=digests.pop() if len(digests) == 1 else None,
        training={
            "confidence": CONFIDENCE,
            ENSEMBLE: {"kind": kind, "members": _provenance(members, weights), **(record or {})},
        },
    )
    rows = (
        _golden_rows(members) if columns is None else store_rows(columns, emulator.contract.inputs)
    )
    return export_package(source, rows, output)


def _contract(first: Member) -> EmulatorContract:
    """Return the ensemble's contract: the first member's between hosts, and a network that reads
    the host's row as it is.
    """
    parts = dict(first.contract) | {
        "network_input_layout": without_start(first.contract.inputs).layout(),
        "network_output_layout": first.outputs.layout(),
        "normalization": NormalizationConfig(scheme="given"),
    }
    return EmulatorContract(**parts)


def _check_weights(members: Sequence[Member], weights: Tensor) -> None:
    expected = (len(members), members[0].outputs.width)
    if tuple(weights.shape) != expected:
        raise EnsembleError(
            f"weights must be [member, network output] {list(expected)}, got {list(weights.shape)}"
        )
    fit = torch.isfinite(weights).all() and (weights >= 0.0).all()
    if not fit or not torch.allclose(weights.sum(dim=0), torch.ones(expected[1]).to(weights)):
        raise EnsembleError("weights must be finite, not negative, and sum to 1 over the members")


def _common_ranges(members: Sequence[Member]) -> dict[str, list[list[float]]]:
    """Return the ranges of inputs that all members have seen; EnsembleError where there is none."""
    ranges = [m.package.manifest.training_ranges for m in members]
    found: dict[str, list[list[float]]] = {}
    for name in (n for n in ranges[0] if all(n in r for r in ranges)):
        pairs = [np.broadcast_arrays(*(np.asarray(r[name][k]) for r in ranges)) for k in (0, 1)]
        low, high = np.max(pairs[0], axis=0), np.min(pairs[1], axis=0)
        if (low > high).any():
            raise EnsembleError(
                f"the members have no range of {name} in common that all have seen in training"
            )
        found[name] = [low.tolist(), high.tolist()]
    return found


def _provenance(members: Sequence[Member], weights: Tensor) -> list[dict[str, Any]]:
    """Return what the manifest says of every member; a weight is one number where all outputs have
    the same, else a list by network output.
    """
    return [
        {
            "name": m.package.manifest.name,
            "sha256": m.package.digest,
            "weight": weights_by_output(m, w),
            "seed": m.provenance.seed,
            "architecture": None if entry is None else entry.name,
            **training_record(m.package),
        }
        for m, w in zip(members, weights, strict=True)
        for entry in (m.package.manifest.architecture,)
    ]


def weights_by_output(member: Member, weights: Tensor) -> float | dict[str, list[float]]:
    """Return a member's weights [n] as one number where they are equal, else by network output."""
    if bool((weights == weights[0]).all()):
        return float(weights[0])
    return {n: weights[member.outputs.slice(n)].tolist() for n in member.outputs.names}


def _golden_rows(members: Sequence[Member]) -> Tensor:
    rows = np.concatenate([m.package.golden_inputs for m in members])
    _, first = np.unique(rows, axis=0, return_index=True)
    return torch.from_numpy(rows[np.sort(first)])
