"""Runs side by side in time: blocks of records of the reference with what the other runs have at
the same times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.online.fields import parts
from climlink.evaluation.online.history import HistoryGrid, common_records
from climlink.evaluation.online.stream import Stream
from climlink.evaluation.report import Exclusion

Array = NDArray[np.float64]
Values = NDArray[np.float32]
Progress = Callable[[int, int, str], None]

REFERENCE, RUN, TWIN = "reference", "run", "twin"
CLIMATOLOGY, PERSISTENCE = "climatology", "persistence"
FORECASTS = (CLIMATOLOGY, PERSISTENCE)
"""Members that no model made and no file holds (yardsticks.py)."""
_BLOCK_BYTES = 48 * 2**20


@dataclass(frozen=True)
class Block:
    """Some consecutive records. ``day`` [record] is the end of each, in days since both runs began;
    ``middle`` is in days since 0001-01-01.

    ``values[member][name]`` is [record, (level,) column] in the units of the files, NaN where the
    member has no such record; ``usable[member][name]`` [record] says where it is there and finite
    all over. ``compared`` [record] is the window of means.
    """

    grid: HistoryGrid
    day: Array
    middle: Array
    compared: NDArray[np.bool_]
    values: Mapping[str, Mapping[str, Values]]
    usable: Mapping[str, Mapping[str, NDArray[np.bool_]]]

    def all_usable(self, member: str, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return where a member has all of these fields [record]."""
        return np.asarray(np.logical_and.reduce([self.usable[member][name] for name in names]))

    def fair(self, name: str, member: str) -> NDArray[np.bool_]:
        """Return the compared records [record] that the reference and the run both have of a field,
        and the member too.
        """
        return (
            self.compared
            & self.usable[REFERENCE][name]
            & self.usable[RUN][name]
            & self.usable[member][name]
        )

    def double(self, member: str, name: str) -> Array:
        """Return a field in float64."""
        return self.values[member][name].astype(np.float64)


class Collector(Protocol):
    """Takes in blocks in order of time and gives its numbers at the end."""

    @property
    def names(self) -> Sequence[str]:
        """Fields that its blocks must have."""

    def add(self, block: Block) -> None:
        """Take in a block."""

    def result(self) -> xr.Dataset:
        """Return the labelled numbers."""


