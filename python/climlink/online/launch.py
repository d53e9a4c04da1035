"""What online runs of every host share: MPI jobs whose output is logged, namelists, and the record
of what was run.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import torch

from climlink.mpi import LaunchError, failure_text, run_job
from climlink.packages.read import EmulatorPackage
from climlink.provenance import climlink_version, git_revision
from climlink.run_folder import LOG_FILE, write_record

_LAST_LINES = 200  # of a job's output that may say why it failed

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is to do, and a note such as the speed."""

NamelistValue = str | int | float | bool | Sequence[float] | Sequence[str]


def run_recorded(
    folder: Path,
    record: Mapping[str, Any],
    command: Sequence[str],
    threads: int,
    log: TextIO,
    on_line: Callable[[str], None],
    results: Sequence[int] = (0,),
) -> int:
    """Run an MPI job in a folder that is held, and return its exit code, one of ``results``.

    Its output goes to ``log`` and ``on_line``. The record says that it runs and, unless it ends
    with a result, why it ended: LaunchError, with its last words, for another exit code; an
    exception of this process, such as Interrupted, ends the job and passes on.
    """
    said: deque[str] = deque(maxlen=_LAST_LINES)

    def take(line: str) -> None:
        log.write(line)
        said.append(line)
        on_line(line)

    write_record(folder, record, status="running")
    try:
        code = run_job(command, threads, take)
    except BaseException as stop:
        status = "failed" if isinstance(stop, Exception) else "interrupted"
        reason = str(stop) or type(stop).__name__
        write_record(folder, record, status=status, error=reason, ended=now())
        raise
    if code not in results:
        words = failure_text(command, code, "".join(said))
        error = LaunchError(f"{words}\nits log is {folder / LOG_FILE}")
        write_record(folder, record, status="failed", error=str(error), ended=now())
        raise error
    return code


def now() -> str:
    """Return the present time as ISO 8601 text in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def package_record(package: EmulatorPackage) -> dict[str, str]:
    """Return what a record says of a package."""
    return {"name": package.manifest.name, "sha256": package.digest}


def versions() -> dict[str, str | None]:
    """Return what a record says of the software."""
    return {
        "climlink": climlink_version(),
        "git_revision": git_revision(),
        "torch": torch.__version__,
    }


def namelist_text(groups: Mapping[str, Mapping[str, NamelistValue]]) -> str:
    """Return Fortran namelists; floats keep all their digits."""
    return "".join(
        f"&{group}\n"
        + "".join(f"  {name} = {_fortran(value)}\n" for name, value in entries.items())
        + "/\n"
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
