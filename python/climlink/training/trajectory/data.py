"""Trajectories of a run for Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from climlink.training.augment import step_generator
from climlink.training.column_data import StageData
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder
from climlink.training.errors import TrainingError
from climlink.training.loader import EpochLoader, FirstSteps, prefetched
from climlink.training.order import check_processes
from climlink.training.trajectory.rollout import Sequence
from climlink.training.trajectory.sequences import TrajectoryBatches

_GIB = 2**30


class TrajectoryData(StageData):
    """Batches of trajectories, of ``batch_size`` column steps each; an epoch has as many column
    steps as the training times.
    """

    def __init__(self, encoder: Encoder, config: TrainingConfig, *, first_epoch: int = 0) -> None:
        """``config`` is a stage's; ``first_epoch`` how many epochs the stages before it had.
        TrainingError where the store has no such trajectories.
        """
        super().__init__(encoder, config, first_epoch=first_epoch)
        assert config.trajectory is not None
        steps = config.trajectory.steps
        self._columns = config.batch_size // steps
        if self._columns == 0:
            raise TrainingError(
                f"batch_size {config.batch_size} is less than one column along a trajectory of "
                f"{steps} steps; give at least {steps}"
            )
        self._batches = TrajectoryBatches(
            encoder.store,
            encoder.contract,
            self.times,
            steps=steps,
            windows=min(config.trajectory.windows, self._columns),
            columns=self._columns,
            memory_limit_bytes=config.memory_limit_gib * _GIB,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, the same for every process."""
        return len(self._batches)

    def release(self) -> None:
        """Let go of the columns in memory; they are read again when they are needed."""
        self._batches.release()

    def share_weight(self, batch: int) -> float:
        """Return what the mean loss of this process counts in the mean over processes: 1 where all
        have as many columns.
        """
        rank, world = self._process
        return len(range(rank, self._columns, world)) * world / self._columns

    def train_dataloader(self) -> EpochLoader | FirstSteps:
        """Return the trajectories of the current epoch."""
        rank, world = self._process
        check_processes(self._columns, world)
        return self._limited(
            TrajectoryLoader(
                self._batches, self._config.seed, self._epoch_of_run, rank=rank, world=world
            )
        )


class TrajectoryLoader:
    """The batches of an epoch, of which a process takes every ``world``-th column."""

    def __init__(
        self,
        batches: TrajectoryBatches,
        seed: int,
        epoch: Callable[[], int],
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._batches, self._seed, self._epoch = batches, seed, epoch
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Sequence]:
        generator = step_generator(self._seed, self._epoch(), 0)
        for batch in prefetched(self._batches.draw(generator)):
            yield Sequence(*(part[:, self._rank :: self._world] for part in batch))
