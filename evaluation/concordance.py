"""How well a number tells beforehand which of two lives longer: the concordance of Harrell for runs
that may have been stopped alive, and the difference of two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Concordance:
    """Pairs of which one is known to have lived longer: in how many the shorter-lived had the
    higher risk, the lower, or the same.
    """

    concordant: int
    discordant: int
    tied: int

    @property
    def pairs(self) -> int:
        """The number of comparable pairs."""
        return self.concordant + self.discordant + self.tied

    @property
    def index(self) -> float:
        """(concordant + tied / 2) / pairs; 0.5 where risk tells nothing, NaN without a pair."""
        if not self.pairs:
            return float("nan")
        return (self.concordant + 0.5 * self.tied) / self.pairs


def concordance(risk: Array, days: Array, died: BoolArray) -> Concordance:
    """Return the concordance of a risk [member] with how long members lived: ``days`` [member],
    ``died`` [member] where the run ended early and was not merely stopped (Harrell et al. 1982).

    A pair is comparable where one died and the other was alive then: it lived for more days, or was
    stopped alive on that very day. Two that died on the same day are not comparable, and neither
    are two of which the first to end was stopped. EvaluationError for arrays that do not fit or
    that are not finite.
    """
    before = comparable(days, died)
    risk = np.asarray(risk, dtype=np.float64)
    if risk.shape != before.shape[:1] or not np.isfinite(risk).all():
        raise EvaluationError(
            f"risk must be finite, one number for each of {len(before)} members, got "
            f"{risk.tolist()}"
        )
    first, second = np.nonzero(before)
    higher = risk[first] - risk[second]
    return Concordance(
        int((higher > 0.0).sum()), int((higher < 0.0).sum()), int((higher == 0.0).sum())
    )


def comparable(days: Array, died: BoolArray) -> BoolArray:
    """Return where member i is known to have died before member j, [i, j]."""
    days, died = np.asarray(days, dtype=np.float64), np.asarray(died, dtype=bool)
    if days.ndim != 1 or days.shape != died.shape or not np.isfinite(days).all():
        raise EvaluationError(
            f"days and died must both be [member] and finite; they are {list(days.shape)} and "
            f"{list(died.shape)}"
        )
    later = days[:, None] < days[None, :]
    outlived = (days[:, None] == days[None, :]) & ~died[None, :]
    return np.asarray(died[:, None] & (later | outlived))


@dataclass(frozen=True)
class Difference:
    """Concordance of one risk less that of another on the same members, with the interval of
    resampled members; NaN where too few resamples hold a comparable pair.

    ``used`` of ``resamples`` held one.
    """

    value: float
    low: float
    high: float
    used: int
    resamples: int


_FEWEST_USED = 100


def difference(
    one: Array,
    other: Array,
    days: Array,
    died: BoolArray,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return the concordance of ``one`` [member] less that of ``other`` [member], with a bootstrap
    interval: members are drawn with replacement, the same for both (percentiles, Efron 1979).

    A member that is drawn twice makes no pair with itself: it has no longer and no shorter life.
    """
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    days, died = np.asarray(days, dtype=np.float64), np.asarray(died, dtype=bool)
    value = concordance(one, days, died).index - concordance(other, days, died).index
    draws = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = draws.integers(len(days), size=len(days))
        first = concordance(one[drawn], days[drawn], died[drawn])
        if first.pairs:
            second = concordance(other[drawn], days[drawn], died[drawn])
            found.append(first.index - second.index)
    low = high = float("nan")
    if len(found) >= _FEWEST_USED:
        tail = 0.5 * (1.0 - confidence)
        low, high = (float(q) for q in np.quantile(found, [tail, 1.0 - tail]))
    return Difference(value, low, high, len(found), resamples)
