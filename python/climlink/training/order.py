"""The order of columns in an epoch: it follows from the seed and the epoch alone, not from how many
processes read, nor from what is kept in memory.

Blocks (neighbouring times, read together) are shuffled over the whole set; consecutive blocks form
a pool of some 10^5 columns, whose columns are shuffled among each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from climlink.training.errors import TrainingError

_SHORTEST = 8
"""A last batch shorter than this part of a batch joins the one before: no process is left without
columns, no batch norm with one.
"""
_BLOCKS, _POOL = 0, 1  # what random numbers are for: their streams are apart


class Piece(NamedTuple):
    """Neighbouring columns of one block: all of them, but where a mix ends within a block."""

    set: int
    block: int
    first: int
    stop: int


class Pool(NamedTuple):
    """Pieces whose columns are shuffled among each other."""

    pieces: list[Piece]
    first: int
    """Place of its first column in the epoch."""
    places: NDArray[np.int64]
    """Place in the epoch of every column of the pieces, one piece behind the other."""

    @property
    def stop(self) -> int:
        """Place behind its last column."""
        return self.first + len(self.places)


class EpochOrder:
    """Batches of an epoch as places in one global order of columns.

    ``sizes`` are the columns of every block, of each set. The first set is passed over once per
    epoch; the others give ``weights[i] / weights[0]`` times as many columns, each going on where it
    stopped in the epoch before, and beginning again in another order when it is through.
    """

    def __init__(
        self,
        sizes: Sequence[NDArray[np.int64]],
        weights: Sequence[float],
        *,
        pool_columns: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._sizes = sizes
        self._pool_columns = pool_columns
        self._seed = seed
        reference = int(sizes[0].sum())
        self.counts = [round(reference * w / weights[0]) for w in weights]
        """Columns of each set in an epoch."""
        self.bounds = _bounds(sum(self.counts), batch_size)
        """Place of the first column of every batch, and the number of columns."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self.bounds) - 1

    def share(self, batch: int, rank: int, world: int) -> int:
        """Return how many columns of a batch a process gets: those whose place modulo ``world`` is
        its rank.
        """
        return self.place(batch + 1, rank, world) - self.place(batch, rank, world)

    def place(self, batch: int, rank: int, world: int) -> int:
        """Return how many columns a process gets before a batch."""
        return _below(int(self.bounds[batch]), rank, world)

    def pools(self, epoch: int) -> Iterator[Pool]:
        """Yield the pools of an epoch in order."""
        pieces = self._mixed(epoch)
        ends = np.cumsum([p.stop - p.first for p in pieces])
        starts = np.concatenate([[0], ends[:-1]])
        total = int(ends[-1])
        count = max(1, round(total / self._pool_columns))
        number = starts * count // total
        for n in range(count):
            chosen = np.flatnonzero(number == n)
            if chosen.size == 0:
                continue
            first, stop = int(starts[chosen[0]]), int(ends[chosen[-1]])
            places = first + self._random(_POOL, epoch, n).permutation(stop - first)
            yield Pool([pieces[i] for i in chosen], first, places)

    def _mixed(self, epoch: int) -> list[Piece]:
        """Return the pieces of an epoch, those of every set spread evenly over it."""
        parts = [self._pieces(number, epoch) for number in range(len(self._sizes))]
        keys = np.concatenate([(np.arange(len(p)) + 0.5) / max(1, len(p)) for p in parts])
        together = [piece for part in parts for piece in part]
        return [together[i] for i in np.argsort(keys, kind="stable")]

    def _pieces(self, number: int, epoch: int) -> list[Piece]:
        """Return the pieces of one set: its share of an endless row of passes, each in an order of
        its own.
        """
        sizes, count = self._sizes[number], self.counts[number]
        total = int(sizes.sum())
        begin, end = epoch * count, (epoch + 1) * count
        pieces = []
        for turn in range(begin // total, -(-end // total)):
            order = self._random(_BLOCKS, number, turn).permutation(len(sizes))
            stops = turn * total + np.cumsum(sizes[order])
            for block, stop in zip(order, stops, strict=True):
                start = int(stop) - int(sizes[block])
                first, last = max(start, begin), min(int(stop), end)
                if first < last:
                    pieces.append(Piece(number, int(block), first - start, last - start))
        return pieces

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *stream))


def _below(place: int, rank: int, world: int) -> int:
    """Return how many places below one belong to a process."""
    return max(0, -(-(place - rank) // world))


def _bounds(total: int, batch_size: int) -> NDArray[np.int64]:
    """Return the bounds of batches of some columns."""
    bounds = [*range(0, total, batch_size), total]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < batch_size // _SHORTEST:
        del bounds[-2]
    return np.array(bounds, dtype=np.int64)


def own(pool: Pool, rank: int, world: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which columns of a pool a process gets, and the place of each of these among all that
    it gets of the pool.
    """
    mine = pool.places % world == rank
    return mine, (pool.places[mine] - rank) // world - _below(pool.first, rank, world)


def check_processes(batch_size: int, world: int) -> None:
    """Raise TrainingError where processes could be left without columns."""
    if world > 1 and batch_size < _SHORTEST * world:
        raise TrainingError(
            f"batch_size {batch_size} is shared by {world} processes; it must be at least "
            f"{_SHORTEST * world}, {_SHORTEST} columns for each"
        )
