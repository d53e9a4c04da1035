"""Running moments of pairs of truth and prediction: what every score needs, whatever the length of
the record and however it is cut.

Sums of squares of truth are kept about the running mean and merged with the formula of Chan, Golub
and LeVeque (1983), after a shift by the first row, so neither the size of the mean nor the cut into
blocks costs digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError

Array = NDArray[np.float64]


@dataclass
class PairMoments:
    """Weighted moments of truth y and prediction p, every array [column, feature], reduced over
    time.

    ``weight`` is the sum of weights; ``mean`` the mean of y - ``shift``; ``spread`` sum w (y -
    mean(y))²; ``error``, ``square`` and ``size`` the sums of w e, w e² and w |e| with e = p - y;
    ``lowest`` and ``highest`` the range of y.
    """

    weight: Array
    shift: Array
    mean: Array
    spread: Array
    error: Array
    square: Array
    size: Array
    lowest: Array
    highest: Array

    @classmethod
    def empty(cls, n_column: int, width: int) -> PairMoments:
        """Return moments of nothing."""
        weight, shift, mean, spread, error, square, size = np.zeros((7, n_column, width))
        lowest, highest = np.full((n_column, width), np.inf), np.full((n_column, width), -np.inf)
        return cls(weight, shift, mean, spread, error, square, size, lowest, highest)

    def add(self, truth: Array, prediction: Array, weights: Array | None = None) -> None:
        """Add pairs [time, column, feature]; ``weights`` [time, column, 1 or feature] are not
        negative, and 0 leaves a pair out.

        Where the weight is 0 the values must still be finite. EvaluationError for other shapes.
        """
        self._check(truth, prediction, weights)
        w = np.broadcast_to(np.float64(1.0) if weights is None else weights, truth.shape)
        if not self.weight.any():
            self.shift = np.broadcast_to(truth[0, 0], self.weight.shape)
        d = truth - self.shift
        total = w.sum(axis=0)
        mean = _ratio((w * d).sum(axis=0), total)
        spread = (w * (d - mean) ** 2).sum(axis=0)
        both = self.weight + total
        step = mean - self.mean
        self.spread = self.spread + spread + step**2 * _ratio(self.weight * total, both)
        self.mean = self.mean + step * _ratio(total, both)
        self.weight = both
        e = prediction - truth
        self.error = self.error + (w * e).sum(axis=0)
        self.square = self.square + (w * e**2).sum(axis=0)
        self.size = self.size + (w * np.abs(e)).sum(axis=0)
        counted = w > 0.0
        self.lowest = np.minimum(self.lowest, np.where(counted, truth, np.inf).min(axis=0))
        self.highest = np.maximum(self.highest, np.where(counted, truth, -np.inf).max(axis=0))

    def _check(self, truth: Array, prediction: Array, weights: Array | None) -> None:
        shape = self.weight.shape
        if (
            truth.ndim != 3
            or truth.shape != prediction.shape
            or truth.shape[1:] != shape
            or truth.shape[0] == 0
        ):
            raise EvaluationError(
                f"truth and prediction must have one shape [time, {shape[0]}, {shape[1]}] with a "
                f"time; they have {truth.shape} and {prediction.shape}"
            )
        if weights is not None and (
            weights.ndim != 3
            or weights.shape[:2] != truth.shape[:2]
            or weights.shape[2] not in (1, shape[1])
        ):
            raise EvaluationError(
                f"weights must have shape {(*truth.shape[:2], 1)} or {truth.shape}, they have "
                f"{weights.shape}"
            )

    def select(self, features: slice) -> PairMoments:
        """Return the moments of some features."""
        return PairMoments(*(a[:, features] for a in self._arrays()))

    def over_columns(self, factors: Array | None = None) -> PairMoments:
        """Return the moments [1, feature] of all columns together, each weighted by its factor
        [column] on top (such as its area).
        """
        return self._merged(0, None if factors is None else factors[:, None])

    def over_features(self) -> PairMoments:
        """Return the moments [column, 1] of all features together, by their weights."""
        return self._merged(1, None)

    def _merged(self, axis: int, factors: Array | None) -> PairMoments:
        f = np.broadcast_to(np.float64(1.0) if factors is None else factors, self.weight.shape)
        w = self.weight * f
        total = w.sum(axis=axis, keepdims=True)
        reference = np.take(self.shift, [0], axis=axis)
        m = (self.shift - reference) + self.mean
        mean = _ratio((w * m).sum(axis=axis, keepdims=True), total)
        spread = (f * self.spread + w * (m - mean) ** 2).sum(axis=axis, keepdims=True)
        error, square, size = (
            (f * a).sum(axis=axis, keepdims=True) for a in (self.error, self.square, self.size)
        )
        counted = w > 0.0
        lowest = np.where(counted, self.lowest, np.inf).min(axis=axis, keepdims=True)
        highest = np.where(counted, self.highest, -np.inf).max(axis=axis, keepdims=True)
        return PairMoments(
            total,
            np.broadcast_to(reference, total.shape),
            mean,
            spread,
            error,
            square,
            size,
            lowest,
            highest,
        )

    def _arrays(self) -> tuple[Array, ...]:
        return (
            self.weight,
            self.shift,
            self.mean,
            self.spread,
            self.error,
            self.square,
            self.size,
            self.lowest,
            self.highest,
        )

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Where truth has one value only, so that R² says nothing."""
        return np.asarray(self.lowest >= self.highest)

    def r2(self) -> Array:
        """Return R² = 1 - sum(w e²) / sum(w (y - mean(y))²); for constant truth 1 where all errors
        are 0, else 0; NaN without pairs.
        """
        constant = self.constant | (self.spread == 0.0)
        score = 1.0 - np.divide(
            self.square, self.spread, out=np.ones_like(self.square), where=~constant
        )
        score = np.where(constant & (self.square == 0.0), 1.0, score)
        return np.where(self.weight > 0.0, score, np.nan)

    def rmse(self) -> Array:
        """Return sqrt(mean(e²))."""
        return np.sqrt(self._mean(self.square))

    def mae(self) -> Array:
        """Return mean(|e|)."""
        return self._mean(self.size)

    def bias(self) -> Array:
        """Return mean(e)."""
        return self._mean(self.error)

    def truth_mean(self) -> Array:
        """Return mean(y); NaN without pairs."""
        return np.where(self.weight > 0.0, self.shift + self.mean, np.nan)

    def prediction_mean(self) -> Array:
        """Return mean(p); NaN without pairs."""
        return self.truth_mean() + self.bias()

    def truth_std(self) -> Array:
        """Return sqrt(mean((y - mean(y))²)), 0 for constant truth."""
        return np.where(self.constant, 0.0, np.sqrt(self._mean(self.spread)))

    def _mean(self, sums: Array) -> Array:
        return np.divide(sums, self.weight, out=np.full_like(sums, np.nan), where=self.weight > 0.0)


def _ratio(a: Array, b: Array) -> Array:
    """Return a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)