@dataclass
class Gaps:
    """Where fields are not finite: how many records of which member, and the first place."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    present: dict[tuple[str, str], int] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def exclusions(self, cadence: str) -> list[Exclusion]:
        """Return them as what was left out."""
        found = []
        for (member, name), count in sorted(self.counts.items()):
            total = self.present[member, name]
            what = f"{name} of the {member}, {count} of {total} {cadence} records"
            found.append(
                Exclusion(
                    what,
                    f"not finite, first in {self.places[member, name]}; these records are in no "
                    f"number of {name}",
                )
            )
        return found


@dataclass(frozen=True)
class SideBySide:
    """One cadence of a reference and of the runs that are held against it; all are on one grid
    (require_comparable).

    ``forecasts[member][name]`` [(level,) column] are what is held against it at every time alike.
    """

    cadence: str
    grid: HistoryGrid
    streams: Mapping[str, Stream]
    start: float
    from_day: float
    forecasts: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)

    @property
    def pairs(self) -> list[str]:
        """What is held against the reference: the run first, its twin, the forecasts."""
        return [*(m for m in self.streams if m != REFERENCE), *self.forecasts]

    def has(self, member: str, name: str) -> bool:
        """Tell whether a member has a field, or what it is the sum of."""
        return member in self.streams and parts(name, self.streams[member].fields) is not None

    def shared(self, name: str) -> bool:
        """Tell whether reference and run both have a field."""
        return self.has(REFERENCE, name) and self.has(RUN, name)

    def records(self) -> dict[str, NDArray[np.int64]]:
        """Return, for every member, its record at the times of the reference [record of the
        reference], -1 where it has none.
        """
        reference = self.streams[REFERENCE]
        found = {}
        for member, stream in self.streams.items():
            own, theirs = common_records(stream, reference)
            found[member] = np.full(len(reference.start), -1, dtype=np.int64)
            found[member][theirs] = own
        return found

    def blocks(self, names: Sequence[str], gaps: Gaps) -> Iterator[tuple[int, int, Block]]:
        """Yield (records done, all records, block) of the fields, in order of time; each file is
        read once.
        """
        reference, records = self.streams[REFERENCE], self.records()
        others = [records[m] >= 0 for m in self.streams if m != REFERENCE]
        wanted = (
            np.flatnonzero(np.logical_or.reduce(others))
            if others
            else np.arange(len(reference.start))
        )
        size = max(
            1, _BLOCK_BYTES // (4 * len(self.streams) * sum(self._cells(name) for name in names))
        )
        for first in range(0, len(wanted), size):
            at = wanted[first : first + size]
            values: dict[str, dict[str, Values]] = {}
            usable: dict[str, dict[str, NDArray[np.bool_]]] = {}
            for member in self.streams:
                values[member] = self._values(member, names, records[member][at])
                usable[member] = self._screen(member, values[member], records[member][at], gaps)
            for member in self.forecasts:
                values[member], usable[member] = self._forecast(member, names, len(at))
            # Times of the reference: the end of a record is the day that it completes; compared is
            # what both have from the first day on.
            compared = (reference.start[at] - self.start >= self.from_day - 1e-6) & (
                records.get(RUN, records[REFERENCE])[at] >= 0
            )
            block = Block(
                self.grid,
                reference.end[at] - self.start,
                reference.middle[at],
                compared,
                values,
                usable,
            )
            yield first + len(at), len(wanted), block

    def _forecast(
        self, member: str, names: Sequence[str], records: int
    ) -> tuple[dict[str, Values], dict[str, NDArray[np.bool_]]]:
        """Return a forecast at every record alike, and that it is usable if it is finite."""
        fields = {n: v for n, v in self.forecasts[member].items() if n in names}
        return (
            {n: np.broadcast_to(v, (records, *v.shape)) for n, v in fields.items()},
            {n: np.full(records, bool(np.isfinite(v).all())) for n, v in fields.items()},
        )

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a record of a field, of whoever has it: the counters of a hybrid are
        not in its reference.
        """
        for stream in (self.streams[REFERENCE], *self.streams.values()):
            found = parts(name, stream.fields)
            if found:
                return tuple(stream.sizes[d] for d in stream.fields[found[0]].dims)
        return (self.streams[REFERENCE].sizes["ncol"],)

    def _cells(self, name: str) -> int:
        return int(np.prod(self._shape(name)))

    def _values(
        self, member: str, names: Sequence[str], records: NDArray[np.int64]
    ) -> dict[str, Values]:
        """Read what a member has at these records; NaN elsewhere."""
        stream = self.streams[member]
        sums = {name: parts(name, stream.fields) for name in names}
        raw = sorted({part for found in sums.values() if found for part in found})
        there = records >= 0
        loaded = stream.load(raw, records[there]) if raw and there.any() else {}
        values = {}
        for name, found in sums.items():
            full = np.full((len(records), *self._shape(name)), np.nan, dtype=np.float32)
            if found and loaded:
                full[there] = sum(loaded[part] for part in found)
            values[name] = full
        return values

    def _screen(
        self, member: str, values: Mapping[str, Values], records: NDArray[np.int64], gaps: Gaps
    ) -> dict[str, NDArray[np.bool_]]:
        """Return where fields are finite all over, and note where they are not although the member
        has the record.
        """
        usable = {}
        for name, array in values.items():
            finite = np.asarray(np.isfinite(array).reshape(len(array), -1).all(axis=1))
            usable[name] = finite
            if not self.has(member, name):
                continue
            there = records >= 0
            gaps.present[member, name] = gaps.present.get((member, name), 0) + int(there.sum())
            bad = np.flatnonzero(there & ~finite)
            if len(bad):
                gaps.counts[member, name] = gaps.counts.get((member, name), 0) + len(bad)
                gaps.places.setdefault(
                    (member, name), self._place(member, array[bad[0]], int(records[bad[0]]))
                )
        return usable

    def _place(self, member: str, values: Values, record: int) -> str:
        where = np.argwhere(~np.isfinite(values))
        index = where[0]
        text = (
            f"level {index[0] + 1}, column {index[1] + 1}"
            if values.ndim == 2
            else f"column {index[0] + 1}"
        )
        return (
            f"{self.streams[member].where(record)}, {text} ({len(where)} of {values.size} values)"
        )


def collect(
    side: SideBySide, collectors: Sequence[Collector], gaps: Gaps, progress: Progress | None = None
) -> None:
    """Send every block of one cadence through all collectors, in one pass over the files."""
    names = sorted({name for collector in collectors for name in collector.names})
    if not names:
        return
    for done, total, block in side.blocks(names, gaps):
        for collector in collectors:
            collector.add(block)
        if progress is not None:
            progress(done, total, f"{side.cadence} history")
