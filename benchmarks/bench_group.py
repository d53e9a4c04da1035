"""Ranks with a network each beside ranks that share one, under MPI; and that the former cost what
they cost without MPI.

usage: python benchmarks/bench_group.py [PACKAGE [COLUMNS]]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from timing import report

from climlink.mpi import mpi_command

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build/python/fortran_bridge/tests/group_bench"
ROUNDS = 100


def main(package: Path, columns: int) -> None:
    """Print time ratios of steps (set, run, get of all variables), and the memory of the node."""
    print(
        f"{package}, {columns} columns per rank: time ratio of steps, median of {ROUNDS} "
        "interleaved rounds (lowest to highest)"
    )
    for ranks in (1, 2):
        arguments = [str(PROGRAM), str(package), str(columns), str(ROUNDS), "5"]
        done = subprocess.run(
            mpi_command(ranks, arguments),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        *rounds, memory = done.stdout.splitlines()
        seconds = [[float(text) for text in line.split()] for line in rounds]
        for label, at in (("group_size 1 / opened without MPI", 1), ("shared / group_size 1", 2)):
            ratios = [row[at] / row[at - 1] for row in seconds]
            values = (statistics.median(ratios), min(ratios), max(ratios))
            report(f"{label}, {ranks} rank(s)", values)
        print(f"{ranks} rank(s): {memory}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/wrap_model.pt"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 192,
    )
