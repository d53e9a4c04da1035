"""The stability screen of one package, from its file and a store to a summary and a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion, Report
from climlink.evaluation.stability.findings import StabilityFindings
from climlink.evaluation.stability.free_run import free_run_metrics
from climlink.evaluation.stability.limits import LimitsFile, judge
from climlink.evaluation.stability.options import StabilityOptions
from climlink.evaluation.stability.records import check_lags
from climlink.evaluation.stability.report import stability_report
from climlink.evaluation.stability.response import LinearizedPackage
from climlink.evaluation.stability.runs import Runs
from climlink.evaluation.stability.screen import (
    DIFFERENCE_SIZES,
    StateResult,
    fastest_wave,
    screen_state,
)
from climlink.evaluation.stability.sensitivity import Sensitivity, input_spread, sensitivity
from climlink.evaluation.stability.states import (
    Pool,
    StateGroup,
    given_column,
    read_pool,
    reference_pressure_hpa,
    state_groups,
)
from climlink.evaluation.stability.summary import StabilitySummary
from climlink.evaluation.summary import Metrics, PackageSummary, finite_or_none
from climlink.packages.read import EmulatorPackage

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class StabilityEvaluation:
    """The summary and the report of the screen, and what they were made from."""

    summary: StabilitySummary
    report: Report
    findings: StabilityFindings


class _Counter:
    """Counts parts of the work and tells a progress callback."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress, self.note = 0, total, progress, ""

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total, self.note)


def evaluate_stability(
    package: Path,
    store: Path,
    *,
    options: StabilityOptions | None = None,
    progress: Progress | None = None,
) -> StabilityEvaluation:
    """Screen a package about the states of a store, run columns of it freely, and replay it on
    consecutive steps where there are some.

    ``progress(done, total, note)`` is called as the work goes on. PackageError, StoreError,
    DataError or ConfigError for files that cannot be read; EvaluationError for a store on other
    levels, an empty split, or a graph without derivatives.
    """
    options = options or StabilityOptions()
    rules = options.rules()
    limits = None if options.limits is None else LimitsFile.read(options.limits)
    opened, linear = ColumnStore.open(store), LinearizedPackage.load(EmulatorPackage.read(package))
    _check(opened, linear)
    pool = read_pool(opened, linear.inputs, options.split)
    pool, groups = _groups(opened, pool, linear, options)
    runs = Runs(opened, linear, options)
    alone = runs.held(pool, groups)
    count = _Counter(
        len(groups) * (1 + options.wavelengths) + 1 + runs.steps_to_take(alone), progress
    )
    results = []
    for group in groups:
        count.note = group.title
        results.append(screen_state(linear, pool, group, opened.hybrid, rules, count))
    count.note = "sensitivity"
    drawn = np.unique(
        np.linspace(0, len(pool.rows) - 1, min(len(pool.rows), options.sensitivity_columns))
        .round()
        .astype(int)
    )
    moved = sensitivity(
        linear,
        pool.rows[drawn],
        input_spread(pool.rows),
        reference_pressure_hpa(opened),
        options.above_hpa,
    )
    count()
    count.note = "semi-online replay"
    replays = runs.replays(count)
    count.note = "free runs"
    free_runs = runs.free_runs(pool, alone, count)
    findings = StabilityFindings(
        package=linear.package,
        store=opened,
        options=options.damping(),
        rules=rules,
        results=results,
        sensitivity=moved,
        above_hpa=options.above_hpa,
        replays=replays,
        free_runs=free_runs,
        bounds=runs.bounds,
        range_margin=options.range_margin,
        sun_moves=options.sun == "clock",
        record_stamps=runs.record.stamps,
        record_source=str(options.pairs or opened.path),
        nudging_hours=options.nudging_hours,
        excluded=[*_excluded(results, moved), *runs.excluded()],
    )
    summary = _summary(findings, options, limits)
    return StabilityEvaluation(
        summary, stability_report(findings, summary, options.command(package, store)), findings
    )


def _check(store: ColumnStore, linear: LinearizedPackage) -> None:
    m = linear.package.manifest
    if m.level_count != store.level_count:
        raise EvaluationError(
            f"{store.path} has {store.level_count} levels, {linear.package.path} was made for "
            f"{m.level_count}"
        )
    if m.time_step_s != store.time_step_s:
        raise EvaluationError(
            f"{store.path} has a time step of {store.time_step_s:g} s, {linear.package.path} was "
            f"made for {m.time_step_s:g} s"
        )
    check_lags(store, linear.inputs)


