"""Where golden samples are chosen from: a store, ClimSim pairs, a user's arrays, or numbers drawn
from statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.climsim import TIME_STEP_S, find_pairs
from climlink.data.columns import read_columns
from climlink.data.grid import find_grid, read_grid
from climlink.data.lags import needs_lags, with_history
from climlink.data.store import ColumnStore
from climlink.wrappers.errors import ContractError
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate

CANDIDATE_TIMES = 8
CANDIDATE_COUNT = 1024
DRAWN_COUNT = 256

Rows = Callable[[VariableSet, Statistics | None], Tensor]


@dataclass(frozen=True)
class GoldenSource:
    """Gives rows [row, width] of a set of value inputs, with what it knows of grid, time step and
    data.
    """

    kind: str
    rows: Rows
    hybrid: HybridCoordinate | None = None
    time_step_s: float | None = None
    digest: str | None = None


def golden_source(given: Any, time_step_s: float | None = None) -> GoldenSource:
    """Return the source of golden samples; ContractError for something that is none."""
    if given is None:
        return GoldenSource("drawn from the statistics", _drawn)
    if isinstance(given, str | Path):
        path = Path(given)
        given = ColumnStore.open(path) if (path / "zarr.json").is_file() else path
    if isinstance(given, ColumnStore):
        return GoldenSource(
            "store",
            lambda s, _: store_rows(given, s),
            given.known_hybrid,
            given.time_step_s,
            given.digest,
        )
    if isinstance(given, Path):
        step = time_step_s or TIME_STEP_S
        return GoldenSource(
            "pairs",
            lambda s, _: _pair_rows(given, s, step),
            read_grid(find_grid(given, None)).hybrid,
            step,
        )
    if isinstance(given, Mapping) or hasattr(given, "data_vars"):
        return GoldenSource("arrays by name", lambda s, _: _named_rows(given, s))
    return GoldenSource("array", lambda s, _: _array_rows(given, s))


def store_rows(store: ColumnStore, variables: VariableSet) -> Tensor:
    """Return up to CANDIDATE_COUNT training columns [row, width], spread evenly over times and
    columns.
    """
    times = store.indices("train")
    rows = store.pack(variables, times[spread_evenly(len(times), candidate_times(store))])
    return torch.from_numpy(rows[spread_evenly(len(rows), CANDIDATE_COUNT)])


def candidate_times(store: ColumnStore) -> int:
    """Return how many times to take columns from; of a table, whose times are rows, one per row."""
    return CANDIDATE_TIMES if store.has_place else CANDIDATE_COUNT


def spread_evenly(total: int, count: int) -> NDArray[np.int64]:
    """Return up to ``count`` positions spread evenly over ``total``."""
    return np.unique(np.linspace(0, total - 1, min(total, count)).round().astype(np.int64))


def _pair_rows(folder: Path, variables: VariableSet, time_step_s: float) -> Tensor:
    pairs = find_pairs(folder)
    grid = read_grid(find_grid(folder, None))
    usable = (
        with_history(pairs, time_step_s) if needs_lags(variables.names, grid.level_count) else pairs
    )
    stamps = [usable[i].stamp for i in spread_evenly(len(usable), CANDIDATE_TIMES)]
    rows = read_columns(
        pairs, variables, variables, stamps=stamps, grid=grid, time_step_s=time_step_s
    ).inputs
    return torch.from_numpy(rows[spread_evenly(len(rows), CANDIDATE_COUNT)])


def _named_rows(named: Any, variables: VariableSet) -> Tensor:
    """Return the rows of arrays by name, [..., dims], whatever their leading dimensions are."""
    lacking = [n for n in variables.names if n not in named]
    if lacking:
        raise ContractError(f"golden: the data lack {lacking}")
    arrays = {}
    for v in variables.variables:
        values = named[v.name]
        if hasattr(values, "transpose") and hasattr(values, "dims"):
            values = values.transpose(..., *v.dims)
        array = np.ascontiguousarray(np.asarray(values), dtype=np.float32)
        arrays[v.name] = torch.from_numpy(array.reshape(-1, *variables.shape_of(v)))
    return variables.pack(arrays)


def _array_rows(given: Any, variables: VariableSet) -> Tensor:
    array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] != variables.width:
        raise ContractError(
            "golden must be a store, a folder of pairs, arrays by name, or rows [row, "
            f"{variables.width}] of set {variables.name!r}; got an array {list(array.shape)}"
        )
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _drawn(variables: VariableSet, statistics: Statistics | None) -> Tensor:
    """Return rows drawn from a normal distribution of every value by itself, within its range:
    plausible, without physics.
    """
    if statistics is None:
        raise ContractError(
            "golden samples come from data or from statistics: give golden= or statistics="
        )
    statistics.require(variables.names, ("mean", "std", "minimum", "maximum"))
    generator = torch.Generator().manual_seed(0)
    parts = []
    for v in variables.variables:
        s = statistics[v.name]
        drawn = s.mean + s.std * torch.randn(
            [DRAWN_COUNT, s.width], generator=generator, dtype=torch.float64
        )
        parts.append(torch.minimum(torch.maximum(drawn, s.minimum), s.maximum))
    return torch.cat(parts, dim=1).to(torch.float32)
