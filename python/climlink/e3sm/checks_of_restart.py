"""Checks of the files that a run starts from: are they there, can they be read, and what do they
hold of the emulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np

from climlink.e3sm.adapter import LAGS_FIELD, START_FIELD, lagged_memory_size
from climlink.e3sm.entries import ENTRIES
from climlink.e3sm.findings import Finding
from climlink.e3sm.namelist import needed_spin_up
from climlink.e3sm.settings import CaseSettings
from climlink.wrappers.manifest import Manifest

POINTER = "rpointer.atm"
HYBRID = "begin a hybrid run from these files instead: it takes their state and spins up anew"
ANEW = (
    "make it a hybrid run, which can be continued, or set climlink_branch_memory where the other "
    "case ran with the adapter"
)


def check_restart(settings: CaseSettings) -> list[Finding]:
    """Return whether the files that a branch, hybrid or continued run starts from are there,
    readable, and those that are meant.
    """
    if settings.continues:
        return _check_continued_file(settings)
    kind, folder = (
        settings.run_type,
        Path(settings.xml.get("RUN_REFDIR", settings.case.start.ref_directory or "")),
    )
    if kind == "startup" or "$" in str(folder):
        # Outside CIME's case its variables have no value: only the case itself can tell.
        return []
    if not folder.is_dir():
        return [
            Finding(
                "restart",
                f"RUN_REFDIR {folder} is no folder",
                "copy the restart files there, or ./xmlchange RUN_REFDIR=FOLDER",
            )
        ]
    name = _reference_file(settings)
    remedy = "check RUN_REFCASE, RUN_REFDATE and RUN_REFTOD, or get the file"
    findings = [
        Finding("restart", f"{kind} run: no {wanted} in {folder}", remedy)
        for wanted in (name, *([POINTER] if kind == "branch" else []))
        if not (folder / wanted).is_file()
    ]
    if (folder / name).is_file():
        findings += _unreadable(folder / name)
    pointer = folder / POINTER
    if (
        kind == "branch"
        and pointer.is_file()
        and name not in pointer.read_text(encoding="utf-8", errors="replace")
    ):
        problem = (
            f"{pointer} does not name {name}: the pointer and RUN_REFCASE, RUN_REFDATE, RUN_REFTOD "
            "disagree"
        )
        findings.append(Finding("restart", problem, "take the pointer files of that date"))
    return findings


def check_emulator_restart(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    """Return what the files that a run starts from lack of the emulator, and what will happen
    then.
    """
    if settings.continues:
        return _check_continued(settings, manifest)
    if (
        settings.run_type == "branch"
        and settings.emulator.get("climlink_branch_memory") is True
        and not settings.fork_driver
    ):
        folder = settings.xml.get("RUN_REFDIR", settings.case.start.ref_directory or "$")
        return (
            []
            if "$" in folder
            else _check_section(settings, manifest, Path(folder) / _reference_file(settings))
        )
    kind, resubmit = settings.run_type, settings.integer("RESUBMIT", settings.case.resubmit)
    if kind == "branch" and resubmit > 0 and not settings.fork_driver:
        problem = (
            "a branch run leaves nothing of the emulator in its restart files, so the next of its "
            f"{resubmit + 1} jobs stops: "
        )
        return [Finding("restart", problem + f"{START_FIELD} not found", f"{ANEW}, or RESUBMIT=0")]
    if kind == "startup":
        return []
    why = {
        "branch": f"a branch run takes nothing of the emulator from {_reference_file(settings)}",
        "hybrid": f"a hybrid run starts from {_reference_file(settings)}, which holds nothing of "
        "the emulator",
    }
    return _spins_up(settings, manifest, why[kind])


def _check_continued(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    if settings.fork_driver:
        return _spins_up(
            settings, manifest, "the ClimSim fork's driver keeps lagged inputs out of restart files"
        )
    path = _continued_file(settings)
    return [] if path is None else _check_section(settings, manifest, path)


def _check_section(settings: CaseSettings, manifest: Manifest, path: Path) -> list[Finding]:
    """Return what a file lacks of the emulator's part; nothing where it cannot be read, which
    check_restart says.
    """
    section = _read_section(path) if path.is_file() else None
    if section is None:
        return []
    never = "the case that wrote it ran without the adapter"
    if section.lowest_start is None:
        return [
            Finding(
                "restart",
                f"{path} has no {START_FIELD}: {never}, and EAM stops where it reads the file",
                HYBRID,
            )
        ]
    if not section.lowest_start >= 1:
        return [
            Finding(
                "restart",
                f"{path}: nobody wrote {START_FIELD}, and the adapter stops in the first step",
                HYBRID,
            )
        ]
    if needed_spin_up(manifest) == 0:
        return []
    wanted = lagged_memory_size(settings.level_count) * settings.case.columns
    if section.lags is None:
        problem = (
            f"{path} has no {LAGS_FIELD}: the package before had no lagged inputs, and EAM stops "
            "where it reads the file"
        )
        return [Finding("restart", problem, f"go on with the package of before, or {HYBRID}")]
    if section.lags != wanted:
        problem = (
            f"{path}: {LAGS_FIELD} has {section.lags} numbers, {settings.case.columns} columns of "
            f"this case need {wanted}"
        )
        return [Finding("restart", problem, "take the restart files of this grid and level count")]
    return []


def _spins_up(settings: CaseSettings, manifest: Manifest, why: str) -> list[Finding]:
    """Say that lagged inputs are gathered anew; that there are steps enough for it is another
    check's part.
    """
    steps = settings.emulator.get("cb_spinup_step", ENTRIES["cb_spinup_step"].default)
    if needed_spin_up(manifest) == 0 or not isinstance(steps, int) or steps < 0:
        return []
    problem = (
        f"{why}: the lagged inputs of {manifest.inputs.set} are gathered anew, in {steps} steps of "
        "E3SM-MMF's own physics"
    )
    return [
        Finding(
            "restart",
            problem,
            "nothing, if that is meant; cb_spinup_step is the number of these steps",
            stops=False,
        )
    ]


def _reference_file(settings: CaseSettings) -> str:
    start = settings.case.start
    case = settings.xml.get("RUN_REFCASE", start.ref_case or "")
    date = settings.xml.get("RUN_REFDATE", start.ref_date or "")
    seconds = settings.xml.get("RUN_REFTOD", f"{start.ref_seconds:05d}")
    return f"{case}.eam.{'r' if settings.run_type == 'branch' else 'i'}.{date}-{seconds}.nc"


def _continued_file(settings: CaseSettings) -> Path | None:
    """Return the restart file that the run's pointer names; None where CIME's case alone knows the
    folder, or there is no pointer.
    """
    folder = settings.xml.get("RUNDIR", "$")
    pointer = Path(folder) / POINTER
    if "$" in folder or not pointer.is_file():
        return None
    names = [
        line.strip()
        for line in pointer.read_text(encoding="utf-8", errors="replace").splitlines()
        if ".r." in line
    ]
    return pointer.parent / (names[0] if names else "")


def _check_continued_file(settings: CaseSettings) -> list[Finding]:
    folder = settings.xml.get("RUNDIR", "$")
    if "$" in folder:
        return []
    path = _continued_file(settings)
    if path is None:
        return [
            Finding(
                "restart",
                f"continued run: no {POINTER} in {folder}",
                "get the restart and pointer files of the job before",
            )
        ]
    if not path.is_file():
        return [
            Finding(
                "restart",
                f"continued run: {path} is not there, which {POINTER} names",
                "get the restart files of that date",
            )
        ]
    return _unreadable(path)


@dataclass(frozen=True)
class _Section:
    """The emulator's part of a restart file: lowest value of START_FIELD, size of LAGS_FIELD; None
    where there is no such field.
    """

    lowest_start: float | None
    lags: int | None


def _read_section(path: Path) -> _Section | None:
    """Return the emulator's part of a restart file; None for a file that cannot be read."""
    try:
        with netCDF4.Dataset(path) as file:
            start, lags = file.variables.get(START_FIELD), file.variables.get(LAGS_FIELD)
            lowest = (
                None
                if start is None
                else float(
                    np.min(
                        np.ma.filled(np.ma.asarray(start[:], dtype=float), np.nan), initial=np.inf
                    )
                )
            )
            return _Section(lowest, None if lags is None else int(lags.size))
    except (OSError, RuntimeError):
        return None


def _unreadable(path: Path) -> list[Finding]:
    if _read_section(path) is not None:
        return []
    return [
        Finding(
            "restart",
            f"{path} is no netCDF file that can be read",
            "get the file again; a copy may have been cut off",
        )
    ]
