"""Parts of the inference benchmark that run in one Python process: engines of all networks, numbers
of columns, and what stands around a network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from inference_packages import BFLOAT16, Engine, Made, has_bfloat16
from inference_results import Row
from inference_timing import (
    Call,
    Effort,
    FTorchStyle,
    Seconds,
    compared,
    interleaved,
    opened,
    require_equal,
    significant,
)

STEP_COLUMNS = 192
CHUNKS = (16, 96)
ALL = "FTorch-style, all columns in one call"
BATCHES = (16, 48, 96, 192, 384, 1536, 5400, 21600)
LARGEST_BATCH_S = 4.0
"""A batch is left out where the baseline alone would take longer."""
_PEAK = 1024
_STREAM = 1 << 24
"""Values of each array that the memory's bandwidth is measured with: 64 MiB."""


def chunked(size: int) -> str:
    """Return the name of the baseline that is called once per chunk."""
    return f"FTorch-style, a call per {size} columns"


def engines(made: Made, effort: Effort, columns: int = STEP_COLUMNS) -> list[Row]:
    """Time every engine against FTorch's way with all columns in one call and per chunk, beside the
    peak of a matrix product, one thread.
    """
    rows, n_output = made.rows(columns), made.package.manifest.n_output
    sizes = [size for size in CHUNKS if size < columns]
    path = made.package.path
    baselines = {ALL: FTorchStyle(path, rows, n_output, columns)}
    baselines |= {chunked(s): FTorchStyle(path, rows, n_output, s) for s in sizes}
    baselines[ALL]()
    emulators = {e.name: opened(made, e, columns) for e in made.engines}
    differences = {
        name: require_equal(made, emulator, rows, baselines[ALL].outputs)
        for name, emulator in emulators.items()
    }
    calls: dict[str, Call] = dict(baselines)
    calls |= {n: (lambda e=e: e.run_packed(rows)) for n, e in emulators.items()}
    calls |= peaks()
    taken = interleaved(calls, effort)
    work = 2.0 * made.network.multiply_adds() * columns
    found = []
    for name in emulators:
        peak = _rate(taken, "bfloat16" if name == BFLOAT16 else "float32")
        seconds = float(np.median(taken[name]))
        found.append(
            {
                "subject": name,
                "columns": columns,
                "threads": 1,
                "micro_batch": emulators[name].micro_batch,
                "seconds": significant(seconds),
                "floor_seconds": significant(work / peak),
                "fraction_of_peak": significant(float(np.median(work / taken[name])) / peak, 3),
                "peak_gflops": significant(peak / 1e9),
                "fraction_of_bandwidth": significant(
                    _bytes(made, rows.nbytes) / seconds / _bandwidth(taken), 3
                ),
                "difference": significant(differences[name], 2),
                "against": {b: compared(taken[name], taken[b]) for b in baselines},
            }
        )
    if made.no_bfloat16:
        found.append({"subject": BFLOAT16, "columns": columns, "refused": made.no_bfloat16})
    return found


def peaks() -> dict[str, Call]:
    """Return matrix products by MKL and oneDNN, as torch calls them, and a copy of memory: what is
    the most that one thread can do here.
    """
    a = torch.rand(_PEAK, _PEAK)
    b = torch.rand(_PEAK, _PEAK)
    out, source, target = torch.empty_like(a), torch.ones(_STREAM), torch.empty(_STREAM)
    found: dict[str, Call] = {
        "float32 MKL": lambda: torch.mm(a, b, out=out),
        "float32 oneDNN": _packed_linear(a, b),
        "memory": lambda: target.copy_(source),
    }
    if has_bfloat16():
        found["bfloat16 oneDNN"] = _packed_linear(a.bfloat16(), b.bfloat16())
    return found


def _packed_linear(x: torch.Tensor, weight: torch.Tensor) -> Call:
    """Return oneDNN's product with a weight laid out as its kernel reads it, which inductor's
    frozen graphs call.
    """
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
    linear = torch.ops.mkldnn._linear_pointwise

    def call() -> None:
        with torch.no_grad():
            linear(x, packed, None, "none", [], "")

    return call


def _rate(taken: dict[str, Seconds], precision: str) -> float:
    """Return the most operations per second of a precision; those of float32 where the processor
    has none of its own.
    """
    fastest = [np.median(s) for n, s in taken.items() if n.startswith(f"{precision} ")]
    if not fastest:
        return _rate(taken, "float32")
    return float(2.0 * _PEAK**3 / min(fastest))


def _bandwidth(taken: dict[str, Seconds]) -> float:
    """Return bytes per second, read and written."""
    return float(2 * 4 * _STREAM / np.median(taken["memory"]))


def _bytes(made: Made, rows: int) -> int:
    """Return the least bytes that a step moves: weights and input rows read, outputs written."""
    manifest = made.package.manifest
    weights = 4 * manifest.architecture.trainable_parameters
    return weights + rows + rows // manifest.n_input * manifest.n_output


def batches(made: Made, effort: Effort, sizes: tuple[int, ...] = BATCHES) -> list[Row]:
    """Time every engine against FTorch's way with the same columns in one call, by their number."""
    found: list[Row] = []
    path, n_output = made.package.path, made.package.manifest.n_output
    for size in sizes:
        rows = made.rows(size)
        baseline = FTorchStyle(path, rows, n_output, size)
        if found and found[-1]["baseline_seconds"] * size / found[-1]["columns"] > LARGEST_BATCH_S:
            break
        emulators = {e.name: opened(made, e, size) for e in made.engines}
        calls: dict[str, Call] = {ALL: baseline}
        calls |= {n: (lambda e=e, x=rows: e.run_packed(x)) for n, e in emulators.items()}
        taken = interleaved(calls, effort)
        found += [
            {
                "subject": name,
                "columns": size,
                "threads": 1,
                "micro_batch": emulators[name].micro_batch,
                "seconds": significant(float(np.median(taken[name]))),
                "baseline_seconds": significant(float(np.median(taken[ALL]))),
                "against": {ALL: compared(taken[name], taken[ALL])},
            }
            for name in emulators
        ]
    return found


def wrapper(made: Made, effort: Effort, columns: int = STEP_COLUMNS) -> list[Row]:
    """Time the whole graph over the bare network inside it: what derived inputs, normalization and
    constraints cost.
    """
    rows = torch.from_numpy(made.rows(columns))
    script = made.package.load()
    with torch.inference_mode():
        normalized = script.normalized_inputs(rows)
        taken = interleaved(
            {
                "whole": lambda: script(rows),
                "network": lambda: script.network_rows(normalized),
            },
            effort,
        )
    found = {"bare network": compared(taken["network"], taken["whole"])}
    return [{"subject": "whole graph", "columns": columns, "times": found}]


def bare_code(engine: Engine, micro_batch: int, rows: torch.Tensor) -> Callable[[], None]:
    """Return the compiled code called by torch's own loader, in micro-batches of a size."""
    artefact = engine.artefact
    assert artefact is not None
    code = torch._inductor.aoti_load_package(str(artefact.path), run_single_threaded=True)
    parts = rows.split(micro_batch)

    def call() -> None:
        for part in parts:
            code(part)

    return call
