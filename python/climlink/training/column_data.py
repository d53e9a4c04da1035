"""The training columns of a run for Lightning: which times are trained on and held out, kept in
memory where they fit and streamed where they do not.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from climlink.data.store import ColumnStore
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder
from climlink.training.data_config import MAIN, ValidationConfig
from climlink.training.errors import TrainingError
from climlink.training.loader import (
    BlockReader,
    Blocks,
    ColumnLoader,
    EpochLoader,
    FirstSteps,
)
from climlink.training.order import EpochOrder, check_processes
from climlink.training.stores import FurtherStores
from climlink.training.validation import HeldOut, HeldOutTimes

_GIB = 2**30


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


class StageData(pl.LightningDataModule):
    """The data of a stage, whatever its batches are: training times, and held-out ones in order."""

    times: NDArray[np.int64]
    held_out: NDArray[np.int64]

    def __init__(self, encoder: Encoder, config: TrainingConfig, *, first_epoch: int = 0) -> None:
        """``config`` is a stage's; ``first_epoch`` how many epochs the stages before it had."""
        super().__init__()
        self._first_epoch = first_epoch
        self._encoder = encoder
        self._config = config
        self.times, self.held_out = split_times(encoder.store, config.validation)

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, the same for every process."""

    def release(self) -> None:
        """Let go of the columns in memory; they are read again when they are needed."""

    @abstractmethod
    def share_weight(self, batch: int) -> float:
        """Return what the mean loss of this process counts in the mean over processes: 1 where all
        have as many columns of a batch.
        """

    @property
    def _process(self) -> tuple[int, int]:
        """Number of this process, and of all."""
        t = self.trainer
        return (0, 1) if t is None else (t.global_rank, t.world_size)

    def _epoch(self) -> int:
        """Return how many epochs of the stage are behind it."""
        return self.trainer.current_epoch if self.trainer is not None else 0

    def _epoch_of_run(self) -> int:
        return self._first_epoch + self._epoch()

    def _limited(self, loader: EpochLoader) -> EpochLoader | FirstSteps:
        """Return a loader that ends at the stage's ``max_steps``."""
        most = self._config.max_steps
        return loader if most is None else FirstSteps(loader, most, self._epoch)

    def val_dataloader(self) -> list[DataLoader[HeldOut]]:
        """Return the held-out times in order, each in one process, or nothing."""
        if self.held_out.size == 0:
            return []
        rank, world = self._process
        times = HeldOutTimes(
            self._encoder.store, self._encoder.contract, self.held_out, rank=rank, world=world
        )
        return [DataLoader(times, batch_size=None)]


class ColumnData(StageData):
    """Batches for Lightning, of the main store and of others that ``config.mix`` names."""

    def __init__(self, encoder: Encoder, config: TrainingConfig, *, first_epoch: int = 0) -> None:
        """``config`` is a stage's; ``first_epoch`` how many epochs the stages before it had."""
        super().__init__(encoder, config, first_epoch=first_epoch)
        further = FurtherStores(config, encoder, self.held_out)
        self._digests = further.digests
        sets = {name: (e, further.times[name]) for name, e in further.encoders.items()}
        sets[MAIN] = (encoder, self.times)
        mix = config.mix or {MAIN: 1.0}
        names = sorted(mix, key=lambda name: name != MAIN)  # the first one is passed over once
        self._blocks = Blocks(*zip(*(sets[name] for name in names), strict=True))
        self._order = EpochOrder(
            self._blocks.sizes,
            [mix[name] for name in names],
            pool_columns=config.shuffle_columns,
            batch_size=config.batch_size,
            seed=config.seed,
        )

    @cached_property
    def _reader(self) -> BlockReader:
        limit = self._config.memory_limit_gib * _GIB
        return BlockReader(
            self._blocks,
            in_memory=self._blocks.bytes_in_all <= limit,
            workers=self._config.workers,
        )

    def release(self) -> None:
        """Let go of the columns in memory; they are read again when they are needed."""
        self.__dict__.pop("_reader", None)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, the same for every process."""
        return self._order.steps

    @property
    def column_count(self) -> int:
        """Training columns of an epoch."""
        return sum(self._order.counts)

    def share_weight(self, batch: int) -> float:
        """Return what the mean loss of this process counts in the mean over processes: 1 where all
        have as many columns of a batch.
        """
        rank, world = self._process
        size = int(np.diff(self._order.bounds)[batch])
        return self._order.share(batch, rank, world) * world / size

    def state_dict(self) -> dict[str, Any]:
        """Return the digests of the further stores and of the packages that label them."""
        return {"digests": self._digests}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raise TrainingError if a run was begun with other further stores or labels."""
        begun = state_dict["digests"]
        other = [n for n in {**begun, **self._digests} if begun.get(n) != self._digests.get(n)]
        if other:
            raise TrainingError(
                f"cannot resume: stores.{other[0]} or the package that labels it is not what it "
                "was when the run began; restore it or start a new run"
            )

    def train_dataloader(self) -> EpochLoader | FirstSteps:
        """Return shuffled batches of the current epoch."""
        rank, world = self._process
        check_processes(self._config.batch_size, world)
        loader = ColumnLoader(self._reader, self._order, self._epoch_of_run, rank=rank, world=world)
        return self._limited(loader)
