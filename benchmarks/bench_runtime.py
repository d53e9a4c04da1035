"""The C++ runtime against plain TorchScript in Python, and one forward against one per chunk; one
thread.

usage: python benchmarks/bench_runtime.py [PACKAGE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from timing import ratio, report

from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator

CHUNK = 16
COLUMNS = 384


def main(path: Path) -> None:
    """Print time ratios; below 1 the subject is faster."""
    torch.set_num_threads(1)
    package = EmulatorPackage.read(path)
    script = package.load()
    emulator = Emulator(path)
    rows = np.tile(package.golden_inputs, (COLUMNS // len(package.golden_inputs) + 1, 1))[:COLUMNS]
    print(
        f"{package.manifest.name}: time ratio, median of 15 interleaved pairs (lowest to highest)"
    )
    with torch.inference_mode():
        for n in (CHUNK, 64, COLUMNS):
            x = np.ascontiguousarray(rows[:n])
            tensor = torch.from_numpy(x)
            values = ratio(lambda x=x: emulator.run_packed(x), lambda tensor=tensor: script(tensor))
            report(f"runtime / torch.jit.load(path)(x), {n} columns", values)
    chunks = [np.ascontiguousarray(rows[i : i + CHUNK]) for i in range(0, COLUMNS, CHUNK)]
    values = ratio(
        lambda: emulator.run_packed(rows), lambda: [emulator.run_packed(c) for c in chunks]
    )
    report(f"one run of {COLUMNS} columns / {len(chunks)} runs of {CHUNK}", values)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/wrap_model.pt"))
