"""Consecutive steps of a recorded run, from a store or from a folder of mli/mlo pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import (
    TIME_STEP_S,
    Columns,
    Pair,
    find_pairs,
    read_pair,
    stored_variables,
)
from climlink.data.grid import find_grid, read_grid
from climlink.data.lags import LaggedReader, needs_lags, predecessors
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import Array
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate

STATES = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v")


class Record(Protocol):
    """Consecutive steps: named float64 columns of every step (host inputs, states and true
    tendencies), and where they lie.
    """

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Stamps of the steps, one time step apart."""

    @property
    def hybrid(self) -> HybridCoordinate:
        """The vertical coordinate."""

    @property
    def area(self) -> Array:
        """Area of the columns, [column]."""

    @property
    def time_step_s(self) -> float:
        """Seconds between steps."""

    def read(self, step: int) -> Columns:
        """Return the columns before the physics of a step, and its tendencies per second."""


def longest_run(stamps: Sequence[Stamp], time_step_s: float) -> slice:
    """Return where the longest run of stamps one time step apart lies, the first of equals; stamps
    must be in order.
    """
    best, first = slice(0, min(1, len(stamps))), 0
    for number in range(1, len(stamps) + 1):
        if number == len(stamps) or stamps[number].since(stamps[number - 1]) != round(time_step_s):
            if number - first > best.stop - best.start:
                best = slice(first, number)
            first = number
    return best


@dataclass(frozen=True)
class StoreRecord:
    """The longest run of consecutive times of a store; states have the precision that they are
    stored in.
    """

    store: ColumnStore
    times: NDArray[np.int64]

    @classmethod
    def of(cls, store: ColumnStore) -> StoreRecord:
        """Return the longest run in a store."""
        order = np.array(sorted(range(store.n_time), key=lambda i: store.stamps[i]), dtype=np.int64)
        return cls(store, order[longest_run([store.stamps[i] for i in order], store.time_step_s)])

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Stamps of the steps."""
        return tuple(self.store.stamps[i] for i in self.times)

    @property
    def hybrid(self) -> HybridCoordinate:
        """The store's vertical coordinate."""
        return self.store.hybrid

    @property
    def area(self) -> Array:
        """Area of the store's columns."""
        return self.store.area

    @property
    def time_step_s(self) -> float:
        """Time step of the store."""
        return self.store.time_step_s

    def read(self, step: int) -> Columns:
        """Return one step from the store."""
        names = [v.name for v in self.store.variables]
        return {
            n: v.astype(np.float64)
            for n, v in self.store.read(names, [int(self.times[step])]).items()
        }


class PairsRecord:
    """The longest run of consecutive mli/mlo pairs in a folder; with ``lagged`` inputs it begins
    two steps later.
    """

    def __init__(
        self,
        folder: Path,
        inputs: VariableSet,
        grid: Path | None = None,
        time_step_s: float = TIME_STEP_S,
    ) -> None:
        self._grid = read_grid(find_grid(folder, grid))
        if inputs.level_count != self._grid.level_count:
            raise EvaluationError(
                f"{folder} has {self._grid.level_count} levels, the package was made for "
                f"{inputs.level_count}; give pairs on its levels"
            )
        self.time_step_s = time_step_s
        found = find_pairs(folder)
        self._lagged = needs_lags(inputs.names, inputs.level_count)
        if self._lagged:
            known = {p.stamp: p for p in found}
            self._reader = LaggedReader(found, self._grid, time_step_s)
            found = [p for p in found if len(predecessors(p, known, time_step_s)) == 2]
        self._pairs: list[Pair] = found[longest_run([p.stamp for p in found], time_step_s)]

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Stamps of the steps."""
        return tuple(p.stamp for p in self._pairs)

    @property
    def hybrid(self) -> HybridCoordinate:
        """The grid file's vertical coordinate."""
        return self._grid.hybrid

    @property
    def area(self) -> Array:
        """Area of the grid's columns."""
        return self._grid.area

    def read(self, step: int) -> Columns:
        """Return one step from its two files."""
        pair = self._pairs[step]
        return (
            self._reader.read(pair)
            if self._lagged
            else read_pair(pair, self._grid, self.time_step_s)
        )


def check_lags(store: ColumnStore, inputs: VariableSet) -> None:
    """Raise EvaluationError if a package takes inputs of earlier steps that a store does not
    hold.
    """
    missing = needs_lags(inputs.names, inputs.level_count) and not store.lags
    if missing:
        there = {v.name for v in stored_variables(store.level_count)}
        absent = [n for n in inputs.names if n not in there]
        raise EvaluationError(
            f"{store.path} was prepared without lags, the package takes {', '.join(absent[:4])}…; "
            "prepare it with --lags"
        )
