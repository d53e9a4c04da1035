"""The replay host: ClimSim files, one time step each, through a package in a Fortran MPI
program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from climlink.config import ConfigError, StrictModel, TimeStep
from climlink.data.climsim import find_files
from climlink.data.grid import find_grid
from climlink.data.split import SPLIT_NAMES, read_split
from climlink.data.stamp import Stamp
from climlink.installation import executable
from climlink.mpi import mpi_command
from climlink.online.launch import (
    NamelistValue,
    Progress,
    namelist_text,
    now,
    package_record,
    run_recorded,
    versions,
)
from climlink.online.settings import PackageOptions, check_namelist
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import LOCK_FILE, new_run, write_record

PROGRAM = "climlink-replay"

_PROGRESS = re.compile(rf"{PROGRAM}: step (\d+) of (\d+) (\S+)")


class SelectionConfig(StrictModel):
    """Which mli files are replayed: all, some stamps, or one part of a split file."""

    stamps: list[str] | None = Field(
        default=None, description="stamps such as 0008-01-14-03600, in the order to run"
    )
    split: str | None = Field(
        default=None, description="a shipped split, or the path of a split file"
    )
    part: Literal["train", "validation", "test", "later"] = "test"

    @model_validator(mode="after")
    def _one_choice(self) -> SelectionConfig:
        if self.stamps is not None and self.split is not None:
            raise ValueError("give either stamps or split, not both")
        return self


class ReplayConfig(PackageOptions):
    """A replay. Paths are relative to the case file (see configuration_base); options of the
    library, such as ``threads``, are keys beside these.
    """

    host: Literal["replay"] = Field(description="replay: ClimSim files, one time step each")
    data: Path = Field(
        description="folder with E3SM-MMF.mli.*.nc files, flat or in monthly folders, and the grid "
        "file"
    )
    selection: SelectionConfig = SelectionConfig()
    output: Path = Field(description="run folder; it must not hold another run")
    ranks: int = Field(default=2, ge=1, description="MPI ranks")
    pcols: int | None = Field(
        default=None, ge=1, description="columns per chunk; default: the program's"
    )
    time_step_s: TimeStep = Field(default=1200.0, description="physics time step of the data")


@dataclass(frozen=True)
class ReplayRun:
    """A finished replay: its folder and the files it wrote, in step order."""

    folder: Path
    files: tuple[Path, ...]


def run_replay(case: ReplayConfig, progress: Progress | None = None) -> ReplayRun:
    """Run a case to its end; ``progress(step, total, note)`` is called after each step.

    Raises PackageError/ManifestError for a bad package or one that cannot leave out
    ``constraints_off``, DataError for missing files, ConfigError for a run folder in use,
    LaunchError with the program's own message if the job fails.
    """
    package = case.read_package()
    sources = _selected_files(case)
    folder = case.output.resolve()
    output = folder / "output"
    created = now()
    record = {
        "case": case.model_dump(mode="json"),
        "package": package_record(package),
        "steps": len(sources),
        "versions": versions(),
        "created": created,
        "started": created,
    }

    def show(line: str) -> None:
        step = _PROGRESS.search(line)
        if step and progress is not None:
            progress(int(step[1]), int(step[2]), "")

    with new_run(folder) as log:
        output.mkdir(exist_ok=True)
        namelist = _write_namelist(case, folder, sources, package, created)
        command = mpi_command(case.ranks, [str(executable(PROGRAM)), str(namelist)])
        run_recorded(folder, record, command, case.option("threads"), log, show)
        write_record(folder, record, status="finished", ended=now())
    return ReplayRun(folder, tuple(output / s.name.replace(".mli.", ".mlo.") for s in sources))


def _selected_files(case: ReplayConfig) -> list[Path]:
    files = find_files(case.data, "mli")
    if not files:
        raise ConfigError(f"{case.data} holds no E3SM-MMF.mli.*.nc file at or below it")
    wanted = list(files)
    if case.selection.stamps is not None:
        wanted = [Stamp.parse(s) for s in case.selection.stamps]
    elif case.selection.split is not None:
        codes = read_split(case.selection.split).assign(wanted)
        wanted = [
            s
            for s, code in zip(wanted, codes, strict=True)
            if SPLIT_NAMES[code] == case.selection.part
        ]
    absent = [str(s) for s in wanted if s not in files]
    if absent or not wanted:
        raise ConfigError(f"{case.data}: no mli file for {', '.join(absent) or 'the selection'}")
    return [files[s] for s in wanted]


def _write_namelist(
    case: ReplayConfig, folder: Path, sources: list[Path], package: EmulatorPackage, created: str
) -> Path:
    listing = folder / "files.txt"
    names = "".join(f"{s.resolve()}\n" for s in sources)
    listing.write_text(names, encoding="utf-8", errors="surrogateescape")
    values: dict[str, NamelistValue] = {
        "files": str(listing),
        "output_directory": str(folder / "output"),
        "grid_file": str(find_grid(case.data, None).resolve()),
        "time_step_s": case.time_step_s,
        "lock_file": str(folder / LOCK_FILE),
        "created": created,
    }
    if case.pcols is not None:
        values["pcols"] = case.pcols
    groups = {"replay": values, "emulator": case.namelist_group(package)}
    check_namelist(PROGRAM, groups)
    namelist = folder / "replay.nml"
    namelist.write_text(namelist_text(groups), encoding="utf-8", errors="surrogateescape")
    return namelist
