"""`climlink e3sm check` on the files that a run starts from, and on what they hold of the
emulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import netCDF4
import pytest
from case_findings import edit, require_only, write_env_run
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.e3sm.check import CheckReport, check_case
from climlink.e3sm.checks_of_restart import check_emulator_restart
from climlink.e3sm.findings import Finding
from climlink.e3sm.settings import read_settings
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import variable_set

MakeCase = Callable[..., Path]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("branch", "ref.eam.r.0002-12-30-00000.nc"), ("hybrid", "ref.eam.i.0002-12-30-00000.nc")],
)
def test_restart_files(make_case: MakeCase, tmp_path: Path, kind: str, name: str) -> None:
    refdir = tmp_path / "restart"
    start = {
        "type": kind,
        "ref_case": "ref",
        "ref_date": "0002-12-30",
        "ref_directory": str(refdir),
    }
    folder = make_case(start=start)
    require_only(folder, "restart", "is no folder")
    refdir.mkdir()
    (refdir / "rpointer.atm").write_text(f"./{name}\n")
    require_only(folder, "restart", f"{kind} run: no {name}")
    (refdir / name).write_bytes(b"CDF")
    require_only(folder, "restart", f"{name} is no netCDF file that can be read")
    _write_restart(refdir / name)
    assert check_case(folder).findings == ()
    if kind == "branch":
        (refdir / "rpointer.atm").write_text("./ref.eam.r.0003-01-01-00000.nc\n")
        require_only(folder, "restart", "does not name ref.eam.r.0002-12-30-00000.nc")
    write_env_run(folder, CONTINUE_RUN="TRUE")
    assert check_case(folder).findings == ()


def _write_restart(
    path: Path, start: float | None = None, lags: tuple[int, ...] | None = None
) -> None:
    """Write a restart file of 384 columns, with the emulator's fields where given."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA") as file:
        file.createDimension("ncol", 384)
        if start is not None:
            file.createVariable("NN_START", "f8", ("ncol",))[:] = start
        if lags is not None:
            for n in lags:
                file.createDimension(f"pbuf_{n:05d}", n)
            file.createVariable("NN_LAGS", "f8", (*(f"pbuf_{n:05d}" for n in lags), "ncol"))


def _set_driver(folder: Path, checkout: str) -> None:
    record = folder / "climlink_case.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "checkout": checkout}))


def _lagged(packages: dict[str, EmulatorPackage]) -> Manifest:
    return packages["host_v2_q"].manifest.model_copy(
        update={"inputs": variable_set("host_v4_q").layout()}
    )


