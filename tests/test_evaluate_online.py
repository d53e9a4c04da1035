"""climlink evaluate online on runs of the embedded model and from the command line, and its memory
on a record of E3SM's shape.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.summary import OnlineSummary, read_summary
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.packages.read import EmulatorPackage

DAYS = 2
SPIN_UP_STEPS = 78
"""A day and two hours of the model's own physics: an emulator that was never trained does not live
for long.
"""


def _run(folder: Path, **changes: object) -> Path:
    values = {
        "host": "aquaplanet",
        "name": folder.name,
        "days": DAYS,
        "output": folder,
        "history": {"hourly": True},
        **changes,
    }
    return run_aquaplanet(AquaplanetConfig.model_validate(values)).folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, linear_package: EmulatorPackage) -> Path:
    """Return a folder with a reference, a twin that began a hair apart, and a hybrid with an
    emulator that was never trained.
    """
    folder = tmp_path_factory.mktemp("runs")
    _run(folder / "truth")
    _run(folder / "twin", perturbation_k=0.11)
    _run(
        folder / "hybrid", emulator={"package": linear_package.path, "spin_up_steps": SPIN_UP_STEPS}
    )
    return folder


def test_a_hybrid_beside_its_reference(runs: Path, linear_package: EmulatorPackage) -> None:
    record = json.loads((runs / "hybrid" / "run.json").read_text())
    found = evaluate_online(runs / "hybrid", runs / "truth", twin=runs / "twin")
    summary = found.summary
    assert (summary.survived, summary.ended) == (
        record["status"] == "finished",
        record["message"] or None,
    )
    assert summary.package is not None
    assert summary.package.sha256 == summary.package_sha256 == linear_package.digest
    assert summary.planned_days == DAYS
    assert 1.0 <= summary.days <= DAYS
    # Until the spin-up ends hybrid and reference are one run, to the bit.
    first_day = found.numbers["daily_rmse_T"].sel(daily_day=1.0)
    assert float(first_day.sel(pair="run")) == 0.0
    assert float(first_day.sel(pair="twin")) > 0.0
    if summary.survived:
        assert float(found.numbers["daily_rmse_T"].sel(pair="run", daily_day=2.0)) > 0.0


def test_a_reference_beside_another_conserves_what_the_model_conserves(runs: Path) -> None:
    found = evaluate_online(runs / "twin", runs / "truth")
    # The host conserves water; daily means of the first two days, when rain sets in, leave the
    # curvature of its sources in the residual.
    assert abs(found.summary.metrics["residual.water"] or np.nan) < 0.3
    assert (
        abs(found.summary.metrics["conservation.emulated_water_residual_mm_day"] or np.nan) < 1e-10
    )
    assert found.numbers.sizes["budget_day"] == DAYS
    hourly = found.numbers["rain_density"].sel(member="run", surface="global").values
    assert 4.0 * hourly.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.summary.years_per_day is not None


def test_the_command_writes_a_report_and_json_alone(runs: Path, tmp_path: Path) -> None:
    arguments = [
        "evaluate",
        "online",
        str(runs / "hybrid"),
        "--reference",
        str(runs / "truth"),
        "--twin",
        str(runs / "twin"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "climlink", *arguments, "-o", str(tmp_path / "one"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert OnlineSummary.model_validate(json.loads(done.stdout)) == read_summary(
        tmp_path / "one", OnlineSummary
    )
    assert {p.name for p in (tmp_path / "one").iterdir()} == {
        "report.html",
        "figures",
        "tables",
        "numbers.nc",
        "summary.json",
    }
    several = CliRunner().invoke(
        app,
        [
            "evaluate",
            "online",
            str(runs / "hybrid"),
            str(runs / "twin"),
            *arguments[3:],
            "-o",
            str(tmp_path / "two"),
        ],
    )
    assert several.exit_code == 0, several.output
    assert "runs survived" in several.output
    assert (tmp_path / "two" / "report.html").is_file()
    assert (tmp_path / "two" / "hybrid" / "report.html").is_file()
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["members"] == 2


def test_the_command_refuses_what_is_no_run_with_a_message(runs: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "climlink",
        "evaluate",
        "online",
        str(tmp_path),
        "--reference",
        str(runs / "truth"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds no history" in done.stderr
    assert not list(tmp_path.iterdir())
    helped = CliRunner().invoke(app, ["evaluate", "online", "--help"])
    assert "Example:" in helped.output


@pytest.mark.long
def test_the_benchmark_runs_on_a_small_record(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "bench_evaluate_online.py"
    command = [
        sys.executable,
        str(script),
        "--years",
        "0.03",
        "--columns",
        "48",
        "--no-twin",
        "--scratch",
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    days, columns, seconds, ratio, peak, *_ = done.stdout.splitlines()[1].split()
    assert (int(days), int(columns), float(ratio)) == (11, 48, 1.0)
    assert float(seconds) > 0.0
    assert 50.0 < float(peak) < 2048.0
    assert not list(tmp_path.glob("*/record"))
