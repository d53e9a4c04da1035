"""The comparison itself, on summaries alone: orderings, agreement, survival, and what the numbers
can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from climlink.evaluation.compare.outcomes import common_metrics, error_of, goodness, worst_ranks
from climlink.evaluation.compare.ranks import RankAgreement, agreement
from climlink.evaluation.compare.results import Array, Bands, MemberResult, PackageResult
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion
from climlink.evaluation.survival import SurvivalCurve, kaplan_meier
from climlink.wrappers.errors import near_names

By = Literal["package", "architecture", "recipe"]

OUTCOMES = {
    "rank": "mean rank of its members by the online metric, crashed ones last",
    "error": "median over members of the error over the days that each lived",
    "survival": "mean over members of the days lived",
}


@dataclass(frozen=True)
class Group:
    """The runs of one package, architecture or recipe and their survival."""

    by: By
    name: str
    packages: int
    survived: int
    members: int
    curve: SurvivalCurve


@dataclass(frozen=True)
class Comparison:
    """Packages with their numbers, [package] in the order of ``results``; NaN where a package has
    none.

    ``ranks`` holds the place of every member by package. ``agreements`` are by offline metric and
    outcome (a key of OUTCOMES), more is better on both sides, so 1 says that the better offline is
    the better online.
    """

    results: Sequence[PackageResult]
    offline_metric: str
    online_metric: str
    offline: Array
    ranks: Sequence[Array]
    mean_rank: Array
    error: Array
    mean_days: Array
    years_per_day: Array
    bands: Sequence[Bands | None]
    agreements: Mapping[tuple[str, str], RankAgreement]
    groups: Sequence[Group]
    excluded: Sequence[Exclusion]

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Packages that have both an offline number and a rank online, [package]."""
        return np.isfinite(self.offline) & np.isfinite(self.mean_rank)

    @property
    def headline(self) -> RankAgreement:
        """Agreement of the chosen offline metric with the ranks online."""
        return self.agreements[self.offline_metric, "rank"]

    def places(self, values: Array) -> Array:
        """Return places of compared packages by values of which less is better, [package]; NaN for
        the others.
        """
        found = np.full(len(values), np.nan)
        found[self.compared] = rankdata(values[self.compared])
        return found

    @property
    def offline_places(self) -> Array:
        """Places by the offline number, 1 the best."""
        return self.places(-_good(self.offline_metric, self.offline))

    @property
    def online_places(self) -> Array:
        """Places by the mean rank of members, 1 the best."""
        return self.places(self.mean_rank)


def compare(
    results: Sequence[PackageResult],
    offline_metric: str,
    online_metric: str,
    excluded: Sequence[Exclusion] = (),
) -> Comparison:
    """Return the comparison of packages whose summaries were checked; ``excluded`` is what was left
    out before.

    EvaluationError if no run has an outcome, or a chosen metric is in no summary or has no known
    direction.
    """
    _require_metrics(results, offline_metric, online_metric)
    members = [m for r in results for m in r.members]
    if not members:
        raise EvaluationError(
            "no run of any package could be evaluated; what was left out says why"
        )
    flat = worst_ranks(members, online_metric)
    cuts = np.cumsum([len(r.members) for r in results])[:-1]
    ranks = np.split(flat, cuts)
    offline = np.array(
        [_number(r.offline.metrics.get(offline_metric) if r.offline else None) for r in results]
    )
    numbers = {
        "mean_rank": np.array([_reduced(np.mean, list(r)) for r in ranks]),
        "error": np.array(
            [
                _reduced(np.median, [_number(error_of(m, online_metric)) for m in r.members])
                for r in results
            ]
        ),
        "mean_days": np.array(
            [_reduced(np.mean, [m.summary.days for m in r.members]) for r in results]
        ),
        "years_per_day": np.array(
            [
                _reduced(np.median, [_number(m.summary.years_per_day) for m in r.members])
                for r in results
            ]
        ),
    }
    return Comparison(
        results=results,
        offline_metric=offline_metric,
        online_metric=online_metric,
        offline=offline,
        ranks=ranks,
        bands=[_median_bands([m.bands for m in r.members if m.bands is not None]) for r in results],
        agreements=_agreements(results, offline_metric, online_metric, numbers),
        groups=[*_groups("package", results, lambda r: r.label), *_other_groups(results)],
        excluded=[*excluded, *_left_out(results, offline, flat, online_metric)],
        **numbers,
    )


