"""Runs climlink-aquaplanet with ranks that share a network: the same bytes, and how a run ends.

check_aquaplanet_group.py PART PROGRAM LEVELS FIXTURES MPIEXEC...
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from check_aquaplanet import (
    FIXTURES,
    MPIEXEC,
    PROGRAM,
    assert_same_files,
    children,
    emulator,
    finished,
    namelist,
    run,
)

LIMIT = 30.0
"""Seconds within which a run ends after a rank has."""
MEMORY = re.compile(
    r"node of rank 0: (\d) rank\(s\) with a network, up to (\d+) MB resident; "
    r"(\d) without, up to (\d+) MB; in all (\d+) MB"
)


def shared(folder: Path, package: str, group_size: int, **settings: object) -> Path:
    """Write the namelist of a run whose ranks share the network of a package."""
    folder.mkdir()
    path = namelist(folder, **settings)
    return emulator(path, package=f"{FIXTURES}/{package}", group_size=group_size)


def check_bytes(folder: Path) -> None:
    """A network with memory gives the same bytes to 1 rank, to 2 that share it, and to 3 of which 2
    do; the log tells what of the node's memory that takes.
    """
    settings = {"n_step": 6, "restart_every_steps": 6}
    finished(shared(folder / "1", "climsim_slow.pt", 1, **settings), 1)
    for ranks, group_size, with_network in ((2, 0, 1), (3, 2, 2)):
        path = shared(folder / str(ranks), "climsim_slow.pt", group_size, **settings)
        done = run(path, ranks)
        assert done.returncode == 0, done.stderr
        found = MEMORY.search(done.stdout)
        assert found, done.stdout
        numbers = [int(text) for text in found.groups()]
        assert (numbers[0], numbers[2]) == (with_network, 1), numbers
        assert numbers[1] > numbers[3] > 0, numbers
        assert numbers[4] > numbers[1], numbers
        assert_same_files(folder / "1/out", folder / f"{ranks}/out")


def check_leader_fails(folder: Path) -> None:
    """What the leader's network throws ends the run as it does without a group."""
    done = run(shared(folder / "failing", "climsim_failing.pt", 0, n_step=6), 2)
    assert done.returncode == 3, (done.returncode, done.stderr)
    words = r"on day 0\.014: rank 0: run: libtorch failed on .*: the network refuses this air"
    assert re.search(words, done.stderr), done.stderr
    assert "outcome blown_up" in done.stdout, done.stdout


def cpu_seconds(pid: int) -> float:
    """Return the time that a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_forward(leader: int, others: list[int]) -> None:
    """Wait until the leader computes and the others do nothing, as in none of MPI's own calls."""
    while True:
        before = [cpu_seconds(pid) for pid in (leader, *others)]
        time.sleep(1.0)
        spent = [cpu_seconds(pid) - b for pid, b in zip((leader, *others), before, strict=True)]
        if spent[0] > 0.1 and max(spent[1:]) < 0.05:
            return


def check_leader_is_killed(folder: Path) -> None:
    """While the others wait for its forward; the launcher lets them go on, so they say it."""
    path = folder / "killed"
    path.mkdir()
    nml = emulator(
        namelist(path, n_step=10), package=f"{FIXTURES}/climsim_endless.pt", group_size=0
    )
    command = [MPIEXEC[0], "--enable-recovery", *MPIEXEC[1:], "3", PROGRAM, str(nml)]
    log = path / "log.txt"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as job:
        try:
            while len(children(job.pid)) < 3:
                assert job.poll() is None, log.read_text()
                time.sleep(0.05)
            leader, *others = children(job.pid)
            wait_for_forward(leader, others)
            os.kill(leader, signal.SIGKILL)
            job.wait(timeout=LIMIT)
        finally:
            job.kill()
    text = log.read_text()
    told = re.findall(
        r"climlink-aquaplanet: rank (\d): run: rank 0 \(process (\d+)\) has ended", text
    )
    assert told, text
    assert set(told) <= {("1", str(leader)), ("2", str(leader))}, text
    assert "end the program, without waiting for that rank" in text, text
    assert "MPI_ABORT was invoked" in text, text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for check in (check_bytes, check_leader_fails, check_leader_is_killed):
            check(Path(scratch))
