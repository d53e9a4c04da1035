"""Agreement of two orderings of packages: rank correlation, with an interval and a p-value where
there are enough to give one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from climlink.evaluation.errors import EvaluationError

Array = NDArray[np.float64]

LEAST_PACKAGES = 3
"""A rank correlation of two packages is 1 or -1 whatever they are."""

LEAST_FOR_INTERVAL = 8
"""With fewer packages the bootstrap interval holds the truth too seldom (see
``bootstrap_interval``), so it is not given.
"""

RESAMPLES = 4000
_PERMUTATIONS = 50_000  # more than 8!, so the p-value is exact up to eight packages
_CONFIDENCE = 0.95
_SEED = 7


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of two orderings of ``packages`` packages: Spearman's rho and Kendall's tau-b, NaN
    where an ordering has only ties.

    ``low`` and ``high`` bound rho (None with too few packages), ``p_value`` is the two-sided one of
    a permutation test of rho and ``smallest_p`` the smallest that so many packages can give.
    """

    packages: int
    spearman: float
    kendall: float
    low: float | None
    high: float | None
    p_value: float | None
    smallest_p: float

    @property
    def can_tell(self) -> bool:
        """Whether any ordering of so many packages could be told from chance at 5 %."""
        return self.smallest_p < 1.0 - _CONFIDENCE


def spearman(x: Array, y: Array, axis: int = -1) -> Array:
    """Return Spearman's rho along an axis: the correlation of ranks, ties with their mean rank
    (Spearman 1904); NaN for ties only.
    """
    a, b = (rankdata(v, axis=axis) for v in np.broadcast_arrays(x, y))
    a, b = a - a.mean(axis=axis, keepdims=True), b - b.mean(axis=axis, keepdims=True)
    size = np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    together = (a * b).sum(axis=axis)
    return np.asarray(
        np.divide(together, size, out=np.full_like(together, np.nan), where=size > 0.0)
    )


def smallest_p_value(count: int) -> float:
    """Return the smallest two-sided p-value that a permutation test of ``count`` packages can give:
    2 / count!, at most 1.
    """
    return min(1.0, 2.0 / math.factorial(count))


def bootstrap_interval(
    x: Array, y: Array, *, resamples: int = RESAMPLES, seed: int = _SEED
) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's rho from resampled packages, ``x`` and ``y``
    [package].

    Pairs are drawn with replacement; the bounds are percentiles of the rho of each draw (Efron
    1981). Draws in which an ordering has only ties say nothing and are left out. On normal pairs it
    holds the true rho in 93 to 99 % of cases with 8 packages and more, in 88 to 99 % with 6 and in
    75 to 95 % with 5.
    """
    drawn = np.random.default_rng(seed).integers(0, len(x), size=(resamples, len(x)))
    values = spearman(x[drawn], y[drawn])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.5 * (1.0 - _CONFIDENCE), 0.5 * (1.0 + _CONFIDENCE)])
    return float(low), float(high)


def permutation_p_value(x: Array, y: Array) -> float:
    """Return the share of orderings of ``y`` [package] whose rho with ``x`` is as far from 0 as the
    one found: a two-sided p-value.

    All orderings up to eight packages; beyond, a random sample of them with the found one among it
    (Phipson and Smyth 2010).
    """
    orders, exact = _orders(len(x))
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    found = abs(float(a @ b))
    extreme = int(np.count_nonzero(np.abs(b[orders] @ a) >= found - 1e-9))
    return extreme / len(orders) if exact else (extreme + 1) / (len(orders) + 1)


@cache
def _orders(count: int) -> tuple[NDArray[np.int64], bool]:
    """Return orderings [ordering, count], and whether they are all of them."""
    if math.factorial(count) <= _PERMUTATIONS:
        return np.array(list(permutations(range(count))), dtype=np.int64), True
    return np.random.default_rng(_SEED).permuted(
        np.tile(np.arange(count), (_PERMUTATIONS, 1)), axis=1
    ), False


def agreement(x: Array, y: Array) -> RankAgreement:
    """Return how far two values of packages, ``x`` and ``y`` [package], order them alike.

    Packages are resampled and permuted, never single runs: runs of one package share its network
    and are not independent. The p-value is that of a permutation test of rho (exact up to eight
    packages). EvaluationError for values that are not finite or not [package].
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise EvaluationError(
            f"orderings must both be [package]; they are {list(x.shape)} and {list(y.shape)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise EvaluationError(
            "orderings must be finite; leave packages without a value out, and say so"
        )
    count, smallest = len(x), smallest_p_value(len(x))
    rho = float(spearman(x, y)) if count >= LEAST_PACKAGES else float("nan")
    if not math.isfinite(rho):
        return RankAgreement(count, float("nan"), float("nan"), None, None, None, smallest)
    low, high = bootstrap_interval(x, y) if count >= LEAST_FOR_INTERVAL else (None, None)
    return RankAgreement(
        count,
        rho,
        float(kendalltau(x, y).statistic),
        low,
        high,
        permutation_p_value(x, y),
        smallest,
    )
