"""Online evaluation of several runs against one reference: who survived, with an interval, and
every run's error to its own end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from climlink.config import StrictModel
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.online import ensemble_growth_figure, survival_figure
from climlink.evaluation.online import captions
from climlink.evaluation.online.beside import Beside
from climlink.evaluation.online.blocks import FORECASTS, RUN, TWIN, Progress
from climlink.evaluation.online.evaluate import OnlineEvaluation, evaluate_online
from climlink.evaluation.online.fields import PROFILES, STATE
from climlink.evaluation.report import Exclusion, Picture, Report, Section, Table
from climlink.evaluation.summary import OnlineSummary
from climlink.evaluation.survival import SurvivalCurve, kaplan_meier

Array = NDArray[np.float64]

CONFIDENCE = 0.95
_TABLE = {
    "skilful_days.T": ("T beats climatology until", "d", 1.0),
    "skilful_days.Q": ("Q beats it until", "d", 1.0),
    "relative_error.T": ("last T RMSE over climatology's", "", 1.0),
    "relative_error.Q": ("last Q RMSE over it", "", 1.0),
    "rmse.T": ("T RMSE", "K", 1.0),
    "rmse.Q": ("Q RMSE", "g/kg", 1e3),
    "drift.T": ("T drift", "K", 1.0),
    "precipitation.bias": ("rain bias", "mm/day", 1.0),
    "precipitation.rmse": ("rain RMSE", "mm/day", 1.0),
}
"""Metrics of every run's row: title, units, factor from the units of the files."""
_FEW = 10


class EnsembleSummary(StrictModel):
    """What several runs did beside one reference."""

    kind: Literal["online_ensemble"] = "online_ensemble"
    reference: str
    members: int = Field(description="runs that were evaluated")
    survived: int
    on_support: int = Field(
        default=0, description="runs that survived, but held by the range policy of their package"
    )
    survival: float = Field(description="Kaplan-Meier estimate at the last day of any member")
    survival_low: float
    survival_high: float
    skilful: int | None = Field(
        description="runs that survived and ended closer to the reference than climatology in T "
        "and Q; null where that cannot be told"
    )
    confidence: float = CONFIDENCE
    runs: dict[str, OnlineSummary]
    excluded: list[str] = Field(description="what was left out, and why")


@dataclass(frozen=True)
class EnsembleEvaluation:
    """Several runs: each with its own report, and one report of all."""

    members: dict[str, OnlineEvaluation]
    summary: EnsembleSummary
    report: Report


def evaluate_ensemble(
    runs: Sequence[Path],
    reference: Path,
    *,
    twin: Path | None = None,
    independent: Sequence[Path] = (),
    from_day: float | None = None,
    planned_days: float | None = None,
    progress: Progress | None = None,
) -> EnsembleEvaluation:
    """Evaluate each run as evaluate_online does, and all together. A run that cannot be evaluated
    is left out and listed.

    EvaluationError if no run can be, or one is named twice.
    """
    labels = member_names(runs)
    members: dict[str, OnlineEvaluation] = {}
    excluded: list[Exclusion] = []
    for label, run in labels.items():
        bar = _labelled(progress, label)
        try:
            members[label] = evaluate_online(
                run,
                reference,
                twin=twin,
                independent=independent,
                from_day=from_day,
                planned_days=planned_days,
                progress=bar,
            )
        except EvaluationError as error:
            excluded.append(Exclusion(f"run {label}", f"it cannot be evaluated: {error}"))
    if not members:
        raise EvaluationError(
            "no run can be evaluated: " + "; ".join(f"{e.what}: {e.why}" for e in excluded)
        )
    excluded += _gathered(members)
    curve = kaplan_meier(
        np.array([m.summary.days for m in members.values()]),
        np.array([not m.summary.survived for m in members.values()]),
        CONFIDENCE,
    )
    summary = EnsembleSummary(
        reference=str(reference),
        members=len(members),
        survived=sum(m.summary.survived for m in members.values()),
        on_support=sum(m.summary.lived_on_support for m in members.values()),
        survival=float(curve.probability[-1]),
        survival_low=float(curve.low[-1]),
        survival_high=float(curve.high[-1]),
        skilful=_skilful([m.summary for m in members.values()]),
        runs={label: m.summary for label, m in members.items()},
        excluded=[f"{e.what}: {e.why}" for e in excluded],
    )
    beside = Beside(reference, twin, independent, from_day)
    return EnsembleEvaluation(members, summary, _report(members, summary, curve, excluded, beside))


