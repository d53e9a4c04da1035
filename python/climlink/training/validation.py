"""Held-out times as host rows and physical truth, shared out among processes without
duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from climlink.data.store import ColumnStore
from climlink.training.loader import prefetched
from climlink.wrappers.column_budgets import TOA_NET
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.variable_sets import VariableSet


class HeldOut(NamedTuple):
    """Columns to score."""

    rows: Tensor
    """Host inputs in physical units, float32 [column, n_input]."""
    truth: Tensor
    """What is scored (``scored_variables``) in physical units, float64 [column, width]."""


def scored_variables(contract: EmulatorContract) -> VariableSet:
    """Return what is scored on held-out times: what the host receives, and the network's
    ``toa_net`` where it predicts one.
    """
    received = contract.outputs.of_role("value")
    besides = [v for v in contract.network_outputs.variables if v.name == TOA_NET]
    return VariableSet(received.name, (*received.variables, *besides), received.sizes)


class HeldOutTimes(IterableDataset[HeldOut]):
    """Every held-out column once, in order: each process gets blocks of times of its own, or, where
    there are fewer blocks than processes, columns of every block.
    """

    def __init__(
        self,
        store: ColumnStore,
        contract: EmulatorContract,
        times: NDArray[np.int64],
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._store = store
        self._inputs = contract.inputs
        self._outputs = scored_variables(contract)
        blocks = store.blocks_of(times)
        whole = len(blocks) >= world
        self._blocks = blocks[rank::world] if whole else blocks
        self._columns = slice(None) if whole else slice(rank, None, world)

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[HeldOut]:
        yield from prefetched(map(self._read, self._blocks))

    def _read(self, times: NDArray[np.int64]) -> HeldOut:
        rows = torch.from_numpy(self._store.pack(self._inputs, times))
        truth = torch.from_numpy(self._store.targets(self._outputs, times))
        return HeldOut(rows[self._columns], truth[self._columns])
