"""Predictions of a package, and what a replay wrote, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.climsim import TIME_STEP_S, find_files, read_inputs, read_outputs, stamp_of, stored_variables
from climlink.data.columns import derive, pack_targets, source_names
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.evaluation.errors import EvaluationError
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import VariableSet

Changes = dict[str, NDArray[np.float64]]
"""What constraints added, {"constraint/output": [row, width]}."""

DEFAULT_BATCH_ROWS = 1536
_ROW_MULTIPLE = 16  # the Runtime rounds every forward up to this many rows: other tails take other kernels and round differently


class Predictor:
    """A loaded package that takes rows in batches, as the Runtime does: the file is read once."""

    def __init__(self, package: EmulatorPackage | str | Path, *, batch_rows: int = DEFAULT_BATCH_ROWS, device: str = "cpu") -> None:
        """Load a package; EvaluationError for a batch size that the Runtime would not use."""
        if batch_rows < _ROW_MULTIPLE or batch_rows % _ROW_MULTIPLE:
            raise EvaluationError(f"batch_rows must be a multiple of {_ROW_MULTIPLE}, got {batch_rows}")
        self.package = package if isinstance(package, EmulatorPackage) else EmulatorPackage.read(package)
        self._batch_rows = batch_rows
        self._device = device
        self._module = self.package.load(device)

    @property
    def splits_constraints(self) -> bool:
        """Whether the graph tells what each of its constraints changed; an imported one does not."""
        return hasattr(self._module, "constraint_changes")

    def output_scale(self) -> NDArray[np.float64] | None:
        """Return what the graph multiplies its normalized outputs by, [n_network_output]; None where the graph does not say."""
        state = self._module.state_dict()
        scale = state.get("normalization.output_scale")
        return None if scale is None else np.asarray(scale.cpu().numpy(), dtype=np.float64)

    def rows(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return output rows, float32 [row, n_output], confidence included, for host rows [row, n_input]."""
        self._check(inputs)
        predicted = np.empty((inputs.shape[0], self.package.manifest.n_output), dtype=np.float32)
        for first, count, padded in self._batches(inputs):
            predicted[first : first + count] = self._module(padded).cpu().numpy()[:count]
        return predicted

    def rows_and_changes(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], Changes | None]:
        """Return output rows as ``rows`` does, and what each constraint added, {"constraint/output": [row, width]}.

        The network runs once: the parts of the graph's forward are called one by one, which gives the same bits. The changes are None
        where the graph does not tell its constraints apart.
        """
        if not self.splits_constraints:
            return self.rows(inputs), None
        self._check(inputs)
        predicted = np.empty((inputs.shape[0], self.package.manifest.n_output), dtype=np.float32)
        parts: dict[str, list[NDArray[np.float64]]] = {}
        graph = self._module
        for first, count, padded in self._batches(inputs):
            rows, confidence = graph.normalized_forward(padded)
            predicted[first : first + count] = graph.output_rows(padded, rows, confidence).cpu().numpy()[:count]
            for name, value in graph.constraints.changes(graph.state(padded), graph.physical_outputs(rows)).items():
                parts.setdefault(name, []).append(value.cpu().numpy()[:count])
        return predicted, {name: np.concatenate(values) for name, values in parts.items()}

    def _check(self, inputs: NDArray[np.float32]) -> None:
        width = self.package.manifest.n_input
        if inputs.ndim != 2 or inputs.shape[1] != width or inputs.dtype != np.float32:
            raise EvaluationError(f"{self.package.path} takes float32 rows [row, {width}], got {inputs.dtype} {list(inputs.shape)}")

    def _batches(self, inputs: NDArray[np.float32]) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yield first row, number of rows and the padded rows of every batch."""
        with torch.inference_mode():
            for first in range(0, inputs.shape[0], self._batch_rows):
                part = inputs[first : first + self._batch_rows]
                padded = np.concatenate([part, np.repeat(part[-1:], -len(part) % _ROW_MULTIPLE, axis=0)])
                yield first, len(part), torch.from_numpy(padded).to(self._device)


def predict_package(
    package: EmulatorPackage | str | Path, inputs: NDArray[np.float32], *, batch_rows: int = DEFAULT_BATCH_ROWS, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return the package's outputs, float32 [row, width of its output set], for host rows [row, n_input], in batches.

    Confidence values, where the package has them, are left out.
    """
    predictor = Predictor(package, batch_rows=batch_rows, device=device)
    return predictor.rows(inputs)[:, : predictor.package.manifest.n_value]


def replay_outputs(
    mli_files: Sequence[Path], replayed: Path, outputs: VariableSet, grid: Grid | str | Path, *, time_step_s: float = TIME_STEP_S
) -> NDArray[np.float64]:
    """Return what a replay wrote, as rows [row, width] in the order of ``mli_files``: tendencies per second and fluxes.

    ``replayed`` holds files in the mlo format at or below it, one per mli file; tendencies are differenced from the mli states exactly as
    the truth is. ``grid`` is a grid file or the folder that holds one. EvaluationError lists the stamps that were not replayed.
    """
    if not isinstance(grid, Grid):
        grid = read_grid(find_grid(Path(grid)) if Path(grid).is_dir() else grid)
    written = find_files(Path(replayed), "mlo")
    stamps = [stamp_of(path) for path in mli_files]
    absent = [str(s) for s in stamps if s not in written]
    if absent or not stamps:
        raise EvaluationError(f"{replayed}: no replayed mlo file of {', '.join(absent) or 'any stamp: none were asked for'}")
    blocks = []
    for path, stamp in zip(mli_files, stamps, strict=True):
        columns = read_outputs(written[stamp], read_inputs(path, grid, stamp), grid, stamp, time_step_s)
        stored = {name: columns[name] for name in source_names(outputs.names, stored_variables(grid.level_count))}
        blocks.append(pack_targets(derive(outputs.names, stored, grid.hybrid), outputs))
    return np.concatenate(blocks)
