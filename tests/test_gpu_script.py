"""The script for a bare GPU machine, dry on a CPU: packed and run as there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from climlink.packages.read import EmulatorPackage

SCRIPTS = Path(__file__).parents[1] / "benchmarks/gpu"


@pytest.mark.long
def test_the_gpu_script_runs_dry_on_a_cpu(linear_package: EmulatorPackage, tmp_path: Path) -> None:
    folder, out = tmp_path / "pack", tmp_path / "out"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    pack = [sys.executable, str(SCRIPTS / "pack.py"), str(folder), str(linear_package.path)]
    subprocess.run([*pack, "--python", version], check=True)
    # Time enough for two cores; a GPU machine has more.
    script = folder / "run.sh"
    script.write_text(script.read_text().replace("step build 200", "step build 1500"))
    settings = {
        "GPU_DEVICE": "cpu",
        "GPU_PYTHON": sys.executable,
        "GPU_SECONDS": "2400",
        "GPU_COLUMNS": "16,384",
    }
    told = subprocess.run(
        [str(script), str(out)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    steps = dict(line.split(": ", 1) for line in (out / "steps.txt").read_text().splitlines())
    assert len(steps) == 13
    assert all(verdict.startswith("passed") for verdict in steps.values()), steps
    latency = json.loads((out / "latency.json").read_text())
    assert set(latency) == {"16", "384"}
    assert {"climlink", "torch.jit", "AOTInductor, float32"} <= set(latency["16"])
    assert "ms per step of columns" in told


@pytest.mark.long
def test_a_step_that_hangs_is_ended_and_told(tmp_path: Path) -> None:
    folder, out = tmp_path / "pack", tmp_path / "out"
    folder.mkdir()
    (folder / "run.sh").write_text((SCRIPTS / "run.sh").read_text())
    (folder / "check.py").write_text(
        "import sys, time\nif sys.argv[1] == 'machine': time.sleep(600)\n"
    )
    settings = {"GPU_STEPS": "machine golden", "GPU_SECONDS": "30", "GPU_PYTHON": sys.executable}
    script = folder / "run.sh"
    script.write_text(script.read_text().replace("step machine 20", "step machine 4"))
    subprocess.run(
        ["bash", str(script), str(out)], env={**os.environ, **settings}, check=True, timeout=60
    )
    first, second = (out / "steps.txt").read_text().splitlines()
    assert first.startswith("machine: not done in 4 s")
    assert second.startswith("golden: passed")
    assert "backtrace" in (out / "machine.log").read_text()
