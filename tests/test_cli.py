"""The command line as a user meets it: help with an example everywhere, exit codes, and the path
from files to a package.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app, main
from climlink.config import ConfigError
from climlink.data.stamp import Stamp
from climlink.data.synthetic import write_dataset
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.online.aquaplanet import AquaplanetConfig
from climlink.packages.read import EmulatorPackage
from climlink.quickstart import run_embedded, run_quickstart

COMMANDS = [
    ["quickstart"],
    ["data", "prepare"],
    ["data", "statistics"],
    ["data", "describe"],
    ["train"],
    ["export"],
    ["import"],
    ["inspect"],
    ["verify"],
    ["online", "run"],
    *(["ensemble", c] for c in ("mean", "stack", "weights", "refine", "checkpoints", "score")),
    ["evaluate", "offline"],
    ["evaluate", "online"],
    ["evaluate", "stability"],
    ["evaluate", "compare"],
    ["online", "resume"],
    ["e3sm", "case"],
    ["e3sm", "sourcemods"],
    ["e3sm", "namelist"],
    ["e3sm", "check"],
    ["cmake-prefix"],
]
TEST_STAMP = "0008-10-22-20400"


def _run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def tiny_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a training configuration of seconds: a linear network, two passes."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    config = {
        "name": "tiny",
        "store": "unset.zarr",
        "architecture": {"name": "linear"},
        "epochs": 2,
        "batch_size": 24,
        "threads": 1,
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a split file with one test stamp."""
    path = tmp_path_factory.mktemp("split") / "split.yaml"
    path.write_text(f'test: ["{TEST_STAMP}"]\n')
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    code, text = _run(*command, "--help")
    assert code == 0
    assert "Example" in text


def test_wrong_usage_is_exit_code_2() -> None:
    for arguments in (
        ["no-such-command"],
        ["export"],
        ["verify", "a.pt", "--files", "0"],
        ["train", "a.yaml", "--epochs", "none"],
    ):
        assert _run(*arguments)[0] == 2, arguments


def test_a_failure_is_a_message_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["climlink", "inspect", str(tmp_path / "none.pt")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "none.pt: no such file" in capsys.readouterr().err


def test_from_files_to_a_package(
    synthetic_dir: Path, split_file: Path, tiny_training: Path, tmp_path: Path
) -> None:
    store, statistics, run, package = (
        tmp_path / n for n in ("s.zarr", "statistics.nc", "run", "wrap_model.pt")
    )
    assert _run("data", "prepare", synthetic_dir, "--out", store, "--split", split_file)[0] == 0
    assert (
        "already complete"
        in _run("data", "prepare", synthetic_dir, "--out", store, "--split", split_file)[1]
    )
    assert _run("data", "statistics", store, "--out", statistics)[0] == 0
    described = json.loads(_run("data", "describe", store, "--json")[1])
    assert described["times"] == 4
    assert _run("train", tiny_training, "--store", store, "-o", run)[0] == 0
    assert _run("export", run, "-o", package)[0] == 0
    shown = json.loads(_run("inspect", package, "--json")[1])
    assert shown["manifest"]["name"] == "tiny"
    assert shown["manifest"]["provenance"]["training"]["epochs_done"] == 2
    assert shown["sha256"] == EmulatorPackage.read(package).digest
    readable = _run("inspect", package)[1]
    assert "host_v2_q" in readable
    assert "cam_out_SOLLD" in readable


def test_from_consecutive_files_to_a_package_with_lagged_inputs(tmp_path: Path) -> None:
    first = Stamp.parse("0008-01-31-84000")
    source = write_dataset(
        tmp_path / "pairs", [first.plus(1200 * n) for n in range(6)], n_column=24, level_count=60
    )
    config, split, store, run, package = (
        tmp_path / n for n in ("v6.yaml", "split.yaml", "s.zarr", "run", "wrap_model.pt")
    )
    split.write_text("remainder: train\n")
    sets = {"input_set": "host_v6_q", "network_input_set": "net_v6_mc"}
    network = {"architecture": {"name": "linear"}, "epochs": 1, "batch_size": 24, "threads": 1}
    config.write_text(yaml.safe_dump({"name": "v6", "store": "unset.zarr", **sets, **network}))
    code, text = _run("data", "prepare", source, "--out", store, "--split", split, "--lags")
    assert code == 0
    assert "2 pairs left out" in text
    assert _run("train", config, "--store", store, "-o", run)[0] == 0
    assert _run("export", run, "-o", package)[0] == 0
    assert _run("verify", package, "--data", source, "--files", 2)[0] == 0
    assert EmulatorPackage.read(package).golden_inputs.shape == (16, 1519)


class _Silent:
    def stage(self, title: str) -> None:
        del title

    def bar(self, label: str):
        from climlink.cli.console import progress_bar

        return progress_bar(label, hidden=True)


def test_the_quickstart_path(
    synthetic_dir: Path, split_file: Path, tiny_training: Path, tmp_path: Path
) -> None:
    result = run_quickstart(
        synthetic_dir, tmp_path / "quickstart", _Silent(), training=tiny_training, split=split_file
    )
    assert result.verification.passed
    assert result.largest_score_difference <= 1e-6
    assert result.report.stat().st_size > 100_000
    # A second call goes over the same folder without complaint.
    again = run_quickstart(
        synthetic_dir, tmp_path / "quickstart", _Silent(), training=tiny_training, split=split_file
    )
    assert again.package.manifest.normalization == result.package.manifest.normalization


def test_the_quickstart_needs_no_data(tiny_training: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.yaml"
    split.write_text(
        "train: [{start: 0001-01-01, end: 0001-01-01}]\ntest: [{start: 0001-01-02, end: "
        "0001-01-02}]\n"
    )
    case = AquaplanetConfig.model_validate(
        {
            "host": "aquaplanet",
            "name": "reference",
            "days": 2,
            "pairs": {"every_steps": 17},
            "output": tmp_path / "unused",
        }
    )
    folder = tmp_path / "quickstart"
    result, comparison = run_embedded(
        folder, _Silent(), case=case, training=tiny_training, split=split, days=2
    )
    assert result.verification.passed
    assert result.largest_score_difference <= 1e-6
    assert comparison.report.is_file()
    twin = (
        evaluate_online(folder / "twin", folder / "truth").numbers["daily_rmse_T"].sel(pair="run")
    )
    assert list(twin["daily_day"]) == [1.0, 2.0]
    assert 0.0 < twin[-1] < 1.0
    assert comparison.evaluation.summary.survived == (comparison.hybrid.status == "finished")
    if comparison.hybrid.status == "finished":
        assert comparison.hybrid.day == 4
        error = comparison.evaluation.numbers["daily_rmse_T"]
        np.testing.assert_array_equal(error.sel(pair="twin"), twin)
        assert error.sel(pair="run")[-1] > twin[-1]
    else:
        assert "on day" in comparison.hybrid.message


def test_a_missing_climsim_folder_leaves_a_way_out(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["quickstart", "--climsim", str(tmp_path / "none")])
    assert isinstance(result.exception, ConfigError)
    assert "leave --climsim out" in str(result.exception)
