"""Training batches from a column store: held in memory where they fit, streamed in shuffled blocks
of times where they do not.

The order of columns follows from the seed and the epoch alone, so an interrupted run goes on with
the batches it would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from climlink.data.store import ColumnStore
from climlink.training.config import TrainingConfig
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_GIB = 2**30
_FLOAT_BYTES = 4
_EPOCH_STRIDE = 1_000_003  # keeps the orders of neighbouring seeds and epochs apart


class Batch(NamedTuple):
    """Columns of one step, float32; the last two are empty [column, 0] where no host output enters
    the loss.
    """

    inputs: Tensor
    """Normalized network inputs [column, n_network]."""
    targets: Tensor
    """Normalized network targets [column, n_network_output]."""
    host_rows: Tensor
    """Host inputs in physical units [column, n_input]."""
    host_targets: Tensor
    """Targets of the chosen host outputs in units of their scale [column, n]."""

    def take(self, rows: Tensor) -> Batch:
        """Return some columns."""
        return Batch(*(part.index_select(0, rows) for part in self))

    @property
    def bytes_per_column(self) -> int:
        """Memory of one column."""
        return _FLOAT_BYTES * sum(part.shape[1] for part in self)


def join(parts: list[Batch]) -> Batch:
    """Return the columns of several batches as one."""
    return Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class HostOutputs:
    """Host outputs that enter the loss as the host receives them; ``scale`` is float64 [width],
    physical units.
    """

    variables: VariableSet
    scale: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return self.variables.names


def host_outputs(names: list[str], outputs: VariableSet) -> VariableSet:
    """Return chosen host outputs as a set."""
    return VariableSet("loss", tuple(outputs[n] for n in names), outputs.sizes)


class Encoder:
    """Turns times of a store into batches through a fitted emulator's own normalization."""

    def __init__(self, store: ColumnStore, emulator: WrappedEmulator, host: HostOutputs) -> None:
        self.store = store
        self._emulator = emulator
        self._host = host

    def encode(self, times: NDArray[np.int64]) -> Batch:
        """Return the columns of some times, in order; targets are formed in float64 and cast
        last.
        """
        contract = self._emulator.contract
        rows = torch.from_numpy(self.store.pack(contract.inputs, times))
        targets = torch.from_numpy(self.store.targets(contract.network_outputs, times))
        with torch.no_grad():
            inputs = self._emulator.normalized_inputs(rows)
            normalized = self._emulator.normalization.normalize_outputs(targets)
        if not self._host.names:
            nothing = torch.zeros(rows.shape[0], 0)
            return Batch(inputs, normalized, nothing, nothing)
        chosen = torch.from_numpy(self.store.targets(self._host.variables, times))
        return Batch(inputs, normalized, rows, (chosen / self._host.scale).to(torch.float32))


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the random numbers that order the columns of one epoch."""
    return torch.Generator().manual_seed(seed * _EPOCH_STRIDE + epoch)


class MemoryBatches(IterableDataset[Batch]):
    """Shuffled batches of columns that are all in memory."""

    def __init__(
        self,
        columns: Batch,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        self._columns = columns
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._columns.inputs.shape[0] // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = epoch_generator(self._seed, self._epoch())
        order = torch.randperm(self._columns.inputs.shape[0], generator=generator)
        for rows in order.split(self._batch_size):
            yield self._columns.take(rows)


class StreamedBatches(IterableDataset[Batch]):
    """Shuffled batches read block by block: times are shuffled, ``block_times`` of them are read at
    once and their columns shuffled.
    """

    def __init__(
        self,
        encoder: Encoder,
        times: NDArray[np.int64],
        block_times: int,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        self._encoder = encoder
        self._times = times
        self._block_times = block_times
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._times) * self._encoder.store.n_column // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = epoch_generator(self._seed, self._epoch())
        shuffled = self._shuffled(generator)
        left: list[Batch] = []
        for first in range(0, len(shuffled), self._block_times):
            block = self._encoder.encode(np.sort(shuffled[first : first + self._block_times]))
            block = join(
                [*left, block.take(torch.randperm(block.inputs.shape[0], generator=generator))]
            )
            batches = [
                Batch(*parts)
                for parts in zip(*(part.split(self._batch_size) for part in block), strict=True)
            ]
            left = [batches.pop()] if batches[-1].inputs.shape[0] < self._batch_size else []
            yield from batches
        yield from left

    def _shuffled(self, generator: torch.Generator) -> NDArray[np.int64]:
        """Return the times in random order; rows of a table move in groups of neighbours, for a
        chunk is read as a whole.
        """
        size = self._encoder.store.read_together
        groups = [self._times[first : first + size] for first in range(0, len(self._times), size)]
        return np.concatenate([groups[i] for i in torch.randperm(len(groups), generator=generator)])


class OrderedBatches(IterableDataset[Batch]):
    """Batches of whole times in order, or of neighbouring rows of a table, for validation."""

    def __init__(self, encoder: Encoder, times: NDArray[np.int64]) -> None:
        self._encoder = encoder
        self._times = times
        self._size = encoder.store.read_together

    def __len__(self) -> int:
        return -(-len(self._times) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self._times), self._size):
            yield self._encoder.encode(self._times[first : first + self._size])


def split_times(
    store: ColumnStore, config: ValidationConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the time indices trained on and those held out; TrainingError if either is empty where
    it may not be.
    """
    train = store.indices("train")
    if train.size == 0:
        raise TrainingError(
            f"{store.path}: no time belongs to the training split; declare one when preparing the "
            "store"
        )
    if config.source == "none":
        return train, train[:0]
    if config.source == "store":
        held = store.indices("validation")
        if held.size == 0:
            raise TrainingError(
                f"{store.path}: no time belongs to the validation split; use validation source "
                "none or cut"
            )
        return train, held
    chosen = np.arange(train.size) % config.every == config.offset % config.every
    if chosen.all() or not chosen.any():
        raise TrainingError(
            f"validation cut every {config.every} from {config.offset} leaves nothing of "
            f"{train.size} training time(s)"
        )
    return train[~chosen], train[chosen]


