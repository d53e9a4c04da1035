"""CIME's tests of a generated case: what their cases change, and how they are started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import f90nml
import pytest

from climlink.e3sm.entries import GROUP
from climlink.e3sm.scripts import CMAKE_TEXT
from climlink.packages.read import EmulatorPackage

MakeCase = Callable[..., Path]
MODS = "components/eam/cime_config/testdefs/testmods_dirs/eam"
MACROS = "cime_config/machines/cmake_macros/universal.cmake"


def test_cases_of_tests_are_built_as_the_case_is(
    make_case: MakeCase, shellcheck: str, tmp_path: Path
) -> None:
    folder = make_case(ocean_only=True)
    mods = folder / "testmods"
    assert sorted(p.name for p in (mods / "SourceMods/src.eam").iterdir()) == sorted(
        p.name for p in (folder / "SourceMods/src.eam").iterdir()
    )
    configure = (folder / "2_configure.sh").read_text()
    commands = (mods / "shell_commands").read_text()
    changes = [line for line in commands.splitlines() if line.startswith("./xmlchange")]
    assert len(changes) == 3
    assert all(line in configure for line in changes)
    assert "-DMMF_NN_EMULATOR -DMMF_NN_EMULATOR_OCN_ONLY -DCLIMLINK_FORK_HISTORY" in commands
    scripts = [str(mods / "shell_commands"), str(mods / "create_tests.sh")]
    told = subprocess.run(
        [shellcheck, "--external-sources", "--source-path=SCRIPTDIR", *scripts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    # CIME runs the commands in the case, with xmlchange forced.
    case = tmp_path / "test_case"
    case.mkdir()
    (case / "xmlchange").write_text('#!/bin/sh\necho "$@" >> changes\n')
    (case / "xmlchange").chmod(0o755)
    forced = commands.replace("xmlchange", "xmlchange --force")
    subprocess.run(["bash", "-euc", forced], cwd=case, check=True)
    assert (case / "user_climlink.cmake").read_text() == CMAKE_TEXT
    assert (case / "changes").read_text().splitlines() == [
        "--force ATM_NCPL=72",
        "--force PIO_NETCDF_FORMAT=64bit_data",
        "--force --append CAM_CONFIG_OPTS= -cppdefs ' -DMMF_NN_EMULATOR -DMMF_NN_EMULATOR_OCN_ONLY "
        "-DCLIMLINK_FORK_HISTORY ' ",
    ]


def test_tests_compare_instantaneous_fields_after_a_short_spin_up(
    make_case: MakeCase, packages: dict[str, EmulatorPackage]
) -> None:
    entries = {"cb_spinup_step": 720, "climlink_log_steps": 9}
    emulator = {"package": str(packages["host_v2_q"].path), "entries": entries}
    start = {"type": "branch", "ref_case": "A", "ref_date": "0001-01-01", "ref_directory": "/r"}
    folder = make_case(emulator=emulator, start=start)
    of_case, of_tests = (f90nml.read(folder / name / "user_nl_eam") for name in (".", "testmods"))
    assert of_case[GROUP]["cb_spinup_step"] == 720
    assert of_tests[GROUP] == {**of_case[GROUP], "cb_spinup_step": 5}
    history = of_tests["cam_history_nl"]
    assert (history["nhtfrq"], history["mfilt"], history["avgflag_pertape"]) == (-1, 24, "I")
    assert {"T", "PRECC", "DTPHYS", "NN_ptend_t"} <= set(history["fincl1"])
    assert "RUN_TYPE" not in (folder / "testmods/shell_commands").read_text()


def _checkout_with_tests(make_case: MakeCase, fork: Path, **changes: Any) -> Path:
    folder = make_case(**changes)
    create = fork / "cime/scripts/create_test"
    create.write_text('#!/bin/sh\necho "$FTorch_ROOT" "$@" > "$TOLD"\n')
    create.chmod(0o755)
    (fork / MACROS).parent.mkdir(parents=True)
    (fork / MACROS).write_text("# of the checkout\n")
    return folder


def test_the_script_starts_the_three_tests(
    make_case: MakeCase, fork: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samxx = fork / "components/eam/src/physics/crm/samxx/CMakeLists.txt"
    samxx.parent.mkdir(parents=True)
    samxx.write_text("find_package(FTorch REQUIRED)\n")
    folder = _checkout_with_tests(make_case, fork, name="my-case.2")
    monkeypatch.setenv("climlink_ROOT", "/prefix")  # a path that is not looked at
    environment = {**os.environ, "TOLD": str(tmp_path / "told")}
    script = str(folder / "testmods/create_tests.sh")
    for _ in range(2):  # a second time changes nothing in the checkout
        subprocess.run(["bash", script, "--wait"], env=environment, check=True)
        assert (tmp_path / "told").read_text().split() == [
            "/prefix/compat",
            "--wait",
            *(
                f"{test}.ne4pg2_ne4pg2.F2010-MMF1.linux-generic_gnu.eam-climlink_my_case_2"
                for test in ("ERS_Ld3_P8x1", "PEM_Ld2_P8x1", "PET_Ld2_P4x2")
            ),
        ]
        assert (fork / MODS / "climlink_my_case_2/user_nl_eam").is_file()
        assert (fork / MACROS).read_text().splitlines() == [
            "# of the checkout",
            'include("${CMAKE_CURRENT_LIST_DIR}/../user_climlink.cmake" OPTIONAL)',
        ]


def test_the_project_that_pays_is_named_where_the_machine_has_one(make_case: MakeCase) -> None:
    script = (make_case("pm-gpu") / "testmods/create_tests.sh").read_text()
    assert '--project "$MMF_NN_SLURM_ACCOUNT"' in script
    assert "PET_Ld2_P2x2.ne4pg2_ne4pg2.F2010-MMF1.pm-gpu_gnugpu" in script


def test_a_reference_has_no_such_tests(make_case: MakeCase) -> None:
    assert not (make_case(emulator=None) / "testmods").exists()
