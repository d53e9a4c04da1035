"""Where the processes of a run stand: one, several on a machine, or several machines; and how they
find each other.

A run of several processes is started by srun (Slurm) or torchrun, or, on one machine, by itself
with torch's elastic launcher. MPI is never asked: Lightning would call MPI_Init wherever mpi4py is
installed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from climlink.signals import ENDING, Interrupted
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.quiet import quieted
from climlink.wrappers.errors import ClimlinkError

_TASKS = "SLURM_STEP_NUM_TASKS"
"""Set by srun for what it starts, not in a batch script itself."""
_WORKER = "climlink.training.worker"
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """How many processes a run has, and on what."""

    accelerator: Literal["cpu", "gpu"]
    devices: int
    """Processes on each node."""
    nodes: int

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    @property
    def backend(self) -> str:
        """What torch's processes talk through: Python objects go through gloo in any case."""
        return "gloo" if self.accelerator == "cpu" else "cpu:gloo,cuda:nccl"


def processes_of(config: TrainingConfig, gpus: int | None = None) -> Processes:
    """Return what a configuration asks for on a machine with ``gpus`` GPUs (None: those of this
    one); TrainingError where it does not have them, or where a GPU is needed.
    """
    found = torch.cuda.device_count() if gpus is None else gpus
    if config.device == "cuda" and found == 0:
        raise TrainingError(
            "device is cuda, but torch sees no GPU here; set device: cpu (or auto), or run where "
            "there is one"
        )
    on_gpu = config.device != "cpu" and found > 0
    devices = (max(1, found) if on_gpu else 1) if config.devices == "auto" else config.devices
    if on_gpu and devices > found:
        raise TrainingError(f"devices is {devices}, but torch sees {found} GPU(s) on this machine")
    if not on_gpu and config.precision == "16-mixed":
        raise TrainingError("precision 16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true")
    return Processes("gpu" if on_gpu else "cpu", devices, config.nodes)


def environment_of(
    processes: Processes, environ: Mapping[str, str] = os.environ
) -> ClusterEnvironment | None:
    """Return how this process learns its number and the others' address; None where nobody has
    started the others yet. TrainingError where other numbers were started than the run needs.
    """
    if processes.world == 1:
        return LightningEnvironment()
    tasks = int(environ.get(_TASKS, "1"))
    elastic = "TORCHELASTIC_RUN_ID" in environ
    started = int(environ["WORLD_SIZE"]) if elastic else tasks
    if started not in (1, processes.world) or (elastic and started == 1):
        how = "torchrun" if elastic else "srun"
        raise TrainingError(
            f"{how} started {started} processes, but the run has {processes.nodes} node(s) x "
            f"{processes.devices} device(s) = {processes.world}; make them the same"
        )
    if elastic:
        return TorchElasticEnvironment()
    if tasks > 1:
        return SLURMEnvironment(auto_requeue=False)
    if processes.nodes > 1:
        raise TrainingError(
            f"nodes is {processes.nodes}: start one process per device with srun or torchrun "
            "(docs/training.md has a script)"
        )
    return None


def launch(processes: Processes, *arguments: str) -> None:
    """Start climlink.training.worker with ``arguments`` in every process of a run on this machine,
    and wait for all. As a program: a fork or a spawn would run the caller's own again.

    TrainingError with what the first one that failed said; Interrupted at a signal. All others are
    ended then.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes.devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        with _own_signals(), _silent("torch.distributed.elastic", "torch.multiprocessing"):
            elastic_launch(config, sys.executable)("-m", _WORKER, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        told: Any = failure.message  # with the traceback beside it, where the process could say it
        text = told["message"] if isinstance(told, dict) else told
        raise TrainingError(f"process {rank} of {processes.world}: {text}") from error
    except SignalException as error:
        raise Interrupted(error.sigval) from error


@contextmanager
def process_group(processes: Processes, environment: ClusterEnvironment) -> Iterator[int]:
    """Connect the processes of a run and yield the number of this one; nothing to do for one
    alone.
    """
    if processes.world == 1:
        yield 0
        return
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    if processes.accelerator == "gpu":
        torch.cuda.set_device(environment.local_rank())
    rank = environment.global_rank()
    dist.init_process_group(processes.backend, rank=rank, world_size=processes.world)
    try:
        yield rank
    finally:
        dist.destroy_process_group()


def first(rank: int, make: Callable[[], T]) -> T | None:
    """Call ``make`` in process 0 and return what it gave there, None in the others, which wait.
    Where it fails, all fail.
    """
    if not dist.is_initialized():
        return make()
    told: list[str | None] = [None]
    result, raised = None, None
    if rank == 0:
        try:
            result = make()
        except ClimlinkError as error:
            raised, told = error, [str(error)]
    dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    if raised is not None:
        raise raised
    if told[0] is not None:
        raise TrainingError(f"process 0 could not begin: {told[0]}")
    return result


def gathered(values: Tensor) -> list[Tensor]:
    """Return the values of every process, in order; of one shape everywhere."""
    if not dist.is_initialized():
        return [values]
    every = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(every, values.contiguous())
    return every


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give back the handlers of signals that the launcher replaces (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in (*ENDING, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silent(*packages: str) -> AbstractContextManager[None]:
    """Keep the logs of packages off standard error: what they say is raised."""
    known = list(logging.root.manager.loggerDict)  # each module's has a level of its own
    return quieted([name for name in known if name.startswith(packages)], logging.CRITICAL)
