"""Launch lines of MPI programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from climlink.mpi import LAUNCHER_VARIABLE, LaunchError, mpi_command, mpi_environment


def test_a_launcher_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCHER_VARIABLE, "srun --cpu-bind=cores")
    assert mpi_command(3, ["program", "a b"]) == ["srun", "--cpu-bind=cores", "-n", "3", "program", "a b"]


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
    # MPI_Init leaves variables in its process with which mpirun ends silently; the launch must work all the same.
    script = (
        "from mpi4py import MPI; import os, subprocess, sys;"
        "subprocess.run([sys.executable, '-c', "
        "'import subprocess; from climlink.mpi import *;"
        'print(subprocess.run(mpi_command(2, ["echo", "ran"]), env=mpi_environment(1), capture_output=True, text=True).stdout)'
        "'], check=True)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=mpi_environment(1))
    assert result.stdout.split() == ["ran", "ran"]
