"""Several packages on one store: one report with all of them, seeds of one recipe together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from climlink.config import StrictModel
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.offline import budget_lines, r2_lines, scalar_means
from climlink.evaluation.offline.conservation import BUDGETS, MEANINGS, UNITS
from climlink.evaluation.offline.evaluate import OfflineEvaluation
from climlink.evaluation.offline.numbers import numbers
from climlink.evaluation.offline.report import exclusions
from climlink.evaluation.offline.residual_section import residual_section
from climlink.evaluation.offline.result import OfflineResult
from climlink.evaluation.report import Exclusion, Picture, Report, Section, Table
from climlink.evaluation.summary import OfflineSummary

Group = dict[str, list[OfflineEvaluation]]

_FEW = 3


class OfflineSetSummary(StrictModel):
    """Skill of several packages on one store; each has its own report in the folder of its name."""

    kind: Literal["offline_set"] = "offline_set"
    packages: dict[str, OfflineSummary]


def package_labels(evaluations: Sequence[OfflineEvaluation]) -> list[str]:
    """Return a name for each package that no other has and a folder may have: its own, with the
    start of its digest where needed.

    EvaluationError if one package is given twice.
    """
    names = [e.summary.package.name for e in evaluations]
    digests = [e.summary.package.sha256 for e in evaluations]
    twice = sorted({d for d in digests if digests.count(d) > 1})
    if twice:
        raise EvaluationError(
            "one package is given twice: "
            f"{', '.join(names[digests.index(d)] + ', SHA-256 ' + d for d in twice)}"
        )
    safe = [
        "".join(c if c.isalnum() or c in "._-" else "_" for c in n).strip(".") or "package"
        for n in names
    ]
    return [s if safe.count(s) == 1 else f"{s}-{d[:8]}" for s, d in zip(safe, digests, strict=True)]


def seeds_together(evaluations: Sequence[OfflineEvaluation]) -> Group:
    """Return the packages by architecture, size and recipe where their seeds differ; every other
    one under its own label.
    """
    alike: dict[str, list[tuple[str, OfflineEvaluation]]] = {}
    for label, e in zip(package_labels(evaluations), evaluations, strict=True):
        p = e.summary.package
        known = p.architecture is not None and p.parameters is not None and p.seed is not None
        alike.setdefault(
            f"{p.architecture} ({p.parameters:,}), {p.recipe}" if known else label, []
        ).append((label, e))
    groups: Group = {}
    for name, members in alike.items():
        seeds = [e.summary.package.seed for _, e in members]
        if len(members) > 1 and len(set(seeds)) == len(seeds):
            groups[f"{name}: {len(members)} seeds"] = [e for _, e in members]
        else:
            groups |= {label: [e] for label, e in members}
    return groups


def combined_report(evaluations: Sequence[OfflineEvaluation], command: str) -> Report:
    """Return one report of packages evaluated on the same split of the same store; EvaluationError
    if they are not.
    """
    places = {
        (e.result.place.digest, e.result.place.split, e.result.outputs.names) for e in evaluations
    }
    if len(evaluations) < 2 or len(places) != 1:
        raise EvaluationError(
            f"{len(evaluations)} packages on {len(places)} different stores, splits or outputs: "
            "give at least two on one"
        )
    labels = package_labels(evaluations)
    results = dict(zip(labels, (e.result for e in evaluations), strict=True))
    groups = seeds_together(evaluations)
    place = evaluations[0].result.place
    summary = OfflineSetSummary(
        packages=dict(zip(labels, (e.summary for e in evaluations), strict=True))
    )
    return Report(
        title=f"Offline skill of {len(labels)} packages",
        words=_words(evaluations, labels, groups),
        sections=[
            s
            for s in (
                residual_section(results),
                _skill(evaluations, labels, groups),
                _scalars(results),
                _conservation(results),
            )
            if s is not None
        ],
        summary=summary.model_dump(mode="json"),
        numbers=_numbers(results),
        command=command,
        sources={
            "store": f"{place.store}, split {place.split}, {place.span}, digest {place.digest}"
        }
        | {label: f"SHA-256 {r.package.sha256}" for label, r in results.items()},
        excluded=[
            Exclusion(f"{label}: {x.what}", x.why)
            for label, r in results.items()
            for x in exclusions(r)
        ],
    )


def _numbers(results: dict[str, OfflineResult]) -> xr.Dataset:
    """Return the numbers of all packages along a new dimension; what one lacks, such as a
    confidence, is NaN there.
    """
    return xr.concat(
        [numbers(r) for r in results.values()],
        xr.Variable("package", list(results)),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )


def _words(evaluations: Sequence[OfflineEvaluation], labels: Sequence[str], groups: Group) -> str:
    place = evaluations[0].result.place
    outputs = [v.name for v in evaluations[0].result.outputs.profiles]
    mean = {label: _mean_r2(e, outputs) for label, e in zip(labels, evaluations, strict=True)}
    order = sorted((n for n in mean if not np.isnan(mean[n])), key=lambda n: -mean[n])
    text = (
        f"{len(labels)} packages were run on the split {place.split!r} of one store: {place.span}."
    )
    if order:
        text += (
            f" By R² on the median level, averaged over the profiles, {order[0]} is best with "
            f"{mean[order[0]]:.3g} and {order[-1]} last with {mean[order[-1]]:.3g}."
        )
    seeds = [len(members) for members in groups.values() if len(members) > 1]
    if seeds:
        spread = max(
            max(m) - min(m)
            for m in ([_mean_r2(e, outputs) for e in g] for g in groups.values() if len(g) > 1)
        )
        text += f" Packages that differ in their seed only are up to {spread:.2g} apart in this."
    if not seeds or max(seeds) < _FEW:
        text += (
            " With fewer than three seeds of a recipe, small differences between packages may be "
            "chance."
        )
    missed = [
        f"{label} ({e.result.misses.rows} columns)"
        for label, e in zip(labels, evaluations, strict=True)
        if e.result.misses.rows
    ]
    if missed:
        text += (
            " Caution: predictions that are not finite, left out of all scores, in "
            f"{', '.join(missed)}."
        )
    return text


def _mean_r2(e: OfflineEvaluation, outputs: Sequence[str]) -> float:
    known = [v for n in outputs if (v := e.summary.metrics[f"r2.{n}"]) is not None]
    return float(np.mean(known)) if known else float("nan")


def _skill(
    evaluations: Sequence[OfflineEvaluation], labels: Sequence[str], groups: Group
) -> Section:
    place = evaluations[0].result.place
    tables = {label: [e.result.r2_table() for e in members] for label, members in groups.items()}
    caption = (
        "R² over all columns and times at each level. A line is one package, or the median of "
        "packages that differ in their seed only, with their range behind it; bars likewise. "
        "Levels of constant truth are gaps, values below -0.1 lie outside the frame."
    )
    tables_below = [_about(evaluations, labels), _scores(evaluations, labels)]
    figure = r2_lines(tables, place.pressure_hpa, title=f"{len(labels)} packages on {place.split}")
    return Section("Skill", "", [Picture("r2", figure, caption)], tables_below)


def _about(evaluations: Sequence[OfflineEvaluation], labels: Sequence[str]) -> Table:
    packages, times = ([getattr(e.summary, n) for e in evaluations] for n in ("package", "times"))
    columns: dict[str, Any] = {
        "package": list(labels),
        "architecture": [p.architecture for p in packages],
        "parameters": [p.parameters for p in packages],
        "seed": [p.seed for p in packages],
        "recipe": [p.recipe for p in packages],
        "days from training": [None if t is None else t.scored.gap_days for t in times],
        "columns scored": [e.summary.rows for e in evaluations],
    }
    return Table("packages", "Packages", columns)


def _scores(evaluations: Sequence[OfflineEvaluation], labels: Sequence[str]) -> Table:
    names = [f"r2.{n}" for n in evaluations[0].result.outputs.names]
    metrics = evaluations[0].summary.metrics
    names += [n for n in metrics if n.startswith("r2_later.")]
    names += [n for n in ("leap.score", "leap.score_floored") if n in metrics]
    columns: dict[str, Any] = {"score": [n.removeprefix("r2.") for n in names]}
    columns |= {
        label: [e.summary.metrics.get(n) for n in names]
        for label, e in zip(labels, evaluations, strict=True)
    }
    return Table("scores", "R² by output, median over levels not pruned, and LEAP scores", columns)


def _scalars(results: dict[str, OfflineResult]) -> Section | None:
    first = next(iter(results.values()))
    names = [v.name for v in first.outputs.scalars]
    if not names:
        return None
    truth = np.array([float(first.weighted(n).truth_mean()[0, 0]) for n in names])
    means = {
        label: np.array([float(r.weighted(n).prediction_mean()[0, 0]) for n in names])
        for label, r in results.items()
    }
    figure = scalar_means(names, truth, means)
    return Section(
        "Scalar outputs",
        "",
        [Picture("scalars", figure, "Mean over area and time of the scalar outputs.")],
    )


def _conservation(results: dict[str, OfflineResult]) -> Section | None:
    budgets = {label: r.budgets for label, r in results.items() if r.budgets is not None}
    place = next(iter(results.values())).place
    if not budgets or place.of_table:
        return None
    shown = ("water_residual", "energy_source")
    values = {"truth": next(iter(budgets.values())).truth_mean()} | {
        label: b.prediction_mean() for label, b in budgets.items()
    }
    lines = {label: place.zonal_mean(v)[1] for label, v in values.items()}
    centres = place.zonal_mean(next(iter(values.values())))[0]
    figure = budget_lines(
        centres,
        {label: {n: v[:, BUDGETS.index(n)] for n in shown} for label, v in lines.items()},
        {n: f"{MEANINGS[n]}\n({UNITS[n]})" for n in shown},
    )
    caption = "Zonal means of column budgets in bins of 10° latitude, weighted by area."
    return Section("Conservation", "", [Picture("conservation_by_latitude", figure, caption)])
