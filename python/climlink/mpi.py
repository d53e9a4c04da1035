"""Starting climlink's MPI programs from Python."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence

from climlink.wrappers.errors import ClimlinkError

LAUNCHER_VARIABLE = "CLIMLINK_MPIRUN"
"""Environment variable that replaces the launcher, such as ``srun`` or ``mpirun --bind-to core``; ``-n RANKS`` is appended."""

_OF_AN_MPI_PROCESS = (
    "PMIX_",
    "PMI_",
    "OMPI_COMM_WORLD_",
    "OMPI_MCA_ess",
    "OMPI_MCA_orte_",
    "OMPI_MCA_pmix",
    "OMPI_APP_CTX_",
    "ORTE_SCHIZO_",
)
"""Beginnings of the variables that MPI_Init of Open MPI 4 leaves in its process and that a launcher sets for its ranks."""

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
"""glibc keeps what a step frees for the next one: giving fields back to the system and faulting them in again costs a climate model 5 %."""


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


def mpi_environment(threads: int) -> dict[str, str]:
    """Return the environment of an MPI program: ``threads`` OpenMP threads per rank, and leave for Open MPI to run as root.

    What an enclosing MPI process left in the environment is taken out: Open MPI's launcher ends without a word when it finds it. Freed
    memory stays with the process, unless the environment says otherwise.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OF_AN_MPI_PROCESS)}
    environment = _KEEP_MEMORY | environment | {"OMP_NUM_THREADS": str(threads)}
    if os.geteuid() == 0:
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return environment


def _is_open_mpi(launcher: str) -> bool:
    return "orterun" in os.path.realpath(launcher) or "prterun" in os.path.realpath(launcher) or shutil.which("ompi_info") is not None
