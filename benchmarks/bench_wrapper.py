"""The whole graph against the bare network inside it: what derived inputs, normalization and
constraints cost; one thread.

usage: python benchmarks/bench_wrapper.py [PACKAGE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from timing import ratio, report

from climlink.packages.read import EmulatorPackage


def main(path: Path) -> None:
    """Print time ratios; 1 would be a wrapper that costs nothing."""
    torch.set_num_threads(1)
    package = EmulatorPackage.read(path)
    script = package.load()
    print(
        f"{package.manifest.name}: time ratio, median of 15 interleaved pairs (lowest to highest)"
    )
    with torch.inference_mode():
        for n in (16, 64, 384):
            x = torch.from_numpy(np.resize(package.golden_inputs, (n, package.manifest.n_input)))
            normalized = script.normalized_inputs(x)
            values = ratio(lambda x=x: script(x), lambda z=normalized: script.network_rows(z))
            report(f"whole graph / bare network, {n} columns", values)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/wrap_model.pt"))
