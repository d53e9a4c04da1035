"""The gate of a precision below float32: what it costs in R² on real columns, and the manifest that
allows it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.packages.golden_sources import spread_evenly
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.wrappers.contract import value_sets
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import Manifest, ReducedPrecisionEntry, ToleranceEntry

R2_LOSS_LIMIT = 1e-3
"""Largest loss of R² of any output that is accepted, unless another is given."""

GATE_COLUMNS = 16384
"""Columns of a store that the loss is measured on, evenly spread over its test part."""

GOLDEN_MARGIN = 3.0
"""Tolerance of the golden columns over the difference measured: other processors round each value
of a network otherwise, by as much again.
"""

BATCH_ROWS = 256


class PrecisionError(ClimlinkError):
    """A precision costs more than its limit."""


@dataclass(frozen=True)
class GateColumns:
    """Columns to measure on: host rows [row, n_input], what is true of their value outputs [row,
    n_value] (None: what the package says in float32), and where they are from, in words.
    """

    inputs: FloatRows
    truth: NDArray[np.float64] | None
    told: str

    @classmethod
    def of(cls, package: EmulatorPackage, store: ColumnStore | None) -> GateColumns:
        """Return columns of a store's test part, or the golden ones where there is no store."""
        if store is None:
            told = "golden columns, against the package in float32"
            return cls(package.golden_inputs, None, told)
        inputs, outputs = value_sets(package.manifest)
        times = store.indices("test")
        rows = store.pack(inputs, times)
        chosen = spread_evenly(len(rows), GATE_COLUMNS)
        told = f"test part of the store {store.digest[:12]}, against its truth"
        return cls(rows[chosen], store.targets(outputs, times)[chosen], told)


@intra_op_threads(RUNTIME_THREADS)
def measure(
    package: EmulatorPackage, archive: bytes, device: Literal["cpu", "cuda"], columns: GateColumns
) -> ReducedPrecisionEntry:
    """Return what compiled code in bfloat16 (torch's archive) costs a package; PrecisionError where
    it gives values that are not finite.
    """
    run = _runner(archive, device)
    single = Predictor(package).rows(columns.inputs)
    n_value = package.manifest.n_value
    reduced, golden = run(columns.inputs), run(package.golden_inputs)
    if not (np.isfinite(reduced).all() and np.isfinite(golden).all()):
        raise PrecisionError(
            f"{package.path}: outputs in bfloat16 are not finite; compile in float32"
        )
    truth = single[:, :n_value].astype(np.float64) if columns.truth is None else columns.truth
    scale = package.difference_scale
    difference = scaled_difference(
        torch.from_numpy(golden), torch.from_numpy(package.golden_outputs), scale
    )
    loss: dict[str, float] = {}
    for v in package.manifest.outputs.of_role("value"):
        where = slice(v.offset, v.offset + v.width)
        of = (truth[:, where], scale[where].numpy())
        loss[v.name] = pooled_r2(single[:, where], *of) - pooled_r2(reduced[:, where], *of)
    return ReducedPrecisionEntry(
        precision="bfloat16",
        device=device,
        columns=columns.told,
        column_count=len(columns.inputs),
        r2_loss=loss,
        limit=R2_LOSS_LIMIT,
        golden_difference=float(difference.max()),
    )


def pooled_r2(
    predicted: NDArray[np.floating], truth: NDArray[np.floating], scale: NDArray[np.float64]
) -> float:
    """Return R² = 1 - Σ((y - t)/s)² / Σ((t - mean t)/s)² over the rows and values of an output.

    ``scale`` [width] is s, so every level counts alike. Of an output that does not vary it is 1
    less the mean of ((y - t)/s)².
    """
    error = np.square((predicted.astype(np.float64) - truth) / scale)
    spread = np.square((truth - truth.mean(axis=0)) / scale).sum()
    return float(1.0 - (error.sum() / spread if spread > 0.0 else error.mean()))


def _runner(archive: bytes, device: str) -> Callable[[FloatRows], FloatRows]:
    """Return a function on host rows that runs compiled code by torch's own loader."""
    from torch._inductor import aoti_load_package

    with tempfile.TemporaryDirectory(prefix="climlink-gate-") as folder:
        path = Path(folder, "model.pt2")
        path.write_bytes(archive)
        code = aoti_load_package(str(path), run_single_threaded=True)

    def run(rows: FloatRows) -> FloatRows:
        parts = [
            torch.from_numpy(rows[i : i + BATCH_ROWS]) for i in range(0, len(rows), BATCH_ROWS)
        ]
        with torch.no_grad():
            outputs = [code(part.contiguous().to(device)).cpu().numpy() for part in parts]
        return np.concatenate(outputs)

    return run


def require_within(entry: ReducedPrecisionEntry, limit: float) -> ReducedPrecisionEntry:
    """Return the entry with its limit; PrecisionError names the outputs that lose more."""
    beyond = {n: loss for n, loss in entry.r2_loss.items() if not loss <= limit}
    if beyond:
        named = ", ".join(f"{n} {loss:.2e}" for n, loss in sorted(beyond.items()))
        raise PrecisionError(
            f"{entry.precision} costs more R² than {limit:g} on {entry.column_count} columns "
            f"({entry.columns}): {named}; compile in float32, or accept it with a higher limit"
        )
    return entry.model_copy(update={"limit": limit})


def allowing(manifest: Manifest, entry: ReducedPrecisionEntry) -> Manifest:
    """Return the manifest with a precision allowed, what it costs, and its golden tolerance."""
    tolerance = ToleranceEntry(
        backend="aotinductor",
        device=entry.device,
        precision=entry.precision,
        tolerance=GOLDEN_MARGIN * max(entry.golden_difference, manifest.same_kernels_tolerance),
    )
    of = (tolerance.backend, tolerance.device, tolerance.precision)
    others = [t for t in manifest.tolerances if (t.backend, t.device, t.precision) != of]
    before = [e for e in manifest.reduced_precision if e.device != entry.device]
    allowed = list(dict.fromkeys([*manifest.allowed_precisions, entry.precision]))
    changed = manifest.model_copy(
        update={
            "allowed_precisions": allowed,
            "reduced_precision": [*before, entry],
            "tolerances": [*others, tolerance],
        }
    )
    return Manifest.model_validate(changed.model_dump())
