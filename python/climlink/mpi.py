"""Starting climlink's MPI programs from Python."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from climlink.wrappers.errors import ClimlinkError

LAUNCHER_VARIABLE = "CLIMLINK_MPIRUN"
"""Environment variable that replaces the launcher, such as ``srun`` or ``mpirun --bind-to core``; ``-n RANKS`` is appended."""


class LaunchError(ClimlinkError):
    """An MPI program could not be started, or ended with an error."""


def mpi_command(ranks: int, command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` on ``ranks`` ranks; LaunchError if there is no launcher."""
    if ranks < 1:
        raise LaunchError(f"an MPI program needs at least one rank, got {ranks}")
    custom = os.environ.get(LAUNCHER_VARIABLE)
    if custom:
        return [*shlex.split(custom), "-n", str(ranks), *command]
    found = shutil.which("mpirun")
    if found is None:
        raise LaunchError(f"no mpirun on PATH; install an MPI library, or set {LAUNCHER_VARIABLE} to your launcher, for example srun")
    # Ranks share cores on a laptop or in a container; binding and slot counting there only refuse or slow down a run.
    options = ["--oversubscribe", "--bind-to", "none"] if _is_open_mpi(found) else []
    return [found, *options, "-n", str(ranks), *command]


def mpi_environment(threads: int, scratch: Path) -> dict[str, str]:
    """Return the environment of an MPI program: ``threads`` OpenMP threads per rank, and leave for Open MPI to run as root.

    ``scratch`` is a folder of this launch's own: Open MPI jobs that start and end together on one machine remove each other's session
    folders from a shared one.
    """
    environment = dict(os.environ)
    environment["OMP_NUM_THREADS"] = str(threads)
    environment["TMPDIR"] = str(scratch)
    if os.geteuid() == 0:
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return environment


def _is_open_mpi(launcher: str) -> bool:
    return "orterun" in os.path.realpath(launcher) or "prterun" in os.path.realpath(launcher) or shutil.which("ompi_info") is not None
