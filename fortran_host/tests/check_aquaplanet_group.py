"""Runs climlink-aquaplanet with ranks that share a network: the same bytes, and how a run ends.

check_aquaplanet_group.py PART PROGRAM LEVELS FIXTURES MPIEXEC...
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from pathlib import Path

from check_aquaplanet import (
    FIXTURES,
    assert_same_files,
    children,
    emulator,
    finished,
    namelist,
    run,
    start,
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
    messages = []
    for group_size in (1, 0):
        path = shared(folder / f"failing{group_size}", "climsim_failing.pt", group_size, n_step=6)
        done = run(path, 2)
        assert done.returncode == 3, (done.returncode, done.stderr)
        assert "the network refuses this air" in done.stderr, done.stderr
        said = done.stderr.splitlines()[0]
        messages.append(re.sub(r"\[\d+, 557\]", "", said))  # rows of one forward
    assert messages[0] == messages[1], messages


def check_rank_is_killed(folder: Path) -> None:
    """A rank that is killed ends the run, whether the others wait for it in the emulator, which
    tells them (fortran_bridge/tests/check_group.py), or in the model's own calls of MPI.
    """
    path = shared(folder / "killed", "climsim_slow.pt", 0, n_step=10000)
    job = start(path, 3)
    try:
        budgets = folder / "killed/out/budgets.csv"
        while not budgets.exists() or budgets.read_text().count("\n") < 3:
            assert job.poll() is None, job.communicate()[1]
            time.sleep(0.05)
        ranks = children(job.pid)
        assert len(ranks) == 3, ranks
        os.kill(ranks[0], signal.SIGKILL)
        message = job.communicate(timeout=LIMIT)[1]
    finally:
        job.kill()
    assert job.returncode != 0, message
    assert "signal 9" in message or "has ended" in message, message


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for check in (check_bytes, check_leader_fails, check_rank_is_killed):
            check(Path(scratch))
