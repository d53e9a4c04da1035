"""Generated cases: golden files for every shipped case, shellcheck, namelists, and the scripts run
for real on stand-ins of CIME.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import f90nml
import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.e3sm.case import load_e3sm_case
from climlink.e3sm.entries import GROUP
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.generate import generate_case, run_steps
from climlink.e3sm.machine import load_machine
from climlink.online.case import load_case
from climlink.packages.read import EmulatorPackage

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "sim_configs" / "cases"
GOLDEN = Path(__file__).with_name("golden")
COMBINATIONS = [
    ("e3sm_mmf_reference_ne4", "climsim-container"),
    ("e3sm_mmf_reference_ne4", "pm-cpu"),
    ("e3sm_v2_ne4", "climsim-container"),
    ("e3sm_v2_ne4", "pm-gpu"),
    ("e3sm_v4_ne4", "climsim-container"),
    ("e3sm_v4_ne4", "pm-gpu"),
    *(
        ("e3sm_v4_constrained_ne4", m)
        for m in ("climsim-container", "pm-gpu", "pm-cpu", "slurm", "workstation")
    ),
    *(("e3sm_hybrid_ne30", m) for m in ("pm-gpu", "pm-cpu", "slurm")),
]


@pytest.fixture
def generated(
    request: pytest.FixtureRequest,
    fork: Path,
    adapter: Path,
    packages: dict[str, EmulatorPackage],
    tmp_path: Path,
) -> Path:
    """Return the folder of the shipped case and machine that the test is parametrized with."""
    name, machine = request.param
    package = packages["host_v2_q"].path if name == "e3sm_hybrid_ne30" else None
    config = load_e3sm_case(CASES / f"{name}.yaml", package=package, machine=machine)
    return generate_case(config, load_machine(machine), fork, tmp_path / "out", adapter).folder


def test_every_shipped_case_is_in_the_golden_tests() -> None:
    shipped = {
        p.stem for p in CASES.glob("*.yaml") if yaml.safe_load(p.read_text())["host"] == "e3sm"
    }
    assert shipped == {name for name, _ in COMBINATIONS}
    assert {p.stem for p in (ROOT / "sim_configs/machines").glob("*.yaml")} == {
        machine for _, machine in COMBINATIONS
    }


@pytest.mark.parametrize(
    ("generated", "name"),
    [(c, "@".join(c)) for c in COMBINATIONS],
    indirect=["generated"],
    ids=["@".join(c) for c in COMBINATIONS],
)
def test_a_shipped_case_is_what_its_golden_file_says(
    generated: Path, name: str, fork: Path, packages: dict[str, EmulatorPackage]
) -> None:
    files = [*sorted(generated.glob("*.sh")), generated / "user_nl_eam"]
    text = "".join(f"==> {p.name} <==\n{p.read_text()}" for p in files)
    package = packages["host_v2_q"]
    for value, placeholder in (
        (fork, "E3SM"),
        (package.path, "PACKAGE"),
        (package.digest, "DIGEST"),
        (ROOT, "CLIMLINK"),
    ):
        text = text.replace(str(value), f"<{placeholder}>")
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("CLIMLINK_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), (
        "if the change is meant: CLIMLINK_UPDATE_GOLDEN=1 python -m pytest tests/e3sm"
    )


@pytest.mark.parametrize(
    "generated", COMBINATIONS, indirect=True, ids=["@".join(c) for c in COMBINATIONS]
)
def test_scripts_pass_shellcheck_and_namelists_parse(generated: Path, shellcheck: str) -> None:
    scripts = [p.name for p in sorted(generated.glob("*.sh"))]
    assert len(scripts) == 5
    told = subprocess.run(
        [shellcheck, "--external-sources", *scripts],
        cwd=generated,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    groups = f90nml.read(generated / "user_nl_eam")
    assert groups["phys_ctl_nl"]["state_debug_checks"] is True
    assert (
        len(
            groups["cam_history_nl"]["nhtfrq"]
            if isinstance(groups["cam_history_nl"]["nhtfrq"], list)
            else [0]
        )
        >= 1
    )


def test_shellcheck_would_find_something(tmp_path: Path, shellcheck: str) -> None:
    (tmp_path / "bad.sh").write_text("#!/usr/bin/env bash\ncd $1\n")
    assert (
        subprocess.run(
            [shellcheck, str(tmp_path / "bad.sh")], capture_output=True, check=False
        ).returncode
        == 1
    )


def _write_case(folder: Path, **changes: Any) -> Path:
    case: dict[str, Any] = {
        "host": "e3sm",
        "name": "tiny",
        "resolution": "ne4pg2_ne4pg2",
        "machine": "workstation",
        "length": {"option": "ndays", "n": 1},
    }
    case.update(changes)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in case.items() if v is not None}))
    return path


def test_the_scripts_make_configure_build_check_and_submit(
    fork: Path,
    adapter: Path,
    packages: dict[str, EmulatorPackage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    config = load_e3sm_case(
        _write_case(tmp_path, emulator={"package": str(packages["host_v2_q"].path)}, resubmit=2)
    )
    folder = generate_case(
        config, load_machine("workstation"), fork, tmp_path / "out", adapter
    ).folder
    run_steps(folder)
    case = folder / "case"
    assert (case / "submitted").read_text() == "submitted --no-batch\n"
    assert (case / "built").exists()
    assert (
        "--compset F2010-MMF1 --res ne4pg2_ne4pg2 --mach linux-generic --compiler gnu --pecount 8x1"
        in (case / "create_newcase.txt").read_text()
    )
    xml = (case / "env_run.xml").read_text()
    for entry in (
        'id="RESUBMIT" value="2"',
        'id="STOP_OPTION" value="ndays"',
        'id="ATM_NCPL" value="72"',
    ):
        assert entry in xml
    assert "-cppdefs ' -DMMF_NN_EMULATOR -DCLIMLINK_FORK_HISTORY '" in xml
    assert sorted(p.name for p in (case / "SourceMods/src.eam").iterdir()) == [
        "climlink_eam_layout.F90",
        "mmf_nn_emulator.F90",
        "namelist_definition.xml",
    ]
    assert (
        case / "cmake_macros/universal.cmake"
    ).read_text() == 'include("${CMAKE_CURRENT_LIST_DIR}/climlink.cmake")\n'
    with pytest.raises(E3SMError, match=r"1_create\.sh ended with exit code 1"):
        run_steps(folder)


def _tapes(folder: Path) -> dict[str, list[str]]:
    entries = f90nml.read(folder / "user_nl_eam")["cam_history_nl"]
    return {name: list(entries[name]) for name in entries if name.startswith("fincl")}


def test_tapes_have_the_adapters_fields_that_the_package_and_the_driver_have(
    fork: Path, master: Path, adapter: Path, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    def tapes(name: str, root: Path, **changes: Any) -> dict[str, list[str]]:
        case = load_e3sm_case(_write_case(tmp_path, **changes))
        return _tapes(
            generate_case(case, load_machine("workstation"), root, tmp_path / name, adapter).folder
        )

    emulator: dict[str, Any] = {"package": str(packages["host_v2_q"].path)}
    on_master = tapes("plain", master, emulator=emulator)
    for tape in (on_master["fincl1"], on_master["fincl2"]):
        assert {
            "DTPHYS",
            "DQ1PHYS",
            "DVPHYS",
            "NN_ptend_t",
            "NN_cam_out_PRECC",
            "NN_WEIGHT",
        } <= set(tape)
        assert not {"DTPHYSCONF", "NN_CLIPPED", "TROP_IND"} & set(tape)
    assert not [n for n in on_master["fincl3"] if n.startswith("NN_") or "PHYS" in n]
    on_fork = tapes("fork", fork, emulator=emulator)
    assert set(on_master["fincl1"]) - set(on_fork["fincl1"]) == {
        "DVPHYS",
        "NN_WEIGHT",
    }  # EAM stops at a field that nobody registers
    wrapper = {"path": "old.pt", "inputs": 557, "outputs": 676, "combination": "v2"}
    confident = tapes(
        "confident",
        master,
        emulator={"wrapper": wrapper},
        history=[{"every": "hour", "emulator": True}, {"every": "day"}],
    )
    for tape in confident.values():
        assert {
            "DTPHYSCONF",
            "DQ1PHYSCONF",
            "DQNPHYSCONF",
            "DUPHYSCONF",
            "PRECCCONF",
            "NN_LIMITER_WATER",
        } <= set(tape)
        assert len(set(tape)) == len(tape)
    quiet = tapes(
        "quiet",
        master,
        emulator={**emulator, "entries": {"climlink_history": False}},
        history=[{"every": "day"}],
    )
    assert quiet == {}
    assert tapes("without", master, history=[{"every": "day", "fields": ["T", "Q"]}]) == {
        "fincl1": ["T", "Q"]
    }


def test_submission_stops_where_the_check_finds_something(
    fork: Path,
    adapter: Path,
    packages: dict[str, EmulatorPackage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    config = load_e3sm_case(
        _write_case(tmp_path, emulator={"package": str(packages["host_v2_q"].path)})
    )
    folder = generate_case(
        config, load_machine("workstation"), fork, tmp_path / "out", adapter
    ).folder
    namelist = folder / "user_nl_eam"
    namelist.write_text(namelist.read_text().replace("inputlength = 557", "inputlength = 1525"))
    with pytest.raises(E3SMError, match=r"4_submit\.sh ended with exit code 1"):
        run_steps(folder)
    assert not (folder / "case/submitted").exists()


def test_an_account_that_is_not_set_is_said_before_anything_runs(
    fork: Path, tmp_path: Path
) -> None:
    config = load_e3sm_case(CASES / "e3sm_mmf_reference_ne4.yaml", machine="pm-cpu")
    folder = generate_case(config, load_machine("pm-cpu"), fork, tmp_path / "out").folder
    environment = {k: v for k, v in os.environ.items() if k != "MMF_NN_SLURM_ACCOUNT"}
    told = subprocess.run(
        ["bash", str(folder / "1_create.sh")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert told.returncode != 0
    assert "MMF_NN_SLURM_ACCOUNT: set it to the account" in told.stderr
    assert not (folder / "case").exists()


def test_paths_with_spaces_and_quotes_survive_the_shell(fork: Path, tmp_path: Path) -> None:
    odd = tmp_path / "it's a folder"
    fork.rename(odd)
    config = load_e3sm_case(_write_case(tmp_path))
    folder = generate_case(
        config, load_machine("workstation"), odd, tmp_path / "out of here"
    ).folder
    run = subprocess.run(
        ["bash", str(folder / "1_create.sh")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert (folder / "case/create_newcase.txt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": "ne120pg2_ne120pg2"}, "resolution"),
        ({"atm_ncpl": 70}, "86400 / 70 is not"),
        ({"walltime": "1 day"}, "walltime"),
        (
            {"start": {"type": "branch", "ref_case": "A"}},
            "a branch run needs ref_case, ref_date and ref_directory; given: ref_case",
        ),
        ({"start": {"type": "startup", "ref_case": "A"}}, "a startup run takes no ref_case"),
        (
            {
                "start": {
                    "type": "branch",
                    "ref_case": "A",
                    "ref_date": "0001-01-01",
                    "ref_directory": "/r",
                    "date": "0001-02-01",
                }
            },
            "a branch run starts at ref_date",
        ),
        ({"emulator": {}}, "give either package or wrapper"),
        (
            {"emulator": {"package": "a.pt", "entries": {"cb_spinup_steps": 5}}},
            "did you mean 'cb_spinup_step'",
        ),
        (
            {"emulator": {"package": "a.pt", "entries": {"climlink_device": "gpu"}}},
            "expected one of cpu, cuda, xpu, auto, got 'gpu'",
        ),
        (
            {"emulator": {"package": "a.pt", "entries": {"cb_spinup_step": True}}},
            "expected an integer",
        ),
        ({"historie": []}, "unknown key; did you mean 'history'"),
        ({"namelists": {"a b": {}}}, "is no Fortran name"),
    ],
)
def test_wrong_case_files_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_e3sm_case(_write_case(tmp_path, **changes))


def test_each_command_refuses_the_other_hosts_cases(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected a case of host replay or aquaplanet, got host e3sm; `climlink e3sm case "
        r".*` is the command",
    ):
        load_case(CASES / "e3sm_v4_ne4.yaml")
    with pytest.raises(
        ConfigError,
        match=r"expected a case of host e3sm, got host aquaplanet; `climlink online run .*` is the "
        r"command",
    ):
        load_e3sm_case(CASES / "aquaplanet.yaml")


def test_a_reference_takes_no_package_and_a_machine_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this case has no emulator"):
        load_e3sm_case(CASES / "e3sm_mmf_reference_ne4.yaml", package=tmp_path / "a.pt")
    with pytest.raises(
        ConfigError,
        match="no machine 'pm-gp'; shipped: climsim-container, pm-cpu, pm-gpu, slurm, workstation",
    ):
        load_machine("pm-gp")


def test_a_machine_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    machine = yaml.safe_load((ROOT / "sim_configs/machines/slurm.yaml").read_text())
    path.write_text(yaml.safe_dump({**machine, "name": "mine", "cores_per_node": 128}))
    assert load_machine(str(path)).cores_per_node == 128
    path.write_text(yaml.safe_dump({**machine, "cores_per_node": 4}))
    with pytest.raises(ConfigError, match="32 ranks x 1 threads are more than 4 cores"):
        load_machine(str(path))
    path.write_text(yaml.safe_dump({**machine, "device": "cuda"}))
    with pytest.raises(ConfigError, match="device is cuda but gpus_per_node is 0"):
        load_machine(str(path))


def test_nothing_is_written_for_what_cannot_be(
    fork: Path, adapter: Path, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    reference = load_e3sm_case(_write_case(tmp_path))
    with pytest.raises(
        E3SMError, match=r"create_newcase is not there: expected a checkout of E3SM"
    ):
        generate_case(reference, load_machine("workstation"), tmp_path, out)
    with pytest.raises(E3SMError, match="512 ranks are more than the 384 columns"):
        generate_case(
            reference.model_copy(update={"nodes": 64}), load_machine("workstation"), fork, out
        )
    wrong_step = load_e3sm_case(
        _write_case(tmp_path, atm_ncpl=48, emulator={"package": str(packages["host_v2_q"].path)})
    )
    with pytest.raises(E3SMError, match="set atm_ncpl to 72"):
        generate_case(wrong_step, load_machine("workstation"), fork, out, adapter)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(E3SMError, match="is not empty"):
        generate_case(reference, load_machine("workstation"), fork, out)


def test_the_command_line(
    fork: Path, adapter: Path, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    arguments = [
        "e3sm",
        "case",
        CASES / "e3sm_hybrid_ne30.yaml",
        "--e3sm-root",
        fork,
        "-o",
        tmp_path / "out",
        "--adapter",
        adapter,
    ]
    arguments += ["--package", packages["host_v2_rh"].path, "--nodes", 4]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    entries = f90nml.read(tmp_path / "out/user_nl_eam")[GROUP]
    assert (
        entries["inputlength"],
        entries["input_rh"],
        entries["cb_nn_var_combo"],
        entries["cb_spinup_step"],
    ) == (557, True, "v2", 72)
    assert entries["climlink_package_digest"] == packages["host_v2_rh"].digest
    assert json.loads((tmp_path / "out/climlink_case.json").read_text())["case"]["nodes"] == 4
    assert "--pecount 16x1" in (tmp_path / "out/1_create.sh").read_text()
