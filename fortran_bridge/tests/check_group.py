"""Checks what ranks that share a network do when one of them ends: check_group.py FIXTURES PROGRAM
ROUTE MPIEXEC [FLAGS...].

The launcher is told to let the other ranks go on, so that they have to notice by themselves. And
packed rows come out of the route bit for bit as without a group.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT = 30.0
"""Seconds within which every rank must know."""
SAYING_ITS_EXIT = ["sh", "-c", '"$0" "$@"; echo "exit code $?"']
"""A launcher that lets ranks go on ends with 0 whatever became of them."""
EXIT = re.compile(r"exit code (\d+)")
TOLD = re.compile(r"told in step (\d+), code 0: rank (\d): (\w+): (.*)")


def steps(
    fixtures: str, program: str, mpiexec: list[str], arguments: list[str]
) -> tuple[list[tuple[str, ...]], subprocess.CompletedProcess[str], float]:
    """Run the steps on 3 ranks; return what they were told, the outcome, and the seconds."""
    launcher = [mpiexec[0], "--enable-recovery", *mpiexec[1:], "3", *SAYING_ITS_EXIT]
    began = time.monotonic()
    done = subprocess.run(
        [*launcher, program, fixtures, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return TOLD.findall(done.stdout), done, time.monotonic() - began


def check_ends(fixtures: str, program: str, mpiexec: list[str]) -> None:
    """A leader or another rank that is killed, or does not go on: the two others say which."""
    for fault, failing, timeout, words in (
        ("killed", 0, "600", "has ended, while rank"),
        ("asleep", 1, "1", "did not come to begin within 1 s"),
    ):
        told, done, seconds = steps(fixtures, program, mpiexec, [fault, str(failing), timeout])
        case = (fault, failing, seconds, done.stdout, done.stderr)
        assert sorted(int(rank) for _, rank, _, _ in told) == sorted({0, 1, 2} - {failing}), case
        for step, _, _, message in told:
            assert step == "1001", case
            assert message.startswith(f"rank {failing} (process "), case
            assert words in message, case
            assert "end the program, without waiting for that rank" in message, case
        assert "finished" not in done.stdout, case
        assert seconds < LIMIT, case
        codes = EXIT.findall(done.stdout)
        assert len(codes) >= 2, case
        assert "0" not in codes, case


def check_as_launched(fixtures: str, program: str, mpiexec: list[str]) -> None:
    """With the launcher's own way the program ends as soon, with a non-zero exit code."""
    began = time.monotonic()
    done = subprocess.run(
        [*mpiexec, "3", program, fixtures, "killed", "1", "600"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode != 0
    assert time.monotonic() - began < LIMIT
    assert "signal 9" in done.stderr + done.stdout, done.stderr


def check_route(fixtures: Path, route: str, mpiexec: list[str]) -> None:
    """The same bytes for 1, 2 and 3 ranks, with groups and without: columns, fields."""
    cases = (
        ("climsim_random.pt", 557, 37, ((2, "0"), (3, "2"))),
        ("field.pt", 40, 5, ((2, "0"),)),
    )
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "x.f32", Path(name) / "y.f32"
        for package, width, n_row, shared in cases:
            x = np.random.default_rng(n_row).uniform(0.1, 2.0, (n_row, width)).astype("<f4")
            x.tofile(source)
            answers = {}
            for ranks, group in ((1, "1"), *shared):
                done = subprocess.run(
                    [
                        *mpiexec,
                        str(ranks),
                        route,
                        "--group-size",
                        group,
                        str(fixtures / package),
                        str(source),
                        str(n_row),
                        str(target),
                        "7",
                    ],
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
                answers[ranks, group] = target.read_bytes()
                target.unlink()
            assert len(answers[1, "1"]) > 0
            assert len(set(answers.values())) == 1, (package, answers.keys())


def main(fixtures: str, program: str, route: str, mpiexec: list[str]) -> None:
    """Run all checks."""
    check_route(Path(fixtures), route, mpiexec)
    check_ends(fixtures, program, mpiexec)
    check_as_launched(fixtures, program, mpiexec)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
