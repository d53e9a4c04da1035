"""The backend for E3SM's emulator framework (float64 rows, variable by variable) against climlink's
packed call; one thread.

usage: python benchmarks/bench_emulators.py [PACKAGE]
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
from timing import ratio, report

from climlink.packages.read import EmulatorPackage

LIBRARY = (
    Path(__file__).resolve().parents[1]
    / "build/python/fortran_bridge/e3sm/emulators/tests/libclimlink_emulators_bench.so"
)
COLUMNS = 384


def opened(path: Path) -> tuple[ctypes.CDLL, str]:
    """Return the library with the package open on both sides, and the package's name."""
    package = EmulatorPackage.read(path)
    golden = package.golden_inputs
    rows = np.ascontiguousarray(
        np.tile(golden, (COLUMNS // len(golden) + 1, 1))[:COLUMNS], dtype=np.float32
    )
    library = ctypes.CDLL(str(LIBRARY))
    library.bench_message.restype = ctypes.c_char_p
    pointer = rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    widths = (package.manifest.inputs.width, package.manifest.outputs.width)
    if library.bench_open(str(path).encode(), pointer, COLUMNS, *widths) != 0:
        raise RuntimeError(library.bench_message().decode())
    return library, package.manifest.name


def succeed(status: int) -> None:
    """Raise unless a call succeeded: a failing call would be a fast one."""
    if status != 0:
        raise RuntimeError("a benchmarked call failed")


def main(path: Path) -> None:
    """Print time ratios; above 1 the backend is slower."""
    library, name = opened(path)
    print(f"{name}: time ratio, median of 15 interleaved pairs (lowest to highest)")
    for n in (16, 64, COLUMNS):
        values = ratio(
            lambda n=n: succeed(library.bench_infer(n)),
            lambda n=n: succeed(library.bench_packed(n)),
        )
        report(f"infer / climlink_run_packed, {n} columns", values)
    succeed(library.bench_differ())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/wrap_model.pt"))
