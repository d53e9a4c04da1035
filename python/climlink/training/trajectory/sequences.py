"""Recorded consecutive steps of a store, as batches of trajectories."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Ordered

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.training.errors import TrainingError
from climlink.training.trajectory.rollout import Sequence
from climlink.wrappers.contract import EmulatorContract


def consecutive_runs(store: ColumnStore, times: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the longest runs of ``times`` (indices, rising) that follow each other by one time
    step.
    """
    stamps = [store.stamps[int(i)] for i in times]
    step = round(store.time_step_s)
    breaks = [k for k in range(1, len(times)) if stamps[k - 1].plus(step) != stamps[k]]
    return list(np.split(times, breaks)) if len(times) else []


def long_runs(store: ColumnStore, times: NDArray[np.int64], steps: int) -> list[NDArray[np.int64]]:
    """Return the runs of consecutive times that hold a trajectory; TrainingError if there is
    none.
    """
    runs = consecutive_runs(store, times)
    fit = [run for run in runs if len(run) >= steps]
    if not fit:
        longest = max((len(run) for run in runs), default=0)
        raise TrainingError(
            f"{store.path}: a trajectory of {steps} steps needs as many consecutive times of "
            f"{store.time_step_s:g} s in one part of the split; the longest run has {longest}: "
            "prepare every step (pairs: {every_steps: 1}), or take fewer steps"
        )
    return fit


def read_sequence(
    store: ColumnStore, contract: EmulatorContract, times: Ordered[int] | NDArray[np.int64]
) -> Sequence:
    """Return all columns of consecutive times of a store."""
    n_step, n_column = len(times), store.n_column
    inputs = torch.from_numpy(store.pack(contract.inputs, times))
    targets = store.targets(contract.outputs, times).astype(np.float32)
    return Sequence(
        inputs.reshape(n_step, n_column, -1),
        torch.from_numpy(targets).reshape(n_step, n_column, -1),
    )


class TrajectoryBatches:
    """Batches of trajectories drawn from blocks of consecutive times, one block in memory at a
    time; the order follows from a generator.
    """

    def __init__(
        self,
        store: ColumnStore,
        contract: EmulatorContract,
        times: NDArray[np.int64],
        *,
        steps: int,
        windows: int,
        columns: int,
        memory_limit_bytes: float,
    ) -> None:
        """``columns`` of whole trajectories make a batch, from ``windows`` starting times."""
        self._store, self._contract = store, contract
        self._steps, self._windows, self._columns = steps, windows, max(1, columns)
        width = contract.inputs.width + contract.outputs.width
        per_time = 4 * width * store.n_column
        most = max(steps, int(memory_limit_bytes / (4 * per_time)))
        self._blocks = [
            block
            for run in long_runs(store, times, steps)
            for block in _overlapping(run, most, steps)
        ]
        self._kept: tuple[int, Sequence] | None = None

    def __len__(self) -> int:
        """Return the batches of an epoch: as many column steps as the times hold."""
        column_steps = sum(len(b) for b in self._blocks) * self._store.n_column
        return max(1, column_steps // (self._columns * self._steps))

    def draw(self, generator: torch.Generator) -> Iterator[Sequence]:
        """Yield the batches of one epoch; a block's share is in proportion to its length."""
        order = torch.randperm(len(self._blocks), generator=generator).tolist()
        lengths = [len(self._blocks[i]) for i in order]
        bounds = np.rint(np.cumsum([0, *lengths]) / sum(lengths) * len(self)).astype(int)
        for i, first, last in zip(order, bounds[:-1], bounds[1:], strict=True):
            if last > first:
                block = self._block(i)
                for _ in range(last - first):
                    yield self._batch(block, generator)

    def release(self) -> None:
        """Forget the block in memory."""
        self._kept = None

    def _block(self, i: int) -> Sequence:
        if self._kept is None or self._kept[0] != i:
            self._kept = None  # before the next is read: one block in memory
            self._kept = (i, read_sequence(self._store, self._contract, self._blocks[i]))
        return self._kept[1]

    def _batch(self, block: Sequence, generator: torch.Generator) -> Sequence:
        n_time, n_column = block.inputs.shape[:2]
        starts = torch.randint(
            0, n_time - self._steps + 1, (self._windows,), generator=generator
        ).tolist()
        shares = np.diff(np.rint(np.linspace(0, self._columns, self._windows + 1)).astype(int))
        parts = []
        for start, share in zip(starts, shares, strict=True):
            chosen = torch.randperm(n_column, generator=generator)[: int(share)]
            parts.append(
                Sequence(*(a[start : start + self._steps].index_select(1, chosen) for a in block))
            )
        return Sequence(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))


def _overlapping(run: NDArray[np.int64], most: int, steps: int) -> list[NDArray[np.int64]]:
    """Return a run in blocks of at most ``most`` times that share ``steps - 1``: no trajectory is
    lost at a border.
    """
    if len(run) <= most:
        return [run]
    stride = max(1, most - steps + 1)
    firsts = range(0, len(run) - steps + 1, stride)
    return [run[first : first + most] for first in firsts]
