"""What this machine has of what climlink works with, and what each lack would stop."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from climlink.data.files import explain
from climlink.installation import cmake_prefix, executable
from climlink.mpi import LAUNCHER_VARIABLE, failure_text, mpi_command, mpi_environment
from climlink.wrappers.errors import ClimlinkError

PROGRAMS = {
    "climlink-c-route": "the C route of climlink verify",
    "climlink-fortran-route": "the Fortran route of climlink verify",
    "climlink-replay": "replays (climlink online run)",
    "climlink-aquaplanet": "the embedded climate model (climlink online run, climlink quickstart)",
}
LEAST_FREE_GIB = 1.0
"""Least free disk and memory: a store and a run of the quickstart take about as much."""

CLIMLINK_ROOT, TORCH_ROOT = "climlink_ROOT", "Torch_ROOT"
"""Environment variables that tell CMake where a host finds climlink and libtorch."""

_LIMIT_S = 20.0  # for a program to say its version, or a launcher to start
_GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing about this machine: what was found, or why nothing was."""

    group: str
    name: str
    found: str | None
    """What there is; None where it lacks."""
    problem: str | None
    """Why it lacks."""
    stops: str
    """What cannot be done without it."""
    needed: bool
    """Whether climlink as a whole is of no use without it."""

    @property
    def lacks(self) -> bool:
        """Whether it is not there, or cannot be used."""
        return self.found is None


class DoctorError(ClimlinkError):
    """A part of this machine is not there, or cannot be used."""


@dataclass(frozen=True)
class _Probe:
    group: str
    name: str
    look: Callable[[], str]
    stops: str
    needed: bool = False

    def finding(self) -> Finding:
        found, problem = None, None
        try:
            found = self.look()
        except OSError as error:
            problem = explain(error)
        except (
            ClimlinkError,
            ImportError,
            AttributeError,
            RuntimeError,
            ValueError,
            LookupError,
        ) as error:
            problem = " ".join(str(error).split())[:300]
        return Finding(self.group, self.name, found, problem, self.stops, self.needed)


def examine() -> list[Finding]:
    """Return what this machine has and lacks; nothing is written but a file in the folder for
    temporary files, which is removed.
    """
    building = "building climlink, or a host model, from source"
    reading = "reading and writing data and reports"
    running = "climlink online run, climlink quickstart, the Fortran route of climlink verify"
    probes = [
        _Probe("climlink", "version", _version, "everything", needed=True),
        _Probe(
            "climlink",
            "runtime",
            _runtime,
            "emulators in hosts; climlink verify, online run, quickstart",
            needed=True,
        ),
        _Probe("climlink", "library for hosts", _library, "linking Fortran, C and C++ hosts"),
        *(
            _Probe("climlink", name, partial(_program, name), stops)
            for name, stops in PROGRAMS.items()
        ),
        _Probe("torch", "torch", _torch, "everything but data preparation", needed=True),
        _Probe("torch", "CPU", _cpu, "everything but data preparation", needed=True),
        _Probe(
            "torch", "GPU", _gpu, "devices cuda and auto on a GPU; a CPU does all that a GPU does"
        ),
        _Probe("MPI", "launcher", _launcher, running),
        _Probe("MPI", "start of 2 ranks", _start, running),
        _Probe("MPI", "library", _mpi_library, running),
        _Probe("compilers", "C", lambda: _tool("CC", "cc", "gcc", "clang"), building),
        _Probe("compilers", "C++", lambda: _tool("CXX", "c++", "g++", "clang++"), building),
        _Probe(
            "compilers",
            "Fortran",
            lambda: _tool("FC", "gfortran", "ifx", "flang", "nvfortran"),
            f"{building} in Fortran",
        ),
        _Probe("compilers", "CMake", lambda: _tool(None, "cmake"), building),
        _Probe("files", "netCDF", _netcdf, reading, needed=True),
        _Probe("files", "HDF5", _hdf5, reading, needed=True),
        _Probe(
            "files",
            "netCDF-Fortran",
            lambda: _tool(None, "nf-config"),
            "building the replay program and the embedded model",
        ),
        _Probe("machine", "temporary files", _temporary, "climlink verify, MPI jobs", needed=True),
        _Probe("machine", "disk", lambda: _free_disk(Path.cwd()), "writing in this folder"),
        _Probe("machine", "memory", _memory, "training and evaluation of more than samples"),
    ]
    return [probe.finding() for probe in probes]


def works(findings: list[Finding]) -> bool:
    """Tell whether nothing that everything needs is lacking."""
    return not any(f.lacks and f.needed for f in findings)


def _version() -> str:
    from climlink.provenance import climlink_version, git_revision

    revision = git_revision()
    return (
        f"{climlink_version()}{f' ({revision:.12})' if revision else ''}, Python "
        f"{platform.python_version()}"
    )


