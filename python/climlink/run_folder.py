"""The folder of an online run: its record, its log, and who may write there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from climlink.config import ConfigError
from climlink.data.files import make_folder, read_json, remove_folder, replacing

RECORD_FILE = "run.json"
LOG_FILE = "log.txt"
"""Held, by a lock of the system, by the command that started the job."""
LOCK_FILE = "job.lock"
"""Held by every rank of the job: when the command was killed, they may live on for a moment."""


@contextmanager
def new_run(folder: Path) -> Iterator[TextIO]:
    """Make a run folder and hold it as run_log does; ConfigError if it holds a run already."""
    make_folder(folder)
    with run_log(folder) as log:
        if (folder / RECORD_FILE).exists():
            status = _settled(read_record(folder))["status"]
            raise ConfigError(
                f"{folder} already holds a run ({RECORD_FILE}: {status}); choose another output, "
                "remove it, or, for a run of the embedded model, go on with `climlink online "
                "resume`"
            )
        yield log


def discard_run(folder: Path) -> None:
    """Remove a run folder, if there is one; ConfigError if a job runs in it."""
    folder = folder.resolve()
    if folder.is_dir():
        with run_log(folder):
            remove_folder(folder)


@contextmanager
def run_log(folder: Path) -> Iterator[TextIO]:
    """Hold a run folder and open its log for as long as a job runs there.

    ConfigError if another job does: two would spoil each other's files. The system frees the folder
    however the processes end.
    """
    with (folder / LOG_FILE).open("a", buffering=1, encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            busy = _is_held(folder / LOCK_FILE)
        except BlockingIOError:
            busy = True
        except OSError as error:
            reason = f"{folder}: the folder cannot be locked ({error.strerror})"
            raise ConfigError(f"{reason}; put the run on a file system with file locks") from error
        if busy:
            reason = f"{folder}: another job is running in this folder"
            raise ConfigError(f"{reason}; wait for it, or end it")
        yield stream


def job_runs(folder: Path) -> bool:
    """Tell whether a job, or the command that started it, is at work in a run folder."""
    return _is_held(folder / LOG_FILE) or _is_held(folder / LOCK_FILE)


def _is_held(path: Path) -> bool:
    # On NFS, only who may write gets an exclusive lock.
    mode = "r+b" if os.access(path, os.W_OK) else "rb"
    try:
        with path.open(mode) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def write_record(folder: Path, record: Mapping[str, Any], **status: Any) -> None:
    """Write the record of a run, beside and then under its name."""
    with replacing(folder / RECORD_FILE) as beside:
        beside.write_text(json.dumps({**record, **status}, indent=1), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a run as it stands; ConfigError if there is none that can be read."""
    path = folder / RECORD_FILE
    try:
        record = read_json(path)
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(f"{folder} holds no run: {reason}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a record of a run: {error}") from error
    if not isinstance(record.get("case", {}), dict):
        raise ConfigError(f"{path}: not a record of a run: its case is no mapping")
    return record


def last_status(folder: Path) -> str:
    """Return how the last job of a run ended, or ``running``.

    ``killed`` if its record says that it runs and no job does.
    """
    record = read_record(folder)
    return "running" if job_runs(folder) else str(_settled(record)["status"])


def _settled(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of a folder in which no job runs."""
    status = record.get("status", "unknown")
    return {**record, "status": "killed" if status == "running" else status}
