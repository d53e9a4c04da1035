"""Building on other machines: the C++ runtime, no Fortran compiler, folders with unusual names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
Result = subprocess.CompletedProcess[str]
UNUSUAL = "Anna's $HOME & more"
SOURCES = ("CMakeLists.txt", "cmake", "cpp", "tests")


def _run(command: list[str], environment: dict[str, str] | None = None) -> Result:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _cmake(*arguments: str | Path, **environment: str) -> Result:
    return _run(["cmake", *map(str, arguments)], {**os.environ, **environment})


def _told(result: Result) -> str:
    """Return what CMake said, its line breaks taken out."""
    return " ".join((result.stdout + result.stderr).split())


def _tiny_project(folder: Path, module: str) -> list[str | Path]:
    """Write a project that includes one of climlink's CMake modules; return what configures it."""
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(tiny LANGUAGES CXX)\n"
        f'list(APPEND CMAKE_MODULE_PATH "{ROOT / "cmake"}")\ninclude({module})\n'
    )
    return ["-S", folder, "-B", folder / "build", "-G", "Ninja"]


def _only_static_libstdcxx(folder: Path) -> str:
    """Return a link line on which libstdc++.a is found before any libstdc++.so."""
    static = _run(["c++", "-print-file-name=libstdc++.a"]).stdout.strip()
    (folder / "libstdc++.a").symlink_to(static)
    return f"-L{folder}"


def test_a_static_cxx_runtime_is_refused(tmp_path: Path) -> None:
    arguments = _tiny_project(tmp_path / "tiny", "ClimlinkCxxRuntime")
    good = _cmake(*arguments)
    assert good.returncode == 0, _told(good)
    # In the same build folder: flags that come later are seen too.
    bad = _cmake(*arguments, "-DCMAKE_SHARED_LINKER_FLAGS=-static-libstdc++")
    assert bad.returncode != 0
    assert "The C++ runtime would be linked into climlink's shared library" in _told(bad)
    assert "Take -static-libstdc++ and -static out of CMAKE_CXX_FLAGS" in _told(bad)
    bad = _cmake(*arguments, f"-DCMAKE_SHARED_LINKER_FLAGS={_only_static_libstdcxx(tmp_path)}")
    assert bad.returncode != 0
    assert "finds only a static libstdc++.a: install its libstdc++.so" in _told(bad)


@pytest.mark.long
@pytest.mark.parametrize("variable", ["LDFLAGS", "CXXFLAGS"])
def test_a_static_cxx_runtime_in_the_environment_is_refused(tmp_path: Path, variable: str) -> None:
    arguments = _tiny_project(tmp_path / "tiny", "ClimlinkCxxRuntime")
    bad = _cmake(*arguments, **{variable: "-static-libstdc++"})
    assert bad.returncode != 0
    assert "The C++ runtime would be linked into climlink's" in _told(bad)


def test_without_a_fortran_compiler_configure_says_what_to_do(tmp_path: Path) -> None:
    bad = _cmake(*_tiny_project(tmp_path / "tiny", "ClimlinkFortranCompiler"), FC="/bin/false")
    assert bad.returncode != 0
    assert "No Fortran compiler that works was found" in _told(bad)
    assert "build C, C++ and Python only: -DCLIMLINK_FORTRAN=OFF" in _told(bad)


def _copy_of_the_sources(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in SOURCES:
        (folder / name).symlink_to(ROOT / name)
    return folder


def _configured(source: Path, *arguments: str) -> Path:
    """Configure a source tree without a Fortran compiler; return the build folder."""
    build = source / "build"
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DCLIMLINK_PYTHON=ON", *arguments]
    options.append("-DCLIMLINK_FORTRAN=OFF")
    done = _cmake("-S", source, "-B", build, "-G", "Ninja", *options, FC="/bin/false")
    assert done.returncode == 0, _told(done)
    return build


def test_paths_with_unusual_names_reach_the_shell_whole(tmp_path: Path) -> None:
    source = _copy_of_the_sources(tmp_path / UNUSUAL)
    # As where the virtual environment lies inside the checkout.
    (source / "torch").symlink_to(Path(torch.__file__).parent)
    torch_dir = source / "torch" / "share" / "cmake" / "Torch"
    build = _configured(source, "-DCLIMLINK_TESTS=ON", f"-DTorch_DIR={torch_dir}")
    listed = _run(["ninja", "-C", str(build), "-t", "commands"]).stdout
    commands = [re.sub(r"&&|\|\||;", " ", line) for line in listed.splitlines() if "Anna" in line]
    assert len(commands) > 20
    words: list[str] = []
    for command in commands:
        shell = _run(["sh", "-c", f"printf '%s\\n' {command}"])
        assert shell.returncode == 0, f"{command}: {shell.stderr}"
        words += [word for word in shell.stdout.splitlines() if "Anna" in word]
    assert all(f"/{UNUSUAL}/" in word or word.endswith(f"/{UNUSUAL}") for word in words), words
    assert any(word.endswith(f"/{UNUSUAL}/torch/lib/libtorch_cpu.so") for word in words)


@pytest.mark.long
def test_build_and_install_in_a_folder_with_an_unusual_name_without_fortran(tmp_path: Path) -> None:
    source = _copy_of_the_sources(tmp_path / UNUSUAL)
    build = _configured(source, "-DCLIMLINK_TORCH=OFF")
    done = _cmake("--build", build, "-j2")
    assert done.returncode == 0, _told(done)
    done = _cmake("--install", build, "--prefix", source / "installed", "--strip")
    assert done.returncode == 0, _told(done)
    route = source / "installed" / "bin" / "climlink-c-route"
    told = _run([str(route)])
    assert (told.returncode, "usage" in told.stderr) == (2, True)
    assert not shutil.which("climlink-fortran-route", path=str(route.parent))
