"""Starting climlink's MPI programs from Python."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from climlink.wrappers.errors import ClimlinkError

LAUNCHER_VARIABLE = "CLIMLINK_MPIRUN"
"""Environment variable that replaces the launcher, such as ``srun`` or ``mpirun --bind-to core``;
``-n RANKS`` is appended.
"""

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
"""Beginnings of the variables that MPI_Init of Open MPI 4 leaves in its process and that a launcher
sets for its ranks.
"""

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
"""glibc keeps what a step frees for the next one: giving fields back to the system and faulting
them in again costs a climate model 5 %.
"""


_TAIL = 4000  # characters of a job's output that are worth showing

_END_S = 20.0
"""What a launcher has to end its ranks: Open MPI sends SIGTERM, then SIGKILL after some seconds."""

_OWN_LAUNCHER = f"or set {LAUNCHER_VARIABLE} to a launcher that works here"
_LAUNCHER_PROBLEMS = (
    (
        r"unable to locate a\s+usable \"srun\"|SLURM\s+resource allocator expects to find",
        "the SLURM_* variables of this environment say that it is part of a Slurm job, so mpirun "
        "starts ranks through srun, and that is not possible here: run inside the job where srun "
        f"is on PATH, remove the SLURM_* variables to run on this machine only, {_OWN_LAUNCHER}",
    ),
    (
        r"mkdir was unable to create the desired directory:\s+Directory: (\S+)|session_dir",
        "the launcher cannot write its session folder{found}: set TMPDIR to a folder that you may "
        "write to",
    ),
    (
        r"not enough slots available",
        "the launcher has fewer slots than there are ranks: ask for fewer ranks, give "
        f"{LAUNCHER_VARIABLE} the option --oversubscribe, or ask the batch system for more",
    ),
    (
        r"could not (?:access|find|execute)[^:]*executable[^:]*:",
        "a node of the job does not see the program: climlink must be installed on a file system "
        "that all nodes share",
    ),
)
"""What a launcher says when it cannot start ranks, and what that means."""


class LaunchError(ClimlinkError):
    """An MPI program could not be started, or ended with an error."""


def mpi_command(ranks: int, command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` on ``ranks`` ranks; LaunchError if there is no
    launcher.
    """
    if ranks < 1:
        raise LaunchError(f"an MPI program needs at least one rank, got {ranks}")
    custom = shlex.split(os.environ.get(LAUNCHER_VARIABLE, ""))
    if custom:
        return [*custom, "-n", str(ranks), *command]
    found = shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            f"no mpirun on PATH; install an MPI library, or set {LAUNCHER_VARIABLE} to your "
            "launcher, for example srun"
        )
    # Ranks share cores on a laptop or in a container; binding and slot counting there only refuse
    # or slow down a run.
    options = ["--oversubscribe", "--bind-to", "none"] if _is_open_mpi(found) else []
    return [found, *options, "-n", str(ranks), *command]


def run_job(command: Sequence[str], threads: int, on_line: Callable[[str], None]) -> int:
    """Run a command, such as one of mpi_command, and return its exit code.

    ``on_line`` is given each line that it writes. The job does not outlive its caller: an exception
    ends it before it passes on, and the system ends it after a hard kill. LaunchError if there is
    no such program.
    """
    if shutil.which(command[0]) is None:
        hint = f"is it the launcher that {LAUNCHER_VARIABLE} names?"
        raise LaunchError(f"there is no program {command[0]}; {hint}")
    job = subprocess.Popen(
        [*tied_to_this_process(), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=1,
        encoding="utf-8",
        errors="replace",
        env=mpi_environment(threads),
    )
    assert job.stdout is not None
    try:
        for line in job.stdout:
            on_line(line)
        return job.wait()
    except BaseException:
        end_job(job)
        raise


def failure_text(command: Sequence[str], code: int, output: str) -> str:
    """Return what to say of a job that ended with ``code``.

    Its last words and, where the launcher could not start it, what was in the way and what to do.
    """
    words = output.strip()[-_TAIL:] or "it said nothing"
    return f"{_launcher_problem(output)}{' '.join(command)} ended with exit code {code}:\n{words}"


def _launcher_problem(output: str) -> str:
    for pattern, meaning in _LAUNCHER_PROBLEMS:
        found = re.search(pattern, output)
        if found:
            what = f" {found[1]}" if found.re.groups and found[1] else ""
            return meaning.format(found=what) + "\n"
    return ""


def tied_to_this_process() -> list[str]:
    """Return what begins the command line of a child that must end with this process.

    Only Linux has the means.
    """
    if sys.platform != "linux":
        return []
    helper = Path(__file__).with_name("run_with_parent.py")
    return [sys.executable, "-I", "-S", str(helper), str(os.getpid())]


def end_job(job: subprocess.Popen[str]) -> None:
    """End a job; its ranks end with the launcher, also when that is killed."""
    job.terminate()
    try:
        job.communicate(timeout=_END_S)  # a launcher that cannot write does not end
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()


def mpi_environment(threads: int) -> dict[str, str]:
    """Return the environment of an MPI program: ``threads`` OpenMP threads per rank, and leave for
    Open MPI to run as root.

    What an enclosing MPI process left in the environment is taken out: Open MPI's launcher ends
    without a word when it finds it. Freed memory stays with the process, unless the environment
    says otherwise.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OF_AN_MPI_PROCESS)}
    environment = _KEEP_MEMORY | environment | {"OMP_NUM_THREADS": str(threads)}
    if os.geteuid() == 0:
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
        environment.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return environment


def _is_open_mpi(launcher: str) -> bool:
    return (
        "orterun" in os.path.realpath(launcher)
        or "prterun" in os.path.realpath(launcher)
        or shutil.which("ompi_info") is not None
    )
