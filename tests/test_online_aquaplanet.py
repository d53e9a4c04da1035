"""Runs of the embedded model from Python: case files, namelists against the program's own list,
records, resuming, refusals.

What the program writes is compared byte for byte over ranks, restarts and faults in
fortran_host/tests/check_aquaplanet.py.
"""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

import netCDF4
import pytest
import yaml

from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.installation import configuration
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import (
    PROGRAM,
    AquaplanetConfig,
    namelist_groups,
    newest_restart,
    resume_aquaplanet,
    run_aquaplanet,
)
from climlink.online.case import load_case
from climlink.online.settings import check_namelist, published_settings
from climlink.packages.read import EmulatorPackage, PackageError

CASES = ("aquaplanet", "held_suarez_t21", "held_suarez_t42", "baroclinic_wave_t42", "quickstart")


def _case(output: Path, **changes: object) -> AquaplanetConfig:
    return AquaplanetConfig.model_validate(
        {"host": "aquaplanet", "name": "case", "days": 1, "output": output, **changes}
    )


@pytest.mark.parametrize("name", CASES)
def test_shipped_cases_fit_the_program(name: str) -> None:
    case = load_case(configuration(f"cases/{name}.yaml"))
    assert isinstance(case, AquaplanetConfig)
    check_namelist(PROGRAM, namelist_groups(case, None))


def test_python_writes_every_entry_that_the_program_declares(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    known = published_settings(PROGRAM)
    values = {"text": "cpu", "integer": 8, "real": 1.0, "logical": False}
    free = {
        group: {name: values[setting.kind] for name, setting in entries.items()}
        for group, entries in known.items()
    }
    lists = {"variables": ["ptend_t"], "constraints_off": ["positivity"]}
    digests = dict.fromkeys(("pinned_sha256", "compiled_sha256"), linear_package.digest)
    of_package = {"package": linear_package.path, **digests}
    history = {n.removeprefix("history_"): True for n in known["output"] if n.startswith("history")}
    case = _case(
        tmp_path,
        parameters=free["physics"],
        dynamics=free["dynamics"],
        history=history,
        emulator=free["emulator"] | lists | of_package,
    )
    groups = namelist_groups(case, linear_package)
    check_namelist(PROGRAM, groups)
    assert {g: set(entries) for g, entries in groups.items()} == {
        g: set(entries) for g, entries in known.items()
    }


def test_unknown_and_ill_typed_entries_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no entry 'filter_mu' in &dynamics.*filter_nu"):
        run_aquaplanet(_case(tmp_path / "a", dynamics={"filter_mu": 0.1}))
    with pytest.raises(ConfigError, match="takes a integer value for diffusion_order"):
        run_aquaplanet(_case(tmp_path / "b", dynamics={"diffusion_order": 8.5}))
    assert not (tmp_path / "a").exists()


def test_a_run_leaves_pairs_history_restart_and_a_record(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    run = run_aquaplanet(
        _case(tmp_path / "run", pairs={"every_steps": 36}), lambda *given: seen.append(given)
    )
    assert (run.status, run.day) == ("finished", 1)
    assert [(done, total) for done, total, _ in seen] == [(1, 1)]
    assert len(find_pairs(run.folder / "climsim")) == 2
    assert [f.name for f in (run.folder / "history").glob("*.h1.*")] == [
        "case.eam.h1.0001-01-01-00000.nc"
    ]
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["restarts"] == [newest_restart(run.folder).name] == ["case.r.0001-01-02-00000.nc"]
    with pytest.raises(ConfigError, match="already holds a run"):
        run_aquaplanet(_case(tmp_path / "run"))

    again = resume_aquaplanet(run.folder, days=2, ranks=1)
    assert again.day == 2
    whole = run_aquaplanet(_case(tmp_path / "whole", days=2, pairs={"every_steps": 36}))
    assert newest_restart(whole.folder).read_bytes() == newest_restart(again.folder).read_bytes()


def test_two_jobs_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = run_aquaplanet(_case(tmp_path / "run", history={"monthly": False, "daily": False}))
    with (run.folder / "log.txt").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another job is running"):
            resume_aquaplanet(run.folder, days=2)
    assert resume_aquaplanet(run.folder, days=2).day == 2


def test_a_restart_of_another_grid_is_refused(tmp_path: Path) -> None:
    first = run_aquaplanet(_case(tmp_path / "first", history={"monthly": False, "daily": False}))
    other = _case(
        tmp_path / "other",
        restart_from=newest_restart(first.folder),
        start="0001-03-01-00000",
        days=2,
    )
    with pytest.raises(LaunchError, match=r"case\.r\.0001-01-02-00000\.nc"):
        run_aquaplanet(other)
    assert json.loads((tmp_path / "other/run.json").read_text())["status"] == "failed"


def test_resuming_needs_a_run_with_a_restart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        resume_aquaplanet(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"case": {"host": "replay"}}))
    with pytest.raises(ConfigError, match="no run of the embedded model"):
        resume_aquaplanet(tmp_path)
    case = _case(tmp_path).model_dump(mode="json")
    (tmp_path / "run.json").write_text(json.dumps({"case": case}))
    with pytest.raises(ConfigError, match="holds no restart"):
        resume_aquaplanet(tmp_path)


