"""What all offline scores cost beside reading a store and predicting, and what memory they need as
the store grows; one thread.

usage: python benchmarks/bench_evaluate_offline.py [PACKAGE [STORE]]
"""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import torch
from timing import ratio, report

from climlink.data.store import ColumnStore
from climlink.evaluation.offline.blocks import Blocks
from climlink.evaluation.offline.collect import collect
from climlink.packages.prediction import Predictor

SPLIT = "train"


def blocks_of(predictor: Predictor, store: ColumnStore, times: int) -> Blocks:
    """Return the blocks of ``times`` times of the store, over and over again where it has fewer."""
    blocks = Blocks(predictor, store, SPLIT)
    blocks.indices = np.resize(blocks.indices, times)
    return blocks


def read_and_predict(blocks: Blocks) -> None:
    """Go through all blocks and score nothing."""
    for block in blocks:
        del block


def peak_mib(blocks: Blocks, predictor: Predictor) -> float:
    """Return the largest memory that numpy holds while everything is scored."""
    tracemalloc.start()
    collect(blocks, predictor)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main(package: Path, store: Path) -> None:
    """Print time ratios and ratios of memory; the baseline is named in each line."""
    torch.set_num_threads(1)
    predictor, opened = Predictor(package), ColumnStore.open(store)
    print(
        f"{predictor.package.manifest.name}, {opened.n_column} columns: time ratio, median of 5 "
        "interleaved pairs (lowest to highest)"
    )
    step = opened.time_chunk
    few = blocks_of(predictor, opened, step)
    values = ratio(lambda: collect(few, predictor), lambda: read_and_predict(few), pairs=5)
    report(f"all scores / reading and predicting, {step} times", values)
    many = blocks_of(predictor, opened, 4 * step)
    values = ratio(lambda: collect(many, predictor), lambda: collect(few, predictor), pairs=5)
    report(f"all scores: {4 * step} / {step} times", values)
    base = peak_mib(few, predictor)
    print(f"memory: {4 * step} / {step} times {peak_mib(many, predictor) / base:.3f}")


if __name__ == "__main__":
    folder = Path("runs/quickstart")
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "wrap_model.pt"
    main(package, Path(sys.argv[2]) if len(sys.argv) > 2 else folder / "climsim.zarr")
