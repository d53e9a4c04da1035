"""The CMake line of a case, in a project of E3SM's shape: EAM links climlink, the model links EAM,
samxx links nothing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from climlink.e3sm.scripts import CMAKE_FILE, CMAKE_TEXT
from climlink.installation import cmake_prefix

PROJECT = Path(__file__).with_name("cmake_project")


def _run(command: list[str], folder: Path) -> str:
    environment = {
        **os.environ,
        "climlink_ROOT": str(cmake_prefix()),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    told = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_eam_links_climlink_and_the_model_runs(tmp_path: Path) -> None:
    macros = tmp_path / "cmake_macros"
    macros.mkdir()
    (macros / CMAKE_FILE).write_text(CMAKE_TEXT)
    (macros / "universal.cmake").write_text(
        f'include("${{CMAKE_CURRENT_LIST_DIR}}/{CMAKE_FILE}")\n'
    )
    (tmp_path / "Macros.cmake").write_text("include(${CASEROOT}/cmake_macros/universal.cmake)\n")
    said = _run(
        ["cmake", "-S", str(PROJECT), "-B", str(tmp_path / "build"), f"-DCASEROOT={tmp_path}"],
        tmp_path,
    )
    assert "samxx links: samxx_links-NOTFOUND" in said
    _run(["cmake", "--build", str(tmp_path / "build")], tmp_path)
    told = _run([str(tmp_path / "build/cpl/e3sm.exe")], tmp_path)
    assert told.startswith("model starts\n")
    assert "no_such_package.pt" in told
