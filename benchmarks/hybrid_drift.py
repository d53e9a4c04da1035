"""Error of a hybrid run of the embedded model against its reference, beside that of a twin of the reference.

python benchmarks/hybrid_drift.py runs/hybrid runs/twin runs/truth --figure hybrid_drift.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from climlink.evaluation.drift import drift
from climlink.evaluation.figures import drift_figure


def main() -> None:
    """Print the errors by day and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hybrid", type=Path)
    parser.add_argument("twin", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("hybrid_drift.png"))
    given = parser.parse_args()
    record = json.loads((given.hybrid / "run.json").read_text())
    print(f"{given.hybrid}: {record['status']} {record.get('message', '')}")
    hybrid, twin = drift(given.hybrid, given.reference), drift(given.twin, given.reference)
    print("day  hybrid T, K  Q, g/kg   twin T, K  Q, g/kg")
    for i, day in enumerate(hybrid.days):
        print(
            f"{day:3.0f}  {hybrid.temperature_k[i]:11.2f} {1e3 * hybrid.humidity_kg_kg[i]:8.2f} "
            f"{twin.temperature_k[i]:11.2f} {1e3 * twin.humidity_kg_kg[i]:8.2f}"
        )
    drift_figure({"two references a hair apart": twin, "hybrid": hybrid}, given.figure, title="error against the reference")


if __name__ == "__main__":
    main()
