"""Limits of free runs out of packages whose hybrids were run, and how well they tell the fate of
others: an architecture is left out, limits are fitted to the rest, and it is scored.

The risk of a package is the share of limits that its free runs break, so that limits of several
fits can be compared. What is compared with it is an offline score, whose risk is its negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.concordance import Concordance, Difference, concordance, difference
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.free_run import METRIC_NAMES
from climlink.evaluation.stability.limits import FrozenLimits, Limit
from climlink.evaluation.summary import Metrics

_WORSE_ABOVE = {
    "growth_per_day": True,
    "days_in_range": False,
    "lived_days": False,
    "hottest_k": True,
    "coldest_k": False,
    "outside_share": True,
}
"""Whether more of a measure is worse."""

LEAST_CONCORDANCE = 0.6
"""A limit is kept where its call alone reaches this on the packages it was fitted to."""
POLICIES = ("without_range_policy", "with_range_policy")


@dataclass(frozen=True)
class Screened:
    """A package that was screened and then run: ``metrics`` of its free runs as they were recorded,
    its ``offline`` score, the ``days`` its hybrid lived, and whether it ``died`` or was stopped
    alive.
    """

    sha256: str
    architecture: str
    policy: str
    metrics: Metrics
    offline: float
    days: float
    died: bool

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise EvaluationError(f"policy must be one of {POLICIES}, got {self.policy!r}")


def fit_limits(packages: Sequence[Screened]) -> dict[str, Limit]:
    """Return limits by metric, those that alone part the packages by how long they lived.

    The limit of a metric lies midway between two of its values, where breaking it agrees best with
    the days lived; of equals that which the fewest break. Metrics without a value for every package
    have none, and neither have those whose best limit stays below LEAST_CONCORDANCE.
    """
    limits = {}
    days, died = _days(packages), _died(packages)
    for name in METRIC_NAMES:
        known = [p.metrics.get(name) for p in packages]
        if any(value is None for value in known):
            continue
        found = _best_cut(np.array(known, dtype=np.float64), days, died, _worse_above(name))
        if found is not None:
            limits[name] = Limit(above=found) if _worse_above(name) else Limit(below=found)
    return limits


def _worse_above(metric: str) -> bool:
    return _WORSE_ABOVE[metric.rpartition(".")[2]]


def _best_cut(
    values: NDArray[np.float64],
    days: NDArray[np.float64],
    died: NDArray[np.bool_],
    above: bool,
) -> float | None:
    """Return where to cut the values of a metric, None where no cut tells enough."""
    levels = np.unique(values)
    cuts = 0.5 * (levels[1:] + levels[:-1])
    best: tuple[float, int] | None = None
    chosen = None
    for cut in cuts:
        broken = values > cut if above else values < cut
        index = concordance(broken.astype(np.float64), days, died).index
        rank = (index, -int(broken.sum()))
        if index >= LEAST_CONCORDANCE and (best is None or rank > best):
            best, chosen = rank, float(cut)
    return chosen


def share_broken(limits: Mapping[str, Limit], metrics: Metrics) -> float:
    """Return the share of limits that a package breaks, 0 without limits; a metric that cannot be
    told breaks none.
    """
    values = [(limit, metrics.get(name)) for name, limit in limits.items()]
    count = sum(v is not None and limit.broken_by(v) is not None for limit, v in values)
    return count / len(values) if values else 0.0


@dataclass(frozen=True)
class LeftOut:
    """Limits fitted without an architecture, its packages, and their risks by them."""

    architecture: str
    limits: Mapping[str, Limit]
    packages: Sequence[Screened]
    risk: NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What screen and offline score tell within one policy; every package is judged by limits that
    its architecture had no part in.

    ``screen`` and ``offline`` are over all comparable pairs. ``within`` are pairs of one
    architecture alone, of the screen, for each that was left out.
    """

    policy: str
    packages: int
    died: int
    left_out: Sequence[LeftOut]
    screen: Concordance
    offline: Concordance
    difference: Difference
    within: Mapping[str, Concordance]


def leave_one_out(
    packages: Sequence[Screened], policy: str, *, resamples: int = 2000
) -> Calibration:
    """Return how well limits tell the fate of the packages of a policy, each architecture left out
    in turn; EvaluationError with fewer than two architectures.
    """
    ours = [p for p in packages if p.policy == policy]
    names = list(dict.fromkeys(p.architecture for p in ours))
    if len(names) < 2:
        raise EvaluationError(
            f"{policy}: limits are scored on an architecture that was left out; expected packages "
            f"of two architectures or more, got {len(ours)} of {', '.join(names) or 'none'}"
        )
    folds = [_fold(ours, name) for name in names]
    judged = [p for fold in folds for p in fold.packages]
    risk = np.concatenate([fold.risk for fold in folds])
    offline = -np.array([p.offline for p in judged], dtype=np.float64)
    days, died = _days(judged), _died(judged)
    within = {
        f.architecture: concordance(f.risk, _days(f.packages), _died(f.packages)) for f in folds
    }
    return Calibration(
        policy,
        len(judged),
        int(died.sum()),
        folds,
        concordance(risk, days, died),
        concordance(offline, days, died),
        difference(risk, offline, days, died, resamples=resamples),
        within,
    )


def _fold(packages: Sequence[Screened], architecture: str) -> LeftOut:
    limits = fit_limits([p for p in packages if p.architecture != architecture])
    left = [p for p in packages if p.architecture == architecture]
    return LeftOut(
        architecture,
        limits,
        left,
        np.array([share_broken(limits, p.metrics) for p in left], dtype=np.float64),
    )


def frozen_limits(name: str, packages: Sequence[Screened]) -> FrozenLimits:
    """Return limits fitted to packages, apart by policy, as a file of limits holds them."""
    by_policy = {p: fit_limits([one for one in packages if one.policy == p]) for p in POLICIES}
    return FrozenLimits(name=name, calibrated_on=[p.sha256 for p in packages], **by_policy)


def _days(packages: Sequence[Screened]) -> NDArray[np.float64]:
    return np.array([p.days for p in packages], dtype=np.float64)


def _died(packages: Sequence[Screened]) -> NDArray[np.bool_]:
    return np.array([p.died for p in packages], dtype=bool)
