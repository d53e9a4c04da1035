"""Digests, reading JSON, and writing beside a file before replacing it: what the system refuses is
told by path and reason.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

from climlink.wrappers.errors import ClimlinkError

_REASONS = {
    errno.ENOSPC: "no space is left on this disk: free some, or write elsewhere",
    errno.EDQUOT: "your disk quota is used up: free some of it, or write elsewhere",
    errno.EFBIG: "the file would be longer than the limit set for files (ulimit -f)",
    errno.EACCES: "no permission: look at the rights of the file and of its folder",
    errno.EPERM: "no permission: look at the rights of the file and of its folder",
    errno.EROFS: "this file system can only be read",
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "this is a folder, a file was expected",
    errno.ENOTDIR: "this is a file, or is below one; a folder was expected",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ELOOP: "the links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EIO: "the disk or the network failed while it was read or written",
    errno.ESTALE: "the network file system lost it: repeat the command",
    errno.EMFILE: "too many open files (ulimit -n)",
    errno.ENOMEM: "not enough memory",
}
_PROBE_BYTES = 1 << 20


class FileError(ClimlinkError):
    """The system refused to write, rename or remove a file or folder."""


def explain(error: OSError, path: Path | None = None) -> str:
    """Return ``path: reason`` in words; ``path`` where the error itself names none."""
    named = error.filename2 or error.filename
    place = Path(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else path
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return f"{place}: {_obstacle(place) or reason}" if place is not None else reason


def _obstacle(path: Path) -> str | None:
    """Return what of a path is in the way: a link that leads nowhere, or a file where a folder was
    expected.
    """
    with suppress(OSError):  # such as a name that is too long to look for
        for part in (path, *path.parents):
            if part.is_symlink() and not part.exists():
                return f"{part} is a link to {part.readlink()}, which does not exist"
            if part != path and part.exists() and not part.is_dir():
                return f"{part} is a file, a folder was expected"
    return None


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; OSError where it cannot be read, ValueError where it holds
    no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    return value


def followed(path: Path) -> Path:
    """Return where a path leads once links are followed; FileError for a link into a folder that is
    not there, or to itself.
    """
    with refusals(path):
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise FileError(f"{path}: this is a link to itself; mend the link, or remove it")
        if path.is_symlink() and not target.parent.is_dir():
            raise FileError(
                f"{path}: this is a link to {target}, whose folder does not exist; mend the link, "
                "or remove it"
            )
        for above in path.parents:
            if (
                above.is_symlink() and not above.exists()
            ):  # such as a disk that is not mounted: nothing is made in its place
                raise FileError(f"{path}: {_obstacle(above)}; mend the link, or remove it")
    return target


def require_writable(path: Path) -> None:
    """Raise FileError where nothing could be written at ``path``: to be asked before long work,
    whose result would be lost.
    """
    target = followed(path)
    with refusals(path):
        nearest = next(p for p in (target, *target.parents) if p.exists())
        if nearest != target and not nearest.is_dir():
            raise FileError(f"{path}: {nearest} is a file, a folder was expected")
        if not os.access(nearest, os.W_OK):
            raise FileError(
                f"{path}: {nearest} cannot be written: no permission, or a file system that can "
                "only be read"
            )


def make_folder(path: Path) -> Path:
    """Make a folder and those above it, also behind a link, and return where it is; FileError where
    that cannot be done.
    """
    target = followed(path)
    with refusals(path):
        target.mkdir(parents=True, exist_ok=True)
    return target


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it; of a link to a folder the link stays. FileError where
    that cannot be done.

    It loses its name first: a process that is killed in between leaves no folder that looks whole.
    """
    target = followed(path)
    with refusals(path):
        _remove_if_there(_nameless(target))


def replace_folder(beside: Path, path: Path) -> None:
    """Give a folder the name of another one, which is then removed; FileError where that cannot be
    done.

    A process that is killed in between leaves ``beside`` whole, and the old one or none at
    ``path``.
    """
    target = followed(path)
    with refusals(path):
        doomed = _nameless(target)
        beside.rename(target)
        _remove_if_there(doomed)


def _nameless(target: Path) -> Path:
    """Take a folder's name away, and return where it is; one that lay there before is removed."""
    doomed = target.with_name(f".{target.name}.removed")
    _remove_if_there(doomed)
    if target.exists():
        target.rename(doomed)
    return doomed


def _remove_if_there(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def refusals(path: Path, *, kept: str = "", beside: Path | None = None) -> Iterator[None]:
    """Turn what the system refuses while ``path`` is written into a FileError: path, reason, and
    ``kept``, what is not lost.

    ``beside`` is the file or folder that is written in its place. netCDF, HDF5 and torch make a
    RuntimeError of a refusal: then the disk is asked, by writing a little more to ``beside``.
    """
    try:
        yield
    except OSError as error:
        raise _file_error(error, path, kept, beside) from error
    except RuntimeError as error:
        refusal = None if beside is None or beside.is_dir() else _refusal(beside)
        if refusal is None:
            raise
        raise _file_error(refusal, path, kept, beside) from error


def _file_error(error: OSError, path: Path, kept: str, beside: Path | None) -> FileError:
    named = error.filename2 or error.filename
    if beside is not None and named is not None and os.fsdecode(named) == str(beside):
        error = OSError(
            error.errno, error.strerror
        )  # the user knows it by the name that it would have got
    told = explain(error, path)
    return FileError(f"{told}; {kept}" if kept else told)


def _refusal(beside: Path) -> OSError | None:
    """Return the error of writing a little more to a file; None if it can be written."""
    try:
        with beside.open("ab") as stream:
            stream.write(bytes(_PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes the place of ``path`` on success and is
    removed on failure.

    The folder is made where it is missing; of a link the file that it leads to is replaced.
    FileError where the system refuses.
    """
    target = followed(path)
    make_folder(target.parent)
    beside = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with refusals(path, beside=beside):
            _remove_abandoned(target.parent)
            yield beside
            with beside.open("rb") as written:
                os.fsync(
                    written.fileno()
                )  # else a power cut may keep the new name and lose the content
            beside.replace(target)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@cache  # once per folder: a store has thousands of blocks, each with a file that is replaced
def _remove_abandoned(folder: Path) -> None:
    """Remove the parts that processes of this host left in a folder when they were killed."""
    host = socket.gethostname()
    for part in folder.glob(f".*.{escape(host)}.*.part"):
        pid = part.name.removesuffix(".part").rpartition(".")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
