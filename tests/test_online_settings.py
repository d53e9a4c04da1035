"""What a case may set: the options and entries that library and programs publish, checked when the
case is loaded, and nothing else in the namelist.
"""

from __future__ import annotations

import json
from pathlib import Path

import f90nml
import netCDF4
import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.installation import NotBuiltError, configuration
from climlink.online.aquaplanet import AquaplanetConfig, EmulatorConfig, run_aquaplanet
from climlink.online.case import CaseConfig, load_case
from climlink.online.replay import ReplayConfig, run_replay
from climlink.online.settings import published_settings
from climlink.packages.read import EmulatorPackage
from climlink.runtime import options

REPLAY = {"host": "replay", "package": "wrap_model.pt", "data": "data", "output": "run"}
MODEL = {"host": "aquaplanet", "days": 1, "output": "run"}


def _load(folder: Path, case: dict[str, object]) -> CaseConfig:
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(case, sort_keys=False))
    return load_case(path)


@pytest.mark.parametrize("program", ["climlink-replay", "climlink-aquaplanet"])
def test_programs_have_the_librarys_options_with_its_defaults(program: str) -> None:
    entries = published_settings(program)["emulator"]
    for option in options():
        if option["set_by"] == "host":
            assert option["name"] not in entries
            continue
        entry = entries[option["name"]]
        written = {"T": "True", "F": "False"}.get(entry.default, entry.default.strip("'"))
        if option["type"] == "real":
            assert float(written) == option["default"]
        else:
            assert written == ("" if option["default"] == [] else str(option["default"]))
        assert entry.kind == option["type"].replace("names", "text")
        assert entry.help == option["help"]
    assert [name for name, entry in entries.items() if not entry.help] == []
    assert "full" in entries["mode"].help
    assert "ptend_t(20:60)" in entries["variables"].help


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch": 1}, r"micro_batch: .*2 or more"),
        ({"threads": 0}, "threads: .*1 or more"),
        ({"threads": "2"}, "threads: expected a integer value, got '2'"),
        ({"threads": True}, "threads: expected a integer value"),
        ({"trust_code": "yes"}, "trust_code: expected a logical value"),
        ({"device": "gpu"}, 'device: .*"gpu"; expected "cpu"'),
        ({"pinned_sha256": "ab"}, "pinned_sha256: .*64 hexadecimal digits"),
        ({"constraints_off": "night"}, "constraints_off: expected a list of names"),
        ({"constraints_off": [1]}, "constraints_off: expected a list of names"),
        ({"thread": 2}, "thread: unknown key; did you mean 'threads'"),
        ({"level_count": 60}, "level_count: unknown key"),
    ],
)
def test_options_are_checked_with_the_line_of_the_file(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"case\.yaml, line 5: {message}"):
        _load(tmp_path, REPLAY | change)
    if "thread" not in change and "level_count" not in change:  # of the program, see below
        emulator = {"package": "wrap_model.pt", **change}
        with pytest.raises(ConfigError, match=rf"case\.yaml, line 6: emulator\.{message}"):
            _load(tmp_path, MODEL | {"emulator": emulator})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emulator": {"feedbck": "emulator"}}, "has no entry 'feedbck' in &emulator.*'feedback'"),
        ({"emulator": {"spin_up_steps": 1.5}}, "takes a integer value for spin_up_steps"),
        ({"emulator": {"ramp": {"factr": 0.5}}}, "has no entry 'ramp_factr'.*ramp_factor"),
        ({"emulator": {"mode": 1}}, "takes a text value for mode in &emulator, got 1"),
        ({"history": {"weekly": True}}, "has no entry 'history_weekly' in &output.*history_daily"),
        ({"parameters": {"co2": 1.0}}, "has no entry 'co2' in &physics.*co2_ppm"),
        ({"dynamics": {"diffusion_order": 8.5}}, "takes a integer value for diffusion_order"),
    ],
)
def test_entries_of_the_program_are_checked_before_a_run(
    change: dict[str, dict[str, object]], message: str, tmp_path: Path
) -> None:
    if "emulator" in change:
        change = {"emulator": {"package": "wrap_model.pt", **change["emulator"]}}
    with pytest.raises(ConfigError, match=rf"case\.yaml: climlink-aquaplanet {message}"):
        _load(tmp_path, MODEL | change)


