"""An architecture of another project: trained, exported, verified and evaluated with it, then run
where it is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from climlink.data.store import ColumnStore
from climlink.packages.read import EmulatorPackage

_PROJECT = Path(__file__).parent / "architecture_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip installed the project."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(_PROJECT, folder / "project")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run(
        [*command, "--target", str(folder / "site"), str(folder / "project")],
        check=True,
        timeout=300,
    )
    return folder / "site"


def _climlink(
    folder: Path, site: Path | None, *arguments: object
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | (
        {} if site is None else {"PYTHONPATH": str(site)}
    )
    command = [sys.executable, "-m", "climlink", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _verified(folder: Path, site: Path | None) -> dict[str, Any]:
    return json.loads(_climlink(folder, site, "verify", "wrap_model.pt", "--json").stdout)


def _scores(folder: Path, site: Path | None, store: Path, name: str) -> dict[str, Any]:
    _climlink(folder, site, "evaluate", "offline", "wrap_model.pt", "--data", store, "-o", name)
    return json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))["metrics"]


@pytest.mark.long
def test_a_project_of_its_own_from_training_to_evaluation_and_without_it(
    site: Path, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    training = {
        "name": "mixed",
        "store": str(synthetic_store.path),
        "epochs": 2,
        "device": "cpu",
        "threads": 1,
    }
    training["architecture"] = {"name": "level_mixer", "configuration": {"preset": "small"}}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(training), encoding="utf-8")
    _climlink(tmp_path, site, "train", "training.yaml")
    _climlink(tmp_path, site, "export", "runs/mixed", "-o", "wrap_model.pt")
    manifest = EmulatorPackage.read(tmp_path / "wrap_model.pt").manifest
    assert manifest.architecture is not None
    assert (manifest.architecture.name, manifest.architecture.configuration) == (
        "level_mixer",
        {"width": 8},
    )
    assert (manifest.has_confidence, manifest.n_output) == (True, 368 + 308)
    assert "level_mixer" in _climlink(tmp_path, site, "train", "--help").stdout

    with_it = _verified(tmp_path, site)
    assert with_it["passed"]
    assert sorted(with_it["routes"]) == [
        "c",
        "fortran_mpi",
        "pybind",
        "python_eager",
        "torchscript",
    ]
    assert all(route["passed"] for route in with_it["routes"].values())
    assert not any("note" in route for route in with_it["routes"].values())
    assert "as its graph only" not in _climlink(tmp_path, site, "inspect", "wrap_model.pt").stdout

    without = _verified(tmp_path, None)
    assert without["passed"]
    assert all(route["passed"] for route in without["routes"].values())
    note = "the unoptimized graph, for its architecture 'level_mixer' is not installed here"
    assert {
        name: route.get("note") for name, route in without["routes"].items() if "note" in route
    } == {"python_eager": note}
    shown = " ".join(_climlink(tmp_path, None, "verify", "wrap_model.pt").stdout.split())
    assert f"python_eager is {note}" in shown
    assert "as its graph only: its architecture 'level_mixer' is not installed here" in " ".join(
        _climlink(tmp_path, None, "inspect", "wrap_model.pt").stdout.replace("│", " ").split()
    )
    scores = _scores(tmp_path, site, synthetic_store.path, "with")
    assert len(scores) > 10
    assert _scores(tmp_path, None, synthetic_store.path, "without") == scores

    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-m", "climlink", "export", "runs/mixed", "-o", "again.pt"]
    refused = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert refused.returncode == 1
    told = " ".join(refused.stderr.split())
    assert "unknown architecture 'level_mixer'" in told
    assert "it came from plug-in level-mixers 1.0 (level_mixers): install it" in told
