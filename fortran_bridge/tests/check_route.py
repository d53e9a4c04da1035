"""Checks climlink-fortran-route against Python: check_route.py FIXTURES PROGRAM MPIEXEC [FLAGS...].

Rows come out as TorchScript gives them, bit for bit, for every number of ranks and chunk size, also
with more ranks than rows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

Decomposition = tuple[int, int, str]  # rows, ranks, rows in a chunk


def run(mpiexec: list[str], ranks: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the route on some ranks."""
    return subprocess.run(
        [*mpiexec, str(ranks), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


PLACES = {"climsim_q.pt": 557, "climsim_memory.pt": 678, "field.pt": 40}
"""Values in the input rows of each package.

Outputs of field.pt are inputs from other places, times the place: an array that is not
[sample, dims...] by index shows.
"""


def check_values(
    package: Path,
    decompositions: list[Decomposition],
    program: str,
    mpiexec: list[str],
    folder: Path,
) -> None:
    """Compare with TorchScript for several decompositions."""
    graph = torch.jit.load(str(package))
    source, target = folder / "x.f32", folder / "y.f32"
    for n_row, ranks, pcols in decompositions:
        shape = (n_row, PLACES[package.name])
        x = np.random.default_rng(n_row).uniform(0.1, 300.0, shape).astype("<f4")
        if package.name == "climsim_memory.pt":
            x[:, 557] = np.arange(n_row) % 2  # start
        x.tofile(source)
        arguments = [str(package), str(source), str(n_row), str(target), pcols]
        done = run(mpiexec, ranks, [program, *arguments])
        assert done.returncode == 0, done.stderr
        expected = graph(torch.from_numpy(x)).numpy()
        got = np.fromfile(target, "<f4").reshape(expected.shape)
        assert np.array_equal(got, expected), (package.name, n_row, ranks, pcols)
    assert not list(folder.glob("*.part"))


def check_errors(package: str, program: str, mpiexec: list[str], folder: Path) -> None:
    """Wrong usage and wrong files end with a message and a non-zero exit code, and write
    nothing.
    """
    (folder / "short.f32").write_bytes(b"\0" * 8)
    cases = [
        (
            [package, str(folder / "short.f32"), "2", str(folder / "z.f32")],
            "8 bytes; expected 4456 for 2 rows of 557",
        ),
        ([package, str(folder / "none.f32"), "2", str(folder / "z.f32")], "there is no such file"),
        ([package, str(folder / "short.f32")], "usage"),
        ([package, str(folder / "short.f32"), "two", str(folder / "z.f32")], "N_COLUMN"),
        (
            [str(folder / "none.pt"), str(folder / "short.f32"), "2", str(folder / "z.f32")],
            "none.pt",
        ),
    ]
    for arguments, text in cases:
        done = run(mpiexec, 2, [program, *arguments])
        assert done.returncode != 0, arguments
        assert text in done.stderr, (arguments, done.stderr)
    assert not (folder / "z.f32").exists()


def main(fixtures: Path, program: str, mpiexec: list[str]) -> None:
    """Run all checks in a folder of their own."""
    cases: dict[str, list[Decomposition]] = {
        "climsim_q.pt": [(37, 1, "16"), (37, 3, "7"), (2, 3, "16"), (0, 2, "16")],
        "climsim_memory.pt": [(37, 3, "7")],
        "field.pt": [(5, 1, "2"), (5, 2, "16")],
    }
    with tempfile.TemporaryDirectory() as name:
        for package, decompositions in cases.items():
            check_values(fixtures / package, decompositions, program, mpiexec, Path(name))
        check_errors(str(fixtures / "climsim_q.pt"), program, mpiexec, Path(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
