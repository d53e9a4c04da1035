"""Shipped configurations: found by name from any directory, as every documented command names
them.
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.data.split import read_split
from climlink.e3sm.case import load_e3sm_case
from climlink.evaluation.compare.matrix import load_matrix
from climlink.installation import configuration_kinds, configurations, find_configuration
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.online.case import load_case
from climlink.online.replay import ReplayConfig

ROOT = Path(__file__).resolve().parents[1]
OF_THE_USER = {"CASE", "CONFIG", "FILE", "MATRIX", "SPLIT"}  # place-holders of usage lines
_NAMED = re.compile(
    r"climlink train --matrix (?P<ensembles>[\w./-]+)"
    r"|climlink (?:(?P<training>train)|(?P<cases>online run|e3sm case)) (?P<given>[\w./-]+)"
    r"(?![\w./=-])"  # key=value is a setting
    r"|(?P<splits>--split) (?P<split>[\w./-]+)|(?P<comparisons>--matrix) (?P<matrix>[\w./-]+)"
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def documented() -> list[tuple[str, str]]:
    """Return (kind, name) of every configuration that a documented command names."""
    files = [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("python/climlink/cli/**/*.py"),
        *ROOT.glob("sim_configs/*/*.yaml"),
    ]
    found = set()
    for path in files:
        for match in _NAMED.finditer(path.read_text(encoding="utf-8")):
            kinds = ("ensembles", "training", "cases", "splits", "comparisons")
            kind = next(k for k in kinds if match[k])
            given = match["given"] or match["split"] or match["matrix"] or match["ensembles"]
            own = (
                given.endswith(".yaml")
                or given in OF_THE_USER
                or (kind == "splits" and given in ("train", "validation", "test", "later"))
            )
            if not own and not given.startswith("-"):
                found.add((kind, given))
    return sorted(found)


def test_documented_commands_name_shipped_configurations(elsewhere: Path) -> None:
    named = documented()
    assert {
        ("training", "unet_small"),
        ("cases", "aquaplanet"),
        ("splits", "climsim_sample"),
        ("comparisons", "aquaplanet"),
        ("ensembles", "published90"),
        ("training", "published"),
    } <= set(named)
    for kind, name in named:
        assert find_configuration(kind, name).is_file(), (kind, name)


def test_no_documented_command_needs_the_source_tree() -> None:
    for path in [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("python/climlink/cli/**/*.py"),
    ]:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"climlink [^`]*sim_configs/", line), f"{path}: {line}"


def test_paths_of_a_shipped_case_are_where_the_command_runs(elsewhere: Path) -> None:
    case = load_case("replay")
    assert isinstance(case, ReplayConfig)
    assert (case.package, case.output) == (
        elsewhere / "runs/quickstart/wrap_model.pt",
        elsewhere / "runs/replay",
    )
    assert len(read_split(case.selection.split or "").test) == 10
    assert load_case("aquaplanet").output == elsewhere / "runs/aquaplanet"
    e3sm = load_e3sm_case("e3sm_v4_ne4")
    assert e3sm.emulator is not None
    assert e3sm.emulator.wrapper is not None
    assert e3sm.emulator.wrapper.path == elsewhere / "models/v4_unet_wrapper_noconstraint.pt"
    assert load_matrix(Path("aquaplanet")).reference == elsewhere / "runs/ensemble/reference"


def test_paths_of_an_own_case_are_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    values = yaml.safe_load(find_configuration("cases", "replay").read_text(encoding="utf-8"))
    values["selection"]["split"] = "my_split.yaml"
    (folder / "mine.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (folder / "my_split.yaml").write_text(
        find_configuration("splits", "climsim_sample").read_text(encoding="utf-8"), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    case = load_case("study/mine.yaml")
    assert isinstance(case, ReplayConfig)
    assert case.output == folder / "runs/replay"
    assert case.selection.split == str(folder / "my_split.yaml")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (
            "cases",
            "aquaplant",
            r"no case 'aquaplant'; shipped: aquaplanet, .*did you mean 'aquaplanet'",
        ),
        (
            "training",
            "unet",
            r"no training configuration 'unet'; shipped: aquaplanet_mlp, leap_10_conv_transformer,",
        ),
        (
            "cases",
            "sim_configs/cases/aquaplanet.yaml",
            r"no such file; aquaplanet is shipped: give its name alone",
        ),
    ],
)
def test_a_name_that_is_not_shipped(elsewhere: Path, kind: str, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_configuration(kind, given)


def test_a_file_of_ones_own_comes_before_a_shipped_name(elsewhere: Path) -> None:
    (elsewhere / "aquaplanet").write_text(
        "host: aquaplanet\ndays: 1\noutput: here\n", encoding="utf-8"
    )
    assert load_case("aquaplanet").output == elsewhere / "here"


def test_the_case_that_writes_a_missing_restart_is_named(elsewhere: Path) -> None:
    case = load_case("aquaplanet_hybrid")
    assert isinstance(case, AquaplanetConfig)
    own_physics = case.model_copy(update={"emulator": None})
    with pytest.raises(
        ConfigError, match=r"run the case that writes it first: `climlink online run aquaplanet`"
    ):
        run_aquaplanet(own_physics)
    with pytest.raises(ConfigError, match=r"nowhere\.nc is not there; give a restart"):
        run_aquaplanet(own_physics.model_copy(update={"restart_from": elsewhere / "nowhere.nc"}))
    assert not case.output.exists()


def test_stores_of_shipped_training_files_are_made_by_documented_commands() -> None:
    for name, path in configurations("training").items():
        text = path.read_text(encoding="utf-8")
        store = yaml.safe_load(text)["store"]
        assert f"--out {store} --split" in text or "`climlink quickstart" in text, name
        assert store == "runs/quickstart/climsim.zarr" or f"climlink train {name}" in text


def test_configs_lists_prints_and_tells_json(elsewhere: Path) -> None:
    run = CliRunner().invoke
    listed = json.loads(run(app, ["configs", "--json"]).output)
    assert sorted(listed) == sorted([*configuration_kinds(), "architectures"])
    assert listed["splits"]["climsim_sample"]["purpose"].startswith("Fifty pairs")
    assert all(entry["purpose"] for entries in listed.values() for entry in entries.values())
    shown = run(app, ["configs", "cases"]).output
    assert "aquaplanet_hybrid" in shown
    assert "unet_small" not in shown
    printed = run(app, ["configs", "training", "unet_small"]).output
    assert printed == find_configuration("training", "unet_small").read_text(encoding="utf-8")
    wrong = run(app, ["configs", "case"])
    assert wrong.exit_code == 2
    assert "did you mean 'cases'" in wrong.output.replace("\n", " ")


def test_version_and_completion() -> None:
    run = CliRunner().invoke
    assert run(app, ["--version"]).output == f"climlink {metadata.version('climlink')}\n"
    assert "--install-completion" in run(app, ["--help"]).output
