"""Comparison end to end: runs of the embedded model, one of which crashes, packages on a store, and
what is kept between calls.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.data.store import ColumnStore
from climlink.evaluation.compare.collect import KEY_FILE, run_identity
from climlink.evaluation.compare.evaluate import evaluate_compare
from climlink.evaluation.compare.matrix import load_matrix
from climlink.evaluation.errors import EvaluationError
from climlink.installation import configuration
from climlink.online.aquaplanet import AquaplanetConfig, EmulatorConfig, run_aquaplanet
from climlink.packages.read import EmulatorPackage


def _run(folder: Path, name: str, **changes: object) -> str:
    case = {
        "host": "aquaplanet",
        "name": name,
        "days": 1,
        "output": folder / name,
        "ranks": 2,
        "history": {"monthly": False},
    }
    return run_aquaplanet(AquaplanetConfig.model_validate({**case, **changes})).status


@pytest.fixture(scope="module")
def ensemble(
    synthetic_store: ColumnStore,
    linear_package: EmulatorPackage,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Two packages: one in shadow mode, whose runs live, and an untrained one that drives the
    model, whose run does not.
    """
    folder = tmp_path_factory.mktemp("ensemble")
    shutil.copy(linear_package.path, folder / "first.pt")
    emulator = EmulatorConfig(package=folder / "first.pt", mode="shadow")
    assert _run(folder, "reference") == "finished"
    assert _run(folder, "first_1", seed=2, emulator=emulator) == "finished"
    assert (
        _run(folder, "first_2", seed=3, emulator=emulator.model_copy(update={"mode": "full"}))
        == "blown_up"
    )
    matrix: dict[str, Any] = {
        "store": str(synthetic_store.path),
        "reference": "reference",
        "packages": [
            {"package": "first.pt", "label": "first", "runs": ["first_1", "first_2", "absent"]}
        ],
    }
    (folder / "matrix.yaml").write_text(yaml.safe_dump(matrix))
    return folder


def test_a_crashed_member_counts_and_an_absent_one_is_listed(ensemble: Path) -> None:
    summary = evaluate_compare(ensemble / "matrix.yaml", ensemble / "report").summary
    (package,) = summary.packages
    lived, crashed = package.members
    assert (lived.survived, lived.days, crashed.survived) == (True, 1.0, False)
    assert lived.error is not None
    assert lived.error > 0.0
    assert (lived.rank, crashed.rank) == (1.0, 2.0)
    assert crashed.ended is not None
    assert "on day" in crashed.ended
    assert package.offline is not None
    assert (package.survived, summary.verdict) == (1, "too_few")
    assert any("absent" in e and "no run folder" in e for e in summary.excluded)


def test_what_holds_is_read_again_and_what_changed_is_made_again(ensemble: Path) -> None:
    output = ensemble / "report"
    first = evaluate_compare(ensemble / "matrix.yaml", output).summary
    keys = {path.parent.name: path.stat().st_mtime_ns for path in output.rglob(KEY_FILE)}
    assert len(keys) == 3
    record = ensemble / "first_1" / "run.json"
    os.utime(record, ns=(1, record.stat().st_mtime_ns + 1_000_000))
    assert evaluate_compare(ensemble / "matrix.yaml", output).summary == first
    again = {path.parent.name: path.stat().st_mtime_ns for path in output.rglob(KEY_FILE)}
    assert {name.split("_")[1] for name in again if again[name] != keys[name]} == {"1"}


def test_the_command_writes_the_report_and_prints_json_alone(ensemble: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            "evaluate",
            "compare",
            "--matrix",
            str(ensemble / "matrix.yaml"),
            "-o",
            str(ensemble / "report"),
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((ensemble / "report" / "summary.json").read_text())
    assert "cannot be said" in (ensemble / "report" / "report.html").read_text()


def _matrix(folder: Path, packages: list[dict[str, Any]], **changes: object) -> Path:
    values = {"store": "store.zarr", "reference": "reference", "packages": packages, **changes}
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("packages", "changes", "message"),
    [
        ([{"package": "a.pt", "label": "a", "runs": ["x", "./x"]}], {}, "run given twice"),
        (
            [
                {"package": "a.pt", "label": "a", "runs": ["x"]},
                {"package": "a.pt", "label": "b", "runs": []},
            ],
            {},
            "package given twice",
        ),
        (
            [
                {"package": "a.pt", "label": "a", "runs": ["x"]},
                {"package": "b.pt", "label": "a", "runs": []},
            ],
            {},
            "label given twice",
        ),
        ([{"package": "a.pt", "label": "a"}], {}, "no package has runs"),
        (
            [{"package": "a.pt", "label": "a", "runs": ["reference"]}],
            {},
            "is the reference and a member too",
        ),
        (
            [{"package": "a.pt", "label": "a", "runs": ["x"]}],
            {"twin": "reference"},
            "are one folder",
        ),
        (
            [{"package": "a.pt", "label": "a", "runs": ["x"]}],
            {"online_metric": "rmse"},
            r"expected METRIC\.VARIABLE",
        ),
        ([{"package": "a.pt", "label": "a", "run": ["x"]}], {}, "unknown key"),
        ([], {}, "packages"),
    ],
)
def test_matrix_files_that_do_not_fit_are_refused(
    packages: list[dict[str, Any]], changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_matrix(_matrix(tmp_path, packages, **changes))


def test_paths_are_those_beside_the_matrix_file(tmp_path: Path) -> None:
    found = load_matrix(
        _matrix(tmp_path, [{"package": "a.pt", "label": "a", "runs": ["x"]}], twin="../twin")
    )
    assert (found.store, found.twin, found.packages[0].runs) == (
        tmp_path / "store.zarr",
        tmp_path.parent / "twin",
        (tmp_path / "x",),
    )


def test_no_run_at_all_is_an_error_that_says_why(ensemble: Path) -> None:
    matrix = yaml.safe_load((ensemble / "matrix.yaml").read_text())
    matrix["packages"][0]["runs"] = ["absent"]
    (ensemble / "none.yaml").write_text(yaml.safe_dump(matrix))
    with pytest.raises(
        EvaluationError, match=r"not one run could be evaluated.*there is no run folder"
    ):
        evaluate_compare(ensemble / "none.yaml", ensemble / "report")


def test_a_run_changes_with_any_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "run.json").write_text("{}")
    before = run_identity(tmp_path)
    assert run_identity(tmp_path) == before
    (tmp_path / "history" / "a.eam.h1.nc").write_bytes(b"1")
    assert run_identity(tmp_path) != before


def test_the_shipped_matrix_fits_its_model() -> None:
    matrix = load_matrix(configuration("comparisons/aquaplanet.yaml"))
    assert [len(entry.runs) for entry in matrix.packages] == [3, 3, 3]