@pytest.mark.parametrize(
    ("coupling", "message"),
    [
        ({"mode": "shdow"}, "mode must be full, partial or shadow, not 'shdow'"),
        ({"ramp": {"kind": "cubic"}}, "ramp must be constant, linear or step, not 'cubic'"),
        ({"ramp": {"factor": 1.5}}, "ramp_factor must be between 0 and 1"),
        ({"variables": ["ptend_t"]}, "variables are for mode partial, not 'full'"),
        (
            {"mode": "partial", "variables": ["all(10 hPa:)", "ptend_t(20:61)"]},
            r"ptend_t\(20:61\): there is no level 61. The host has levels 1 to 60",
        ),
        (
            {"mode": "partial", "variables": "ptend_t(3000 hPa:)"},
            r".*no level lies in '3000 hPa:'. .* at reference pressures of 7.83 to 99264 Pa",
        ),
    ],
)
def test_coupling_is_checked_before_a_run(
    coupling: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"case\.yaml: /emulator/ {message}"):
        _load(tmp_path, MODEL | {"emulator": {"package": "wrap_model.pt", **coupling}})


def test_levels_of_the_coupling_are_those_of_the_case(tmp_path: Path) -> None:
    levels = {"p0_pa": 1e5, "hyai": [0.1, 0.05, 0.0], "hybi": [0.0, 0.5, 1.0]}
    (tmp_path / "levels.yaml").write_text(yaml.safe_dump(levels), encoding="utf-8")
    case = MODEL | {"levels": "levels.yaml"}
    emulator = {"package": "wrap_model.pt", "mode": "partial"}
    _load(tmp_path, case | {"emulator": emulator | {"variables": ["all(2)", "ptend_u(400 hPa:)"]}})
    with pytest.raises(ConfigError, match="there is no level 3"):
        _load(tmp_path, case | {"emulator": emulator | {"variables": ["all(3)"]}})


def test_without_the_program_a_case_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_built(program: str) -> None:
        raise NotBuiltError(program)

    monkeypatch.setattr("climlink.online.settings.published_settings", not_built)
    emulator = {"package": "wrap_model.pt", "mode": "shadow"}
    assert _load(tmp_path, MODEL | {"emulator": emulator}).host == "aquaplanet"
    with pytest.raises(ConfigError, match="2 or more"):
        _load(tmp_path, MODEL | {"emulator": emulator | {"micro_batch": 1}})


def test_a_ramp_in_parts_is_its_entries() -> None:
    parts = {"kind": "step", "factor": 0.5, "on_steps": 2, "off_steps": 1}
    entries = {"ramp": "step", "ramp_factor": 0.5, "ramp_on_steps": 2, "ramp_off_steps": 1}
    in_parts = EmulatorConfig.model_validate({"package": "a.pt", "ramp": parts})
    assert in_parts.given() == entries
    assert EmulatorConfig.model_validate({"package": "a.pt", **entries}).given() == entries
    recorded = json.loads(in_parts.model_dump_json())
    assert EmulatorConfig.model_validate(recorded) == in_parts


def test_the_namelist_has_what_the_case_gives(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    given = {"micro_batch": 32, "constraints_off": ["positivity"]}
    case = {**REPLAY, "package": linear_package.path, "data": synthetic_dir, **given}
    stamps = {"stamps": ["0008-04-24-76800"]}
    run = run_replay(
        ReplayConfig.model_validate({**case, "output": tmp_path / "run", "selection": stamps})
    )
    groups = f90nml.read(run.folder / "replay.nml")
    assert set(groups["replay"]) == {
        "files", "output_directory", "grid_file", "time_step_s", "lock_file", "created",
    }  # fmt: skip
    assert groups["emulator"].todict() == {
        "package": str(linear_package.path.resolve()),
        "package_name": linear_package.manifest.name,
        "micro_batch": 32,
        "constraints_off": "positivity",
        "pinned_sha256": linear_package.digest,
    }
    with netCDF4.Dataset(run.files[0]) as data:
        assert data.climlink_constraints_off == "positivity"


@pytest.mark.parametrize("remap", [None, "conservative"])
def test_files_and_record_say_that_levels_are_remapped(
    remap: str | None, linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    case = {
        **MODEL,
        "days": 2 / 72,
        "output": tmp_path / "run",
        "history": {"daily": False, "monthly": False, "hourly": True},
        "emulator": {"package": linear_package.path, "vertical_remap": remap},
    }
    if remap is not None:
        case["levels"] = configuration("levels/e3sm_l72.yaml")
    folder = run_aquaplanet(AquaplanetConfig.model_validate(case)).folder
    record = json.loads((folder / "run.json").read_text())
    assert record.get("vertical_remap") == remap
    for file in (folder / "history").glob("*.nc"):
        with netCDF4.Dataset(file) as data:
            assert getattr(data, "climlink_vertical_remap", None) == remap


def test_the_command_lists_what_programs_publish() -> None:
    listed = CliRunner().invoke(app, ["online", "settings", "replay", "--json"])
    assert listed.exit_code == 0, listed.output
    published = published_settings("climlink-replay")
    assert json.loads(listed.output) == {
        group: {name: entry._asdict() for name, entry in entries.items()}
        for group, entries in published.items()
    }
    shown = CliRunner().invoke(app, ["online", "settings", "aquaplanet"]).output
    assert "ramp_on_steps" in shown