def _runtime() -> str:
    prefix = cmake_prefix()
    from climlink import _runtime

    if _runtime.backend == "stub":
        raise DoctorError(
            "built without libtorch: it opens packages, but cannot run them; build it again with "
            "libtorch"
        )
    return f"{_runtime.__version__}, backend {_runtime.backend}, in {prefix}"


def _library() -> str:
    named = os.environ.get(CLIMLINK_ROOT)
    prefix = Path(named) if named else cmake_prefix()
    found = [
        f for folder in ("lib", "lib64") for f in sorted((prefix / folder).glob("libclimlink.*"))
    ]
    if not found:
        raise DoctorError(f"no libclimlink in {prefix}/lib")
    return f"{found[0].relative_to(prefix)}{f' ({CLIMLINK_ROOT}={named})' if named else ''}"


def _program(name: str) -> str:
    return f"bin/{executable(name).name}"


def _torch() -> str:
    import torch

    named = os.environ.get(TORCH_ROOT)
    return f"{torch.__version__}{f' (hosts: {TORCH_ROOT}={named})' if named else ''}"


def _cpu() -> str:
    import torch

    from climlink.provenance import kernel_identity

    usable, asked = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS")
    return (
        f"{kernel_identity()}, cores usable: {usable}, torch threads: {torch.get_num_threads()} "
        f"(OMP_NUM_THREADS {asked or 'not set'})"
    )


def _gpu() -> str:
    import torch

    if not torch.backends.cuda.is_built():
        raise DoctorError(f"torch {torch.__version__} has no CUDA")
    if not torch.cuda.is_available():
        raise DoctorError("no GPU is visible (driver, CUDA_VISIBLE_DEVICES)")
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _launcher() -> str:
    program = mpi_command(1, [])[0]
    custom = os.environ.get(LAUNCHER_VARIABLE)
    given = f"{LAUNCHER_VARIABLE}={custom}" if custom else f"{LAUNCHER_VARIABLE} not set"
    return f"{_said([program, '--version'])}, {shutil.which(program) or program} ({given})"


def _start() -> str:
    _said(mpi_command(2, ["true"]), mpi_environment(1))
    return "yes"


def _mpi_library() -> str:
    program = executable("climlink-fortran-route")
    listed = subprocess.run(
        ["ldd", str(program)], capture_output=True, encoding="utf-8", errors="replace", check=False
    ).stdout
    found = re.search(r"^\s*libmpi(?:ch)?\.so\S*\s+=>\s+(/\S+)", listed, flags=re.MULTILINE)
    if not found:
        raise DoctorError(f"{program} finds no MPI library (ldd)")
    return os.path.realpath(found[1])


def _tool(variable: str | None, *names: str) -> str:
    """Return version and path of the tool that an environment variable names, or of the first known
    one on PATH.
    """
    named = os.environ.get(variable) if variable else None
    candidates = [shlex.split(named)[0]] if named and named.strip() else list(names)
    path = next(filter(None, map(shutil.which, candidates)), None)
    if path is None:
        raise DoctorError(
            f"no {' or '.join(candidates)} on PATH{f' ({variable}={named})' if named else ''}"
        )
    return f"{_said([path, '--version'])}, {path}"


def _said(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Return the first line that a program prints."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DoctorError(f"{shlex.join(command)} did not end within {_LIMIT_S:g} s") from error
    lines = f"{done.stdout}\n{done.stderr}".split("\n")
    words = [line.strip() for line in lines if re.search(r"\w", line)]
    if done.returncode != 0:
        raise DoctorError(failure_text(command, done.returncode, "\n".join(words)))
    return words[0] if words else ""


def _netcdf() -> str:
    import netCDF4

    return f"{netCDF4.__netcdf4libversion__} (netCDF4 {netCDF4.__version__})"


def _hdf5() -> str:
    import netCDF4

    return str(netCDF4.__hdf5libversion__)


def _temporary() -> str:
    # Python looks for another folder where TMPDIR cannot be written; MPI and its programs do not.
    folder = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(prefix="climlink-doctor-", dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
    return _free_disk(folder)


def _free_disk(folder: Path) -> str:
    return _enough(shutil.disk_usage(folder).free, f"in {folder}")


def _memory() -> str:
    known = Path("/proc/meminfo").read_text(encoding="ascii")
    kib = {
        name: int(value)
        for name, value in re.findall(
            r"^(MemTotal|MemAvailable):\s+(\d+) kB", known, flags=re.MULTILINE
        )
    }
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    total = kib["MemTotal"] << 10
    bound = (
        f", this process may use {int(text) / _GIB:.1f} GiB"
        if text.isdigit() and int(text) < total
        else ""
    )
    return _enough(kib["MemAvailable"] << 10, f"of {total / _GIB:.1f} GiB{bound}")


def _enough(free_bytes: int, where: str) -> str:
    words = f"{free_bytes / _GIB:.1f} GiB free {where}"
    if free_bytes < LEAST_FREE_GIB * _GIB:
        raise DoctorError(f"{words}; {LEAST_FREE_GIB:g} GiB are wanted")
    return words
