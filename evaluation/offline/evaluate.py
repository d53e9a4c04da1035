"""Offline evaluation of a package on a store: one pass, one result, one report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.offline.blocks import Blocks
from climlink.evaluation.offline.collect import Collected, Progress, collect
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.offline.report import build_report
from climlink.evaluation.offline.result import OfflineResult, Place
from climlink.evaluation.offline.times import scored_times, time_span
from climlink.evaluation.report import Exclusion, Report, write_report
from climlink.evaluation.summary import OfflineSummary, PackageSummary
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage


@dataclass(frozen=True)
class OfflineEvaluation:
    """What one package scores on one store."""

    result: OfflineResult
    summary: OfflineSummary
    report: Report


def evaluate_offline(
    package: EmulatorPackage | str | Path,
    store: ColumnStore | str | Path,
    *,
    split: str = "test",
    output: str | Path | None = None,
    pinned_digest: str | None = None,
    progress: Progress | None = None,
) -> OfflineEvaluation:
    """Run a package over a split of a store, block by block, and return its scores and report. The
    test is repeated on the later window, where the store has one.

    With ``output`` the report is written to that folder too. ``pinned_digest`` is that of a path.

    Columns with a prediction that is not finite are counted, named and left out of the scores; a
    package that has none but these is an EvaluationError, and so are levels, time step or vertical
    grid that do not fit and an empty split. PackageError: no package, or not the one of
    ``pinned_digest``. StoreError or DataError: no store, or not the inputs that the package takes.
    """
    read = (
        package
        if isinstance(package, EmulatorPackage)
        else EmulatorPackage.read(package, pinned_digest)
    )
    opened = store if isinstance(store, ColumnStore) else ColumnStore.open(store)
    result = offline_result(read, opened, split, progress)
    if split == "test" and opened.indices("later").size:
        result = _repeated_later(result, read, opened, progress)
    summary = OfflineSummary(
        package=result.package,
        store=str(opened.path),
        store_digest=opened.digest,
        split=split,
        rows=result.rows,
        times=result.times,
        metrics=metrics(result),
    )
    command = f"climlink evaluate offline {read.path} --data {opened.path}" + (
        "" if split == "test" else f" --split {split}"
    )
    report = build_report(result, summary, command)
    if output is not None:
        write_report(report, Path(output))
    return OfflineEvaluation(result, summary, report)


def _repeated_later(
    result: OfflineResult,
    package: EmulatorPackage,
    store: ColumnStore,
    progress: Progress | None,
) -> OfflineResult:
    """Return the result of the test with that of the later window, or why there is none."""
    try:
        later = offline_result(package, store, "later", progress, changes=False)
    except EvaluationError as error:
        left_out = Exclusion("the score on the later window", str(error))
        return replace(result, excluded=[*result.excluded, left_out])
    return replace(result, later=later)


def offline_result(
    package: EmulatorPackage,
    store: ColumnStore,
    split: str,
    progress: Progress | None = None,
    *,
    changes: bool = True,
) -> OfflineResult:
    """Return what one pass over a split of a store finds (see ``evaluate_offline``), constraint
    activity with ``changes`` only.
    """
    predictor = Predictor(package)
    blocks = Blocks(predictor, store, split, changes=changes)
    return _result(blocks, predictor, collect(blocks, predictor, progress), split)


def _result(
    blocks: Blocks, predictor: Predictor, collected: Collected, split: str
) -> OfflineResult:
    manifest, store = predictor.package.manifest, blocks.store
    rows = len(blocks.indices) * store.n_column - blocks.misses.rows
    if rows == 0:
        raise EvaluationError(
            f"{predictor.package.path}: not one of {blocks.misses.rows} columns has a finite "
            f"prediction, so there is nothing to score; the first: {blocks.misses.places[0]}"
        )
    excluded = list(collected.excluded)
    if manifest.pruned_levels is None:
        excluded.append(
            Exclusion(
                "the pruning depth",
                "the imported graph does not say it: every level counts in medians",
            )
        )
    if manifest.imported is not None and manifest.imported.host_postprocessing != "none":
        excluded.append(
            Exclusion(
                "what the host does to the outputs",
                "scored is what the graph gives, before the host's own limits",
            )
        )
    if not store.has_place:
        made_of = f"the store was made of {store.attributes['source']}"
        why = f"{made_of}, whose rows say neither time nor place: every row weighs the same"
        lacking = "weights by area, means by latitude, and R² over time of columns"
        excluded.append(Exclusion(lacking, why))
    trained = manifest.provenance.data_digest
    trained_on_store = None if trained is None else trained == store.digest
    return OfflineResult(
        package=PackageSummary.of(predictor.package),
        outputs=blocks.outputs,
        first_level=min(manifest.pruned_levels or 0, manifest.level_count - 1),
        place=Place(
            store=str(store.path),
            digest=store.digest,
            split=split,
            first=store.name_of(int(blocks.indices[0])),
            last=store.name_of(int(blocks.indices[-1])),
            times=len(blocks.indices),
            latitude=store.latitude if store.has_place else None,
            area=blocks.area,
            hybrid=store.hybrid,
            target_weights=store.target_weights,
        ),
        plain=collected.plain,
        energy=collected.energy,
        mass=collected.mass,
        residuals=[] if collected.residuals is None else collected.residuals.result(blocks.area),
        global_water=None if collected.global_water is None else collected.global_water.result(),
        budgets=collected.budgets,
        deciles=None if collected.groups is None else collected.groups.deciles(),
        confidence=None if collected.confidence is None else collected.confidence.result(),
        activities=None if collected.activity is None else collected.activity.result(),
        range_use=None if collected.range_use is None else collected.range_use.result(),
        misses=blocks.misses,
        rows=rows,
        trained_on_store=trained_on_store,
        excluded=excluded,
        training=time_span(store, "train") if trained_on_store else None,
        scored=scored_times(store, split, trained_here=bool(trained_on_store)),
    )
