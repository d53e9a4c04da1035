"""What online runs of every host share: MPI jobs whose output is logged, namelists, and the record of what was run."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch

from climlink.config import ConfigError
from climlink.mpi import LaunchError, mpi_environment
from climlink.package import EmulatorPackage
from climlink.provenance import climlink_version, git_revision

RECORD_FILE = "run.json"
LOG_FILE = "log.txt"
_TAIL = 4000  # characters of an MPI job's error text that are worth showing

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is to do, and a note such as the speed."""

NamelistValue = str | int | float | bool | Sequence[float] | Sequence[str]


@contextmanager
def run_log(folder: Path) -> Iterator[TextIO]:
    """Open the log of a run folder for as long as a job runs there.

    ConfigError if another job does: two would spoil each other's files. The system frees the folder however this process ends.
    """
    with (folder / LOG_FILE).open("a", buffering=1) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{folder}: another job is running in this folder; wait for it, or end it") from error
        yield stream


def run_job(command: list[str], threads: int, log: TextIO, on_line: Callable[[str], None]) -> int:
    """Run an MPI job, copy its output to ``log`` line by line and return its exit code; an interruption ends the job."""
    job = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        env=mpi_environment(threads),
        errors="replace",
    )
    assert job.stdout is not None
    try:
        for line in job.stdout:
            log.write(line)
            on_line(line)
        return job.wait()
    except BaseException:
        job.terminate()
        job.wait()
        raise


def job_failure(command: list[str], code: int, folder: Path) -> LaunchError:
    """Return the error of a job that ended with ``code``, with the last words of its log."""
    log = folder / LOG_FILE
    return LaunchError(f"{' '.join(command)} ended with exit code {code}; its log is {log}:\n{log.read_text()[-_TAIL:].strip()}")


def new_run_folder(folder: Path) -> Path:
    """Make a run folder and return its absolute path; ConfigError if it holds a run already."""
    folder = folder.resolve()
    if (folder / RECORD_FILE).exists():
        raise ConfigError(f"{folder} already holds a run ({RECORD_FILE}); choose another output or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_record(folder: Path, record: Mapping[str, Any], **status: Any) -> None:
    """Write the record of a run, beside and then under its name."""
    partial = folder / f"{RECORD_FILE}.partial"
    partial.write_text(json.dumps({**record, **status}, indent=1))
    partial.replace(folder / RECORD_FILE)


def package_record(package: EmulatorPackage) -> dict[str, str]:
    """Return what a record says of a package."""
    return {"name": package.manifest.name, "sha256": package.digest}


def versions() -> dict[str, str | None]:
    """Return what a record says of the software."""
    return {"climlink": climlink_version(), "git_revision": git_revision(), "torch": torch.__version__}


def namelist_text(groups: Mapping[str, Mapping[str, NamelistValue]]) -> str:
    """Return Fortran namelists; floats keep all their digits."""
    return "".join(
        f"&{group}\n" + "".join(f"  {name} = {_fortran(value)}\n" for name, value in entries.items()) + "/\n"
        for group, entries in groups.items()
    )


def _fortran(value: NamelistValue) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return re.sub("e", "d", repr(value))
    if isinstance(value, Sequence):
        return ", ".join(_fortran(v) for v in value)
    return str(value)
