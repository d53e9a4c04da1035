"""The stability screen of one package, from its file and a store to a summary and a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion, Report
from climlink.evaluation.stability.dynamics import Friction
from climlink.evaluation.stability.modes import default_wavelengths
from climlink.evaluation.stability.records import PairsRecord, Record, StoreRecord, check_lags
from climlink.evaluation.stability.report import (
    StabilityFindings,
    reference_pressure_hpa,
    stability_report,
)
from climlink.evaluation.stability.response import CLOUD, PROGNOSTIC, LinearizedPackage
from climlink.evaluation.stability.screen import (
    DIFFERENCE_SIZES,
    Rules,
    StateResult,
    fastest_wave,
    screen_state,
)
from climlink.evaluation.stability.semi_online import (
    Replay,
    no_tendencies,
    package_tendencies,
    replay,
)
from climlink.evaluation.stability.sensitivity import Sensitivity, input_spread, sensitivity
from climlink.evaluation.stability.states import (
    Pool,
    StateGroup,
    given_column,
    read_pool,
    state_groups,
)
from climlink.evaluation.stability.summary import StabilitySummary
from climlink.evaluation.summary import Metrics, PackageSummary, finite_or_none
from climlink.packages.read import EmulatorPackage

Progress = Callable[[int, int, str], None]

VARIANTS = ("emulator", "nudged", "no physics")


@dataclass(frozen=True)
class StabilityOptions:
    """What ``climlink evaluate stability`` can be told.

    ``ensemble`` columns are averaged about every state; ``columns`` (STAMP:COLUMN of the store)
    replace the states by latitude and moisture; ``cloud`` perturbs cloud liquid and ice too; growth
    in 1/day up to ``growth_limit`` is let pass; ``above_hpa`` parts upper from lower levels in the
    sensitivity; ``pairs`` is a folder of consecutive mli/mlo pairs for the replay (default: the
    store), of at most ``steps`` steps.
    """

    split: str = "test"
    ensemble: int = 48
    columns: tuple[str, ...] = ()
    cloud: bool = False
    friction: Friction = field(default_factory=Friction)
    shortest_km: float = 300.0
    longest_km: float = 40000.0
    wavelengths: int = 25
    growth_limit: float = 0.1
    above_hpa: float = 200.0
    sensitivity_columns: int = 24
    pairs: Path | None = None
    grid: Path | None = None
    steps: int | None = None
    nudging_hours: float = 6.0

    def __post_init__(self) -> None:
        least = {
            "ensemble": self.ensemble,
            "sensitivity_columns": self.sensitivity_columns,
            "steps": 1 if self.steps is None else self.steps,
        }
        for name, value in least.items():
            if value < 1:
                raise EvaluationError(f"{name} must be 1 or more, got {value}")
        if self.nudging_hours <= 0.0 or self.above_hpa <= 0.0:
            raise EvaluationError(
                f"nudging_hours and above_hpa must be above 0, got {self.nudging_hours} and "
                f"{self.above_hpa}"
            )

    def rules(self) -> Rules:
        """Return the rules of the screen."""
        fields = PROGNOSTIC + (CLOUD if self.cloud else ())
        return Rules(
            fields,
            self.friction,
            default_wavelengths(self.shortest_km, self.longest_km, self.wavelengths),
            self.growth_limit,
        )


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
    """Screen a package about the states of a store, and replay it on consecutive steps where there
    are some.

    ``progress(done, total, note)`` is called as the work goes on. PackageError, StoreError or
    DataError for files that cannot be read; EvaluationError for a store on other levels, an empty
    split, or a graph without derivatives.
    """
    options = options or StabilityOptions()
    rules = options.rules()
    opened, linear = ColumnStore.open(store), LinearizedPackage.load(EmulatorPackage.read(package))
    _check(opened, linear)
    pool = read_pool(opened, linear.inputs, options.split)
    pool, groups = _groups(opened, pool, linear, options)
    record = _record(opened, linear, options)
    steps = min(len(record.stamps) - 1, options.steps or len(record.stamps))
    count = _Counter(
        len(groups) * (1 + options.wavelengths) + 1 + len(VARIANTS) * max(steps, 0), progress
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
    replays = _replays(record, linear, options, count)
    findings = StabilityFindings(
        package=linear.package,
        store=opened,
        options=_described(options),
        rules=rules,
        results=results,
        sensitivity=moved,
        above_hpa=options.above_hpa,
        replays=replays,
        record_stamps=record.stamps,
        record_source=str(options.pairs or opened.path),
        nudging_hours=options.nudging_hours,
        excluded=_excluded(results, moved, record, options),
    )
    summary = _summary(findings, options)
    return StabilityEvaluation(
        summary, stability_report(findings, summary, _command(package, store, options)), findings
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


def _record(store: ColumnStore, linear: LinearizedPackage, options: StabilityOptions) -> Record:
    if options.pairs is None:
        return StoreRecord.of(store)
    return PairsRecord(
        options.pairs, linear.inputs, options.grid, linear.package.manifest.require_time_step()
    )


def _replays(
    record: Record,
    linear: LinearizedPackage,
    options: StabilityOptions,
    progress: Callable[[], None],
) -> dict[str, Replay]:
    """Return the replays by variant; none without two consecutive steps."""
    if len(record.stamps) < 2:
        return {}
    emulator = package_tendencies(linear, record.hybrid)
    sources = {
        "emulator": (emulator, None),
        "nudged": (emulator, 3600.0 * options.nudging_hours),
        "no physics": (no_tendencies, None),
    }
    return {
        name: replay(
            record, source, linear.inputs, steps=options.steps, nudging_s=nudging, progress=progress
        )
        for name, (source, nudging) in sources.items()
    }


def _excluded(
    results: list[StateResult], moved: Sensitivity, record: Record, options: StabilityOptions
) -> list[Exclusion]:
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
    if len(record.stamps) < 2:
        source = options.pairs or "the store"
        found.append(
            Exclusion(
                "semi-online replay",
                f"{source} holds no two steps that follow each other; give consecutive pairs with "
                "--pairs",
            )
        )
    return found


def _summary(findings: StabilityFindings, options: StabilityOptions) -> StabilitySummary:
    step = findings.package.manifest.require_time_step()
    reasons = [
        f"{r.group.title}: {reason}"
        for r in findings.results
        for reason in r.reasons(findings.rules, step).values()
    ]
    if findings.replays and findings.replays["emulator"].ended is not None:
        reasons.append(f"semi-online replay: {findings.replays['emulator'].ended}")
    return StabilitySummary(
        package=PackageSummary.of(findings.package),
        store=str(findings.store.path),
        store_digest=findings.store.digest,
        split=options.split,
        states=[r.group.name for r in findings.results],
        verdict="unstable" if reasons else "stable",
        reasons=reasons,
        metrics=_metrics(findings, step),
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
    return metrics


def _described(options: StabilityOptions) -> str:
    f = options.friction
    sponge = (
        f", a sponge of {f.sponge_per_day:g}/day at the lid that begins at {f.sponge_hpa:g} hPa"
        if f.sponge_per_day > 0.0
        else ""
    )
    return f"friction {f.rate_per_day:g}/day{sponge}, rigid lid and floor, no rotation"


def _command(package: Path, store: Path, options: StabilityOptions) -> str:
    words = [
        f"climlink evaluate stability {package} --data {store} --split {options.split} --ensemble "
        f"{options.ensemble}"
    ]
    words += [f"--column {c}" for c in options.columns]
    words += ["--cloud"] if options.cloud else []
    words += (
        [f"--pairs {options.pairs} --nudging-hours {options.nudging_hours:g}"]
        if options.pairs
        else []
    )
    return " ".join(words)
