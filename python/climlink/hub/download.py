"""Data sets from the hub into the folder that `climlink data prepare` reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from climlink.data.files import followed, refusals, require_writable
from climlink.hub.datasets import Chosen, Selection, repository_id, walk
from climlink.hub.errors import HubError
from climlink.hub.repository import RemoteFile, Repository, quiet
from climlink.hub.transfer import Report, fetch_files, part_of

WORKERS = 8
"""Files at a time, as the hub's own client does: most of a small file's time is waiting."""

_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What a download does: the files wanted, which of them are here, which are to be fetched."""

    repository: Repository
    chosen: Chosen
    out: Path
    here: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]

    @property
    def total_bytes(self) -> int:
        """Size of all files wanted."""
        return sum(f.size for f in (*self.here, *self.missing))

    @property
    def missing_bytes(self) -> int:
        """Bytes to come; what interrupted calls left is not among them."""
        parts = [part_of(f, self.out / f.path) for f in self.missing]
        had = sum(p.stat().st_size for p in parts if p.exists())
        return sum(f.size for f in self.missing) - had

    @property
    def free_bytes(self) -> int:
        """Room on the disk where the files go."""
        target = followed(self.out)
        nearest = next(p for p in (target, *target.parents) if p.exists())
        with refusals(self.out):
            return shutil.disk_usage(nearest).free

    def run(self, *, workers: int = WORKERS, progress: Report | None = None) -> None:
        """Fetch what is missing; HubError, FileError. A repeated call goes on where it stopped."""
        if self.missing_bytes > self.free_bytes:
            raise HubError(
                f"{self.out}: {gigabytes(self.missing_bytes)} are to come, and "
                f"{gigabytes(self.free_bytes)} are free there; free some, write elsewhere, or take "
                "fewer dates (--every)"
            )
        wanted = {f: self.out / f.path for f in self.missing}
        with quiet():
            fetch_files(self.repository, wanted, workers=workers, progress=progress)


def plan(
    dataset: str,
    selection: Selection,
    out: Path,
    *,
    revision: str | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
) -> Plan:
    """List a data set at one commit and look what of it is here already, by checksum.

    Raises HubError (no such data set, nothing of those dates, a file here that is another one
    unless ``overwrite``) or FileError.
    """
    require_writable(out)
    with quiet():
        repository = Repository.open(repository_id(dataset), "dataset", revision)
        found, months = walk(repository, selection)
    chosen = selection.choose(found)
    _require_found(repository, selection, chosen, months)
    here, missing, others = _compare(chosen.files, out, progress)
    if others and not overwrite:
        listed = ", ".join(str(out / f.path) for f in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise HubError(
            f"{len(others)} files here are not those of {repository} (cut short, changed, or of "
            f"another revision): {listed}{more}; move them away, or replace them with --overwrite"
        )
    return Plan(repository, chosen, out, tuple(here), (*others, *missing))


def gigabytes(size: int) -> str:
    """Return a number of bytes in words: 1.9 MB, 744.0 GB."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _require_found(
    repository: Repository,
    selection: Selection,
    chosen: Chosen,
    months: list[str],
) -> None:
    if selection.range is not None and not chosen.dated:
        has = f"; it has the months {months[0]} to {months[-1]}" if months else ""
        raise HubError(
            f"{repository} has no {' or '.join(selection.kinds)} file from "
            f"{selection.range.start} to {selection.range.end} (every {selection.every}){has}"
        )
    if selection.include and not chosen.others:
        raise HubError(f"{repository} has no file like {' or '.join(selection.include)}")
    if not chosen.files:
        alone = "none of the mli and mlo files of these dates has its partner"
        raise HubError(f"{repository}: {alone}; choose one kind with --kind")


def _compare(
    files: list[RemoteFile],
    out: Path,
    progress: Report | None,
) -> tuple[list[RemoteFile], list[RemoteFile], list[RemoteFile]]:
    """Return the files that are here, that are missing, and of which others are here."""
    here, missing, others = [], [], []
    for i, file in enumerate(files):
        path = out / file.path
        with refusals(path):
            if not path.exists():
                missing.append(file)
            elif _is(file, path):
                here.append(file)
            else:
                others.append(file)
        if progress is not None:
            progress(i + 1, len(files), "")
    return here, missing, others


def _is(file: RemoteFile, path: Path) -> bool:
    """Say whether a file here is the one that the hub lists."""
    return path.stat().st_size == file.size and file.checksum.of(path) == file.checksum.digest
