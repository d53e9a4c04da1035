"""What a comparison works on: summaries of packages and of their runs, checked against each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion
from climlink.evaluation.summary import OfflineSummary, OnlineSummary, PackageSummary

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bands:
    """Error of the mean state of one run in latitude bands: ``edges`` [band + 1] in degrees,
    ``error`` [band], NaN without a column.
    """

    edges: Array
    error: Array


@dataclass(frozen=True)
class MemberResult:
    """One run of a package; ``bands`` is None where its numbers do not say."""

    summary: OnlineSummary
    bands: Bands | None = None


@dataclass(frozen=True)
class PackageResult:
    """One package: its offline summary (None where it could not be scored) and its runs."""

    label: str
    package: PackageSummary
    recipe: str | None
    offline: OfflineSummary | None
    members: tuple[MemberResult, ...]


def checked(results: Sequence[PackageResult]) -> tuple[list[PackageResult], list[Exclusion]]:
    """Return the results without members that do not belong, and what was left out and why.

    Left out are runs of another package than the one they are listed under, and runs with the same
    numbers as another one. EvaluationError for packages that are one file, for scores on different
    stores or splits, and for runs held against different references.
    """
    _require_one(
        "store",
        {
            r.label: r.offline.store_digest or r.offline.store
            for r in results
            if r.offline is not None
        },
    )
    _require_one("split", {r.label: r.offline.split for r in results if r.offline is not None})
    _require_one(
        "reference", {m.summary.run: m.summary.reference for r in results for m in r.members}
    )
    digests: dict[str, str] = {}
    for result in results:
        other = digests.setdefault(result.package.sha256, result.label)
        if other != result.label:
            raise EvaluationError(
                f"{other} and {result.label} are one package (SHA-256 "
                f"{result.package.sha256[:12]}...): list its runs under one label"
            )
    excluded: list[Exclusion] = []
    kept = []
    for result in results:
        own, strangers = _of_package(result, digests)
        distinct, copies = _distinct(own)
        excluded += strangers + copies
        kept.append(replace(result, members=tuple(distinct)))
    return kept, excluded


def _require_one(what: str, values: dict[str, str]) -> None:
    if len(set(values.values())) > 1:
        said = "; ".join(f"{name}: {value}" for name, value in values.items())
        raise EvaluationError(
            f"summaries to be compared must share one {what}; they have {said}. Evaluate them "
            f"again against one {what}"
        )


def _of_package(
    result: PackageResult, digests: dict[str, str]
) -> tuple[list[MemberResult], list[Exclusion]]:
    """Split members into those that ran the package, or do not say what they ran, and the
    others.
    """
    own, strangers = [], []
    for member in result.members:
        ran = member.summary.package_sha256
        if ran is None or ran == result.package.sha256:
            own.append(member)
            continue
        place = (
            f"which is {digests[ran]}: list it there"
            if ran in digests
            else "which the matrix does not list"
        )
        strangers.append(
            Exclusion(
                f"run {member.summary.run} of {result.label}",
                f"it ran another package, SHA-256 {ran[:12]}..., {place}; {result.label} is "
                f"{result.package.sha256[:12]}...",
            )
        )
    return own, strangers


def _distinct(members: Iterable[MemberResult]) -> tuple[list[MemberResult], list[Exclusion]]:
    """Leave out members whose numbers are another one's to the last digit: one run copied, or two
    with one perturbation.
    """
    seen: dict[tuple[object, ...], str] = {}
    kept, copies = [], []
    for member in members:
        s = member.summary
        numbers = (s.days, s.ended, *sorted(s.metrics.items()))
        known = any(value is not None for value in s.metrics.values())
        first = seen.setdefault(numbers, s.run) if known else s.run
        if first == s.run:
            kept.append(member)
        else:
            why = (
                f"its numbers are those of {first} to the last digit: a copy, or the same "
                "perturbation; it is not counted twice"
            )
            copies.append(Exclusion(f"run {s.run}", why))
    return kept, copies
