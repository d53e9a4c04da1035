"""Searches for weights that are not negative and sum to 1: Nelder-Mead and hill climbing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]

Score = Callable[[Array], Array]
"""Scores [candidate], larger is better, of weights [candidate, member]."""

ROUNDS = 100
"""Members that hill climbing may draw: weights are multiples of a hundredth at finest."""

_EVALUATIONS = 400
"""Of a score by Nelder-Mead, per member."""

_PRECISION = 1e-6


def hill_climbing(score: Score, members: int, rounds: int = ROUNDS) -> Array:
    """Return weights [member] found by greedy forward selection with replacement (Caruana et al.
    2004): each round adds the member whose addition to the bag scores best; the best bag is kept.
    """
    counts = np.zeros(members)
    best, found = -np.inf, np.full(members, 1.0 / members)
    for size in range(1, rounds + 1):
        candidates = (counts + np.eye(members)) / size
        scores = score(candidates)
        chosen = int(np.argmax(scores))
        counts[chosen] += 1.0
        if scores[chosen] > best:
            best, found = float(scores[chosen]), candidates[chosen]
    return found


def nelder_mead(score: Score, members: int) -> Array:
    """Return weights [member] that a simplex search (Nelder and Mead 1965) from the best of equal
    weights and single members ends at.

    It moves freely in v and scores |v| / sum |v|, so every point is a weighting.
    """

    def weights(v: Array) -> Array:
        size = np.abs(v)
        total = size.sum()
        return size / total if total > 0.0 else np.full(members, 1.0 / members)

    starts = np.vstack([np.full(members, 1.0 / members), np.eye(members)])
    start = starts[int(np.argmax(score(starts)))]
    simplex = np.vstack([start, start + 0.5 * np.eye(members)])
    result = minimize(
        lambda v: -float(score(weights(v)[None])[0]),
        start,
        method="Nelder-Mead",
        options={
            "initial_simplex": simplex,
            "xatol": _PRECISION,
            "fatol": _PRECISION,
            "maxfev": _EVALUATIONS * members,
        },
    )
    return weights(np.asarray(result.x))
