"""What the inference benchmarks time and how: subjects in turn, round by round, and the ratios of
their times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference_packages import Engine, InferenceBenchError, Made
from numpy.typing import NDArray

from climlink.packages.bench import interval_of_median
from climlink.packages.read import FloatRows
from climlink.runtime import Emulator
from climlink.wrappers.difference import scaled_difference

Seconds = NDArray[np.float64]
Call = Callable[[], object]
SHORTEST_S = 0.02
"""Least time of one measurement: shorter calls are repeated."""
FEWEST_ROUNDS = 7


@dataclass(frozen=True)
class Effort:
    """How much is spent on one comparison: rounds, and seconds after which no more than
    ``FEWEST_ROUNDS`` begin.
    """

    rounds: int = 31
    budget_s: float = 6.0


def interleaved(calls: Mapping[str, Call], effort: Effort) -> dict[str, Seconds]:
    """Return the processor's seconds of one call of each subject in every round, [round].

    Every subject runs in every round, in an order that moves on, after two calls of each to warm
    up.
    """
    for _ in range(2):
        first = {name: _seconds(call, 1) for name, call in calls.items()}
    repeats = {name: max(1, round(SHORTEST_S / max(s, 1e-7))) for name, s in first.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, begun = list(calls), time.monotonic()
    for r in range(effort.rounds):
        if r >= min(FEWEST_ROUNDS, effort.rounds) and time.monotonic() - begun > effort.budget_s:
            break
        for i in np.roll(np.arange(len(names)), r):
            taken[names[i]].append(_seconds(calls[names[i]], repeats[names[i]]))
    return {name: np.array(values) for name, values in taken.items()}


def _seconds(call: Call, repeats: int) -> float:
    """Return the processor's time, of all threads: what else the machine does is not in it, a
    thread that was not asked for is.
    """
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def compared(subject: Seconds, baseline: Seconds) -> dict[str, Any]:
    """Return how many times faster a subject is than its baseline: median of the rounds' ratios
    with its 95 % interval.
    """
    ratios = baseline / subject
    return {
        "ratio": significant(np.median(ratios)),
        "interval": [significant(v) for v in interval_of_median(ratios)],
        "rounds": len(ratios),
    }


def significant(value: float, digits: int = 4) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")


class FTorchStyle:
    """A package as FTorch runs it: libtorch's TorchScript, in evaluation mode and not frozen,
    without gradients, on tensors over the host's own memory in Fortran's order, a call per chunk;
    the result is copied into the host's array.
    """

    def __init__(self, package: Path, rows: FloatRows, n_output: int, chunk: int) -> None:
        self._module = torch.jit.load(str(package)).eval()
        starts = range(0, len(rows), chunk)
        inputs = [np.asfortranarray(rows[i : i + chunk]) for i in starts]
        self._outputs = [np.empty((len(x), n_output), np.float32, order="F") for x in inputs]
        self._tensors = [
            (torch.from_numpy(x), torch.from_numpy(y))
            for x, y in zip(inputs, self._outputs, strict=True)
        ]

    def __call__(self) -> None:
        with torch.no_grad():
            for x, y in self._tensors:
                y.copy_(self._module(x))

    @property
    def outputs(self) -> FloatRows:
        """What the last call gave, [column, n_output]."""
        return np.concatenate(self._outputs)


MICRO_BATCH = 192
"""Columns of a forward; fortran_bridge/tests/bench_host.F90 has the same number."""


def opened(made: Made, engine: Engine, columns: int, **options: Any) -> Emulator:
    """Return a package opened with an engine; InferenceBenchError where another one runs."""
    chosen = {"micro_batch": MICRO_BATCH, **engine.options(), **options}
    emulator = Emulator(made.package.path, column_count=columns, **chosen)
    expected = "torchscript" if engine.artefact is None else engine.artefact.entry.backend
    if emulator.engine != expected:
        raise InferenceBenchError(emulator.engine_note)
    return emulator


def require_equal(made: Made, emulator: Emulator, rows: FloatRows, expected: FloatRows) -> float:
    """Return the largest difference of an emulator's outputs from those of the baseline;
    InferenceBenchError beyond the manifest's tolerance.
    """
    got = emulator.run_packed(rows)
    scale = made.package.difference_scale
    difference = float(
        scaled_difference(torch.from_numpy(got), torch.from_numpy(expected), scale).max()
    )
    limit = made.package.manifest.tolerance(emulator.engine, "cpu", emulator.precision)
    if not difference <= limit:
        raise InferenceBenchError(
            f"{made.package.path}: outputs of {emulator.engine} in {emulator.precision} differ "
            f"from the baseline by {difference:.1e}, more than the manifest's {limit:.0e}"
        )
    return difference