def _require_metrics(
    results: Sequence[PackageResult], offline_metric: str, online_metric: str
) -> None:
    known = {
        "offline": {name for r in results if r.offline for name in r.offline.metrics},
        "online": {name for r in results for m in r.members for name in m.summary.metrics},
    }
    for kind, name in (("offline", offline_metric), ("online", online_metric)):
        if known[kind] and name not in known[kind]:
            listed = ", ".join(sorted(known[kind])[:12])
            raise EvaluationError(
                f"no {kind} summary has the metric {name!r}{near_names(name, known[kind])}; they "
                f"have {listed} and so on. Choose {kind}_metric in the matrix file among them"
            )
        if goodness(name, 0.0) is None:
            raise EvaluationError(
                f"{kind}_metric {name!r}: climlink does not know whether more or less of it is "
                "better; choose another"
            )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _good(metric: str, values: Array) -> Array:
    return np.array([_number(goodness(metric, float(v))) for v in values])


def _reduced(reduce: Callable[[Array], np.floating], values: Sequence[float]) -> float:
    known = np.array([v for v in values if np.isfinite(v)])
    return float(reduce(known)) if known.size else float("nan")


def _agreements(
    results: Sequence[PackageResult],
    offline_metric: str,
    online_metric: str,
    numbers: Mapping[str, Array],
) -> dict[tuple[str, str], RankAgreement]:
    """Return the agreement of every offline metric that all compared packages have with every
    outcome, the chosen one first.
    """
    outcomes = {
        "rank": -numbers["mean_rank"],
        "error": _good(online_metric, numbers["error"]),
        "survival": numbers["mean_days"],
    }
    alive = np.isfinite(numbers["mean_rank"])
    both = [
        r.offline.metrics
        for r, ran in zip(results, alive, strict=True)
        if ran and r.offline is not None
    ]
    names = [offline_metric, *(n for n in common_metrics(both) if n != offline_metric)]
    found = {}
    for name in names:
        values = np.array(
            [_number(r.offline.metrics.get(name) if r.offline else None) for r in results]
        )
        good = _good(name, values)
        for outcome, online in outcomes.items():
            at = np.isfinite(good) & np.isfinite(online)
            found[name, outcome] = agreement(good[at], online[at])
    return found


def _groups(
    by: By, results: Sequence[PackageResult], name: Callable[[PackageResult], str]
) -> list[Group]:
    """Return the groups that have runs, in the order in which they first come."""
    names = list(dict.fromkeys(name(r) for r in results if r.members))
    found = []
    for group in names:
        inside = [r for r in results if r.members and name(r) == group]
        members = [m for r in inside for m in r.members]
        died = np.array([not m.summary.survived for m in members])
        curve = kaplan_meier(np.array([m.summary.days for m in members]), died)
        found.append(Group(by, group, len(inside), int((~died).sum()), len(members), curve))
    return found


def _other_groups(results: Sequence[PackageResult]) -> list[Group]:
    return [
        *_groups("architecture", results, lambda r: r.package.architecture or "not recorded"),
        *_groups("recipe", results, lambda r: r.recipe or r.package.recipe or "not recorded"),
    ]


def _median_bands(bands: Sequence[Bands]) -> Bands | None:
    """Return the median over members in every band; None without a member, or where grids have
    different bands.
    """
    if not bands or any(
        b.edges.shape != bands[0].edges.shape or not np.allclose(b.edges, bands[0].edges)
        for b in bands
    ):
        return None
    errors = np.stack([b.error for b in bands])
    median = np.full(errors.shape[1], np.nan)
    known = np.isfinite(errors).all(axis=0)
    median[known] = np.median(errors[:, known], axis=0)
    return Bands(bands[0].edges, median)


def _left_out(
    results: Sequence[PackageResult], offline: Array, ranks: Array, online_metric: str
) -> list[Exclusion]:
    """List packages and members that do not enter the comparison, and why."""
    found = []
    for result, number in zip(results, offline, strict=True):
        if not result.members:
            found.append(
                Exclusion(
                    f"package {result.label}",
                    "has no run that could be used: it is scored offline and not compared",
                )
            )
        if result.offline is not None and not np.isfinite(number):
            found.append(
                Exclusion(
                    f"package {result.label}",
                    "its offline number cannot be told (null in its summary)",
                )
            )
    members: list[MemberResult] = [m for r in results for m in r.members]
    for member, rank in zip(members, ranks, strict=True):
        if error_of(member, online_metric) is not None:
            continue
        counts = (
            "it counts in "
            f"survival{' and stands last in the ordering' if np.isfinite(rank) else ' alone'}"
        )
        found.append(
            Exclusion(
                f"error of run {member.summary.run}",
                f"its summary has no {online_metric}; {counts}",
            )
        )
    return found
