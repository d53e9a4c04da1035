"""The quickstart: real ClimSim columns from files to a Fortran MPI run and its score, in one call."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.data.columns import read_columns
from climlink.data.prepare import prepare
from climlink.data.stamp import Stamp
from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.evaluation.offline import R2Table, predict_package, r2_figure, r2_table, replay_outputs
from climlink.export import export_run
from climlink.installation import configuration
from climlink.online import CaseConfig, SelectionConfig, run_online
from climlink.package import EmulatorPackage
from climlink.parity import Verification, verify
from climlink.training.run import train
from climlink.wrappers.contract import EmulatorContract

CLIMSIM_VARIABLE = "CLIMLINK_CLIMSIM_DIR"
DEFAULT_CLIMSIM = Path("../shared/climsim")
REPLAY_RANKS = 2
VERIFY_PAIRS = 2


class Reporter(Protocol):
    """How the quickstart tells its caller what it does."""

    def stage(self, title: str) -> None:
        """Announce a stage."""

    def bar(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return a progress bar for one stage."""


@dataclass(frozen=True)
class QuickstartResult:
    """What the quickstart made and found."""

    package: EmulatorPackage
    verification: Verification
    python_scores: R2Table
    replay_scores: R2Table
    figure: Path

    @property
    def largest_score_difference(self) -> float:
        """Largest difference between the R² of the Fortran replay's files and of the Python prediction, any output and level."""
        return self.python_scores.largest_difference(self.replay_scores)


def find_climsim(given: Path | None) -> Path:
    """Return the ClimSim folder: the one given, else CLIMLINK_CLIMSIM_DIR, else ../shared/climsim; ConfigError says how to name one."""
    named = os.environ.get(CLIMSIM_VARIABLE)
    folder = given or (Path(named) if named else DEFAULT_CLIMSIM)
    if not folder.is_dir():
        raise ConfigError(
            f"no ClimSim folder at {folder}: give one with --climsim DIR or {CLIMSIM_VARIABLE}=DIR; it holds E3SM-MMF.mli/mlo pairs and "
            "the grid file (data set LEAP/ClimSim_low-res)"
        )
    return folder


def run_quickstart(
    climsim: Path, folder: Path, report: Reporter, training: Path | None = None, split: Path | None = None
) -> QuickstartResult:
    """Prepare, compute statistics, train, export, verify, replay under two ranks and score on the test pairs.

    Everything is written below ``folder``; the store of an earlier call is kept, the rest of it is made anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "climsim.zarr"
    split = split or configuration("splits/climsim_sample.yaml")
    report.stage(f"prepare {climsim} -> {store}")
    with report.bar("pairs") as bar:
        prepare(climsim, store, split=split, progress=bar)
    report.stage("statistics")
    statistics = folder / "statistics.nc"
    with report.bar("times") as bar:
        write_statistics(compute_statistics(ColumnStore.open(store), split="train", progress=bar), statistics)
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
    report.stage("score")
    return _score(climsim, folder, package, verification, test, replayed)


def _replay(climsim: Path, output: Path, package: EmulatorPackage, test: Sequence[Stamp], report: Reporter) -> Path:
    shutil.rmtree(output, ignore_errors=True)
    case = CaseConfig(
        host="replay",
        package=package.path,
        data=climsim,
        selection=SelectionConfig(stamps=[str(s) for s in test]),
        output=output,
        ranks=REPLAY_RANKS,
    )
    with report.bar("steps") as bar:
        return run_online(case, bar).folder / "output"


def _score(
    climsim: Path, folder: Path, package: EmulatorPackage, verification: Verification, test: Sequence[Stamp], replayed: Path
) -> QuickstartResult:
    contract = EmulatorContract.from_manifest(package.manifest)
    rows = read_columns(climsim, contract.inputs, contract.outputs, stamps=test)
    predicted = predict_package(package, rows.inputs)
    first = package.manifest.pruned_levels
    python_scores = r2_table(rows.targets, predicted, contract.outputs, first_level=first)
    mli = {p.stamp: p.mli for p in find_pairs(climsim)}
    outputs = replay_outputs([mli[s] for s in test], replayed, contract.outputs, climsim)
    replay_scores = r2_table(rows.targets, outputs, contract.outputs, first_level=first)
    figure = folder / "r2.png"
    levels = np.array(contract.hybrid.hyam) * contract.hybrid.p0_pa + np.array(contract.hybrid.hybm) * contract.hybrid.p0_pa
    r2_figure(
        replay_scores, levels / 100.0, figure, title=f"{package.manifest.name}: R² of the Fortran replay on {len(test)} test snapshots"
    )
    return QuickstartResult(package, verification, python_scores, replay_scores, figure)
