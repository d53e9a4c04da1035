"""The columns an imported graph is examined on and its golden columns are chosen from: real where
there is data, else synthetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.climsim import find_pairs
from climlink.data.columns import read_columns
from climlink.data.grid import find_grid, read_grid
from climlink.data.lags import needs_lags, with_history
from climlink.data.store import ColumnStore
from climlink.data.synthetic import synthetic_hybrid, synthetic_rows
from climlink.packages.golden_sources import (
    CANDIDATE_COUNT,
    CANDIDATE_TIMES,
    candidate_times,
    spread_evenly,
)
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import CarriedPair
from climlink.wrappers.variable_sets import DEFAULT_LEVEL_COUNT, VariableSet, variable_set
from climlink.wrappers.variables import shipped_variables
from climlink.wrappers.vertical import HybridCoordinate

SYNTHETIC_COUNT = 256


@dataclass(frozen=True)
class ImportColumns:
    """Rows [row, n_input] float32 with the number of their snapshot [row], and how to have them in
    the order of another set.

    From data there are also targets [row, n_output], float64, and the vertical coordinate. With
    carried state ``outputs`` has it behind the quantities of ``targets``, and ``values`` are the
    rows [row, n_value] without it.
    """

    inputs: VariableSet
    outputs: VariableSet
    rows: Tensor
    source: Literal["store", "pairs", "synthetic"]
    hybrid: HybridCoordinate | None
    rows_of: Callable[[VariableSet], Tensor]
    snapshots: NDArray[np.int64]
    targets: Tensor | None = None
    carried: tuple[CarriedPair, ...] = ()
    values: Tensor | None = None


class RowSets(Protocol):
    """The quantities that go in and come out, for any number of levels."""

    @property
    def level_count(self) -> int:
        """Number of levels where the data do not say it."""
        ...

    def at(self, level_count: int) -> tuple[VariableSet, VariableSet]:
        """Return the sets of inputs and outputs; ContractError for a wrong number of levels."""
        ...


@dataclass(frozen=True)
class NamedSets:
    """Two of the shipped sets."""

    input_set: str
    output_set: str
    level_count: int = DEFAULT_LEVEL_COUNT

    def at(self, level_count: int) -> tuple[VariableSet, VariableSet]:
        """Return the sets for a number of levels."""
        return variable_set(self.input_set, level_count), variable_set(self.output_set, level_count)


def import_columns(
    sets: RowSets, data: Path | None, grid: Path | None, time_step_s: float
) -> ImportColumns:
    """Return the columns of ``data``, a prepared store or a folder of ClimSim pairs, or synthetic
    ones on the levels of ``grid`` if None.

    Raises DataError or StoreError for data that cannot be read or lacks inputs, ContractError for a
    store of another time step.
    """
    if data is None:
        return _synthetic(sets, None if grid is None else read_grid(find_grid(Path(), grid)).hybrid)
    if (data / "zarr.json").is_file():
        return _from_store(sets, ColumnStore.open(data), time_step_s)
    return _from_pairs(sets, data, grid, time_step_s)


def _synthetic(sets: RowSets, hybrid: HybridCoordinate | None) -> ImportColumns:
    level_count = sets.level_count if hybrid is None else hybrid.level_count
    inputs, outputs = sets.at(level_count)
    coordinate = hybrid or synthetic_hybrid(level_count)

    def rows_of(variables: VariableSet) -> Tensor:
        return _synthetic_rows(variables, coordinate)

    snapshots = np.zeros(SYNTHETIC_COUNT, dtype=np.int64)
    return ImportColumns(inputs, outputs, rows_of(inputs), "synthetic", hybrid, rows_of, snapshots)


def _synthetic_rows(variables: VariableSet, hybrid: HybridCoordinate) -> Tensor:
    """Return rows [row, width]: shipped variables as columns, own ones drawn in their ranges.

    ContractError for an own variable without a range.
    """
    known = tuple(v for v in variables.variables if v.name in shipped_variables())
    shipped = VariableSet(variables.name, known, variables.sizes)
    values: dict[str, Tensor] = {}
    if known:
        values = shipped.unpack(torch.from_numpy(synthetic_rows(shipped, hybrid, SYNTHETIC_COUNT)))
    generator = torch.Generator().manual_seed(0)
    for v in (v for v in variables.variables if v not in known):
        if v.plausible is None:
            raise ContractError(
                f"{v.name} has no range to draw golden samples from: give one, or data"
            )
        low, high = v.plausible
        drawn = torch.rand([SYNTHETIC_COUNT, *variables.shape_of(v)], generator=generator)
        values[v.name] = low + (high - low) * drawn
    return variables.pack(values)


def _from_store(sets: RowSets, store: ColumnStore, time_step_s: float) -> ImportColumns:
    if store.time_step_s != time_step_s:
        raise ContractError(
            f"{store.path} has a time step of {store.time_step_s:g} s, the import one of "
            f"{time_step_s:g} s; make them equal"
        )
    inputs, outputs = sets.at(store.level_count)
    times = spread_evenly(store.n_time, candidate_times(store))
    kept = spread_evenly(len(times) * store.n_column, CANDIDATE_COUNT)

    def rows_of(variables: VariableSet) -> Tensor:
        return torch.from_numpy(store.pack(variables, times)[kept])

    targets = torch.from_numpy(store.targets(outputs, times)[kept])
    return ImportColumns(
        inputs,
        outputs,
        rows_of(inputs),
        "store",
        store.hybrid,
        rows_of,
        kept // store.n_column,
        targets,
    )


def _from_pairs(sets: RowSets, data: Path, grid: Path | None, time_step_s: float) -> ImportColumns:
    on = read_grid(find_grid(data, grid))
    pairs = find_pairs(data)
    inputs, outputs = sets.at(on.level_count)
    usable = with_history(pairs, time_step_s) if needs_lags(inputs.names, on.level_count) else pairs
    stamps = [usable[i].stamp for i in spread_evenly(len(usable), CANDIDATE_TIMES)]
    kept = spread_evenly(len(stamps) * on.n_column, CANDIDATE_COUNT)

    def rows_of(variables: VariableSet) -> Tensor:
        return torch.from_numpy(
            read_columns(
                pairs, variables, outputs, stamps=stamps, grid=on, time_step_s=time_step_s
            ).inputs[kept]
        )

    read = read_columns(pairs, inputs, outputs, stamps=stamps, grid=on, time_step_s=time_step_s)
    rows, targets = torch.from_numpy(read.inputs[kept]), torch.from_numpy(read.targets[kept])
    return ImportColumns(
        inputs, outputs, rows, "pairs", on.hybrid, rows_of, kept // on.n_column, targets
    )