def test_a_continued_run_needs_the_emulators_part_of_its_restart_file(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    folder = make_case()
    _set_driver(folder, "master")
    run = tmp_path / "run"
    run.mkdir()
    restart = run / "tiny.eam.r.0001-02-01-00000.nc"
    write_env_run(folder, CONTINUE_RUN="TRUE", RUNDIR=run)
    require_only(folder, "restart", r"continued run: no rpointer\.atm")
    (run / "rpointer.atm").write_text(
        "tiny.eam.r.0001-02-01-00000.nc\n./tiny.eam.rs.0001-02-01-00000.nc\n"
    )
    require_only(
        folder, "restart", r"eam\.r\.0001-02-01-00000\.nc is not there, which rpointer\.atm names"
    )
    restart.touch()
    require_only(folder, "restart", "no netCDF file that can be read")
    _write_restart(restart)
    require_only(
        folder,
        "restart",
        "has no NN_START: the case that wrote it ran without the adapter, and EAM stops",
    )
    for unwritten in (0.0, float("nan")):
        _write_restart(restart, unwritten)
        require_only(
            folder, "restart", "nobody wrote NN_START, and the adapter stops in the first step"
        )
    _write_restart(restart, 1.0)
    assert check_case(folder).findings == ()
    settings, lagged = read_settings(folder), _lagged(packages)
    (finding,) = check_emulator_restart(settings, lagged)
    assert finding.stops
    assert "has no NN_LAGS: the package before had no lagged inputs" in finding.problem
    assert "begin a hybrid run" in finding.remedy
    _write_restart(restart, 1.0, (546,))
    (finding,) = check_emulator_restart(settings, lagged)
    assert (
        f"NN_LAGS has {546 * 384} numbers, 384 columns of this case need {1086 * 384}"
        in finding.problem
    )
    _write_restart(restart, 1.0, (1086,))
    assert check_emulator_restart(settings, lagged) == []


@pytest.mark.parametrize(("kind", "letter"), [("branch", "r"), ("hybrid", "i")])
def test_that_lagged_inputs_are_gathered_anew_is_said_and_stops_nothing(
    make_case: MakeCase,
    packages: dict[str, EmulatorPackage],
    tmp_path: Path,
    kind: str,
    letter: str,
) -> None:
    refdir = tmp_path / "restart"
    refdir.mkdir()
    name = f"ref.eam.{letter}.0002-12-30-00000.nc"
    _write_restart(refdir / name, 1.0, (1086,))
    (refdir / "rpointer.atm").write_text(name)
    folder = make_case(
        start={
            "type": kind,
            "ref_case": "ref",
            "ref_date": "0002-12-30",
            "ref_directory": str(refdir),
        }
    )
    lagged = _lagged(packages)
    for driver in ("fork", "master"):
        _set_driver(folder, driver)
        settings = read_settings(folder)
        (note,) = check_emulator_restart(settings, lagged)
        assert not note.stops
        assert name in note.problem
        assert "gathered anew, in 5 steps of E3SM-MMF's own physics" in note.problem
        assert CheckReport(folder, (note,)).passed
        assert check_emulator_restart(settings, packages["host_v2_q"].manifest) == []
    edit(folder, "cb_spinup_step = 5", "cb_spinup_step = -1")
    assert check_emulator_restart(read_settings(folder), lagged) == []


def test_a_branch_run_with_memory_needs_the_emulators_part_of_the_other_cases_file(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    name = "ref.eam.r.0002-12-30-00000.nc"
    start = {
        "type": "branch",
        "ref_case": "ref",
        "ref_date": "0002-12-30",
        "ref_directory": str(tmp_path),
    }
    (tmp_path / "rpointer.atm").write_text(name)
    entries = {"climlink_branch_memory": True}
    folder = make_case(
        start=start,
        resubmit=1,
        emulator={"package": str(packages["host_v2_q"].path), "entries": entries},
    )
    _set_driver(folder, "master")
    require_only(folder, "restart", f"branch run: no {re.escape(name)}")
    _write_restart(tmp_path / name)
    require_only(folder, "restart", "has no NN_START")
    _write_restart(tmp_path / name, 1.0)
    assert check_case(folder).findings == ()
    (finding,) = check_emulator_restart(read_settings(folder), _lagged(packages))
    assert "has no NN_LAGS" in finding.problem
    _write_restart(tmp_path / name, 1.0, (1086,))
    assert check_emulator_restart(read_settings(folder), _lagged(packages)) == []


def test_jobs_that_follow_a_branch_run_and_the_forks_driver(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    refdir = tmp_path / "restart"
    refdir.mkdir()
    name = "ref.eam.r.0002-12-30-00000.nc"
    _write_restart(refdir / name)
    (refdir / "rpointer.atm").write_text(name)
    start = {
        "type": "branch",
        "ref_case": "ref",
        "ref_date": "0002-12-30",
        "ref_directory": str(refdir),
    }
    folder = make_case(start=start, resubmit=2)
    assert check_case(folder).findings == ()  # the fork's driver registers no fields
    _set_driver(folder, "master")
    require_only(folder, "restart", "the next of its 3 jobs stops: NN_START not found")
    _set_driver(folder, "fork")
    write_env_run(folder, CONTINUE_RUN="TRUE")
    (note,) = check_emulator_restart(read_settings(folder), _lagged(packages))
    assert not note.stops
    assert "the ClimSim fork's driver keeps lagged inputs out of restart files" in note.problem


def test_a_startup_run_needs_no_restart_file(
    make_case: MakeCase, packages: dict[str, EmulatorPackage]
) -> None:
    folder = make_case()
    assert check_emulator_restart(read_settings(folder), _lagged(packages)) == []


def test_a_note_leaves_the_exit_code_at_0(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_case()
    note = Finding("restart", "lagged inputs are gathered anew", "nothing", stops=False)
    monkeypatch.setattr("climlink.e3sm.check.check_emulator_restart", lambda *_: [note])
    told = CliRunner().invoke(app, ["e3sm", "check", str(folder)])
    assert told.exit_code == 0
    assert "note, restart: lagged inputs are gathered anew" in told.output
    assert "0 findings, 1 notes" in told.output
    assert (
        json.loads(CliRunner().invoke(app, ["e3sm", "check", str(folder), "--json"]).stdout)[
            "findings"
        ][0]["stops"]
        is False
    )
