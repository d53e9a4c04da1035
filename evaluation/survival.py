"""Survival of members whose runs may end early: the estimate of Kaplan and Meier with an
interval.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import CensoredData, ecdf

from climlink.evaluation.errors import EvaluationError

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class SurvivalCurve:
    """Probability to live longer than each of ``days`` [step], day 0 first; a step function that
    holds until the next day.

    ``low`` and ``high`` bound it; ``at_risk`` counts members that lived and were observed until
    that day.
    """

    days: Array
    probability: Array
    low: Array
    high: Array
    at_risk: NDArray[np.int64]


def kaplan_meier(days: Array, died: BoolArray, confidence: float = 0.95) -> SurvivalCurve:
    """Return the survival of members: ``days`` [member] that each ran, ``died`` where it ended
    early and was not merely stopped.

    S(t) is the product over days d <= t of 1 - deaths / members at risk (Kaplan and Meier 1958).
    The interval is the log-log one with Greenwood's variance. That variance is 0 where S is 1 or 0;
    there the bound is the exact binomial one of Clopper and Pearson, (a/2)**(1/n) below 1 with n
    members at risk and 1 - (a/2)**(1/n) above 0 with n deaths, a = 1 - confidence. Bounds never
    rise with time.

    EvaluationError without a member, or for days that are negative or not finite.
    """
    days, died = np.asarray(days, dtype=np.float64), np.asarray(died, dtype=bool)
    if days.ndim != 1 or days.shape != died.shape or days.size == 0:
        raise EvaluationError(
            f"days and died must both be [member] with a member; they are {list(days.shape)} and "
            f"{list(died.shape)}"
        )
    if not (np.isfinite(days).all() and (days >= 0.0).all()):
        raise EvaluationError(f"days must be finite and not negative, got {days.tolist()}")
    if not 0.0 < confidence < 1.0:
        raise EvaluationError(f"confidence must lie between 0 and 1, got {confidence}")
    if not died.any():
        times = np.unique(days)
        probability = low = high = np.ones_like(times)
    else:
        curve = ecdf(CensoredData.right_censored(days, ~died)).sf
        times, probability = curve.quantiles, curve.probabilities
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", RuntimeWarning
            )  # no interval where S is 1 or 0: bounded below
            interval = curve.confidence_interval(confidence, method="log-log")
        low, high = interval.low.probabilities, interval.high.probabilities
    at_risk = (days[None, :] >= times[:, None]).sum(axis=1)
    tail = 0.5 * (1.0 - confidence)
    low = np.where(
        probability == 1.0, tail ** (1.0 / at_risk), np.where(probability == 0.0, 0.0, low)
    )
    high = np.where(
        probability == 1.0,
        1.0,
        np.where(probability == 0.0, 1.0 - tail ** (1.0 / max(1, int(died.sum()))), high),
    )
    return _from_day_zero(
        SurvivalCurve(
            times, probability, np.minimum.accumulate(low), np.minimum.accumulate(high), at_risk
        ),
        days.size,
    )


def _from_day_zero(curve: SurvivalCurve, members: int) -> SurvivalCurve:
    """Put day 0, when all members live, before a curve that begins later."""
    if curve.days[0] == 0.0:
        return curve
    one = np.ones(1)
    return SurvivalCurve(
        np.concatenate([[0.0], curve.days]),
        np.concatenate([one, curve.probability]),
        np.concatenate([one, curve.low]),
        np.concatenate([one, curve.high]),
        np.concatenate([[members], curve.at_risk]).astype(np.int64),
    )
