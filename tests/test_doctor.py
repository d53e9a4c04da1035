"""climlink doctor on this machine, and on this machine with parts of it hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from climlink import _runtime
from climlink.cli.main import app
from climlink.doctor import PROGRAMS


def _doctor(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def _findings() -> tuple[int, dict[str, dict[str, Any]]]:
    code, text = _doctor("--json")
    told = json.loads(text)
    assert told["works"] == (code == 0)
    return code, {f["name"]: f for f in told["findings"]}


def test_the_machine_that_runs_the_tests_works() -> None:
    code, found = _findings()
    assert code == 0
    needed = {name for name, f in found.items() if f["needed"]}
    assert needed == {"version", "runtime", "torch", "CPU", "netCDF", "HDF5", "temporary files"}
    here = {
        *needed,
        *PROGRAMS,
        "library for hosts",
        "launcher",
        "start of 2 ranks",
        "library",
        "C",
        "C++",
        "Fortran",
        "CMake",
    }
    assert [name for name in here if found[name]["lacks"]] == []
    assert found["torch"]["found"].startswith(torch.__version__)
    assert torch.backends.cpu.get_cpu_capability() in found["CPU"]["found"]
    assert all(f["stops"] for f in found.values())
    code, screen = _doctor()
    assert code == 0
    assert all(name in screen for name in found)
    assert len(found) <= 24  # lines of a terminal


def test_without_tools_everything_else_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CLIMLINK_MPIRUN", raising=False)
    code, found = _findings()
    assert code == 0
    for name in ("launcher", "start of 2 ranks", "C", "C++", "Fortran", "CMake", "netCDF-Fortran"):
        assert found[name]["lacks"], name
    assert "no mpirun on PATH" in found["launcher"]["problem"]
    assert "no cc or gcc or clang on PATH" in found["C"]["problem"]
    assert "quickstart" in found["launcher"]["stops"]


def test_a_launcher_that_cannot_start_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launcher = tmp_path / "launcher"
    script = (
        '#!/bin/sh\n[ "$1" = --version ] && echo "launcher 7" && exit\necho "no nodes today" >&2; '
        "exit 3\n"
    )
    launcher.write_text(script, encoding="utf-8")
    launcher.chmod(0o755)
    monkeypatch.setenv("CLIMLINK_MPIRUN", str(launcher))
    code, found = _findings()
    assert code == 0
    assert found["launcher"]["found"].startswith("launcher 7, ")
    assert f"CLIMLINK_MPIRUN={launcher}" in found["launcher"]["found"]
    assert "ended with exit code 3: no nodes today" in found["start of 2 ranks"]["problem"]


@pytest.mark.parametrize("what", ["temporary files", "runtime"])
def test_without_a_needed_part_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    if what == "runtime":
        monkeypatch.setattr(_runtime, "backend", "stub")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    code, found = _findings()
    assert code == 1
    assert [name for name, f in found.items() if f["needed"] and f["lacks"]] == [what]
    code, screen = _doctor()
    assert code == 1
    assert f"; stops {found[what]['stops']}"[:30] in " ".join(screen.split())
