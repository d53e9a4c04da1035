"""Online runs: a case file becomes a namelist, a run folder with a record of what was run, and an MPI job with its progress shown."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from climlink.config import ConfigError, StrictModel, load_config
from climlink.data.climsim import find_files
from climlink.data.grid import find_grid
from climlink.data.split import SPLIT_NAMES, read_split
from climlink.data.stamp import Stamp
from climlink.installation import executable
from climlink.mpi import LaunchError, mpi_command, mpi_environment
from climlink.package import EmulatorPackage
from climlink.provenance import climlink_version, git_revision

RECORD_FILE = "run.json"
_PROGRESS = re.compile(r"climlink-replay: step (\d+) of (\d+) (\S+)")
_TAIL = 4000  # characters of an MPI job's error text that are worth showing


class SelectionConfig(StrictModel):
    """Which mli files are replayed: all, some stamps, or one part of a split file."""

    stamps: list[str] | None = Field(default=None, description="stamps such as 0008-01-14-03600, in the order to run")
    split: Path | None = Field(default=None, description="a split file, relative to the case file")
    part: Literal["train", "validation", "test"] = "test"

    @model_validator(mode="after")
    def _one_choice(self) -> SelectionConfig:
        if self.stamps is not None and self.split is not None:
            raise ValueError("give either stamps or split, not both")
        return self


class CaseConfig(StrictModel):
    """An online run. Paths are relative to the case file."""

    host: Literal["replay"] = Field(description="replay: ClimSim files, one time step each")
    package: Path = Field(description="the wrap_model.pt to run")
    pinned_sha256: str | None = Field(default=None, description="refuse any other package")
    data: Path = Field(description="folder with E3SM-MMF.mli.*.nc files, flat or in monthly folders, and the grid file")
    selection: SelectionConfig = SelectionConfig()
    output: Path = Field(description="run folder; it must not hold another run")
    ranks: int = Field(default=2, ge=1, description="MPI ranks")
    pcols: int = Field(default=16, ge=1, description="columns per chunk")
    threads: int = Field(default=1, ge=1, description="threads per rank")
    micro_batch: int = Field(default=64, ge=2, description="columns per forward on a CPU")
    device: str = Field(default="cpu", description="cpu, cuda (local rank modulo device count), cuda:N or auto")
    time_step_s: float = Field(default=1200.0, gt=0, description="physics time step of the data")


@dataclass(frozen=True)
class OnlineRun:
    """A finished run: its folder and the files it wrote, in step order."""

    folder: Path
    files: tuple[Path, ...]


def load_case(path: str | Path, **overrides: Any) -> CaseConfig:
    """Read a case file, make its paths absolute and apply overrides that are not None (their paths are relative to the caller)."""
    path = Path(path)
    case = load_config(path, CaseConfig)
    base = path.resolve().parent
    update: dict[str, Any] = {name: base / getattr(case, name) for name in ("package", "data", "output")}
    if case.selection.split is not None:
        update["selection"] = case.selection.model_copy(update={"split": base / case.selection.split})
    update.update({k: v for k, v in overrides.items() if v is not None})
    return CaseConfig.model_validate({**case.model_dump(), **{k: _plain(v) for k, v in update.items()}})


def run_online(case: CaseConfig, progress: Callable[[int, int], None] | None = None) -> OnlineRun:
    """Run a case to its end; ``progress(step, total)`` is called after each step.

    Raises PackageError/ManifestError for a bad package, DataError for missing files, ConfigError for a run folder in use, LaunchError with
    the program's own message if the job fails.
    """
    package = EmulatorPackage.read(case.package, case.pinned_sha256)
    sources = _selected_files(case)
    folder = case.output.resolve()
    if (folder / RECORD_FILE).exists():
        raise ConfigError(f"{folder} already holds a run ({RECORD_FILE}); choose another output or remove it")
    output = folder / "output"
    output.mkdir(parents=True, exist_ok=True)
    namelist = _write_namelist(case, folder, sources, package)
    record = _record(case, package, sources)
    (folder / RECORD_FILE).write_text(json.dumps({**record, "status": "running"}, indent=1))
    command = mpi_command(case.ranks, [str(executable("climlink-replay")), str(namelist)])
    try:
        _launch(command, case.threads, folder / "log.txt", progress)
    except LaunchError as error:
        (folder / RECORD_FILE).write_text(json.dumps({**record, "status": "failed", "error": str(error)}, indent=1))
        raise
    (folder / RECORD_FILE).write_text(json.dumps({**record, "status": "finished"}, indent=1))
    return OnlineRun(folder, tuple(output / s.name.replace(".mli.", ".mlo.") for s in sources))


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, StrictModel) else value


def _selected_files(case: CaseConfig) -> list[Path]:
    files = find_files(case.data, "mli")
    if not files:
        raise ConfigError(f"{case.data} holds no E3SM-MMF.mli.*.nc file at or below it")
    wanted = list(files)
    if case.selection.stamps is not None:
        wanted = [Stamp.parse(s) for s in case.selection.stamps]
    elif case.selection.split is not None:
        codes = read_split(case.selection.split).assign(wanted)
        wanted = [s for s, code in zip(wanted, codes, strict=True) if SPLIT_NAMES[code] == case.selection.part]
    absent = [str(s) for s in wanted if s not in files]
    if absent or not wanted:
        raise ConfigError(f"{case.data}: no mli file for {', '.join(absent) or 'the selection'}")
    return [files[s] for s in wanted]


def _write_namelist(case: CaseConfig, folder: Path, sources: list[Path], package: EmulatorPackage) -> Path:
    listing = folder / "files.txt"
    listing.write_text("".join(f"{s.resolve()}\n" for s in sources))
    values: dict[str, str | int | float] = {
        "package": str(case.package.resolve()),
        "pinned_sha256": package.digest,
        "files": str(listing),
        "output_directory": str(folder / "output"),
        "grid_file": str(find_grid(case.data, None).resolve()),
        "device": case.device,
        "pcols": case.pcols,
        "threads": case.threads,
        "micro_batch": case.micro_batch,
        "time_step_s": case.time_step_s,
    }
    namelist = folder / "replay.nml"
    namelist.write_text("&replay\n" + "".join(f"  {k} = {_fortran(v)}\n" for k, v in values.items()) + "/\n")
    return namelist


def _fortran(value: str | int | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{value!r}".replace("e", "d") if isinstance(value, float) else str(value)


def _record(case: CaseConfig, package: EmulatorPackage, sources: list[Path]) -> dict[str, Any]:
    return {
        "case": case.model_dump(mode="json"),
        "package": {"name": package.manifest.name, "sha256": package.digest},
        "steps": len(sources),
        "versions": {"climlink": climlink_version(), "git_revision": git_revision(), "torch": torch.__version__},
    }


def _launch(command: list[str], threads: int, log: Path, progress: Callable[[int, int], None] | None) -> None:
    """Run the job, copy its output to ``log`` line by line, and raise LaunchError with its last words if it fails."""
    with log.open("w") as stream:
        environment = mpi_environment(threads)
        job = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, env=environment, errors="replace"
        )
        assert job.stdout is not None
        try:
            for line in job.stdout:
                stream.write(line)
                step = _PROGRESS.search(line)
                if step and progress is not None:
                    progress(int(step[1]), int(step[2]))
            code = job.wait()
        except BaseException:
            job.terminate()
            job.wait()
            raise
    if code != 0:
        raise LaunchError(f"{' '.join(command)} ended with exit code {code}; its log is {log}:\n{log.read_text()[-_TAIL:].strip()}")
