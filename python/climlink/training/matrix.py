"""The runs of a matrix: what is done, and training the rest, each in a process of its own."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

import torch

from climlink.config import ConfigError
from climlink.run_folder import job_runs
from climlink.training.attempt import Attempt, Outcome, State, queued_jobs, run_state
from climlink.training.matrix_config import MatrixRun

_GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"


def run_matrix(
    runs: Sequence[MatrixRun],
    jobs: int = 1,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Train what is not done, ``jobs`` at a time, and return what became of each run.

    A failed run is told and the next one started. Runs that another launch, or a batch job, is at
    are left to it. An exception, such as Interrupted, ends the running ones first.
    """
    waiting, outcomes = deque(runs), list[Outcome]()
    ended: queue.SimpleQueue[tuple[Attempt, int]] = queue.SimpleQueue()
    active: dict[int, Attempt] = {}

    def take(outcome: Outcome) -> None:
        outcomes.append(outcome)
        on_outcome(outcome)

    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                slot = next(n for n in range(jobs) if n not in active)
                held = attempt_or_leave(waiting.popleft())
                if isinstance(held, Outcome):
                    take(held)
                    continue
                active[slot] = held
                held.start(_environment(held.run, jobs, slot))
                threading.Thread(target=_wait, args=(held, ended), daemon=True).start()
            if active:
                over, code = ended.get()
                active = {slot: one for slot, one in active.items() if one is not over}
                take(over.finish(code))
    except BaseException as stop:
        for one in active.values():
            one.abandon(stop)
        raise
    return outcomes


def attempt_or_leave(run: MatrixRun) -> Attempt | Outcome:
    """Return a run held for training, or how it stands where there is nothing to do here."""
    try:
        held = Attempt(run)
    except ConfigError:
        if job_runs(run.jobs):
            return Outcome(run, run_state(run))
        raise
    try:
        state = held.state(queued_jobs([run]))
    except BaseException:
        held.release()
        raise
    if state.to_do and run.config.store.exists():
        return held
    held.release()
    if state.to_do:  # told now, not by each of many processes or jobs
        state = State("failed", f"there is no store {run.config.store}; give data=STORE")
    return Outcome(run, state)


def _wait(attempt: Attempt, ended: queue.SimpleQueue[tuple[Attempt, int]]) -> None:
    ended.put((attempt, attempt.wait()))


def _environment(run: MatrixRun, jobs: int, slot: int) -> dict[str, str]:
    """Return what a process gets of the machine: cores, and one GPU where several are trained on
    at a time.
    """
    threads = run.config.threads or max(1, (os.cpu_count() or 1) // jobs)
    environment = {"OMP_NUM_THREADS": str(threads)}
    gpus = _gpus() if jobs > 1 and run.config.device != "cpu" else []
    if gpus:
        environment[_GPUS_VARIABLE] = gpus[slot % len(gpus)]
    return environment


def _gpus() -> list[str]:
    named = os.environ.get(_GPUS_VARIABLE)
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    return [str(n) for n in range(torch.cuda.device_count())]
