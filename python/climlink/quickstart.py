"""The quickstart: columns in ClimSim's files to a Fortran MPI run and its score, and back into the
model that made them, in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from climlink.data.climsim import find_pairs
from climlink.data.columns import read_columns
from climlink.data.files import make_folder, read_json
from climlink.data.prepare import prepare
from climlink.data.stamp import Stamp
from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.evaluation.offline import R2Table, r2_table, replay_outputs
from climlink.evaluation.offline.evaluate import evaluate_offline
from climlink.evaluation.online.evaluate import OnlineEvaluation, evaluate_online
from climlink.evaluation.report import write_report
from climlink.evaluation.summary import TimesSummary
from climlink.installation import configuration
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    AquaplanetRun,
    EmulatorConfig,
    PairsConfig,
    newest_restart,
    run_aquaplanet,
)
from climlink.online.case import load_case
from climlink.online.replay import ReplayConfig, SelectionConfig, run_replay
from climlink.packages.export import export_run
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import Verification, verify
from climlink.run_folder import RECORD_FILE, discard_run
from climlink.training.run import train
from climlink.wrappers.contract import EmulatorContract

REPLAY_RANKS = 2
VERIFY_PAIRS = 2
HYBRID_DAYS = 5
TWIN_PERTURBATION_K = 0.01  # far below what weather makes of it in days


class Reporter(Protocol):
    """How the quickstart tells its caller what it does."""

    def stage(self, title: str) -> None:
        """Announce a stage."""

    def bar(self, label: str) -> AbstractContextManager[Callable[..., None]]:
        """Return a progress bar for one stage."""


@dataclass(frozen=True)
class QuickstartResult:
    """What the quickstart made and found."""

    package: EmulatorPackage
    verification: Verification
    python_scores: R2Table
    replay_scores: R2Table
    times: TimesSummary | None
    report: Path

    @property
    def largest_score_difference(self) -> float:
        """Largest difference between the R² of the Fortran replay's files and of the Python
        prediction, any output and level.
        """
        return self.python_scores.largest_difference(self.replay_scores)


@dataclass(frozen=True)
class OnlineComparison:
    """The hybrid beside its reference and a twin of the reference that began a hair apart."""

    hybrid: AquaplanetRun
    evaluation: OnlineEvaluation
    report: Path


def run_embedded(
    folder: Path,
    report: Reporter,
    *,
    case: AquaplanetConfig | None = None,
    training: Path | None = None,
    split: Path | None = None,
    days: int = HYBRID_DAYS,
) -> tuple[QuickstartResult, OnlineComparison]:
    """Make columns with the embedded model, run the quickstart on them, and put the package in the
    place of the model's physics.

    A reference run that is complete in ``folder`` is kept; the rest is made anew.
    """
    loaded = case or load_case(configuration("cases/quickstart.yaml"), output=folder / "reference")
    assert isinstance(loaded, AquaplanetConfig)
    report.stage(f"reference: {loaded.days:g} days of the embedded model at T{loaded.truncation}")
    reference = folder / "reference"
    if not _is_finished(reference):
        discard_run(reference)
        _insist(_online(loaded.model_copy(update={"output": reference}), report))
    offline = run_quickstart(
        reference / "climsim",
        folder,
        report,
        training=training or configuration("training/quickstart_aquaplanet.yaml"),
        split=split or configuration("splits/quickstart.yaml"),
    )
    return offline, compare_online(
        loaded, newest_restart(reference), folder, offline.package, days, report
    )


def compare_online(
    case: AquaplanetConfig,
    start: Path,
    folder: Path,
    package: EmulatorPackage,
    days: int,
    report: Reporter,
) -> OnlineComparison:
    """Run reference, twin and hybrid below ``folder`` for some days from a restart that ``case``
    wrote at its end, and evaluate them.

    Raises ``LaunchError`` when the reference or its twin do not run to the end; a hybrid that does
    not is a result.
    """
    branch = {"restart_from": start, "days": case.days + days, "pairs": PairsConfig()}
    emulator = EmulatorConfig.model_validate(
        {"package": package.path, "pinned_sha256": package.digest}
    )
    changes: dict[str, dict[str, object]] = {
        "truth": {},
        "twin": {"restart_perturbation_k": TWIN_PERTURBATION_K},
        "hybrid": {"emulator": emulator},
    }
    runs: dict[str, AquaplanetRun] = {}
    for name, change in changes.items():
        report.stage(f"{name}: {days} days from day {case.days:g}")
        output = folder / name
        discard_run(output)
        runs[name] = _online(
            case.model_copy(update={**branch, "name": name, "output": output, **change}), report
        )
    report.stage("evaluate online")
    truth, twin = (_insist(runs[name]).folder for name in ("truth", "twin"))
    with report.bar("records") as bar:
        found = evaluate_online(runs["hybrid"].folder, truth, twin=twin, progress=bar)
    return OnlineComparison(
        runs["hybrid"], found, write_report(found.report, folder / "report" / "online")
    )


def _online(case: AquaplanetConfig, report: Reporter) -> AquaplanetRun:
    with report.bar("days") as bar:
        return run_aquaplanet(case, bar)


def _insist(run: AquaplanetRun) -> AquaplanetRun:
    if run.status != "finished":
        raise LaunchError(
            f"the reference of the embedded model ended early, {run.message}; its log is "
            f"{run.folder}/log.txt"
        )
    return run


def _is_finished(folder: Path) -> bool:
    try:
        return read_json(folder / RECORD_FILE).get("status") == "finished"
    except (OSError, ValueError):
        return False


def run_quickstart(
    climsim: Path,
    folder: Path,
    report: Reporter,
    training: Path | None = None,
    split: Path | None = None,
) -> QuickstartResult:
    """Prepare, compute statistics, train, export, verify, replay under two ranks and score on the
    test pairs.

    Everything is written below ``folder``; the store of an earlier call is kept, the rest of it is
    made anew.
    """
    make_folder(folder)
    store = folder / "climsim.zarr"
    split = split or configuration("splits/climsim_sample.yaml")
    report.stage(f"prepare {climsim} -> {store}")
    with report.bar("pairs") as bar:
        prepare(climsim, store, split=split, progress=bar)
    report.stage("statistics")
    statistics = folder / "statistics.nc"
    with report.bar("times") as bar:
        write_statistics(
            compute_statistics(ColumnStore.open(store), split="train", progress=bar), statistics
        )
    report.stage("train")
    run = folder / "training"
    train(
        training or configuration("training/quickstart.yaml"),
        overwrite=True,
        overrides={"store": store, "statistics": statistics, "output": run},
    )
    report.stage("export")
    package = export_run(run, folder / "wrap_model.pt", None)
    report.stage("verify on five routes")
    test = [ColumnStore.open(store).stamps[i] for i in ColumnStore.open(store).indices("test")]
    contract = EmulatorContract.from_manifest(package.manifest)
    real = read_columns(climsim, contract.inputs, contract.outputs, stamps=test[:VERIFY_PAIRS])
    verification = verify(package, real.inputs)
    report.stage(f"replay {len(test)} snapshots in Fortran on {REPLAY_RANKS} ranks")
    replayed = _replay(climsim, folder / "replay", package, test, report)
    report.stage("evaluate offline")
    with report.bar("times") as bar:
        found = evaluate_offline(package.path, store, progress=bar)
    page = write_report(found.report, folder / "report" / "offline")
    return QuickstartResult(
        package,
        verification,
        found.result.r2_table(),
        _replay_scores(climsim, package, test, replayed),
        found.summary.times,
        page,
    )


def _replay(
    climsim: Path, output: Path, package: EmulatorPackage, test: Sequence[Stamp], report: Reporter
) -> Path:
    discard_run(output)
    case = ReplayConfig(
        host="replay",
        package=package.path,
        data=climsim,
        selection=SelectionConfig(stamps=[str(s) for s in test]),
        output=output,
        ranks=REPLAY_RANKS,
    )
    with report.bar("steps") as bar:
        return run_replay(case, bar).folder / "output"


def _replay_scores(
    climsim: Path, package: EmulatorPackage, test: Sequence[Stamp], replayed: Path
) -> R2Table:
    """Return R² of what the replay wrote against the truth in the files."""
    contract = EmulatorContract.from_manifest(package.manifest)
    rows = read_columns(climsim, contract.inputs, contract.outputs, stamps=test)
    mli = {p.stamp: p.mli for p in find_pairs(climsim)}
    outputs = replay_outputs([mli[s] for s in test], replayed, contract.outputs, climsim)
    return r2_table(rows.targets, outputs, contract.outputs, first_level=contract.pruned_levels)
