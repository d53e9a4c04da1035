"""Cost of a step of the embedded model against the number of columns and ranks, as ratios to T10
(512 columns) on one rank.

    python benchmarks/bench_aquaplanet.py [--rounds 3]   (about three minutes a round on two cores)

The runs take turns (A B C ... A B C ...); the ratio of each round is one sample. Beside the ratios
stands the speed of the fastest run in simulated years per day, which belongs to this machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet

DAYS = {10: 10.0, 21: 2.0}
COLUMNS = {10: 512, 21: 2048}


def seconds_per_step(
    truncation: int,
    ranks: int,
    folder: Path,
    days: float | None = None,
    emulator: dict[str, Any] | None = None,
) -> float:
    """Run a few days without output but the daily history and return the cost of a step, start-up
    apart; with an emulator in place of the physics where one is given.
    """
    case = AquaplanetConfig.model_validate(
        {
            "host": "aquaplanet",
            "truncation": truncation,
            "days": days or DAYS[truncation],
            "emulator": emulator,
            "ranks": ranks,
            "history": {"monthly": False},
            "output": folder,
        }
    )
    speed = run_aquaplanet(case).years_per_day
    return 86400.0 / (speed * 365.0 * 72.0)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    subjects = [(truncation, ranks) for truncation in DAYS for ranks in (1, 2)]
    samples: dict[tuple[int, int], list[float]] = {subject: [] for subject in subjects}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            for truncation, ranks in subjects:
                samples[truncation, ranks].append(
                    seconds_per_step(
                        truncation, ranks, Path(scratch) / f"{truncation}_{ranks}_{number}"
                    )
                )
    base = samples[10, 1]
    print(
        "columns  ranks  cost of a step relative to T10 on one rank (median, range)   simulated "
        "years per day here"
    )
    for truncation, ranks in subjects:
        ratios = [
            one / reference for one, reference in zip(samples[truncation, ranks], base, strict=True)
        ]
        speed = 86400.0 / (min(samples[truncation, ranks]) * 365.0 * 72.0)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{COLUMNS[truncation]:7d}  {ranks:5d}  {spread:60s} {speed:10.0f}")


if __name__ == "__main__":
    main()