class ColumnData(pl.LightningDataModule):
    """Batches for Lightning."""

    def __init__(self, encoder: Encoder, config: TrainingConfig) -> None:
        super().__init__()
        self._encoder = encoder
        self._config = config
        self.times, self.held_out = split_times(encoder.store, config.validation)
        self._batches: MemoryBatches | StreamedBatches = self._training_batches()

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass."""
        return len(self._batches)

    @property
    def column_count(self) -> int:
        """Training columns."""
        return len(self.times) * self._encoder.store.n_column

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer is not None else 0

    def _training_batches(self) -> MemoryBatches | StreamedBatches:
        sample = self._encoder.encode(self.times[:1])
        per_time = sample.bytes_per_column * self._encoder.store.n_column
        limit = self._config.memory_limit_gib * _GIB
        size, seed = self._config.batch_size, self._config.seed
        if per_time * len(self.times) <= limit:
            # Encoding in blocks keeps the float64 intermediates small.
            chunk = max(1, self._encoder.store.time_chunk)
            parts = [
                self._encoder.encode(self.times[i : i + chunk])
                for i in range(0, len(self.times), chunk)
            ]
            return MemoryBatches(join(parts), size, seed, self._epoch)
        # A block, its shuffled copy and its batches are alive at once, and float64 while it is
        # encoded.
        block = max(1, int(limit / (6 * per_time)))
        return StreamedBatches(self._encoder, self.times, block, size, seed, self._epoch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches of the current epoch."""
        return DataLoader(self._batches, batch_size=None)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return the held-out times in order, or nothing."""
        if self.held_out.size == 0:
            return []
        return [DataLoader(OrderedBatches(self._encoder, self.held_out), batch_size=None)]
