"""What a replay wrote, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import (
    TIME_STEP_S,
    find_files,
    read_inputs,
    read_outputs,
    stamp_of,
    stored_variables,
)
from climlink.data.columns import derive, pack_targets, source_names
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.evaluation.errors import EvaluationError
from climlink.wrappers.variable_sets import VariableSet


def replay_outputs(
    mli_files: Sequence[Path],
    replayed: Path,
    outputs: VariableSet,
    grid: Grid | str | Path,
    *,
    time_step_s: float = TIME_STEP_S,
) -> NDArray[np.float64]:
    """Return what a replay wrote, as rows [row, width] in the order of ``mli_files``: tendencies
    per second and fluxes.

    ``replayed`` holds files in the mlo format at or below it, one per mli file; tendencies are
    differenced from the mli states exactly as the truth is. ``grid`` is a grid file or the folder
    that holds one. EvaluationError lists the stamps that were not replayed.
    """
    if not isinstance(grid, Grid):
        grid = read_grid(find_grid(Path(grid)) if Path(grid).is_dir() else grid)
    written = find_files(Path(replayed), "mlo")
    stamps = [stamp_of(path) for path in mli_files]
    absent = [str(s) for s in stamps if s not in written]
    if absent or not stamps:
        raise EvaluationError(
            f"{replayed}: no replayed mlo file of "
            f"{', '.join(absent) or 'any stamp: none were asked for'}"
        )
    blocks = []
    for path, stamp in zip(mli_files, stamps, strict=True):
        columns = read_outputs(
            written[stamp], read_inputs(path, grid, stamp), grid, stamp, time_step_s
        )
        stored = {
            name: columns[name]
            for name in source_names(outputs.names, stored_variables(grid.level_count))
        }
        blocks.append(pack_targets(derive(outputs.names, stored, grid.hybrid), outputs))
    return np.concatenate(blocks)
