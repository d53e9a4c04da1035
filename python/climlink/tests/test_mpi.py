"""Launch lines of MPI programs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from climlink import mpi
from climlink.mpi import LAUNCHER_VARIABLE, LaunchError, mpi_command, mpi_environment, run_job


def test_a_launcher_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCHER_VARIABLE, "srun --cpu-bind=cores")
    assert mpi_command(3, ["program", "a b"]) == [
        "srun",
        "--cpu-bind=cores",
        "-n",
        "3",
        "program",
        "a b",
    ]


def test_no_launcher_and_no_ranks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(LAUNCHER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=LAUNCHER_VARIABLE):
        mpi_command(2, ["program"])
    with pytest.raises(LaunchError, match="at least one rank"):
        mpi_command(0, ["program"])


def test_threads_of_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("OMPI_MCA_btl", "self,vader")
    environment = mpi_environment(2)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["OMPI_MCA_btl"] == "self,vader"


def test_a_launch_from_inside_an_mpi_process() -> None:
    # MPI_Init leaves variables in its process with which mpirun ends silently; the launch must work
    # all the same.
    script = (
        "from mpi4py import MPI; import os, subprocess, sys;"
        "subprocess.run([sys.executable, '-c', "
        "'import subprocess; from climlink.mpi import *;"
        'print(subprocess.run(mpi_command(2, ["echo", "ran"]), env=mpi_environment(1), '
        "capture_output=True, text=True).stdout)"
        "'], check=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=mpi_environment(1),
    )
    assert result.stdout.split() == ["ran", "ran"]


def test_the_output_of_a_job_comes_line_by_line_and_so_does_its_exit_code() -> None:
    lines: list[str] = []
    assert (
        run_job(["sh", "-c", "echo out; echo err >&2; printf '\\377' ; exit 7"], 1, lines.append)
        == 7
    )
    assert "".join(lines) == "out\nerr\n\N{REPLACEMENT CHARACTER}"
    # A job that a pipe breaks on ends, as it would without the helper that ties it to us.
    assert run_job(["sh", "-c", "kill -PIPE $$"], 1, lines.append) == -signal.SIGPIPE


def test_an_exception_ends_the_job_before_it_passes_on() -> None:
    seen: list[int] = []

    def stop(line: str) -> None:
        seen.append(int(line))
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_job(["sh", "-c", "echo $$; exec sleep 60"], 1, stop)
    assert not Path(f"/proc/{seen[0]}").exists()


def test_a_job_that_ignores_the_request_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi, "_END_S", 0.5)
    seen: list[int] = []

    def stop(line: str) -> None:
        seen.append(int(line))
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        run_job(["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"], 1, stop)
    assert not Path(f"/proc/{seen[0]}").exists()


def test_a_job_does_not_start_for_a_caller_that_has_ended(tmp_path: Path) -> None:
    helper = Path(mpi.__file__).with_name("run_with_parent.py")
    gone = subprocess.Popen(["true"])
    gone.wait()
    command = [sys.executable, helper, str(gone.pid), "touch", tmp_path / "started"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the process that wanted this job has ended\n")
    assert not (tmp_path / "started").exists()


def test_a_job_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = (
        f"from climlink.mpi import run_job; run_job(['sh', '-c', 'echo $$ > {mark}; exec sleep "
        "60'], 1, print)"
    )
    caller = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    caller.kill()
    caller.wait()
    job = int(mark.read_text())
    while _is_alive(job):
        assert time.monotonic() < deadline, "the job lives on"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
