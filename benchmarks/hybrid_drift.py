"""Error of a hybrid run of the embedded model against its reference, beside that of a twin of the
reference, by day.

    climlink quickstart
    python benchmarks/hybrid_drift.py runs/quickstart --days 30 --output runs/hybrid_drift

The quickstart's package takes the place of the physics from the end of the quickstart's reference
run on; reference and twin begin 0.01 K apart. The report is OUTPUT/report/online/report.html. About
5 minutes for 30 days on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from climlink.cli.quickstart import StageReporter
from climlink.installation import configuration
from climlink.online.aquaplanet import AquaplanetConfig, newest_restart
from climlink.online.case import load_case
from climlink.packages.read import EmulatorPackage
from climlink.quickstart import compare_online


def main() -> None:
    """Run the three and print the errors by day."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("quickstart", type=Path, help="folder that climlink quickstart made")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("runs/hybrid_drift"))
    given = parser.parse_args()
    case = load_case(configuration("cases/quickstart.yaml"), output=given.output)
    assert isinstance(case, AquaplanetConfig)
    package = EmulatorPackage.read(given.quickstart / "wrap_model.pt")
    start = newest_restart(given.quickstart / "reference")
    found = compare_online(case, start, given.output, package, given.days, StageReporter())
    print(f"hybrid: {found.hybrid.status} on day {found.hybrid.day:g} {found.hybrid.message}")
    print("day  hybrid T, K  Q, g/kg   twin T, K  Q, g/kg")
    numbers = found.evaluation.numbers
    for day in numbers["daily_day"].values:
        at = numbers.sel(daily_day=day)
        errors = {
            pair: [float(at[f"daily_rmse_{name}"].sel(pair=pair)) for name in "TQ"]
            for pair in ("run", "twin")
        }
        print(f"{day:3.0f} " + " ".join(f"{t:11.2f} {1e3 * q:8.2f}" for t, q in errors.values()))
    print(f"report: {found.report}")


if __name__ == "__main__":
    main()
