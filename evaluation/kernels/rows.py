"""Scores of plain arrays, float64, per feature over all rows. Labels are the business of offline.

Every kernel takes truth and prediction ``[row, feature]`` and returns ``[feature]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments

Rows = NDArray[np.floating]
Scores = NDArray[np.float64]


def r2(truth: Rows, prediction: Rows) -> Scores:
    """Return R² = 1 - sum((y - p)²) / sum((y - mean(y))²) of every feature, pooled over rows.

    A feature without variance scores 1 where the prediction is exact and 0 elsewhere.

    >>> r2(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]]))
    array([0.5])
    """
    return row_moments(truth, prediction).r2()[0]


def rmse(truth: Rows, prediction: Rows) -> Scores:
    """Return the root of the mean squared error, sqrt(mean((p - y)²)), in units of the feature."""
    return row_moments(truth, prediction).rmse()[0]


def mae(truth: Rows, prediction: Rows) -> Scores:
    """Return the mean absolute error, mean(|p - y|), in units of the feature."""
    return row_moments(truth, prediction).mae()[0]


def bias(truth: Rows, prediction: Rows) -> Scores:
    """Return the mean error, mean(p - y), in units of the feature."""
    return row_moments(truth, prediction).bias()[0]


def row_moments(truth: Rows, prediction: Rows) -> PairMoments:
    """Return the moments [1, feature] of rows [row, feature].

    EvaluationError unless they are finite, two-dimensional, of one shape and not empty.
    """
    y, p = _checked(truth, prediction)
    moments = PairMoments.empty(1, y.shape[1])
    moments.add(y[:, None], p[:, None])
    return moments


def _checked(truth: Rows, prediction: Rows) -> tuple[Scores, Scores]:
    if truth.ndim != 2 or truth.shape != prediction.shape or truth.shape[0] == 0:
        raise EvaluationError(
            "truth and prediction must have one shape [row, feature] with a row; they have "
            f"{truth.shape} and {prediction.shape}"
        )
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    for name, values in (("truth", y), ("prediction", p)):
        if not np.isfinite(values).all():
            row, feature = np.argwhere(~np.isfinite(values))[0]
            raise EvaluationError(
                f"{name} is not finite ({values[row, feature]}) in row {row}, feature {feature}"
            )
    return y, p
