"""One training of a run of a matrix, in a process of its own: who holds it, how it stands, and what
became of it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

from climlink.config import ConfigError, load_config
from climlink.data.files import make_folder, replacing
from climlink.mpi import LaunchError, end_job, mpi_environment, tied_to_this_process
from climlink.online.launch import now
from climlink.run_folder import LOG_FILE, job_runs, read_record, run_log, write_record
from climlink.training.checkpoint import CONFIG_FILE, find_checkpoint, run_progress
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.matrix_config import MatrixRun
from climlink.training.run import FREE_ON_RESUME

_SQUEUE = ["squeue", "--me", "--noheader", "--format=%A"]
_LAST_WORDS = 4000  # bytes of a log that may say why a run failed


class State(NamedTuple):
    """How a run stands."""

    kind: Literal["done", "running", "queued", "part", "failed", "other", "waiting"]
    """``other``: its folder holds a run with other settings."""
    note: str = ""

    @property
    def to_do(self) -> bool:
        """Whether the run is to be started, or gone on with."""
        return self.kind in ("part", "failed", "waiting")


class Outcome(NamedTuple):
    """What became of a run."""

    run: MatrixRun
    state: State
    seconds: float = 0.0
    """That it was at work; 0 for one that was left alone."""

    @property
    def failed(self) -> bool:
        """Whether somebody must look at it."""
        return self.state.kind in ("failed", "other")


def run_state(run: MatrixRun, queued: Collection[str] = ()) -> State:
    """Return how a run stands; ``queued`` are the batch jobs that are not over."""
    if job_runs(run.jobs):
        return State("running", f"log: {run.jobs / LOG_FILE}")
    return state_at_rest(run, queued)


def state_at_rest(run: MatrixRun, queued: Collection[str] = ()) -> State:
    """Return how a run stands that nobody else is at."""
    record = record_of(run)
    if record.get("job") in queued:
        return State("queued", f"job {record['job']}")
    changed = _changed(run)
    if changed:
        return State("other", f"{run.directory} holds a run with other settings: {changed}")
    part = ""
    try:
        checkpoint = find_checkpoint(run.directory)
        if record.get("status") == "finished":
            return State("done", str(checkpoint))
        progress = run_progress(run.directory)
        if progress.finished:
            return State("done", str(checkpoint))
        part = str(progress)
    except TrainingError:
        pass  # no epoch was finished
    if record.get("status") == "failed":
        return State("failed", f"{record.get('error')}; log: {run.jobs / LOG_FILE}")
    return State("part", part) if part else State("waiting")


def record_of(run: MatrixRun) -> dict[str, Any]:
    """Return the record of the last attempt at a run; empty if there was none."""
    try:
        return read_record(run.jobs)
    except ConfigError:
        return {}


def queued_jobs(runs: Iterable[MatrixRun]) -> set[str]:
    """Return the numbers of the user's jobs in the queue, asked only if a run was submitted and is
    not known to be done.

    LaunchError where squeue cannot tell.
    """
    submitted = [r for r in map(record_of, runs) if "job" in r and r.get("status") != "finished"]
    if not submitted:
        return set()
    if shutil.which(_SQUEUE[0]) is None:
        first = f"job {submitted[0]['job']}"
        raise LaunchError(
            f"runs were submitted ({first}), and there is no squeue here to ask for them: give the "
            "command where Slurm is"
        )
    asked = subprocess.run(
        _SQUEUE, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if asked.returncode != 0:
        raise LaunchError(f"{' '.join(_SQUEUE)} failed: {asked.stderr.strip()}")
    return set(asked.stdout.split())


class Attempt:
    """A run that is held: nobody else trains it until ``release``, ``finish`` or ``abandon``.

    Making one raises ConfigError where another launch holds the run. The process holds it too: it
    may outlive, for a moment, a launch that was killed.
    """

    def __init__(self, run: MatrixRun) -> None:
        self.run = run
        make_folder(run.jobs)
        self._held = ExitStack()
        self._log = self._held.enter_context(run_log(run.jobs))
        self._record: dict[str, Any] = {}
        self._started = 0.0
        self._begin = 0
        self._process: subprocess.Popen[str] | None = None

    def state(self, queued: Collection[str] = ()) -> State:
        """Return how the run stands, that nobody else is at now."""
        return state_at_rest(self.run, queued)

    def start(self, environment: Mapping[str, str], **record: str) -> None:
        """Start the process that trains, or goes on; ``record`` is kept with its status."""
        with replacing(self.run.jobs / CONFIG_FILE) as beside:
            beside.write_text(self.run.text, encoding="utf-8")
        command = training_command(self.run)
        self._started = time.monotonic()
        self._record = {"command": command, "started": now(), **record}
        self.note("running")
        self._log.write(f"# {now()} {' '.join(command)}\n")
        self._begin = self._log.tell()
        self._process = subprocess.Popen(
            [*tied_to_this_process(), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**mpi_environment(1), **environment},
            text=True,
            encoding="utf-8",
        )

    def wait(self) -> int:
        """Return the exit code of the process when it has ended."""
        assert self._process is not None
        return self._process.wait()

    def note(self, status: str, **more: str) -> None:
        """Write the record."""
        write_record(self.run.jobs, self._record | more, status=status)

    def finish(self, code: int) -> Outcome:
        """Record how the process ended, let the run go and return what became of it."""
        seconds = time.monotonic() - self._started
        if code == 0:
            self.note("finished", ended=now())
        else:
            self.note("failed", ended=now(), error=self._why(code))
        state = self.state()
        self.release()
        return Outcome(self.run, state, seconds)

    def abandon(self, stop: BaseException) -> None:
        """End the process because of an exception of this one, and let the run go."""
        if self._process is not None and self._process.poll() is None:
            end_job(self._process)
        self.note("interrupted", ended=now(), error=str(stop) or type(stop).__name__)
        self.release()

    def release(self) -> None:
        """Let the run go."""
        self._held.close()

    def _why(self, code: int) -> str:
        """Return the last line that the process wrote, and its exit code."""
        with (self.run.jobs / LOG_FILE).open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(max(self._begin, end - _LAST_WORDS))
            lines = stream.read().decode("utf-8", errors="replace").split("\n")
        said = [line.rpartition("\r")[2].strip() for line in lines]
        told = [line for line in said if line.startswith("error:")] or [s for s in said if s]
        return f"{_ending(code)}{': ' + told[-1] if told else ''}"


def training_command(run: MatrixRun) -> list[str]:
    """Return the command line that trains a run, or goes on with it."""
    # -P: a file of the user's in the current folder must not take the place of a module.
    python = [sys.executable, "-P", "-m", "climlink"]
    return [*python, "train", str(run.jobs / CONFIG_FILE), "--resume"]


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    memory = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{memory}"


def _changed(run: MatrixRun) -> str:
    """Return which settings of a run folder are not those of the run, nothing where it holds no
    run.
    """
    path = run.directory / CONFIG_FILE
    if not path.exists():
        return ""
    try:
        before = _settings(load_config(path, TrainingConfig))
    except ConfigError as error:
        return str(error).splitlines()[0]
    asked = _settings(run.config)
    keys = [k for k in asked if asked[k] != before.get(k)]
    return ", ".join(f"{k} was {before.get(k)!r:.80}, now {asked[k]!r:.80}" for k in keys)


def _settings(config: TrainingConfig) -> dict[str, Any]:
    values = config.resolved().model_dump(mode="json")
    return {k: v for k, v in values.items() if k not in FREE_ON_RESUME}
