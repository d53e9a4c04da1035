"""Kernels against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels import bias, mae, r2, rmse

PAIRS = hnp.arrays(
    np.float64,
    st.tuples(st.just(2), st.integers(2, 40), st.integers(1, 5)),
    elements=st.floats(-1e3, 1e3, width=32),
)


@given(PAIRS, st.sampled_from([1.0, 1e-9, 1e6]))
def test_kernels_equal_sklearn(pair: np.ndarray, scale: float) -> None:
    truth, prediction = pair * scale
    # About the first row, for scikit-learn's mean of a constant is off by a rounding, which makes
    # its R² -1e30 instead of 0.
    expected = r2_score(truth - truth[0], prediction - truth[0], multioutput="raw_values")
    np.testing.assert_allclose(r2(truth, prediction), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        rmse(truth, prediction) ** 2,
        mean_squared_error(truth, prediction, multioutput="raw_values"),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        mae(truth, prediction),
        mean_absolute_error(truth, prediction, multioutput="raw_values"),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        bias(truth, prediction), (prediction - truth).mean(axis=0), rtol=1e-10, atol=1e-12 * scale
    )


def test_float32_input_is_scored_in_float64() -> None:
    rng = np.random.default_rng(0)
    truth = 300.0 + rng.normal(0, 1e-3, (10000, 1))
    got = r2(truth, truth.astype(np.float32))
    assert got == pytest.approx(
        r2_score(truth, truth.astype(np.float32).astype(np.float64)), abs=1e-10
    )


def test_feature_without_variance() -> None:
    truth = np.zeros((5, 3))
    prediction = np.zeros((5, 3))
    prediction[2, 1] = 1e-30
    prediction[:, 2] = 1.0
    np.testing.assert_array_equal(r2(truth, prediction), [1.0, 0.0, 0.0])


def test_mean_prediction_scores_zero() -> None:
    truth = np.random.default_rng(1).normal(size=(100, 4))
    np.testing.assert_allclose(
        r2(truth, np.broadcast_to(truth.mean(axis=0), truth.shape)), 0.0, atol=1e-14
    )


@pytest.mark.parametrize("shapes", [((3, 2), (3, 3)), ((3,), (3,)), ((0, 2), (0, 2))])
def test_wrong_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(EvaluationError, match="must have one shape"):
        r2(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_non_finite_prediction_is_refused_with_its_place() -> None:
    prediction = np.zeros((4, 3))
    prediction[2, 1] = np.nan
    with pytest.raises(
        EvaluationError, match=r"prediction is not finite \(nan\) in row 2, feature 1"
    ):
        r2(np.zeros((4, 3)), prediction)
