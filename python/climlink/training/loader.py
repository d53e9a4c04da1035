"""Batches of an epoch from encoded blocks: read ahead by a thread, or by further processes, while
the network trains.

A pool of columns (training/order.py) is in use while the next one is read, so memory does not grow
with the set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from climlink.training.data import Batch, Encoder, join
from climlink.training.order import EpochOrder, Pool, own

_START_METHOD = "forkserver"
"""How worker processes begin: a fork of this one would inherit the locks of its threads."""

Key = tuple[int, int]
"""Number of a set and of a block in it."""
T = TypeVar("T")


class Blocks(Dataset[Batch]):
    """The training times of several sets in blocks that are read and encoded together."""

    def __init__(self, encoders: Sequence[Encoder], times: Sequence[NDArray[np.int64]]) -> None:
        self._encoders = encoders
        self._times = [e.store.blocks_of(t) for e, t in zip(encoders, times, strict=True)]

    @property
    def sizes(self) -> list[NDArray[np.int64]]:
        """Columns of every block, of each set."""
        return [
            np.array([len(block) * encoder.store.n_column for block in blocks], dtype=np.int64)
            for encoder, blocks in zip(self._encoders, self._times, strict=True)
        ]

    @property
    def bytes_in_all(self) -> int:
        """Memory of all columns, encoded."""
        per_column = self._encoders[0].encode(self._times[0][0][:1]).bytes_per_column
        return per_column * int(sum(sizes.sum() for sizes in self.sizes))

    @property
    def keys(self) -> list[Key]:
        """Every block."""
        return [(s, b) for s, blocks in enumerate(self._times) for b in range(len(blocks))]

    def __getitem__(self, key: Key) -> Batch:
        number, block = key
        return self._encoders[number].encode(self._times[number][block])


class BlockReader:
    """Gives encoded blocks in the order asked for: from memory, or read by ``workers`` processes,
    or, without any, in the thread that asks.
    """

    def __init__(self, blocks: Blocks, *, in_memory: bool = False, workers: int = 0) -> None:
        self._blocks = blocks
        self._asked: list[Key] = blocks.keys
        self._loader: DataLoader[Batch] = DataLoader(
            blocks,
            batch_size=None,
            sampler=_Asked(self),
            num_workers=workers,
            multiprocessing_context=_START_METHOD if workers else None,
            persistent_workers=workers > 0,
        )
        self._kept = dict(zip(blocks.keys, self._loader, strict=True)) if in_memory else None

    @property
    def asked(self) -> list[Key]:
        """The blocks of the present call."""
        return self._asked

    def read(self, keys: list[Key]) -> Iterator[Batch]:
        """Yield some blocks."""
        if self._kept is not None:
            yield from (self._kept[key] for key in keys)
            return
        self._asked = keys
        yield from self._loader


class _Asked:
    """A sampler of the blocks asked for, whichever they are when the reading begins."""

    def __init__(self, reader: BlockReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[Key]:
        return iter(self._reader.asked)

    def __len__(self) -> int:
        return len(self._reader.asked)


class ColumnLoader:
    """The batches of a process in every epoch. Each iteration is one pass, or what is left of one
    after load_state_dict.
    """

    def __init__(
        self,
        reader: BlockReader,
        order: EpochOrder,
        epoch: Callable[[], int] = lambda: 0,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._reader = reader
        self._order = order
        self._epoch = epoch
        self._rank, self._world = rank, world
        self._given = 0

    def __len__(self) -> int:
        return self._order.steps

    def __iter__(self) -> Iterator[Batch]:
        first = self._given % len(self)
        for number, batch in enumerate(self._batches(self._epoch(), first), start=first + 1):
            self._given = number
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches of the epoch were given."""
        return {"batches": self._given % len(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the batches that were given."""
        self._given = int(state["batches"])

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from the number ``first``."""
        rank, world = self._rank, self._world
        begin = int(self._order.bounds[first])
        pools = [pool for pool in self._order.pools(epoch) if pool.stop > begin]
        skipped = int(np.count_nonzero(pools[0].places[own(pools[0], rank, world)[0]] < begin))
        sizes = [self._order.share(n, rank, world) for n in range(first, len(self))]
        yield from cut(prefetched(self._filled(pools)), sizes, skipped)

    def _filled(self, pools: Sequence[Pool]) -> Iterator[Batch]:
        """Yield what the process gets of each pool, in order."""
        pieces = [piece for pool in pools for piece in pool.pieces]
        blocks = self._reader.read([(piece.set, piece.block) for piece in pieces])
        for pool in pools:
            yield self._fill(pool, blocks)

    def _fill(self, pool: Pool, blocks: Iterator[Batch]) -> Batch:
        """Put the columns of the pool's blocks, which come next, where the order wants them."""
        mine, places = own(pool, self._rank, self._world)
        filled: Batch | None = None
        seen = taken = 0
        for piece in pool.pieces:
            block = next(blocks)
            chosen = np.flatnonzero(mine[seen : seen + piece.stop - piece.first])
            to = torch.from_numpy(places[taken : taken + len(chosen)])
            rows = torch.from_numpy(piece.first + chosen)
            if filled is None:
                filled = Batch(*(part.new_empty(len(places), part.shape[1]) for part in block))
            for target, part in zip(filled, block, strict=True):
                target[to] = part[rows]
            seen, taken = seen + piece.stop - piece.first, taken + len(chosen)
        assert filled is not None
        return filled


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """Yield items, each made by a thread while the one before is in use."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        coming: Future[Any] = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item


def cut(pools: Iterable[Batch], sizes: Iterable[int], skipped: int) -> Iterator[Batch]:
    """Yield batches of given sizes from the columns of pools, without the first ``skipped`` ones;
    those inside a pool are views of it.
    """
    source = iter(pools)
    pool, at = next(source), skipped
    for size in sizes:
        parts: list[Batch] = []
        while size > pool.columns - at:
            # A copy: a view would keep the whole pool beside the next two.
            parts.append(pool.part(at, pool.columns).copied())
            size -= pool.columns - at
            pool, at = next(source), 0
        parts.append(pool.part(at, at + size))
        at += size
        yield parts[0] if len(parts) == 1 else join(parts)


class EpochLoader(Protocol):
    """Gives the batches of an epoch, whose number it knows."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class FirstSteps:
    """A loader's batches up to a number of steps in all; its epochs have no fixed length."""

    def __init__(self, loader: EpochLoader, steps: int, epoch: Callable[[], int]) -> None:
        """``epoch`` counts the epochs that this loader has given, from 0."""
        self._loader, self._steps, self._epoch = loader, steps, epoch

    def __iter__(self) -> Iterator[Any]:
        return islice(self._loader, max(0, self._steps - self._epoch() * len(self._loader)))