def _groups(
    store: ColumnStore, pool: Pool, linear: LinearizedPackage, options: StabilityOptions
) -> tuple[Pool, list[StateGroup]]:
    if not options.columns:
        return pool, state_groups(pool, options.ensemble)
    groups = []
    for number, column in enumerate(options.columns, start=1):
        pool, group = given_column(store, pool, linear.inputs, column, options.ensemble, number)
        groups.append(group)
    return pool, groups


def _excluded(results: list[StateResult], moved: Sensitivity) -> list[Exclusion]:
    found = [
        Exclusion(
            f"{r.response.left_out} columns of {r.group.title}", "their derivative is not finite"
        )
        for r in results
        if r.response.left_out
    ]
    if moved.left_out:
        found.append(
            Exclusion(
                f"{moved.left_out} columns of the sensitivity", "their derivative is not finite"
            )
        )
    return found


def _summary(
    findings: StabilityFindings, options: StabilityOptions, limits: LimitsFile | None
) -> StabilitySummary:
    step = findings.package.manifest.require_time_step()
    reasons = [
        f"{r.group.title}: {reason}"
        for r in findings.results
        for reason in r.reasons(findings.rules, step).values()
    ]
    if findings.replays and findings.replays["emulator"].ended is not None:
        reasons.append(f"semi-online replay: {findings.replays['emulator'].ended}")
    package, metrics = findings.package, _metrics(findings, step)
    judgement = judge(
        None if limits is None else limits.limits, package.manifest, package.digest, metrics
    )
    if judgement.call == "outside limits":
        reasons += [f"free run: {reason}" for reason in judgement.reasons]
    return StabilitySummary(
        package=PackageSummary.of(package),
        store=str(findings.store.path),
        store_digest=findings.store.digest,
        split=options.split,
        states=[r.group.name for r in findings.results],
        verdict="unstable" if reasons else "stable",
        reasons=reasons,
        free_run_call=judgement.call,
        free_run_reasons=judgement.reasons,
        limits_sha256=None if limits is None else limits.digest,
        metrics=metrics,
        excluded=[f"{e.what}: {e.why}" for e in findings.excluded],
    )


def _metrics(findings: StabilityFindings, step: float) -> Metrics:
    results = findings.results
    wave = fastest_wave(results)
    metrics: Metrics = {
        "growth.max_per_day": None if wave is None else wave[1].growth,
        "growth.phase_speed_m_s": None if wave is None else wave[1].speed,
        "growth.wavelength_km": None if wave is None else wave[1].wavelength_km,
        "growth.peak_hpa": None if wave is None else wave[1].peak_hpa,
        "growth.any_speed_max_per_day": max(float(r.spectrum.growth.max()) for r in results),
        "column.growth_max": max(r.column.growth_max for r in results),
        "column.amplification_max": max(r.column.amplification_max(step) for r in results),
        "column.damping_per_step_max": max(r.damping_per_step(step) for r in results),
        "stratosphere.growth_max": finite_or_none(max(r.stratosphere[0] for r in results)),
        f"sensitivity.share_above_{findings.above_hpa:g}_hpa": finite_or_none(
            findings.sensitivity.share_from_above
        ),
        "semi_online.steps": float(findings.replays["emulator"].steps)
        if findings.replays
        else None,
    }
    for size in DIFFERENCE_SIZES:
        known = [r.difference[size] for r in results if math.isfinite(r.difference[size])]
        metrics[f"response.difference_{size:g}"] = float(np.median(known)) if known else None
    for prefix, variant in (
        ("semi_online", "emulator"),
        ("semi_online_nudged", "nudged"),
        ("semi_online_no_physics", "no physics"),
    ):
        one = findings.replays.get(variant)
        metrics[f"{prefix}.rmse.T"] = None if one is None else float(one.rmse["state_t"][-1])
        metrics[f"{prefix}.rmse.Q"] = None if one is None else float(one.rmse["state_q0001"][-1])
    return metrics | free_run_metrics(findings.free_runs)