def test_a_missing_package_stops_before_the_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"none\.pt"):
        run_aquaplanet(_case(tmp_path / "run", emulator={"package": tmp_path / "none.pt"}))
    assert not (tmp_path / "run").exists()


def test_random_weights_are_a_result_not_an_error(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    case = _case(
        tmp_path / "run",
        days=2,
        restart_every_days=0.5,
        emulator={"package": linear_package.path, "spin_up_steps": 40},
    )
    run = run_aquaplanet(case)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == run.status
    assert record["package"]["sha256"] == linear_package.digest
    assert newest_restart(run.folder).stat().st_size > 1_000_000
    if run.status == "blown_up":
        assert "on day" in run.message
        assert "column" in run.message


def test_history_says_where_it_comes_from_and_resuming_changes_nothing_of_it(
    linear_package: EmulatorPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = {"package": linear_package.path, "mode": "shadow", "constraints_off": ["positivity"]}
    case = _case(
        tmp_path / "run", days=0.5, history={"daily": False, "hourly": True}, emulator=emulator
    )
    folder = run_aquaplanet(case).folder
    record = json.loads((folder / "run.json").read_text())
    monkeypatch.setattr("climlink.online.aquaplanet.now", lambda: "2525-01-01T00:00:00Z")
    resume_aquaplanet(folder, days=1.5)
    later = json.loads((folder / "run.json").read_text())
    assert (later["created"], later["started"]) == (record["created"], "2525-01-01T00:00:00Z")
    files = sorted((folder / "history").glob("*.h2.*.nc"))
    assert len(files) == 2  # the first was begun by the first job, the second by the second
    for file in files:
        with netCDF4.Dataset(file) as data:
            assert data.Conventions == "CF-1.7"
            assert data.climlink_version == record["versions"]["climlink"]
            assert data.climlink_package == linear_package.manifest.name
            assert data.climlink_package_sha256 == linear_package.digest
            assert data.climlink_constraints_off == "positivity"
            assert data.creation_date == record["created"]
            # CF: a line per program that had a hand in the file, with a date
            assert re.fullmatch(
                rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ: climlink-aquaplanet {data.climlink_version}, "
                rf"package {data.climlink_package} sha256 {linear_package.digest} without "
                r"positivity",
                data.history,
            )


def test_case_files_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    good = {"host": "aquaplanet", "days": 1, "output": "run"}
    for change, message in (
        ({"truncation": 11}, "truncation"),
        ({"dayz": 3}, "unknown key"),
        ({"emulator": {"package": "p.pt", "mode": "partial"}}, "emulator.variables"),
        ({"start": "yesterday"}, "start"),
    ):
        path.write_text(yaml.safe_dump({**good, **change}))
        with pytest.raises(ConfigError, match=message):
            load_case(path)
    path.write_text(yaml.safe_dump(good))
    with pytest.raises(ConfigError, match="takes no pcols"):
        load_case(path, pcols=3)
    assert load_case(path, days=3.0).days == 3.0  # type: ignore[union-attr]
