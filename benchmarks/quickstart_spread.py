"""How far the quickstart's R² moves with the seed and with the vector instructions of the CPU: the
ranges that the README shows.

    climlink quickstart
    python benchmarks/quickstart_spread.py runs/quickstart --output runs/spread

The quickstart's network is trained on the quickstart's columns once for every seed and instruction
set (which torch takes from ATEN_CPU_CAPABILITY), exported, and scored on the test snapshots. Every
score is a range: nothing is chosen. What is complete is kept, so an interrupted call goes on. The
columns stay as this machine made them: on another machine the embedded model's weather is another
one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

SEEDS = (7, 43, 1024)
INSTRUCTION_SETS = ("machine", "avx2")
OUTPUTS = (
    "ptend_t",
    "ptend_q0001",
    "ptend_q0002",
    "ptend_q0003",
    "ptend_u",
    "ptend_v",
    "cam_out_NETSW",
    "cam_out_PRECC",
)


def main() -> None:
    """Train, export and score what is not there yet, and print the range of every output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("quickstart", type=Path, help="folder that climlink quickstart made")
    parser.add_argument("--output", type=Path, default=Path("runs/spread"))
    given = parser.parse_args()
    scores = {
        (seed, isa): score(
            given.quickstart / "climsim.zarr", given.output / f"{isa}_{seed}", seed, isa
        )
        for isa in INSTRUCTION_SETS
        for seed in SEEDS
    }
    print(f"R² of {len(scores)} trainings: seeds {SEEDS}, instruction sets {INSTRUCTION_SETS}")
    print(f"{'output':16s} {'lowest':>8s} {'highest':>8s}  by seed, {INSTRUCTION_SETS[0]}")
    for name in OUTPUTS:
        values = [found[f"r2.{name}"] for found in scores.values()]
        own = " ".join(f"{scores[seed, INSTRUCTION_SETS[0]][f'r2.{name}']:.4f}" for seed in SEEDS)
        print(f"{name:16s} {min(values):8.4f} {max(values):8.4f}  {own}")


def score(store: Path, folder: Path, seed: int, isa: str) -> dict[str, float]:
    """Return the offline numbers of one training, which is made if the folder has none yet."""
    summary = folder / "report" / "summary.json"
    if not summary.is_file():
        environment = (
            dict(os.environ) if isa == "machine" else {**os.environ, "ATEN_CPU_CAPABILITY": isa}
        )
        package = folder / "wrap_model.pt"
        steps = (
            [
                "train",
                "quickstart_aquaplanet",
                "--store",
                str(store),
                "-o",
                str(folder / "run"),
                "--seed",
                str(seed),
                "--overwrite",
            ],
            ["export", str(folder / "run"), "-o", str(package)],
            [
                "evaluate",
                "offline",
                str(package),
                "--data",
                str(store),
                "-o",
                str(folder / "report"),
            ],
        )
        for step in steps:
            subprocess.run(
                [sys.executable, "-m", "climlink", *step],
                check=True,
                env=environment,
                stdout=subprocess.DEVNULL,
            )
    found: dict[str, float] = json.loads(summary.read_text(encoding="utf-8"))["metrics"]
    return found


if __name__ == "__main__":
    main()
