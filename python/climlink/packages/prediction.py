"""The one prediction path: rows through a package's graph, in batches that round as the Runtime's
do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.wrappers.carried import CarriedPositions
from climlink.wrappers.constraints.ranges import InputClip, RangeRelaxation
from climlink.wrappers.errors import ClimlinkError

Changes = dict[str, NDArray[np.float64]]
"""What constraints added, {"constraint/output": [row, width]}, or "constraint/input" to inputs."""

BATCH_ROWS = 1536
"""Rows of a forward, where a package does not take every sample by itself."""


class PredictionError(ClimlinkError, ValueError):
    """Data do not fit the package that they are given to."""


class Predictor:
    """A loaded package that takes rows in batches, as the Runtime does: the file is read once.

    Threads take turns, so that what is in memory does not grow with their number. A copy in another
    process loads the package again from its file.
    """

    def __init__(
        self,
        package: EmulatorPackage | str | Path,
        *,
        batch_rows: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Load a package; PredictionError for a batch size that the Runtime would not use."""
        self.package = (
            package if isinstance(package, EmulatorPackage) else EmulatorPackage.read(package)
        )
        manifest = self.package.manifest
        granule = manifest.batch_granule
        if batch_rows is None:
            batch_rows = max(1, BATCH_ROWS // granule) * granule
        if batch_rows < granule or batch_rows % granule:
            raise PredictionError(f"batch_rows must be a multiple of {granule}, got {batch_rows}")
        self._granule = granule
        self.batch_rows = batch_rows if granule > 1 else 1
        self._device = device
        self._lock = threading.Lock()
        self.carried = CarriedPositions.of_manifest(manifest) if manifest.carried else None
        self.module = self.package.load(device)

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (self.package, self.batch_rows, self._device)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return type(self).__name__, self.package.digest, self._device

    @property
    def splits_constraints(self) -> bool:
        """Whether the graph tells what each of its constraints changed; an imported one does
        not.
        """
        return hasattr(self.module, "constraint_changes")

    def output_scale(self) -> NDArray[np.float64] | None:
        """Return what the graph multiplies its normalized outputs by, [n_network_output].

        None where the graph does not say.
        """
        scale = self.module.state_dict().get("normalization.output_scale")
        return None if scale is None else np.asarray(scale.cpu().numpy(), dtype=np.float64)

    def rows(self, inputs: FloatRows) -> FloatRows:
        """Return output rows, float32 [row, n_output], for host rows [row, n_input].

        Confidence and carried state are included. PredictionError for other shapes or types, and a
        ``start`` that is neither 0 nor 1.
        """
        self._check(inputs)
        predicted = np.empty((inputs.shape[0], self.package.manifest.n_output), dtype=np.float32)
        # no_grad, not inference_mode: a graph that also ran with gradients is specialized for them.
        with torch.no_grad(), self._lock:
            for first, count, padded in self._batches(inputs):
                predicted[first : first + count] = self.module(padded).cpu().numpy()[:count]
        return predicted

    def rows_and_changes(self, inputs: FloatRows) -> tuple[FloatRows, Changes | None]:
        """Return output rows as ``rows`` does, and what each constraint added to outputs, and to
        the inputs that the network sees.

        The network runs once: the parts of the graph's forward are called one by one, which gives
        the same bits. The changes are None where the graph does not tell its constraints apart.
        """
        if not self.splits_constraints:
            return self.rows(inputs), None
        self._check(inputs)
        predicted = np.empty((inputs.shape[0], self.package.manifest.n_output), dtype=np.float32)
        parts: dict[str, list[NDArray[np.float64]]] = {}
        graph = self.module
        with torch.no_grad(), self._lock:
            for first, count, padded in self._batches(inputs):
                rows, confidence = graph.normalized_forward(padded)
                outputs = graph.output_rows(padded, rows, confidence)
                predicted[first : first + count] = outputs.cpu().numpy()[:count]
                physical = graph.physical_outputs(rows)
                changes = graph.constraints.changes(graph.state(padded), physical)
                if hasattr(graph, "input_changes"):
                    changes = {**graph.input_changes(padded), **changes}
                for name, value in changes.items():
                    parts.setdefault(name, []).append(value.cpu().numpy()[:count])
        return predicted, {name: np.concatenate(values) for name, values in parts.items()}

    def range_use(self, inputs: FloatRows) -> NDArray[np.float64] | None:
        """Return how much the range policy holds each row, [row, 3] (see
        WrappedEmulator.range_use), None where the package has none. Runs no network.
        """
        declared = {c.name for c in self.package.manifest.constraints or []}
        if declared.isdisjoint((InputClip.name, RangeRelaxation.name)):
            return None
        self._check(inputs)
        with torch.no_grad(), self._lock:
            parts = [
                self.module.range_use(padded).cpu().numpy()[:count]
                for _, count, padded in self._batches(inputs)
            ]
        return np.concatenate(parts) if parts else np.zeros((0, 3))

    def roll_out(self, inputs: FloatRows, before: FloatRows | None = None) -> FloatRows:
        """Return output rows [step, sample, n_output] of steps whose state is handed on.

        ``inputs`` [step, sample, n_input]: where ``start`` is 0 their carried values are
        overwritten by those of the step before, ``before`` [sample, n_output] at the first step;
        where it is 1 by zeros. PredictionError for a package that carries nothing, and a first step
        without state.
        """
        if self.carried is None:
            raise PredictionError(
                f"{self.package.path} carries no state from step to step; predict every row by "
                "itself"
            )
        outputs = np.empty((*inputs.shape[:2], self.package.manifest.n_output), dtype=np.float32)
        for step, given in enumerate(inputs):
            rows = given.copy()
            goes_on = given[:, self.carried.start] == 0.0
            if before is None and bool(goes_on.any()):
                sample = int(np.argmax(goes_on))
                raise PredictionError(
                    f"sample {sample} goes on at the first step (start is 0) and no state is given"
                )
            handed = np.float32(0.0) if before is None else before[:, self.carried.given]
            rows[:, self.carried.taken] = np.where(goes_on[:, None], handed, np.float32(0.0))
            before = outputs[step] = self.rows(rows)
        return outputs

    def _check(self, inputs: FloatRows) -> None:
        width = self.package.manifest.n_input
        if inputs.ndim != 2 or inputs.shape[1] != width or inputs.dtype != np.float32:
            raise PredictionError(
                f"{self.package.path} takes float32 rows [row, {width}], got {inputs.dtype} "
                f"{list(inputs.shape)}"
            )
        if self.carried is not None:
            start = inputs[:, self.carried.start]
            bad = (start != 0.0) & (start != 1.0)
            if bad.any():
                row = int(np.argmax(bad))
                raise PredictionError(f"start must be 0 or 1, row {row} has {start[row]:g}")

    def _batches(self, inputs: FloatRows) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yield first row, number of rows and the padded rows of every batch."""
        for first in range(0, inputs.shape[0], self.batch_rows):
            part = inputs[first : first + self.batch_rows]
            # Other tails take other kernels and round differently, so the last forward is filled
            # up.
            padded = np.concatenate(
                [part, np.repeat(part[-1:], -len(part) % self._granule, axis=0)]
            )
            yield first, len(part), torch.from_numpy(padded).to(self._device)


def _loaded(package: EmulatorPackage, batch_rows: int, device: str) -> Predictor:
    return Predictor(package, batch_rows=batch_rows, device=device)


def predict_package(
    package: EmulatorPackage | str | Path,
    inputs: FloatRows,
    *,
    batch_rows: int | None = None,
    device: str = "cpu",
) -> FloatRows:
    """Return the values a package predicts, float32 [row, n_value], for host rows [row, n_input].

    Confidence and carried state, where the package has them, are left out.
    """
    predictor = Predictor(package, batch_rows=batch_rows, device=device)
    return predictor.rows(inputs)[:, : predictor.package.manifest.n_value]
