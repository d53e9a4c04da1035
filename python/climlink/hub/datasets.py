"""ClimSim's data sets on the hub: which files of a repository belong to a range of dates."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from climlink.data.climsim import TIME_STEP_S, kind_of, stamp_of
from climlink.data.grid import GRID_PATTERN
from climlink.data.split import StampRange
from climlink.data.stamp import Stamp
from climlink.hub.errors import HubError
from climlink.hub.repository import RemoteFile, Repository
from climlink.wrappers.errors import near_names
from climlink.wrappers.yaml_file import fault

DATASETS = {
    "climsim-low-res": "LEAP/ClimSim_low-res",
    "climsim-high-res": "LEAP/ClimSim_high-res",
    "climsim-low-res-aquaplanet": "LEAP/ClimSim_low-res_aqua-planet",
    "climsim-subsampled": "LEAP/subsampled_low_res",
}
"""Repositories of LEAP by short name."""

_MONTH = re.compile(r"\d{4}-\d{2}")


@dataclass(frozen=True)
class Selection:
    """Which files of a repository are wanted.

    ``start`` and ``end`` are dates (the whole day) or stamps, both included; every ``every``-th
    step of ``time_step_s`` seconds is taken, counted from ``start`` as splits count. ``include``
    are patterns of paths that are wanted besides, such as ``*norm*``.
    """

    start: str | None = None
    end: str | None = None
    every: int = 1
    kinds: tuple[str, ...] = ("mli", "mlo")
    grid: bool = True
    include: tuple[str, ...] = ()
    time_step_s: int = int(TIME_STEP_S)

    @cached_property
    def range(self) -> StampRange | None:
        """The dates; None where neither start nor end is given. HubError for what is no date."""
        if self.start is None and self.end is None:
            return None
        start, end = self.start or "0000-01-01", self.end or "9999-12-31"
        try:
            return StampRange(start=start, end=end, stride=self.every)
        except ValidationError as error:
            raise HubError(f"dates {start} to {end}: {fault(error)}") from error

    def enters(self, folder: str) -> bool:
        """Say whether files of a folder may be wanted; a monthly one only for its dates."""
        name = folder.rpartition("/")[2]
        if not _MONTH.fullmatch(name):
            return not name.startswith(".") and not name.endswith(".zarr")
        if any(name in pattern for pattern in self.include):
            return True
        return self.range is not None and self.range.start[:7] <= name <= self.range.end[:7]

    def choose(self, files: Iterable[RemoteFile]) -> Chosen:
        """Return what is wanted of the files, by stamp and otherwise."""
        dated: dict[Stamp, dict[str, RemoteFile]] = {}
        others = []
        for file in files:
            path = Path(file.path)
            kind = kind_of(path)
            if any(fnmatchcase(file.path, pattern) for pattern in self.include):
                others.append(file)
            elif self.range is not None and kind in self.kinds:
                _add(dated.setdefault(stamp_of(path), {}), kind, file)
            elif self.range is not None and self.grid and fnmatchcase(file.name, GRID_PATTERN):
                others.append(file)
        return Chosen(self._taken(dated), others, self.kinds)

    def _taken(
        self,
        dated: dict[Stamp, dict[str, RemoteFile]],
    ) -> dict[Stamp, dict[str, RemoteFile]]:
        if self.range is None or not dated:
            return {}
        stamps = sorted(dated)
        seconds = np.array([s.seconds for s in stamps], dtype=np.int64)
        taken = self.range.selects(seconds, self.time_step_s)
        return {s: dated[s] for s, wanted in zip(stamps, taken, strict=True) if wanted}


@dataclass(frozen=True)
class Chosen:
    """The files of the dates by stamp and kind, and the others."""

    dated: dict[Stamp, dict[str, RemoteFile]]
    others: list[RemoteFile]
    kinds: Collection[str]

    @property
    def lone(self) -> list[Stamp]:
        """Stamps that lack a kind in the repository: `climlink data prepare` refuses half pairs."""
        return [s for s, files in self.dated.items() if len(files) < len(self.kinds)]

    @property
    def files(self) -> list[RemoteFile]:
        """All files wanted, without those of lone stamps."""
        steps = [files for files in self.dated.values() if len(files) == len(self.kinds)]
        return sorted(set(self.others)) + [f for files in steps for f in files.values()]


def repository_id(dataset: str) -> str:
    """Return OWNER/NAME of a data set by short name or by OWNER/NAME; HubError for neither."""
    if "/" in dataset:
        return dataset
    if dataset not in DATASETS:
        known = ", ".join(DATASETS) + near_names(dataset, DATASETS)
        raise HubError(f"no data set {dataset!r}: expected OWNER/NAME, or one of {known}")
    return DATASETS[dataset]


def walk(repository: Repository, selection: Selection) -> tuple[list[RemoteFile], list[str]]:
    """Return the files of all folders that the selection enters, and the names of all months."""
    found: list[RemoteFile] = []
    months: set[str] = set()
    for folders, files in _folders(repository, selection):
        found += files
        months |= {f.rpartition("/")[2] for f in folders if _MONTH.fullmatch(f.rpartition("/")[2])}
    return found, sorted(months)


def _folders(
    repository: Repository,
    selection: Selection,
) -> Iterator[tuple[list[str], list[RemoteFile]]]:
    waiting = [""]
    while waiting:
        folders, files = repository.list_folder(waiting.pop())
        waiting += [f for f in folders if selection.enters(f)]
        yield folders, files


def _add(files: dict[str, RemoteFile], kind: str, file: RemoteFile) -> None:
    if kind in files:
        raise HubError(f"the repository has {file.name} twice: {files[kind].path} and {file.path}")
    files[kind] = file
