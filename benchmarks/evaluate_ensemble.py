"""An ensemble of hybrid runs of the embedded model, three packages by three members: did the
offline number tell which would do well?

    climlink quickstart
    python benchmarks/evaluate_ensemble.py runs/quickstart --output runs/ensemble

Beside the quickstart's own package two smaller networks are trained on its columns. Every package
runs from the end of the quickstart's reference, each member with another small perturbation of its
temperature, beside a reference and a twin. A member that leaves the model's bounds is a result like
any other. OUTPUT/matrix.yaml lists what ran, and OUTPUT/report holds what `climlink evaluate
compare` made of it. Packages and runs that are complete are kept, so an interrupted call goes on.
About 12 minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from climlink.cli.quickstart import StageReporter
from climlink.config import load_config
from climlink.evaluation.compare.evaluate import evaluate_compare
from climlink.evaluation.compare.summary import CompareSummary
from climlink.evaluation.report import write_report
from climlink.installation import configuration
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    EmulatorConfig,
    PairsConfig,
    newest_restart,
    run_aquaplanet,
)
from climlink.online.case import load_case
from climlink.packages.export import export_run
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import RECORD_FILE
from climlink.training.architecture_config import ArchitectureConfig
from climlink.training.config import TrainingConfig
from climlink.training.run import train

PERTURBATION_K = 0.01  # far below what weather makes of it in days
REFERENCE, TWIN = "reference", "twin"

NETWORKS: Mapping[str, dict[str, Any]] = {
    "mlp_small": {
        "architecture": ArchitectureConfig(name="mlp", configuration={"preset": "small"}),
        "seed": 43,
        "epochs": 4,
    },
    "linear": {"architecture": ArchitectureConfig(name="linear"), "seed": 7, "epochs": 2},
}
"""What is trained beside the quickstart's network, as changes of its training configuration."""


def main() -> None:
    """Make packages and runs, write the matrix, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("quickstart", type=Path, help="folder that climlink quickstart made")
    parser.add_argument("--output", type=Path, default=Path("runs/ensemble"))
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--members", type=int, default=3, help="runs of each package")
    parser.add_argument("--ranks", type=int, default=2)
    given = parser.parse_args()
    report = StageReporter()
    packages = make_packages(given.quickstart, given.output, report)
    start = newest_restart(given.quickstart / "reference")
    record = json.loads((given.quickstart / "reference" / RECORD_FILE).read_text(encoding="utf-8"))
    loaded = load_case(configuration("cases/quickstart.yaml"), output=given.output / REFERENCE)
    assert isinstance(loaded, AquaplanetConfig)
    branch = loaded.model_copy(
        update={
            "restart_from": start,
            "days": float(record["case"]["days"]) + given.days,
            "pairs": PairsConfig(),
            "history": {"monthly": False, "hourly": True},
            "ranks": given.ranks,
        }
    )
    run_all(branch, packages, given.output, given.members, report)
    matrix = write_matrix(given.quickstart / "climsim.zarr", packages, given.output, given.members)
    with report.bar("evaluations") as bar:
        found = evaluate_compare(matrix, given.output / "report", progress=bar)
    page = write_report(found.report, given.output / "report")
    show(found.summary)
    print(f"matrix: {matrix}\nreport: {page}")


def show(summary: CompareSummary) -> None:
    """Print packages, members and the answer."""
    print(f"{'run':14s} {'ended':>9s} {'days':>6s} {summary.online_metric:>9s} {'rank':>5s}")
    for package in summary.packages:
        print(
            f"{package.label}: {summary.offline_metric} {_number(package.offline, 4)}, "
            f"{package.package.parameters} parameters"
        )
        for member in package.members:
            ended = "survived" if member.survived else "crashed"
            error = _number(member.error, 3) + ("" if member.survived else "*")
            print(
                f"  {Path(member.run).name:12s} {ended:>9s} {member.days:6.2f} {error:>9s} "
                f"{_number(member.rank, 1):>5s}"
            )
    print(f"two references: {_number(summary.twin_error, 3)}   (* over the days lived)")
    print(summary.words)
    for statement in summary.statements:
        print(f"- {statement}")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def make_packages(quickstart: Path, output: Path, report: StageReporter) -> dict[str, Path]:
    """Return the packages by label: the quickstart's, and those of NETWORKS, trained on its columns
    where they are not there yet.
    """
    packages = {"mlp": quickstart / "wrap_model.pt"}
    for label, change in NETWORKS.items():
        package = output / "packages" / label / "wrap_model.pt"
        if not package.is_file():
            report.stage(f"train {label}")
            config = load_config(
                configuration("training/quickstart_aquaplanet.yaml"), TrainingConfig
            ).model_copy(
                update={
                    **change,
                    "name": label,
                    "store": quickstart / "climsim.zarr",
                    "statistics": quickstart / "statistics.nc",
                    "output": package.parent / "training",
                }
            )
            train(config, overwrite=True)
            export_run(package.parent / "training", package)
        packages[label] = package
    return packages


def run_all(
    branch: AquaplanetConfig,
    packages: Mapping[str, Path],
    output: Path,
    members: int,
    report: StageReporter,
) -> None:
    """Run reference, twin and all members; LaunchError if the reference or its twin do not run to
    the end.
    """
    for name, perturbation in ((REFERENCE, 0.0), (TWIN, PERTURBATION_K)):
        case = branch.model_copy(update={"name": name, "restart_perturbation_k": perturbation})
        if run_once(case, output / name, report) != "finished":
            raise LaunchError(
                f"the {name} of the embedded model ended early; its log is {output / name}/log.txt"
            )
    for member in range(1, members + 1):
        for label, path in packages.items():
            package = EmulatorPackage.read(path)
            emulator = EmulatorConfig.model_validate(
                {"package": path, "pinned_sha256": package.digest}
            )
            name = member_name(label, member)
            case = branch.model_copy(
                update={
                    "name": name,
                    "emulator": emulator,
                    "restart_perturbation_k": PERTURBATION_K,
                    "seed": 100 + member,
                }
            )
            run_once(case, output / name, report)


def member_name(label: str, member: int) -> str:
    """Return the name of a member's run and of its folder."""
    return f"{label}_{member}"


def run_once(case: AquaplanetConfig, folder: Path, report: StageReporter) -> str:
    """Run a case and return how it ended; a run in the folder that is complete is kept."""
    if (folder / RECORD_FILE).is_file():
        status = str(json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))["status"])
        if status in ("finished", "blown_up"):
            return status
        shutil.rmtree(folder)
    report.stage(folder.name)
    with report.bar("days") as bar:
        return run_aquaplanet(case.model_copy(update={"output": folder}), bar).status


def write_matrix(store: Path, packages: Mapping[str, Path], output: Path, members: int) -> Path:
    """Write what ran as the matrix file that the comparison reads, and return its path."""

    def beside(path: Path) -> str:
        return os.path.relpath(path.resolve(), output.resolve())

    matrix = {
        "store": beside(store),
        "reference": REFERENCE,
        "twin": TWIN,
        "packages": [
            {
                "package": beside(path),
                "label": label,
                "runs": [member_name(label, m) for m in range(1, members + 1)],
            }
            for label, path in packages.items()
        ],
    }
    target = output / "matrix.yaml"
    target.write_text(yaml.safe_dump(matrix, sort_keys=False), encoding="utf-8")
    return target


if __name__ == "__main__":
    main()