def member_names(runs: Sequence[Path]) -> dict[str, Path]:
    """Return a short name for each run: its folder's name, with the folders above where that is not
    enough. EvaluationError for one named twice."""
    absolute = [run.resolve() for run in runs]
    if len(set(absolute)) < len(absolute):
        twice = sorted({str(run) for run in absolute if absolute.count(run) > 1})
        raise EvaluationError(
            f"named twice: {', '.join(twice)}; every member of an ensemble counts once"
        )
    for depth in range(1, max(len(run.parts) for run in absolute) + 1):
        names = ["_".join(run.parts[-depth:]).replace("/", "") for run in absolute]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, runs, strict=True))


def _gathered(members: dict[str, OnlineEvaluation]) -> list[Exclusion]:
    """Return what the members left out, each once with the runs that it was left out of."""
    runs: dict[Exclusion, list[str]] = {}
    for label, one in members.items():
        for exclusion in one.excluded:
            runs.setdefault(exclusion, []).append(label)
    named = {
        e: "every run" if len(labels) == len(members) else ", ".join(labels)
        for e, labels in runs.items()
    }
    return [Exclusion(f"{labels}: {e.what}", e.why) for e, labels in named.items()]


def _labelled(progress: Progress | None, label: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, note: progress(done, total, f"{label}: {note}")


def _report(
    members: dict[str, OnlineEvaluation],
    summary: EnsembleSummary,
    curve: SurvivalCurve,
    excluded: Sequence[Exclusion],
    beside: Beside,
) -> Report:
    runs = {label: m.summary.run for label, m in members.items()}
    return Report(
        title=f"Online evaluation of {summary.members} runs",
        words=_words(summary),
        sections=[
            _survival_section(summary, curve, _skill_curve(list(summary.runs.values()))),
            *_growth_sections(members),
            _table_section(summary),
        ],
        summary=summary.model_dump(mode="json"),
        numbers=_numbers(members, curve),
        command=beside.command(list(runs.values())),
        sources=runs | beside.sources(),
        excluded=excluded,
    )


def _skilful(runs: Sequence[OnlineSummary]) -> int | None:
    """Return how many runs lived and ended closer to the reference than climatology in T and Q."""
    ratios = [[run.metrics.get(f"relative_error.{name}") for name in "TQ"] for run in runs]
    if all(ratio is None for row in ratios for ratio in row):
        return None
    return sum(
        run.survived and all(ratio is not None and ratio < 1.0 for ratio in row)
        for run, row in zip(runs, ratios, strict=True)
    )


def _skill_curve(runs: Sequence[OnlineSummary]) -> SurvivalCurve | None:
    """Return the share of runs that live and are closer to the reference than climatology in T and
    Q for longer than a day; None where that cannot be told of any.

    A run without a complete record had skill for no day.
    """
    days = [[run.metrics.get(f"skilful_days.{name}") for name in "TQ"] for run in runs]
    if all(day is None for row in days for day in row):
        return None
    until = np.array([min(day or 0.0 for day in row) for row in days])
    kept = [
        bool(_skilful([run])) and day > run.compared_days - 1.0 + 1e-6
        for run, day in zip(runs, until, strict=True)
    ]
    return kaplan_meier(until, ~np.array(kept), CONFIDENCE)


def _words(summary: EnsembleSummary) -> str:
    text = (
        f"{summary.survived} of {summary.members} runs survived. The Kaplan-Meier estimate of "
        f"surviving to the end is {summary.survival:.2f}, with a {100 * summary.confidence:g} % "
        f"interval from {summary.survival_low:.2f} to {summary.survival_high:.2f}."
    )
    if summary.on_support:
        text += (
            f" {summary.on_support} of the {summary.survived} lived on support: the range policy "
            "of their package held them."
        )
    if summary.skilful is not None:
        text += (
            f" {summary.skilful} of {summary.members} also ended closer to the reference than "
            "climatology in temperature and humidity."
        )
    if summary.members < _FEW:
        text += f" {summary.members} members are few: the interval says how little they tell."
    dead = [
        f"{label} on day {run.days:g}" for label, run in summary.runs.items() if not run.survived
    ]
    if dead:
        text += (
            f" Ended early: {', '.join(dead)}. They are in every figure up to their end, and in "
            "the means over what they have."
        )
    return text


def _survival_section(
    summary: EnsembleSummary, curve: SurvivalCurve, skill: SurvivalCurve | None
) -> Section:
    planned = [run.planned_days for run in summary.runs.values() if run.planned_days is not None]
    figure = survival_figure(curve, skill, max(planned) if planned else None)
    caption = (
        "Share of members that live longer than a day. Runs that reached their end are censored "
        "there, not counted as dead."
    )
    if skill is not None:
        caption += (
            " Blue: share that lives and has been closer to the reference than climatology in T "
            "and Q on all days."
        )
    columns = {
        "day": curve.days.tolist(),
        "survival": curve.probability.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "members at risk": [int(n) for n in curve.at_risk],
    }
    return Section(
        "Survival",
        pictures=[Picture("survival", figure, caption)],
        tables=[Table("survival_curve", "Kaplan-Meier estimate", columns)],
    )


def _growth_sections(members: dict[str, OnlineEvaluation]) -> list[Section]:
    pictures = []
    for prefix in ("daily", "hourly", "monthly"):
        for name in STATE:
            rows = _series(members, prefix, name, RUN)
            if rows and max(len(days) for days, _ in rows.values()) > 1:
                # Every member saw the same; what is there over the longest time is shown.
                beside = {
                    pair: max(found.values(), key=lambda one: len(one[0]))
                    for pair in (TWIN, *FORECASTS)
                    if (found := _series(members, prefix, name, pair))
                }
                longest = max(members.values(), key=lambda m: m.summary.compared_days).numbers
                spread = longest.get(f"{prefix}_saturated_{name}")
                figure = ensemble_growth_figure(
                    rows, beside, None if spread is None else float(spread), name
                )
                caption = captions.joined(
                    f"RMSE of {prefix} means of {PROFILES[name].label} over the whole mass of air. "
                    "A dot marks the last record of a run.",
                    captions.lines(longest),
                    captions.saturation(longest, prefix),
                )
                pictures.append(Picture(f"growth_{prefix}_{name.lower()}", figure, caption))
    return [Section("Growth of error", pictures=pictures)] if pictures else []


def _series(
    members: dict[str, OnlineEvaluation], prefix: str, name: str, pair: str
) -> dict[str, tuple[Array, Array]]:
    found = {}
    for label, member in members.items():
        values = member.numbers.get(f"{prefix}_rmse_{name}")
        if (
            values is not None
            and pair in values["pair"].values
            and np.isfinite(values.sel(pair=pair).values).any()
        ):
            found[label] = (values[f"{prefix}_day"].values, values.sel(pair=pair).values)
    return found


def _table_section(summary: EnsembleSummary) -> Section:
    runs = summary.runs
    columns: dict[str, list[str | float | bool | None]] = {
        "run": list(runs),
        "survived": [run.survived for run in runs.values()],
        "days": [run.days for run in runs.values()],
        "planned": [run.planned_days for run in runs.values()],
        "compared": [run.compared_days for run in runs.values()],
    }
    units = {"days": "d", "planned": "d", "compared": "d"}
    if any(run.support is not None for run in runs.values()):
        columns["on support"] = [run.lived_on_support for run in runs.values()]
    for metric, (title, unit, scale) in _TABLE.items():
        values = [run.metrics.get(metric) for run in runs.values()]
        columns[title] = [None if v is None else v * scale for v in values]
        units[title] = unit
    columns["why it ended"] = [run.ended or "as planned" for run in runs.values()]
    text = (
        "Means are over the days that each run has beside its reference: those of a run that ended "
        "early are over fewer days. Days lived are worth what the error says: a run has skill "
        "while it is closer to the reference than climatology."
    )
    return Section("The runs", text, tables=[Table("runs", "Every run", columns, units)])


def _numbers(members: dict[str, OnlineEvaluation], curve: SurvivalCurve) -> xr.Dataset:
    """Return the survival curve and every member's growth of error, (run, day)."""
    numbers = xr.Dataset(
        {
            name: ("survival_day", getattr(curve, name))
            for name in ("probability", "low", "high", "at_risk")
        },
        coords={"survival_day": curve.days},
    ).rename({name: f"survival_{name}" for name in ("probability", "low", "high", "at_risk")})
    for prefix in ("daily", "hourly", "monthly"):
        for name in PROFILES:
            rows = _series(members, prefix, name, RUN)
            if rows:
                day = f"{prefix}_day"
                lines = [xr.DataArray(v, dims=day, coords={day: d}) for d, v in rows.values()]
                joined = xr.concat(
                    lines, xr.IndexVariable("run", list(rows)), join="outer"
                ).assign_attrs(units=PROFILES[name].file_units)
                numbers = numbers.merge(
                    joined.to_dataset(name=f"{prefix}_rmse_{name}"),
                    join="outer",
                    compat="no_conflicts",
                )
    return numbers
