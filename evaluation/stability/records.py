"""Consecutive steps: of a recorded run, from a store or from a folder of mli/mlo pairs, and of
columns that are held.
"""

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
from climlink.data.sun import sun
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import Array
from climlink.evaluation.stability.response import tendency_name
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate

COSINE, SUNLIGHT = "pbuf_COSZRS", "pbuf_SOLIN"
SUN_TOLERANCE = 0.1
"""Of the cosine: E3SM's is the mean over the coming step, which the moment misses by up to 0.05."""
STATES = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v")


class Record(Protocol):
    """Consecutive steps: named float64 columns of every step (host inputs, states and true
    tendencies), and where they lie.
    """

    @property
    def count(self) -> int:
        """Number of states, one time step apart."""

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


class DatedRecord(Record, Protocol):
    """A record whose steps have stamps."""

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Stamps of the steps."""


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
    def count(self) -> int:
        """Number of times in the run."""
        return len(self.times)

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
    def count(self) -> int:
        """Number of pairs in the run."""
        return len(self._pairs)

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


@dataclass(frozen=True)
class ColumnsOf:
    """Some columns of another record, by number."""

    record: Record
    columns: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of states of the other record."""
        return self.record.count

    @property
    def hybrid(self) -> HybridCoordinate:
        """The other record's vertical coordinate."""
        return self.record.hybrid

    @property
    def area(self) -> Array:
        """Area of the columns."""
        return np.asarray(self.record.area[self.columns])

    @property
    def time_step_s(self) -> float:
        """Time step of the other record."""
        return self.record.time_step_s

    def read(self, step: int) -> Columns:
        """Return one step of the columns."""
        return {n: v[self.columns] for n, v in self.record.read(step).items()}


@dataclass(frozen=True)
class HeldRecord:
    """``count`` states of columns in which nothing happens: no dynamics, no physics, all inputs as
    they were at the columns' own times, ``seconds`` [column] since 0000-01-01-00000. With
    ``sun_moves`` the sun goes on with the clock. Replayed, it is the emulator alone.
    """

    columns: Columns
    seconds: NDArray[np.int64]
    latitude: Array
    longitude: Array
    area: Array
    hybrid: HybridCoordinate
    time_step_s: float
    count: int
    sun_moves: bool

    @classmethod
    def of(
        cls, store: ColumnStore, places: NDArray[np.int64], *, count: int, sun_moves: bool
    ) -> HeldRecord:
        """Return columns of a store, ``places`` [column, 2] the numbers of their time and column.

        EvaluationError where the sun is to move and that of the store does not stand where the
        clock puts it.
        """
        names = [v.name for v in store.variables]
        parts: list[Columns] = []
        order = np.argsort(places[:, 0], kind="stable")
        places = places[order]
        for time in np.unique(places[:, 0]):
            chosen = places[places[:, 0] == time, 1]
            values = store.read(names, [int(time)])
            parts.append({n: v[chosen].astype(np.float64) for n, v in values.items()})
        columns = {n: np.concatenate([part[n] for part in parts]) for n in names}
        still = {tendency_name(n): np.zeros_like(columns[n]) for n in STATES}
        made = cls(
            columns | still,
            np.array([store.stamps[t].seconds for t in places[:, 0]], dtype=np.int64),
            store.latitude[places[:, 1]],
            store.longitude[places[:, 1]],
            store.area[places[:, 1]],
            store.hybrid,
            store.time_step_s,
            count,
            sun_moves,
        )
        if sun_moves:
            made._check_sun(store)
        return made

    def _check_sun(self, store: ColumnStore) -> None:
        if COSINE not in self.columns:
            return
        apart = np.abs(self.read(0)[COSINE] - self.columns[COSINE])
        worst = int(apart.argmax())
        if apart[worst] > SUN_TOLERANCE:
            raise EvaluationError(
                f"{store.path}: the clock puts the cosine of the sun's zenith angle at "
                f"{self.read(0)[COSINE][worst]:.3f} where {COSINE} is "
                f"{self.columns[COSINE][worst]:.3f} (latitude {self.latitude[worst]:.1f}, "
                f"longitude {self.longitude[worst]:.1f}, "
                f"{Stamp.from_seconds(int(self.seconds[worst]))}); hold the sun with "
                "--free-run-sun recorded"
            )

    def read(self, step: int) -> Columns:
        """Return the columns, with the sun of the step."""
        if not self.sun_moves:
            return self.columns
        later = self.seconds + round(step * self.time_step_s)
        cosine, sunlight = sun(later, self.latitude, self.longitude)
        moved = {COSINE: cosine, SUNLIGHT: sunlight}
        return self.columns | {n: v for n, v in moved.items() if n in self.columns}


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
