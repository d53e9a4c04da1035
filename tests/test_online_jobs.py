"""Jobs of online runs: signals and hard kills end all of it, and nobody starts a second beside
it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.installation import configuration, executable
from climlink.mpi import LAUNCHER_VARIABLE, LaunchError, mpi_environment
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    newest_restart,
    resume_aquaplanet,
    run_aquaplanet,
)
from climlink.run_folder import discard_run, last_status, new_run, read_record, write_record
from climlink.signals import ENDING

QUICK = {"host": "aquaplanet", "name": "case", "history": {"monthly": False, "daily": False}}


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a run that would take hours from the command line."""
    case = folder.with_suffix(".yaml")
    case.write_text(
        yaml.safe_dump({**QUICK, "output": str(folder), "days": 10000, "restart_every_days": 0.25})
    )
    return subprocess.Popen(
        [sys.executable, "-m", "climlink", "online", "run", str(case)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may ignore some, and hand that down.
        preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in ENDING],
    )


def processes(folder: Path) -> list[int]:
    """Return the launcher and the ranks of a run: those that were given its namelist."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if str(folder / "aquaplanet.nml").encode() in words:
            found.append(int(entry.parent.name))
    return found


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_signal_ends_the_whole_job_and_the_status_says_why(tmp_path: Path) -> None:
    jobs = {number: start(tmp_path / number.name) for number in (signal.SIGTERM, signal.SIGKILL)}
    try:
        for number, job in jobs.items():
            folder = tmp_path / number.name
            wait_until(
                lambda f=folder, j=job: any(f.glob("restart/*.nc")) or j.poll() is not None,
                "no restart",
            )
            assert len(processes(folder)) == 3
            with pytest.raises(ConfigError, match="another job is running in this folder"):
                resume_aquaplanet(folder)
            with pytest.raises(ConfigError, match="another job is running in this folder"):
                discard_run(folder)
            assert last_status(folder) == "running"
            job.send_signal(number)
        assert jobs[signal.SIGTERM].wait(60) == 128 + signal.SIGTERM
        assert processes(tmp_path / "SIGTERM") == []
        assert jobs[signal.SIGKILL].wait(60) == -signal.SIGKILL
        wait_until(lambda: processes(tmp_path / "SIGKILL") == [], "ranks outlive their command")
    finally:
        for job in jobs.values():
            job.kill()
    record = read_record(tmp_path / "SIGTERM")
    assert (record["status"], record["error"]) == ("interrupted", "ended by SIGTERM")
    assert (
        read_record(tmp_path / "SIGKILL")["status"] == "running"
    )  # nobody was left to write another
    assert last_status(tmp_path / "SIGKILL") == "killed"
    with pytest.raises(ConfigError, match=r"already holds a run \(run\.json: killed\)"):
        run_aquaplanet(
            AquaplanetConfig.model_validate({**QUICK, "days": 1, "output": tmp_path / "SIGKILL"})
        )
    for number, told in (("SIGTERM", "interrupted"), ("SIGKILL", "killed")):
        folder = tmp_path / number
        days = 0.25 * round(4 * _day(newest_restart(folder))) + 0.25
        resumed = CliRunner().invoke(app, ["online", "resume", str(folder), "--days", str(days)])
        assert resumed.exit_code == 0, resumed.output
        assert f"ended as {told}" in " ".join(resumed.output.split())
        assert last_status(folder) == "finished"


@pytest.mark.long
def test_twenty_hard_kills_change_no_byte() -> None:
    check = Path(__file__).parents[1] / "fortran_host/tests/check_aquaplanet.py"
    program, levels = executable("climlink-aquaplanet"), configuration("levels/climsim60.yaml")
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n"]
    command = [sys.executable, check, "kills", program, levels, "no-fixtures", *launcher]
    done = subprocess.run(
        command,
        env={**mpi_environment(1), "CLIMLINK_KILLS": "20"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _day(restart: Path) -> float:
    """Return the day of a restart in the first month."""
    day, second = restart.name.split(".")[2].split("-")[2:]
    return int(day) - 1 + int(second) / 86400


def test_of_fresh_runs_that_start_at_once_one_goes_on(tmp_path: Path) -> None:
    n_thread, n_trial = 8, 20
    for trial in range(n_trial):
        folder = tmp_path / str(trial)
        barrier = threading.Barrier(n_thread)
        outcomes: list[str] = []

        def begin(
            folder: Path = folder,
            barrier: threading.Barrier = barrier,
            outcomes: list[str] = outcomes,
        ) -> None:
            barrier.wait()
            try:
                with new_run(folder):
                    write_record(folder, {}, status="running")
                outcomes.append("went on")
            except ConfigError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=begin) for _ in range(n_thread)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("went on") == 1, outcomes
        refused = [o for o in outcomes if o != "went on"]
        assert all("another job is running" in o or "already holds a run" in o for o in refused), (
            refused
        )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SLURM_JOBID": "1"}, "SLURM_* variables"),
        (
            {
                "SLURM_JOBID": "1",
                "SLURM_NODELIST": "other[1-2]",
                "SLURM_NNODES": "2",
                "SLURM_TASKS_PER_NODE": "2(x2)",
            },
            "through srun",
        ),
        ({"TMPDIR": "/proc/none"}, "session folder /proc/none: set TMPDIR"),
        ({LAUNCHER_VARIABLE: "mpirun --host localhost:1"}, "fewer slots than there are ranks"),
        (
            {LAUNCHER_VARIABLE: "no-such-launcher -v"},
            f"no program no-such-launcher; is it the launcher that {LAUNCHER_VARIABLE} names",
        ),
    ],
)
def test_a_launcher_that_cannot_start_is_explained(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    case = AquaplanetConfig.model_validate({**QUICK, "days": 1, "output": tmp_path / "run"})
    with pytest.raises(LaunchError) as error:
        run_aquaplanet(case)
    assert message in str(error.value)
    # A folder for temporary files is missed earlier, when the program lists its settings.
    if (tmp_path / "run").exists():
        record = read_record(tmp_path / "run")
        assert (record["status"], record["error"]) == ("failed", str(error.value))
    else:
        assert "TMPDIR" in variables
