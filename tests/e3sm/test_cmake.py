"""The CMake line of a case, in a project of E3SM's shape: EAM links climlink, the model links EAM,
samxx links nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from climlink.e3sm.scripts import CMAKE_FILE, CMAKE_TEXT
from climlink.installation import cmake_prefix

PROJECT = Path(__file__).with_name("cmake_project")


def _run(command: list[str], folder: Path, **variables: str) -> str:
    environment = {
        **os.environ,
        "climlink_ROOT": str(cmake_prefix()),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        **variables,
    }
    told = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def _build(folder: Path, options: tuple[str, ...] = (), **variables: str) -> tuple[str, Path]:
    """Build the project as a case does; return what CMake said, and the model."""
    macros = folder / "cmake_macros"
    macros.mkdir()
    (macros / CMAKE_FILE).write_text(CMAKE_TEXT)
    (macros / "universal.cmake").write_text(
        f'include("${{CMAKE_CURRENT_LIST_DIR}}/{CMAKE_FILE}")\n'
    )
    (folder / "Macros.cmake").write_text("include(${CASEROOT}/cmake_macros/universal.cmake)\n")
    build = folder / "build"
    command = ["cmake", "-S", str(PROJECT), "-B", str(build), f"-DCASEROOT={folder}", *options]
    said = _run(command, folder, **variables)
    _run(["cmake", "--build", str(build)], folder)
    return said, build / "cpl/e3sm.exe"


def test_eam_links_climlink_and_the_model_runs(tmp_path: Path) -> None:
    said, model = _build(tmp_path)
    assert "samxx links: samxx_links-NOTFOUND" in said
    told = _run([str(model)], tmp_path)
    assert told.startswith("model starts\n")
    assert "no_such_package.pt" in told


def test_a_samxx_that_asks_for_ftorch_gets_climlinks_and_one_torch_is_linked(
    make_case: Callable[..., Path], fork: Path, tmp_path: Path
) -> None:
    samxx = fork / "components/eam/src/physics/crm/samxx/CMakeLists.txt"
    samxx.parent.mkdir(parents=True)
    samxx.write_text((PROJECT / "samxx/CMakeLists.txt").read_text())
    folder = make_case()
    shown = ["bash", "-euc", f'source "{folder}/env.sh"; echo "$FTorch_ROOT"']
    root = _run(shown, tmp_path).strip()
    (tmp_path / "model").mkdir()
    said, model = _build(tmp_path / "model", ("-DSAMXX_FTORCH=ON",), FTorch_ROOT=root)
    assert "samxx links: FTorch::ftorch" in said
    assert "no_such_package.pt" in _run([str(model)], tmp_path)
    libraries = re.findall(r"^\s*(libtorch\.so\S*|libclimlink\.so\S*) => (\S+)", _ldd(model), re.M)
    assert sorted(name.split(".")[0] for name, _ in libraries) == ["libclimlink", "libtorch"]


def _ldd(model: Path) -> str:
    return subprocess.run(["ldd", str(model)], capture_output=True, text=True, check=True).stdout
