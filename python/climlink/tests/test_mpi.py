"""Launch lines of MPI programs."""

from __future__ import annotations

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


def test_every_launch_has_its_own_scratch_folder_and_threads(tmp_path: Path) -> None:
    environment = mpi_environment(2, tmp_path)
    assert environment["TMPDIR"] == str(tmp_path)
    assert environment["OMP_NUM_THREADS"] == "2"
