"""The runs of a matrix as jobs of a Slurm cluster, by submitit."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from climlink.config import ConfigError
from climlink.e3sm.machine import load_machine
from climlink.mpi import LaunchError
from climlink.run_folder import job_runs
from climlink.training.attempt import (
    Attempt,
    Outcome,
    State,
    state_at_rest,
    training_command,
)
from climlink.training.errors import TrainingError
from climlink.training.matrix import attempt_or_leave
from climlink.training.matrix_config import MatrixRun, SlurmConfig

_WAIT_S = 120.0
"""A job may begin before the launch that submitted it has let its run go."""


def submit_matrix(
    runs: Sequence[MatrixRun],
    slurm: SlurmConfig,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Submit what is not done, one job each, and return how each run stands then.

    A job that its time limit ends is queued again and goes on. LaunchError where there is no Slurm;
    a job that is refused is told and the next one submitted.
    """
    parameters = _parameters(slurm)
    outcomes = []
    for run in runs:
        held = attempt_or_leave(run)
        if isinstance(held, Attempt):
            held = _submit(held, slurm, parameters)
        outcomes.append(held)
        on_outcome(held)
    return outcomes


@dataclass(frozen=True)
class TrainingJob:
    """What a job does; submitit calls it in every process of the job."""

    run: MatrixRun
    threads: int

    def __call__(self) -> None:
        """Train the run, or go on with it; TrainingError if that fails."""
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        if int(os.environ.get("SLURM_PROCID", "0")):
            # The first process of the job holds the run and keeps its record.
            if not state_at_rest(self.run).to_do:
                return
            whole = {**os.environ, **environment}
            subprocess.run(training_command(self.run), env=whole, check=True)
            return
        held = self._hold()
        if not held.state().to_do:
            held.release()
            return
        held.start(environment, job=os.environ["SLURM_JOB_ID"])
        try:
            code = held.wait()
        except BaseException as stop:
            held.abandon(stop)
            raise
        outcome = held.finish(code)
        if outcome.failed:
            raise TrainingError(f"{self.run.name}: {outcome.state.note}")

    def checkpoint(self) -> Any:
        """Return what submitit queues when the time limit ends the job: the same run, to go on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _hold(self) -> Attempt:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                return Attempt(self.run)
            except ConfigError:
                if time.monotonic() > deadline or not job_runs(self.run.jobs):
                    raise
                time.sleep(1.0)


def _parameters(config: SlurmConfig) -> dict[str, Any]:
    """Return what sbatch is asked for, in submitit's words; ConfigError for an account that the
    environment does not name.
    """
    machine = load_machine(config.machine)
    account = None
    if machine.account_from is not None:
        account = os.environ.get(machine.account_from)
        if not account:
            raise ConfigError(
                f"machine {machine.name} charges its jobs to the account that the environment "
                f"variable {machine.account_from} names, and it is not set"
            )
    setup = [f"module load {' '.join(machine.modules)}"] if machine.modules else []
    given = {
        "partition": machine.queue,
        "account": account,
        "time": config.minutes,
        "nodes": config.nodes,
        "ntasks_per_node": config.tasks_per_node,
        "gpus_per_node": config.gpus_per_node or None,
        "cpus_per_task": config.cpus_per_task,
        "mem": f"{config.memory_gib}G" if config.memory_gib else None,
        "setup": setup or None,
        "stderr_to_stdout": True,
        "additional_parameters": dict(config.options) or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _submit(held: Attempt, config: SlurmConfig, parameters: dict[str, Any]) -> Outcome:
    """Submit one run and let it go."""
    run = held.run
    try:
        executor = _executor(run, config)
        executor.update_parameters(job_name=run.name, **parameters)
        job = executor.submit(TrainingJob(run, run.config.threads or config.cpus_per_task))
        held.note("submitted", job=str(job.job_id))
        return Outcome(run, State("queued", f"job {job.job_id}"))
    except _refusals() as error:
        return Outcome(run, State("failed", f"sbatch refused it: {str(error).strip()}"))
    finally:
        held.release()


def _executor(run: MatrixRun, config: SlurmConfig) -> Any:
    submitit = _submitit()
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise LaunchError("there is no sbatch and srun on PATH: submit where Slurm is")
    return submitit.SlurmExecutor(run.jobs / "slurm", max_num_timeout=config.restarts)


def _refusals() -> tuple[type[Exception], ...]:
    from submitit.core.utils import FailedJobError

    return (FailedJobError, subprocess.CalledProcessError)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise LaunchError(
            "--submit slurm needs the package submitit: install climlink[slurm]"
        ) from error
    return submitit
