"""Checks climlink-fortran-route against the package in Python: check_route.py PACKAGE PROGRAM MPIEXEC [FLAGS...].

Columns come out as TorchScript gives them, bit for bit, for every number of ranks and chunk size, also with more ranks than columns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch


def run(mpiexec: list[str], ranks: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the route on some ranks."""
    return subprocess.run([*mpiexec, str(ranks), *arguments], capture_output=True, text=True, timeout=120, check=False)


def check_values(package: str, program: str, mpiexec: list[str], folder: Path) -> None:
    """Compare with TorchScript for several decompositions."""
    width = 557
    for n_column, ranks, pcols in [(37, 1, "16"), (37, 3, "7"), (2, 3, "16"), (0, 2, "16")]:
        x = np.random.default_rng(n_column).uniform(0.1, 300.0, (n_column, width)).astype("<f4")
        x.tofile(folder / "x.f32")
        done = run(mpiexec, ranks, [program, package, str(folder / "x.f32"), str(n_column), str(folder / "y.f32"), pcols])
        assert done.returncode == 0, done.stderr
        got = np.fromfile(folder / "y.f32", "<f4").reshape(n_column, -1 if n_column else 368)
        expected = torch.jit.load(package)(torch.from_numpy(x)).numpy()
        assert np.array_equal(got, expected), f"{n_column} columns on {ranks} ranks in chunks of {pcols} differ"
    assert not list(folder.glob("*.part"))


def check_errors(package: str, program: str, mpiexec: list[str], folder: Path) -> None:
    """Wrong usage and wrong files end with a message and a non-zero exit code, and write nothing."""
    (folder / "short.f32").write_bytes(b"\0" * 8)
    cases = [
        ([package, str(folder / "short.f32"), "2", str(folder / "z.f32")], "8 bytes; expected 4456 for 2 rows of 557"),
        ([package, str(folder / "none.f32"), "2", str(folder / "z.f32")], "there is no such file"),
        ([package, str(folder / "short.f32")], "usage"),
        ([package, str(folder / "short.f32"), "two", str(folder / "z.f32")], "N_COLUMN"),
        ([str(folder / "none.pt"), str(folder / "short.f32"), "2", str(folder / "z.f32")], "none.pt"),
    ]
    for arguments, text in cases:
        done = run(mpiexec, 2, [program, *arguments])
        assert done.returncode != 0, arguments
        assert text in done.stderr, (arguments, done.stderr)
    assert not (folder / "z.f32").exists()


def main(package: str, program: str, mpiexec: list[str]) -> None:
    """Run all checks in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        check_values(package, program, mpiexec, Path(name))
        check_errors(package, program, mpiexec, Path(name))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
