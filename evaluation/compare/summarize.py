"""From a comparison to the summary that scripts read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climlink.evaluation.compare.analysis import Comparison, Group
from climlink.evaluation.compare.chances import survival_interval
from climlink.evaluation.compare.outcomes import error_of
from climlink.evaluation.compare.ranks import RankAgreement
from climlink.evaluation.compare.results import Bands, MemberResult
from climlink.evaluation.compare.summary import (
    AgreementSummary,
    ComparedMember,
    ComparedPackage,
    CompareSummary,
    RegionSummary,
    SurvivalSummary,
)
from climlink.evaluation.compare.words import first_paragraph, statements, verdict
from climlink.evaluation.summary import finite_or_none


@dataclass(frozen=True)
class Held:
    """What packages and runs were held against."""

    store: str
    reference: str
    twin: str | None


def summarize(comparison: Comparison, held: Held) -> CompareSummary:
    """Return the summary of a comparison, with its answer in words."""
    twin_error = _twin_error(comparison)
    return CompareSummary(
        store=held.store,
        reference=held.reference,
        twin=held.twin,
        offline_metric=comparison.offline_metric,
        online_metric=comparison.online_metric,
        verdict=verdict(comparison),
        words=first_paragraph(comparison, twin_error),
        statements=statements(comparison),
        twin_error=twin_error,
        packages=[_package(comparison, k) for k in range(len(comparison.results))],
        agreements=[
            _agreement(metric, outcome, found)
            for (metric, outcome), found in comparison.agreements.items()
        ],
        survival=[_survival(group) for group in comparison.groups],
        excluded=[f"{e.what}: {e.why}" for e in comparison.excluded],
    )


def _twin_error(comparison: Comparison) -> float | None:
    """Return the online metric of the twin over the longest window that a member was compared
    over.
    """
    members = [m.summary for r in comparison.results for m in r.members]
    known = [(m.compared_days, m.metrics.get(f"twin.{comparison.online_metric}")) for m in members]
    told = [(days, value) for days, value in known if value is not None]
    return max(told)[1] if told else None


def _package(comparison: Comparison, k: int) -> ComparedPackage:
    result, bands = comparison.results[k], comparison.bands[k]
    survived = sum(m.summary.survived for m in result.members)
    low, high = survival_interval(survived, len(result.members)) if result.members else (None, None)
    best, worst = (None, None) if bands is None else _extremes(bands)
    return ComparedPackage(
        label=result.label,
        package=result.package,
        recipe=result.recipe,
        offline=finite_or_none(float(comparison.offline[k])),
        offline_place=finite_or_none(float(comparison.offline_places[k])),
        online_place=finite_or_none(float(comparison.online_places[k])),
        members=[
            _member(m, float(rank), comparison.online_metric)
            for m, rank in zip(result.members, comparison.ranks[k], strict=True)
        ],
        survived=survived,
        on_support=sum(m.summary.lived_on_support for m in result.members),
        survival_low=low,
        survival_high=high,
        mean_rank=finite_or_none(float(comparison.mean_rank[k])),
        error=finite_or_none(float(comparison.error[k])),
        error_is_partial=survived < len(result.members),
        years_per_day=finite_or_none(float(comparison.years_per_day[k])),
        best_region=best,
        worst_region=worst,
    )


def _member(member: MemberResult, rank: float, metric: str) -> ComparedMember:
    s = member.summary
    return ComparedMember(
        run=s.run,
        survived=s.survived,
        on_support=s.lived_on_support,
        days=s.days,
        ended=s.ended,
        error=error_of(member, metric),
        relative_error=s.metrics.get(f"relative_error.{metric.rpartition('.')[2]}"),
        compared_days=s.compared_days,
        rank=finite_or_none(rank),
        years_per_day=s.years_per_day,
    )


def _extremes(bands: Bands) -> tuple[RegionSummary | None, RegionSummary | None]:
    """Return the bands with the smallest and the largest error; None where no band has one."""
    if not np.isfinite(bands.error).any():
        return None, None
    found = []
    for at in (int(np.nanargmin(bands.error)), int(np.nanargmax(bands.error))):
        found.append(
            RegionSummary(
                south=float(bands.edges[at]),
                north=float(bands.edges[at + 1]),
                error=float(bands.error[at]),
            )
        )
    return found[0], found[1]


def _agreement(metric: str, outcome: str, found: RankAgreement) -> AgreementSummary:
    return AgreementSummary(
        offline_metric=metric,
        online_outcome=outcome,
        packages=found.packages,
        spearman=finite_or_none(found.spearman),
        kendall=finite_or_none(found.kendall),
        low=None if found.low is None else finite_or_none(found.low),
        high=None if found.high is None else finite_or_none(found.high),
        p_value=found.p_value,
        smallest_p=found.smallest_p,
    )


def _survival(group: Group) -> SurvivalSummary:
    low, high = survival_interval(group.survived, group.members)
    gone = np.flatnonzero(group.curve.probability <= 0.5)
    return SurvivalSummary(
        by=group.by,
        group=group.name,
        packages=group.packages,
        members=group.members,
        survived=group.survived,
        low=low,
        high=high,
        median_days=float(group.curve.days[gone[0]]) if gone.size else None,
    )
