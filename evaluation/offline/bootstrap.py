"""What the snapshots at hand can say about the difference of two packages' R²: both scored on the
same resampled snapshots.

Columns of a snapshot share its weather, so snapshots are drawn, never single columns. Moments have
a snapshot per row here where they have a column elsewhere (``snapshot_moments``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.scores import without_variance
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

HEADLINE = (
    "ptend_t",
    "ptend_q0001",
    "ptend_q0002",
    "ptend_q0003",
    "ptend_u",
    "ptend_v",
    "cam_out_PRECC",
)
"""Outputs whose R² are averaged where one number is wanted."""

MEAN = "mean"
RESAMPLES = 2000
_SEED = 7
_DRAWN_AT_ONCE = 200


@dataclass(frozen=True)
class Difference:
    """R² of two packages, ``a`` minus ``b``, the interval of the difference, and the share of
    resamples in which ``a`` is better.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    share_better: float


def snapshot_moments(truth: Array, prediction: Array, counted: Array | None = None) -> PairMoments:
    """Return the moments [snapshot, feature] of pairs [snapshot, column, feature]; ``counted``
    [snapshot, column] is 0 where a column is left out.
    """
    moments = PairMoments.empty(len(truth), truth.shape[2])
    weights = None if counted is None else counted.T[..., None]
    moments.add(truth.swapaxes(0, 1), prediction.swapaxes(0, 1), weights)
    return moments


def joined(parts: Sequence[PairMoments]) -> PairMoments:
    """Return the moments of all snapshots of several parts, in their order."""
    names = [f.name for f in fields(PairMoments)]
    return PairMoments(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def paired_bootstrap(
    a: PairMoments,
    b: PairMoments,
    outputs: VariableSet,
    *,
    first_level: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = _SEED,
) -> dict[str, Difference]:
    """Return the difference of R², ``a`` minus ``b``, of every output and, under ``mean``, of the
    mean over HEADLINE, from moments [snapshot, width] of the same snapshots (see
    ``snapshot_moments``).

    Snapshots are drawn with replacement, the same for both, and the bounds are percentiles of the
    differences (Efron 1981): with ten snapshots such an interval is somewhat too narrow. R² of a
    profile is the median over levels from ``first_level`` down whose truth varies in all snapshots
    together. EvaluationError for moments of other snapshots, fewer than two of them, or truth that
    is constant.
    """
    _check(a, b, outputs)
    levels = _levels(a.over_columns(), outputs, first_level)
    rng = np.random.default_rng(seed)
    whole = np.ones((1, len(a.weight)))
    scores = [_summaries(_r2(m, whole), levels) for m in (a, b)]
    drawn: list[list[dict[str, Array]]] = []
    for first in range(0, resamples, _DRAWN_AT_ONCE):
        size = min(_DRAWN_AT_ONCE, resamples - first)
        draws = rng.multinomial(len(a.weight), np.full(len(a.weight), 1.0 / len(a.weight)), size)
        counts = draws.astype(np.float64)
        drawn.append([_summaries(_r2(m, counts), levels) for m in (a, b)])
    return {
        name: _difference(
            float(scores[0][name][0]),
            float(scores[1][name][0]),
            np.concatenate([x[name] - y[name] for x, y in drawn]),
            confidence,
        )
        for name in scores[0]
    }


def _check(a: PairMoments, b: PairMoments, outputs: VariableSet) -> None:
    if a.weight.shape != b.weight.shape or a.weight.shape[1] != outputs.width:
        raise EvaluationError(
            f"moments must both be [snapshot, {outputs.width}]; they are {list(a.weight.shape)} "
            f"and {list(b.weight.shape)}"
        )
    if len(a.weight) < 2:
        raise EvaluationError("a bootstrap over snapshots needs at least two of them")
    same = (a.weight == b.weight).all() and (a.lowest == b.lowest).all()
    if not (same and (a.highest == b.highest).all()):
        raise EvaluationError(
            "the two moments are of other truth: score both packages on the same snapshots, and "
            "leave out the same columns"
        )


def _levels(
    pooled: PairMoments, outputs: VariableSet, first_level: int
) -> Mapping[str, NDArray[np.int64]]:
    """Return the positions of every output in a row that its summary is over."""
    varies = ~without_variance(pooled, outputs)[0]
    found = {}
    for v in outputs.variables:
        where = outputs.slice(v.name)
        start = where.start + (first_level if v.is_profile else 0)
        found[v.name] = start + np.flatnonzero(varies[start : where.stop])
    constant = [n for n in found if not found[n].size]
    if len(constant) == len(found):
        raise EvaluationError("the truth of every output is constant: R² says nothing")
    return {n: k for n, k in found.items() if k.size}


def _r2(moments: PairMoments, counts: Array) -> Array:
    """Return pooled R² [resample, feature] where snapshot s stands ``counts[., s]`` times; NaN
    where the truth of a resample does not vary.
    """
    # About the overall mean, so that the difference of squares costs no digits.
    pooled = moments.over_columns().truth_mean()[0]
    d = np.where(moments.weight > 0.0, moments.shift + moments.mean - pooled, 0.0)
    weight = counts @ moments.weight
    first = counts @ (moments.weight * d)
    second = counts @ (moments.spread + moments.weight * d**2)
    spread = second - np.divide(first**2, weight, out=np.zeros_like(first), where=weight > 0.0)
    error = counts @ moments.square
    return 1.0 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 0.0)


def _summaries(r2: Array, levels: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
    """Return one number per output and resample, and the mean over HEADLINE where all are there."""
    found = {name: np.nanmedian(r2[:, k], axis=1) for name, k in levels.items()}
    if all(n in found for n in HEADLINE):
        found[MEAN] = np.mean([found[n] for n in HEADLINE], axis=0)
    return found


def _difference(a: float, b: float, drawn: Array, confidence: float) -> Difference:
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.5 * (1.0 - confidence), 0.5 * (1.0 + confidence)])
    return Difference(a, b, a - b, float(low), float(high), float((known > 0.0).mean()))
