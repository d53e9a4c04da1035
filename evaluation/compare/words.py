"""A comparison in words: would the offline number have told, and what the numbers are too few to
say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from climlink.evaluation.compare.analysis import Comparison, Group
from climlink.evaluation.compare.chances import distinction
from climlink.evaluation.compare.ranks import LEAST_FOR_INTERVAL, LEAST_PACKAGES
from climlink.evaluation.compare.results import Array
from climlink.evaluation.report.write import shown

Verdict = Literal["told", "misled", "not_shown", "too_few"]
_LEVEL = 0.05


def verdict(comparison: Comparison) -> Verdict:
    """Return whether the offline number told: a permutation test at 5 %, where so many packages can
    give that at all.
    """
    found = comparison.headline
    if found.packages < LEAST_PACKAGES or not found.can_tell:
        return "too_few"
    if found.p_value is None or found.p_value >= _LEVEL:
        return "not_shown"
    return "told" if found.spearman > 0.0 else "misled"


def first_paragraph(comparison: Comparison, twin_error: float | None) -> str:
    """Return the answer, both orderings, survival and how many were left out."""
    survived, members = (
        sum(getattr(g, what) for g in _packages(comparison)) for what in ("survived", "members")
    )
    parts = [
        f"Would the offline number {comparison.offline_metric} have told? {_answer(comparison)}",
        *_orderings(comparison),
        f"Of {members} run{'s' if members != 1 else ''} {survived} reached the end; the others "
        "count in survival and stand last in the ordering, and the errors of those that have one, "
        "over the days that they lived, are marked."
        if survived < members
        else f"All {members} runs reached their end."
        if members > 1
        else "The one run reached its end.",
    ]
    held = sum(m.summary.lived_on_support for r in comparison.results for m in r.members)
    if held:
        parts.append(
            f"{held} of those that reached it lived on support: the range policy of their package "
            "held them."
        )
    if twin_error is not None:
        parts.append(
            f"Two references that began a hair apart differ by {comparison.online_metric} of "
            f"{shown(twin_error)}."
        )
    if comparison.excluded:
        count = len(comparison.excluded)
        parts.append(
            f"{count} thing{'s were' if count > 1 else ' was'} left out of some or all numbers; "
            "the end of the report lists them."
        )
    return " ".join(parts)


def _packages(comparison: Comparison) -> list[Group]:
    return [g for g in comparison.groups if g.by == "package"]


def _answer(comparison: Comparison) -> str:
    found, said = comparison.headline, verdict(comparison)
    rho = f"Spearman's rank correlation is {found.spearman:+.2f} over {found.packages} packages"
    if said == "told":
        return (
            f"Yes: the better offline were the better online. {rho} ({_interval(comparison)}p = "
            f"{found.p_value:.2g})."
        )
    if said == "misled":
        return (
            f"No, it misled: the better offline were the worse online. {rho} "
            f"({_interval(comparison)}p = {found.p_value:.2g})."
        )
    if said == "not_shown":
        if found.p_value is None:
            return f"Not shown: {found.packages} packages, and an ordering has ties only."
        return (
            f"Not shown: {rho} ({_interval(comparison)}p = {found.p_value:.2g}), which chance "
            "gives too."
        )
    if found.packages < LEAST_PACKAGES:
        named = "one package" if found.packages == 1 else f"{found.packages or 'no'} packages"
        return (
            f"This cannot be said: {named} with an offline number and a run, and an ordering needs "
            f"{LEAST_PACKAGES} at least."
        )
    observed = (
        "an ordering has ties only"
        if not np.isfinite(found.spearman)
        else f"the orderings found agree with {found.spearman:+.2f}"
    )
    return (
        f"This cannot be said: with {found.packages} packages even a perfect ordering comes by "
        f"chance with p = {found.smallest_p:.2g}; {observed} (Spearman)."
    )


def _interval(comparison: Comparison) -> str:
    found = comparison.headline
    return (
        ""
        if found.low is None or found.high is None
        else f"95 % interval {found.low:+.2f} to {found.high:+.2f}, "
    )


def _orderings(comparison: Comparison) -> list[str]:
    if comparison.compared.sum() < 2:
        return []
    offline, online = (
        _ordered(comparison, places)
        for places in (comparison.offline_places, comparison.online_places)
    )
    return [
        f"From best to worst offline: {offline}; online, by {comparison.online_metric} with "
        f"crashed runs last: {online}."
    ]


def _ordered(comparison: Comparison, places: Array) -> str:
    """Return the labels from best to worst, equals joined."""
    at: dict[float, list[str]] = {}
    for result, place in zip(comparison.results, places, strict=True):
        if np.isfinite(place):
            at.setdefault(float(place), []).append(result.label)
    return ", ".join(" = ".join(at[place]) for place in sorted(at))


def statements(comparison: Comparison) -> list[str]:
    """Return what so few packages or members cannot say, a sentence or two each."""
    found: list[str] = []
    count = int(comparison.compared.sum())
    if count < LEAST_FOR_INTERVAL:
        found.append(
            f"With {count} package{'s' if count != 1 else ''} no interval of the rank correlation "
            f"is given: with fewer than {LEAST_FOR_INTERVAL} a bootstrap interval holds the truth "
            "too seldom."
        )
    if count >= LEAST_PACKAGES and not comparison.headline.can_tell:
        found.append(
            f"No ordering of {count} packages has a two-sided p-value below "
            f"{comparison.headline.smallest_p:.2g}; five are the fewest."
        )
    sizes = sorted({g.members for g in _packages(comparison)})
    if len(_packages(comparison)) > 1:
        found += [distinction(size).words() for size in sizes]
    if len(sizes) > 1:
        found.append(
            f"Packages have different numbers of members ({', '.join(map(str, sizes))}): their "
            "mean ranks are not equally certain."
        )
    if any(g.members > g.packages for g in comparison.groups):
        found.append(
            "Intervals of survival take runs as independent. Runs of one package share its network "
            "and are not, so the intervals of architectures and recipes with few packages are too "
            "narrow."
        )
    found += _unequal_runs(comparison)
    rows = {r.label: r.offline.rows for r in comparison.results if r.offline is not None}
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{label} {count}" for label, count in rows.items())
        found.append(
            "Offline numbers are over different numbers of columns, for predictions that are not "
            f"finite are left out: {said}."
        )
    others = len(comparison.agreements) - 1
    if others > 0 and comparison.headline.can_tell:
        found.append(
            f"The summary holds {len(comparison.agreements)} correlations; about one in twenty "
            "lies beyond its 5 % bound by chance. Only the metrics that the matrix names were "
            "chosen beforehand."
        )
    return found


def _unequal_runs(comparison: Comparison) -> list[str]:
    members = [m.summary for r in comparison.results for m in r.members]
    plans = sorted({round(m.planned_days, 2) for m in members if m.planned_days is not None})
    windows = sorted({round(m.compared_days, 2) for m in members if m.survived})
    found = []
    if len(plans) > 1:
        found.append(
            f"Runs were to have different lengths ({_listed(plans)} days): survival to a day is "
            "comparable, days lived are not."
        )
    silent = [m.run for m in members if m.package_sha256 is None]
    if silent:
        found.append(
            "The matrix file alone says which package these runs ran, they record none: "
            f"{', '.join(silent)}."
        )
    if len(windows) > 1:
        found.append(
            f"Errors of runs that reached their end are over different windows ({_listed(windows)} "
            "days)."
        )
    return found


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)


def shown_agreement(comparison: Comparison) -> str:
    """Return the agreement of the chosen metric with the ranks online in a few words, for a
    figure.
    """
    found = comparison.headline
    if not np.isfinite(found.spearman):
        return f"no rank correlation ({found.packages} packages)"
    p = "" if found.p_value is None else f", p = {found.p_value:.2g}"
    return f"Spearman {found.spearman:+.2f}, Kendall {found.kendall:+.2f}{p}"
