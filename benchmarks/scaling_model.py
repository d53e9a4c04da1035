"""Model of a step on ne4pg2, ne30pg2 and ne120pg2 and 1 to 1,000 nodes, from measured parts.

    python benchmarks/scaling_model.py runs/inference/performance.json [--ranks-per-node 64]

Assumptions, which the table rests on:

* One rank on every core of a node, one thread each, columns spread as evenly as whole columns
  allow; the rank with the most sets the step. No rank talks to another: columns are independent.
* A forward of n columns takes what was measured (part ``batches``), n filled up to whole granules
  of 16; in between it is linear, beyond the largest measured it goes on at that one's cost per
  column.
* Setting inputs and getting outputs take time in proportion to columns (part ``shares``).
* With all cores busy each is slower by what two busy cores of the measured machine were slower than
  one (part ``ranks``). Nodes with many cores on one memory may lose more: this was not measured.
* The model's dynamics, its communication and everything but the emulator are left out: what comes
  out is a bound on the whole model's speed, and the emulator's own scaling.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inference_packages import MLP, InferenceBenchError
from inference_results import Results, Row

GRIDS = {"ne4pg2": 384, "ne30pg2": 21_600, "ne120pg2": 345_600}
"""Columns of the physics grids: 4 in each of 6 ne² elements."""
NODES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RANKS_PER_NODE = 64
GRANULE = 16
TIME_STEP_S = 1200.0
ENGINE = "aotinductor float32"
_DAY_S, _YEAR_DAYS = 86400.0, 365.0


@dataclass(frozen=True)
class Cost:
    """Measured seconds of a forward by number of columns, of the bridge per column, and by how much
    a core is slower where its neighbour works too.
    """

    columns: tuple[int, ...]
    seconds: tuple[float, ...]
    bridge_s: float = 0.0
    contention: float = 1.0

    def step_s(self, columns: int) -> float:
        """Return the seconds of a rank's step of so many columns."""
        if columns == 0:
            return 0.0
        filled = -(-columns // GRANULE) * GRANULE
        if filled > self.columns[-1]:
            forward = self.seconds[-1] / self.columns[-1] * filled
        else:
            forward = float(np.interp(filled, self.columns, self.seconds))
        return self.contention * (forward + self.bridge_s * columns)


@dataclass(frozen=True)
class Scaled:
    """A grid on a number of nodes."""

    grid: str
    nodes: int
    columns_per_rank: int
    step_s: float
    years_per_day: float
    efficiency: float
    """Speed over that on one node times nodes."""


def scaled(cost: Cost, grid: str, nodes: int, ranks_per_node: int = RANKS_PER_NODE) -> Scaled:
    """Return the model's answer for a grid on a number of nodes."""
    step = cost.step_s(columns_of_rank(grid, nodes, ranks_per_node))
    alone = cost.step_s(columns_of_rank(grid, 1, ranks_per_node))
    return Scaled(
        grid=grid,
        nodes=nodes,
        columns_per_rank=columns_of_rank(grid, nodes, ranks_per_node),
        step_s=step,
        years_per_day=TIME_STEP_S / step / _YEAR_DAYS,
        efficiency=alone / (nodes * step),
    )


def columns_of_rank(grid: str, nodes: int, ranks_per_node: int) -> int:
    """Return the most columns that a rank has."""
    return -(-GRIDS[grid] // (nodes * ranks_per_node))


def measured_costs(results: Results, network: str) -> tuple[Cost, Cost]:
    """Return the cost of the compiled engine and of FTorch's way with all columns in one call, the
    latter without a bridge; InferenceBenchError where a part was not measured.
    """
    batches = _rows(results, "batches", network)
    shares = _rows(results, "shares", network)[0]
    bridge = shares["step_seconds"] * (shares["send_share"] + shares["receive_share"])
    contention = _contention(_rows(results, "ranks", network))
    sizes = tuple(row["columns"] for row in batches)
    ours = Cost(
        sizes,
        tuple(row["seconds"] for row in batches),
        bridge_s=bridge / shares["columns"],
        contention=contention,
    )
    return ours, Cost(
        sizes, tuple(row["baseline_seconds"] for row in batches), contention=contention
    )


def _rows(results: Results, part: str, network: str) -> list[Row]:
    found = [
        row
        for row in results.rows(part)
        if row["case"] == network and row["subject"].partition(",")[0] == ENGINE
    ]
    if not found:
        raise InferenceBenchError(
            f"the file has no {part} of {network} with {ENGINE}: measure it by `python "
            f"benchmarks/bench_inference.py {part} --networks {network}`"
        )
    return found


def _contention(ranks: Sequence[Row]) -> float:
    """Return how much longer a step takes where two ranks work than where one does."""
    alone = {row["ranks"]: row["alone_seconds"] for row in ranks}
    return max(1.0, float(alone[2] / alone[1]))


def table(results: Results, network: str, ranks_per_node: int = RANKS_PER_NODE) -> list[str]:
    """Return the model's answers as a Markdown table."""
    ours, theirs = measured_costs(results, network)
    lines = [
        "| grid | nodes | columns per rank | ms per step | simulated years per day | efficiency | "
        "times FTorch-style |",
        "|---|---|---|---|---|---|---|",
    ]
    for grid in GRIDS:
        for nodes in NODES:
            found = scaled(ours, grid, nodes, ranks_per_node)
            other = scaled(theirs, grid, nodes, ranks_per_node)
            lines.append(
                f"| {grid} | {nodes:,} | {found.columns_per_rank:,} | {1e3 * found.step_s:.2f} | "
                f"{found.years_per_day:,.0f} | {found.efficiency:.2f} | "
                f"{other.step_s / found.step_s:.2f} |"
            )
            if found.columns_per_rank == 1:
                break  # more nodes have ranks without columns
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="JSON file of bench_inference.py")
    parser.add_argument("--network", default=MLP.name)
    parser.add_argument("--ranks-per-node", type=int, default=RANKS_PER_NODE)
    given = parser.parse_args()
    print("\n".join(table(Results.read(given.results), given.network, given.ranks_per_node)))


if __name__ == "__main__":
    main()
