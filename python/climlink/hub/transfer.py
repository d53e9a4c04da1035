"""Files of a repository to disk: continued where they were interrupted, checked, then renamed."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from climlink.data.files import followed, make_folder, refusals
from climlink.hub.errors import ChecksumError, HubError, told
from climlink.hub.repository import RemoteFile, Repository
from climlink.wrappers.errors import ClimlinkError

Report = Callable[[int, int, str], None]
"""Progress: done, total, note."""

BREAKS = 5
"""How often in a row a connection may break without having brought a byte."""

LONGEST_WAIT_S = 8.0
"""Before a connection that broke is made anew, in seconds; the first time 1."""

_SHOWN = 5
_MEGABYTE = 10**6


class _StoppedError(HubError):
    """Another file failed, or the user ended the job: nobody reads this."""


def part_of(file: RemoteFile, target: Path) -> Path:
    """Return where a file is written until it is whole; another content has another part."""
    return target.with_name(f".{target.name}.{file.checksum.digest[:16]}.part")


def fetch_file(
    repository: Repository,
    file: RemoteFile,
    target: Path,
    *,
    accept: Callable[[Path], object] | None = None,
    came: Callable[[int], None] = lambda size: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Fetch one file; ``target`` has its name only when its checksum is the hub's.

    A part that an interrupted call left is continued. ``accept`` may refuse the whole file before
    it gets its name; ``came`` is called with the bytes as they come, negative where they are
    thrown away. Raises HubError, ChecksumError, FileError.
    """
    target = followed(target)
    make_folder(target.parent)
    part = part_of(file, target)
    kept = "what was fetched is kept: repeat the command to go on"
    with refusals(target, kept=kept, beside=part), _claimed(part) as stream:
        for _ in range(2):  # the second time from the beginning: an old part may be damaged
            _complete(repository, file, stream, came, stopped)
            size, found = _end(stream), file.checksum.of(part)
            if found == file.checksum.digest:
                break
            came(-size)
            stream.truncate(0)
        else:
            part.unlink()
            raise ChecksumError(
                f"{file.path} of {repository}: expected {file.size} bytes with "
                f"{file.checksum.algorithm} {file.checksum.digest}, twice came {size} with "
                f"{found}: it is damaged there or on the way, and was not kept"
            )
        os.fsync(stream.fileno())
        if accept is not None:
            _accepted(part, accept)
        part.replace(target)


def fetch_files(
    repository: Repository,
    wanted: Mapping[RemoteFile, Path],
    *,
    workers: int,
    accept: Callable[[Path], object] | None = None,
    progress: Report | None = None,
) -> None:
    """Fetch files, some at a time; a damaged one does not keep the others from coming.

    Raises ChecksumError for those that came damaged, else the first other error at once.
    """
    count = _Count(wanted, accept, progress)
    damaged: list[ChecksumError] = []
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = [pool.submit(count.fetch, repository, f, path) for f, path in wanted.items()]
        for job in as_completed(jobs):
            damaged += _damage(job)
    finally:  # also where a signal ends the job
        count.stop.set()
        pool.shutdown(cancel_futures=True)
    if damaged:
        raise ChecksumError(_listed(damaged, len(wanted)))


class _Count:
    """Bytes and files that have come, of a job in several threads."""

    def __init__(
        self,
        wanted: Mapping[RemoteFile, Path],
        accept: Callable[[Path], object] | None,
        progress: Report | None,
    ) -> None:
        self.stop = threading.Event()
        self._accept = accept
        self._progress = progress
        self._lock = threading.Lock()
        self._files, self._done = len(wanted), 0
        self._total = sum(file.size for file in wanted)
        self._came = sum(_size(part_of(file, path)) for file, path in wanted.items())

    def fetch(self, repository: Repository, file: RemoteFile, path: Path) -> None:
        """Fetch one file, and count it; what does not concern this file alone stops the job."""
        if self.stop.is_set():
            raise _StoppedError
        try:
            fetch_file(
                repository,
                file,
                path,
                accept=self._accept,
                came=self._add,
                stopped=self.stop.is_set,
            )
        except ChecksumError:
            raise
        except BaseException:
            self.stop.set()
            raise
        self._add(0, files=1)

    def _add(self, size: int, files: int = 0) -> None:
        with self._lock:
            self._came += size
            self._done += files
            if self._progress is not None:
                note = f"{self._done} of {self._files} files"
                self._progress(self._came // _MEGABYTE, self._total // _MEGABYTE, note)


def _damage(job: Future[None]) -> list[ChecksumError]:
    """Return the error of a file that came damaged; raise any other but that it was stopped."""
    try:
        job.result()
    except ChecksumError as error:
        return [error]
    except _StoppedError:
        pass  # the error that stopped it is another job's
    return []


def _accepted(part: Path, accept: Callable[[Path], object]) -> None:
    try:
        accept(part)
    except ClimlinkError:
        part.unlink()
        raise


def _complete(
    repository: Repository,
    file: RemoteFile,
    stream: BinaryIO,
    came: Callable[[int], None],
    stopped: Callable[[], bool],
) -> None:
    """Append what a part lacks; a connection that breaks is made anew."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    broken = 0
    while (size := _end(stream)) < file.size:
        try:
            _append(repository, file, stream, came, stopped)
            return  # shorter than it should be: its checksum says so
        except HTTPError as error:
            broken = broken + 1 if _end(stream) <= size else 0
            if broken > BREAKS or isinstance(error, HfHubHTTPError):
                with told(f"{file.path} of {repository}", repository.api.endpoint):
                    raise
            _wait(min(2.0**broken, LONGEST_WAIT_S), stopped)


def _append(
    repository: Repository,
    file: RemoteFile,
    stream: BinaryIO,
    came: Callable[[int], None],
    stopped: Callable[[], bool],
) -> None:
    """Append the blocks of one answer to a part."""
    start = _end(stream)
    with repository.stream(file, start) as (begins, blocks):
        if begins != start:  # the hub gave the whole file instead of its end
            came(begins - start)
            stream.truncate(begins)
        for block in blocks:
            if stopped():
                raise _StoppedError
            stream.write(block)
            came(len(block))


def _end(stream: BinaryIO) -> int:
    return stream.seek(0, os.SEEK_END)


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if stopped():
            raise _StoppedError
        time.sleep(0.1)


@contextmanager
def _claimed(part: Path) -> Iterator[BinaryIO]:
    """Open a part to append to, for this process alone."""
    with part.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            theirs = not os.path.samestat(os.fstat(stream.fileno()), part.stat())
        except (BlockingIOError, FileNotFoundError):
            theirs = True  # another process has it open, or has just finished it
        if theirs:
            raise HubError(f"{part}: another process fetches this file now; wait for it")
        yield stream


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _listed(damaged: list[ChecksumError], total: int) -> str:
    shown = "\n".join(f"  {error}" for error in damaged[:_SHOWN])
    more = f"\n  and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    return f"{len(damaged)} of {total} files came damaged; the others are here:\n{shown}{more}"
