"""Puts into one folder what a bare GPU machine lacks to check and time climlink: pack.py FOLDER
PACKAGE [PACKAGE ...] [--python 3.12].

The machine needs torch with numpy, a C++ compiler, CMake and ninja, and no internet. The folder
gets the C++ source, headers and libraries of libzip, OpenSSL and nlohmann-json, wheels for that
Python, a Fortran program with libgfortran beside it, the packages, and 384 rows for each: mixtures
of its golden columns.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from climlink.packages.read import EmulatorPackage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROW_COUNT = 384
NLOHMANN = Path("/usr/share/cmake/nlohmann_json")
WHEELS = ("pydantic", "PyYAML", "pybind11")
OF_ANY_SYSTEM = re.compile(
    r"ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|torch\w*|c10|gomp|resolv)(\.|-)"
)
"""Libraries that every machine has, or that torch brings."""


def run(*command: str | Path) -> str:
    """Return what a command prints."""
    return subprocess.run(
        [str(c) for c in command], check=True, capture_output=True, encoding="utf-8"
    ).stdout


def copy_source(target: Path) -> None:
    """Copy the files under version control that the library and its Python side need."""
    folders = ("cpp", "cmake", "wrappers", "python/climlink/architectures")
    for name in run("git", "-C", ROOT, "ls-files", *folders, "CMakeLists.txt").splitlines():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def copy_python(target: Path) -> None:
    """Lay the wrapped emulator's Python out as it is installed."""
    package = target / "climlink"
    skipped = shutil.ignore_patterns("tests", "__pycache__")
    shutil.copytree(ROOT / "wrappers", package / "wrappers", ignore=skipped)
    python = ROOT / "python/climlink"
    shutil.copy2(python / "__init__.py", package / "__init__.py")
    shutil.copytree(python / "architectures", package / "architectures", ignore=skipped)


def libraries_of(binary: Path) -> list[Path]:
    """Return the shared libraries of a binary that another machine may lack."""
    found = re.findall(r"=> (/\S+)", run("ldd", binary))
    return [Path(f) for f in found if not OF_ANY_SYSTEM.match(Path(f).name)]


def copy_dependencies(target: Path) -> None:
    """Copy headers and libraries, and write CMake's and pkg-config's files for them."""
    include, lib = target / "include", target / "lib"
    for folder in (include, lib, target / "bin"):
        folder.mkdir(parents=True)
    for name in ("zip.h", "zipconf.h"):
        shutil.copy2(header(name), include / name)
    for name in ("nlohmann", "openssl"):
        shutil.copytree(header(name), include / name)
    for extra in header("openssl/opensslv.h").parents[1].glob("x86_64-linux-gnu/openssl"):
        shutil.copytree(extra, include / "openssl", dirs_exist_ok=True)
    shutil.copytree(NLOHMANN, target / "share/cmake/nlohmann_json")
    zip_library = Path(run("gcc", "-print-file-name=libzip.so").strip()).resolve()
    soname = re.search(r"SONAME.*\[(.*)\]", run("readelf", "-d", zip_library))
    assert soname is not None
    shutil.copy2(zip_library, lib / soname[1])
    for library in libraries_of(zip_library):
        shutil.copy2(library, lib / library.name)
    for name, real in (("libzip.so", soname[1]), ("libcrypto.so", "libcrypto.so.3")):
        (lib / name).symlink_to(real)
    version = re.search(
        r'LIBZIP_VERSION "([\d.]+)"', (include / "zipconf.h").read_text(encoding="utf-8")
    )
    assert version is not None
    shim = (HERE / "pkg-config.in").read_text(encoding="utf-8").replace("@VERSION@", version[1])
    (target / "bin/pkg-config").write_text(shim, encoding="utf-8")
    (target / "bin/pkg-config").chmod(0o755)


def header(name: str) -> Path:
    """Return where a header, or a folder of them, lies on this machine."""
    for folder in (Path("/usr/include"), Path("/usr/include/x86_64-linux-gnu")):
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"pack.py: {name} is not in /usr/include; install its -dev package")


def build_fortran(work: Path, target: Path) -> None:
    """Build the Fortran program against the stub; on the machine it meets the library itself."""
    run("cmake", "-S", ROOT, "-B", work, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        "-DCLIMLINK_TORCH=OFF", "-DCLIMLINK_MPI=OFF", "-DCLIMLINK_HOST=OFF",
        f"-DPython_EXECUTABLE={sys.executable}")  # fmt: skip
    run("cmake", "--build", work, "--target", "climlink_ftorch_compat", "climlink")
    target.mkdir()
    bridge = work / "fortran_bridge"
    modules = [bridge / "modules", bridge / "compat/modules/ftorch_compat"]
    archives = ["compat/libclimlink_ftorch_compat.a", "compat/libclimlink_compat.a"]
    program = target / "gpu_columns"
    run("gfortran", "-O2", *(f"-I{m}" for m in modules), f"-J{work}", HERE / "gpu_columns.F90",
        "-o", program, *(bridge / a for a in archives), bridge / "libclimlink_fortran.a",
        f"-L{work / 'cpp'}", "-lclimlink", "-Wl,-rpath,$ORIGIN")  # fmt: skip
    for library in libraries_of(program):
        if library.name.startswith(("libgfortran", "libquadmath")):
            shutil.copy2(library, target / library.name)


def mixed_rows(package: EmulatorPackage, count: int) -> np.ndarray:
    """Return rows [count, n_input] float32 between two golden columns each, of a fixed seed."""
    random = np.random.default_rng(16)
    golden = package.golden_inputs
    first, second = random.integers(len(golden), size=(2, count))
    share = random.random((count, 1), dtype=np.float32)
    return np.ascontiguousarray(golden[first] * share + golden[second] * (1 - share), dtype="<f4")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True)
    copy_source(folder / "source")
    copy_python(folder / "site")
    copy_dependencies(folder / "deps")
    build_fortran(folder / ".fortran", folder / "fortran")
    shutil.rmtree(folder / ".fortran")
    run(sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--python-version",
        given.python, "--dest", folder / "wheels", *WHEELS)  # fmt: skip
    (folder / "data").mkdir()
    for path in given.packages:
        package = EmulatorPackage.read(path)
        shutil.copy2(path, folder / "data" / path.name)
        mixed_rows(package, ROW_COUNT).tofile(folder / "data" / f"{path.stem}.f32")
    for name in ("run.sh", "check.py"):
        shutil.copy2(HERE / name, folder / name)
    names = json.dumps([p.name for p in given.packages])
    (folder / "packages.json").write_text(names, encoding="utf-8")
    print(f"{folder}: copy it to the GPU machine and start run.sh there")


if __name__ == "__main__":
    main()
