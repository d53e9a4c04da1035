"""The blocks of a store written by several processes: on this machine, or where a scheduler of dask
has them.

What is written does not depend on who writes: every block is one chunk of every variable, and a
process that dies leaves blocks without a mark, which another one writes again.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from climlink.data.blocks import is_done, write_blocks
from climlink.data.errors import StoreError
from climlink.data.plan import Plan
from climlink.data.source import Source
from climlink.data.store import StoreConfig

if TYPE_CHECKING:
    from distributed import Client

_MOST_BLOCKS = 8
"""Blocks of a task: lagged inputs read two more pairs per task, and a task lost is little lost."""
_TASKS_EACH = 4
"""Tasks for each process at least, where there are blocks enough: so that all end together."""
_CONNECT_S = 30


@dataclass(frozen=True)
class Crew:
    """Who writes: ``workers`` processes of this machine, or those of the scheduler at an address
    such as tcp://host:8786, which see the same files under the same names.
    """

    workers: int = 1
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise StoreError(f"workers is {self.workers}; it must be 1 or more")
        if self.scheduler is not None and self.workers > 1:
            raise StoreError(
                f"workers {self.workers} and the scheduler {self.scheduler} exclude each other: a "
                "scheduler has its own workers"
            )

    @property
    def is_alone(self) -> bool:
        """Whether this process writes by itself."""
        return self.workers == 1 and self.scheduler is None


def write_with(crew: Crew, store: Path, plan: Plan, done: Callable[[int], None]) -> int:
    """Write the blocks that are not done yet and return the number of records written.

    ``done`` is called with the number of records behind it. Errors of a process are raised here,
    and the others stop; StoreError where the scheduler cannot be reached or processes keep dying.
    """
    from distributed import KilledWorker, as_completed

    blocks = dict(enumerate(plan.blocks))
    todo = [n for n, block in blocks.items() if not is_done(store, plan.source, n, block)]
    behind = plan.source.n_record - sum(blocks[n].stop - blocks[n].start for n in todo)
    written = 0
    done(behind)
    if not todo:
        return 0
    with _client(crew) as client:
        size = -(-len(todo) // (_TASKS_EACH * max(1, len(client.nthreads()))))
        tasks = list(_tasks(plan, blocks, todo, min(size, _MOST_BLOCKS)))
        futures = client.map(_write, tasks, store=store, config=plan.config, pure=False)
        try:
            for future in as_completed(futures, loop=client.loop):
                written += future.result()
                done(behind + written)
        except KilledWorker as error:
            problem = f"{store}: processes that wrote blocks died again and again ({error});"
            raise StoreError(
                f"{problem} look at their memory, take fewer workers, and repeat the command: "
                "finished blocks are kept"
            ) from error
        finally:
            client.cancel(futures)
    return written


Task = tuple[Source, dict[int, slice]]
"""Blocks by number, and a source that has no more than they need."""


def _tasks(plan: Plan, blocks: dict[int, slice], todo: Sequence[int], size: int) -> Iterator[Task]:
    """Yield the blocks to write, up to ``size`` in a task."""
    for first in range(0, len(todo), size):
        numbers = todo[first : first + size]
        records = slice(blocks[numbers[0]].start, blocks[numbers[-1]].stop)
        yield plan.source.part(records), {n: blocks[n] for n in numbers}


def _write(task: Task, store: Path, config: StoreConfig) -> int:
    """Write the blocks of a task, in a worker."""
    if not store.is_dir():
        raise StoreError(
            f"{store} is not there on {socket.gethostname()}: the workers of a scheduler need the "
            "files of this machine under the same names"
        )
    source, blocks = task
    write_blocks(store, source, config, blocks, lambda record: None)
    # Also those that a process had written which died before it could tell.
    return sum(block.stop - block.start for block in blocks.values())


@contextmanager
def _client(crew: Crew) -> Iterator[Client]:
    """Yield a client of the scheduler, or of processes that end with the block."""
    from distributed import Client, LocalCluster

    if crew.scheduler is not None:
        try:
            client = Client(crew.scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"no scheduler of dask at {crew.scheduler} ({error}); start one with dask scheduler"
            ) from error
        with client:
            yield client
        return
    # One thread each, for netCDF serves one; no memory limit, at which dask would kill a process;
    # any free port for its pages.
    try:
        cluster = LocalCluster(
            n_workers=crew.workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise StoreError(
            f"{crew.workers} processes could not be started ({error}); a script that asks for "
            "workers must do so below: if __name__ == '__main__':"
        ) from error
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client
