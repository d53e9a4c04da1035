"""What runs did, as numbers that order them: crashed ones too, without averaging what cannot be
averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from climlink.evaluation.compare.results import MemberResult
from climlink.evaluation.summary import Metrics

Array = NDArray[np.float64]

_HIGHER = ("r2", "r2_column", "r2_column_median", "climsim_r2", "leap", "confidence.crpss")
_LOWER = ("rmse", "mae", "climsim_rmse", "climsim_mae", "confidence.crps")
_NEAR_ZERO = ("bias", "climsim_bias", "drift")


def goodness(name: str, value: float) -> float | None:
    """Return a metric turned so that more is better: R² and scores as they are, errors negative,
    biases and drifts by their size; None for a metric of which climlink does not know what is
    better."""
    metric = name.split(".", 2)
    prefix = ".".join(metric[:2]) if metric[0] == "confidence" else metric[0]
    if prefix in _HIGHER:
        return value
    if prefix in _LOWER:
        return -value
    return -abs(value) if prefix in _NEAR_ZERO else None


def common_metrics(metrics: Sequence[Metrics]) -> list[str]:
    """Return the names of metrics that all have a number for, and of which it is known what is
    better, in the order of the first.
    """
    if not metrics:
        return []
    return [name for name in metrics[0] if all(_known(name, m.get(name)) for m in metrics)]


def _known(name: str, value: float | None) -> bool:
    return value is not None and goodness(name, value) is not None


def error_of(member: MemberResult, metric: str) -> float | None:
    """Return the online error of a member over the days that it lived; None where it has none."""
    return member.summary.metrics.get(metric)


def worst_ranks(members: Sequence[MemberResult], metric: str) -> Array:
    """Return the place of each member among all, [member], 1 the best; NaN for a survivor without
    an error.

    Survivors are ordered by their error; every run that ended early comes after every survivor, the
    earlier the worse (worst-rank scores: Lachin 1999, Controlled Clinical Trials 20, 408). The
    error of a run that ended early is not used: it is over fewer days, and so often the smaller.
    Equals share their mean place.
    """
    keys = [_key(member, metric) for member in members]
    order = sorted({key for key in keys if key is not None})
    place = np.array(
        [np.nan if key is None else order.index(key) for key in keys], dtype=np.float64
    )
    ranks = np.full(len(members), np.nan)
    known = np.isfinite(place)
    ranks[known] = rankdata(place[known])
    return ranks


def _key(member: MemberResult, metric: str) -> tuple[int, float] | None:
    if not member.summary.survived:
        return (1, -member.summary.days)
    error = error_of(member, metric)
    if error is None:
        return None
    better = goodness(metric, error)
    return (0, -better if better is not None else error)
