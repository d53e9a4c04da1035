"""A tree of mli/mlo pairs as a source of a store: every pair is one time of the grid's columns.

The published trees differ in their grid file only: low resolution (384 columns), its aquaplanet,
and high resolution (21,600).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import (
    Columns,
    Pair,
    count_implausible,
    find_pairs,
    read_pair,
    stored_variables,
)
from climlink.data.files import sha256_file
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.data.lags import LaggedReader, predecessors, with_history
from climlink.data.own_variables import NOTHING_OWN, OwnVariables
from climlink.data.source import Note, digest
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import StoreConfig, record_of
from climlink.wrappers.catalogue import read_catalogue
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.variable_sets import DEFAULT_LEVEL_COUNT
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

MOST_TIMES = 8
BLOCK_COLUMNS = MOST_TIMES * 384
"""Columns of a block unless time_chunk is configured: 8 times of the low-resolution grid."""


@dataclass(frozen=True)
class PairSource:
    """The pairs of a folder that a store is made of, and ``known``, those and the ones that only
    the steps before are taken from.
    """

    known: list[Pair]
    pairs: list[Pair]
    codes: NDArray[np.int8]
    grid: Grid
    config: StoreConfig
    split: Split
    own: OwnVariables = NOTHING_OWN
    first: int = 0
    """Number of the first pair, in a part of a source."""
    unit: Literal["pairs", "rows"] = "pairs"

    @classmethod
    def find(cls, folder: Path, split: Split, grid: Path | None, config: StoreConfig) -> PairSource:
        """Find and check everything that can be checked before a file is read."""
        found = find_pairs(folder, config.pairs)
        codes = split.assign([p.stamp for p in found])
        pairs = with_history(found, config.time_step_s) if config.lags else found
        kept = np.isin([p.stamp.seconds for p in found], [p.stamp.seconds for p in pairs])
        own = NOTHING_OWN
        if config.variables is not None:
            stored = stored_variables(DEFAULT_LEVEL_COUNT, config.lags)
            own = OwnVariables.find(read_catalogue(config.variables), stored, pairs[0])
        found_grid = read_grid(find_grid(folder, grid))
        return cls(found, pairs, codes[kept], found_grid, config, split, own)

    @property
    def title(self) -> str:
        """What the records come from."""
        return f"ClimSim {self.config.pairs} pairs"

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What a pair holds."""
        return stored_variables(self.level_count, self.config.lags) + self.own.variables

    @property
    def dims(self) -> Mapping[str, int]:
        """Levels, and the user's own dimensions."""
        return {LEVEL: self.level_count, **self.own.dims}

    @property
    def level_count(self) -> int:
        """Levels of the grid."""
        return self.grid.level_count

    @property
    def hybrid(self) -> HybridCoordinate:
        """The vertical grid."""
        return self.grid.hybrid

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """The stamps of the pairs."""
        return tuple(p.stamp for p in self.pairs)

    @property
    def n_record(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def left_out(self) -> int:
        """Pairs that lack one of the two steps before."""
        return len(self.known) - len(self.pairs)

    @property
    def block_size(self) -> int:
        """Times of a block: as configured, else up to 8, fewer on a grid of more columns, so that
        memory does not grow with it.
        """
        fitting = max(1, min(MOST_TIMES, BLOCK_COLUMNS // self.grid.n_column))
        return self.config.time_chunk or fitting

    def arguments(self) -> dict[str, str]:
        """Return digests of the arguments; the source counts by its stamps, not by its place."""
        found = {
            "stamps of the source": digest("".join(f"{p.stamp}\n" for p in self.pairs)),
            "grid file": self.grid.sha256,
            "split": digest(self.split.declaration),
        }
        own = json.dumps([record_of(v, self.dims) for v in self.own.variables])
        return found | ({"own variables": digest(own)} if self.own.variables else {})

    def sizes(self, block: slice) -> list[list[int]]:
        """Return the lengths of the files of each pair."""
        return [self._sizes(pair) for pair in self._of(block)]

    def read(self, block: slice, done: Callable[[int], None]) -> tuple[Columns, list[Note]]:
        """Return the values [time, column, level] of some pairs, and a note of each."""
        columns, notes = [], []
        for number, pair in enumerate(self._of(block), start=block.start + 1):
            columns.append(self._read(pair))
            notes.append(self._note(pair, columns[-1]))
            done(number)
        # One variable after another leaves the list, so that a block is never in memory twice.
        return {v.name: np.stack([c.pop(v.name) for c in columns]) for v in self.variables}, notes

    def part(self, records: slice) -> PairSource:
        """Return some pairs, with those of the steps before where lags are asked for."""
        pairs = self._of(records)
        known = {p.stamp: p for pair in pairs for p in (pair, *self._earlier(pair))}
        nothing = self.codes[:0]
        return replace(
            self, known=[*known.values()], pairs=pairs, codes=nothing, first=records.start
        )

    def where(self, record: int) -> str:
        """Return the mli file of a record."""
        return str(self.pairs[record - self.first].mli)

    def conclude(self, notes: Sequence[Note]) -> list[str]:
        """Return the SHA-256 of the files of every pair."""
        return [note["sha256"] for note in notes]

    @cached_property
    def _by_stamp(self) -> dict[Stamp, Pair]:
        return {p.stamp: p for p in self.known}

    @cached_property
    def _reader(self) -> LaggedReader:
        c = self.config
        return LaggedReader(self.known, self.grid, c.time_step_s, c.allow_implausible)

    @cached_property
    def _sha256(self) -> Callable[[Path], str]:
        # Lagged inputs read a pair three times, one soon after the other.
        return lru_cache(maxsize=16)(sha256_file)

    def _read(self, pair: Pair) -> Columns:
        c = self.config
        own = self.own.read(pair, self.grid, c.time_step_s, c.allow_implausible)
        if c.lags:
            return self._reader.read(pair) | own
        return read_pair(pair, self.grid, c.time_step_s, c.allow_implausible) | own

    def _files(self, pair: Pair) -> list[Path]:
        """Return the files that a time is made of: its own, and those of the steps before where
        lags are asked for.
        """
        return [path for p in (pair, *self._earlier(pair)) for path in (p.mli, p.mlo)]

    def _earlier(self, pair: Pair) -> list[Pair]:
        """Return the pairs of the steps before, where lags are asked for."""
        if not self.config.lags:
            return []
        return predecessors(pair, self._by_stamp, self.config.time_step_s)

    def _of(self, records: slice) -> list[Pair]:
        return self.pairs[records.start - self.first : records.stop - self.first]

    def _sizes(self, pair: Pair) -> list[int]:
        return [path.stat().st_size for path in self._files(pair)]

    def _note(self, pair: Pair, columns: Columns) -> dict[str, Any]:
        step = self.config.time_step_s
        allowed = [v for v in self.variables if v.name in self.config.allow_implausible]
        return {
            "sizes": self._sizes(pair),
            "sha256": " ".join(self._sha256(path) for path in self._files(pair)),
            "implausible": count_implausible(columns, allowed, step),
        }
