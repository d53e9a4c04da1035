"""Running moments: the cut into blocks changes nothing, and the scores are those of
scikit-learn.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.bins import LogBins, equal_parts, gather, sums_by_bin
from climlink.evaluation.kernels.pairs import PairMoments


def moments(
    truth: np.ndarray,
    prediction: np.ndarray,
    weights: np.ndarray | None = None,
    cuts: tuple[int, ...] = (),
) -> PairMoments:
    result = PairMoments.empty(*truth.shape[1:])
    for first, stop in pairwise([0, *cuts, len(truth)]):
        result.add(
            truth[first:stop],
            prediction[first:stop],
            None if weights is None else weights[first:stop],
        )
    return result


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 30),
    st.sampled_from([0.0, 1.0, 300.0, 1e5]),
    st.sampled_from([1e-9, 1e-3, 1.0]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_blocks_change_no_score(
    seed: int, times: int, mean: float, size: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    truth = mean + size * rng.normal(size=(times, 3, 4))
    prediction = truth + size * rng.normal(size=truth.shape)
    weights = rng.uniform(0.1, 2.0, truth.shape)
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, times - 1), max_size=6))))
    whole, cut = moments(truth, prediction, weights), moments(truth, prediction, weights, cuts)
    for a, b in (
        (whole, cut),
        (whole.over_columns(), cut.over_columns()),
        (whole.over_features(), cut.over_features()),
    ):
        np.testing.assert_allclose(b.r2() - 1.0, a.r2() - 1.0, rtol=1e-12)
        np.testing.assert_allclose(b.rmse(), a.rmse(), rtol=1e-12)
        np.testing.assert_allclose(b.mae(), a.mae(), rtol=1e-12)
        np.testing.assert_allclose(b.bias(), a.bias(), rtol=0, atol=1e-12 * a.mae().max())
        np.testing.assert_allclose(b.truth_mean(), a.truth_mean(), rtol=1e-12, atol=1e-12 * size)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_weighted_scores_are_those_of_scikit_learn(seed: int, left_out: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.normal(2.0, 3.0, (2, 12, 5, 3))
    weights = rng.uniform(0.5, 1.5, (12, 5, 1))
    weights[:left_out, 2] = 0.0
    area = rng.uniform(0.2, 1.0, 5)
    got = moments(truth, prediction, weights, (4, 5)).over_columns(area)
    rows = (weights[..., 0] * area).ravel()
    y, p = truth.reshape(-1, 3), prediction.reshape(-1, 3)
    expected = {"sample_weight": rows, "multioutput": "raw_values"}
    np.testing.assert_allclose(got.r2()[0], r2_score(y, p, **expected), rtol=1e-10)
    np.testing.assert_allclose(got.rmse()[0] ** 2, mean_squared_error(y, p, **expected), rtol=1e-10)
    np.testing.assert_allclose(got.mae()[0], mean_absolute_error(y, p, **expected), rtol=1e-10)
    np.testing.assert_allclose(got.bias()[0], np.average(p - y, axis=0, weights=rows), rtol=1e-10)
    np.testing.assert_allclose(
        got.prediction_mean()[0], np.average(p, axis=0, weights=rows), rtol=1e-10
    )
    np.testing.assert_allclose(
        got.truth_std()[0] ** 2,
        np.average((y - np.average(y, axis=0, weights=rows)) ** 2, axis=0, weights=rows),
    )


def test_features_together_score_as_their_pairs_do_in_one_row() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([0.0, 40.0, -3.0]) + rng.normal(0.0, 2.0, (12, 2, 3))
    prediction = truth + rng.normal(0.5, 1.0, truth.shape)
    weights = rng.uniform(0.5, 1.5, truth.shape)
    weights[:, 1, 2] = 0.0
    got = moments(truth, prediction, weights, (4,)).over_features()
    for column in range(2):
        y, p, w = (a[:, column].ravel() for a in (truth, prediction, weights))
        assert got.r2()[column, 0] == pytest.approx(r2_score(y, p, sample_weight=w), rel=1e-12)
        squared, absolute = (
            f(y, p, sample_weight=w) for f in (mean_squared_error, mean_absolute_error)
        )
        assert got.rmse()[column, 0] ** 2 == pytest.approx(squared, rel=1e-12)
        assert got.mae()[column, 0] == pytest.approx(absolute, rel=1e-12)
        assert got.bias()[column, 0] == pytest.approx(np.average(p - y, weights=w), rel=1e-12)
        assert got.truth_mean()[column, 0] == pytest.approx(np.average(y, weights=w), rel=1e-12)
        assert [got.lowest[column, 0], got.highest[column, 0]] == [y[w > 0].min(), y[w > 0].max()]


def test_small_variation_on_a_large_mean_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    steps = rng.integers(-1000, 1000, (4000, 1, 1)).astype(np.float64)
    truth = 2.0**20 + steps * 2.0**-20  # exact, so the score of the steps alone is the truth
    prediction = 2.0**20 + (steps + rng.integers(-300, 300, steps.shape)) * 2.0**-20
    exact = r2_score(steps[:, 0, 0], (prediction[:, 0, 0] - 2.0**20) * 2.0**20)
    assert moments(truth, prediction, cuts=(1, 17, 2000)).r2()[0, 0] == pytest.approx(
        exact, rel=1e-13
    )


def test_constant_truth_and_features_without_pairs() -> None:
    truth = np.zeros((4, 1, 4))
    truth[..., 2] = 273.15
    prediction = truth.copy()
    prediction[1, 0, 1] = 1e-30
    weights = np.ones_like(truth)
    weights[..., 3] = 0.0
    got = moments(truth, prediction, weights, (2,))
    np.testing.assert_array_equal(got.r2()[0], [1.0, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(got.constant[0], [True, True, True, True])
    assert got.truth_std()[0, 2] == 0.0
    assert np.isnan(got.rmse()[0, 3])


@pytest.mark.parametrize(
    ("truth", "prediction", "weights", "message"),
    [
        ((2, 3, 4), (2, 3, 5), None, r"one shape \[time, 3, 4\]"),
        ((2, 3, 3), (2, 3, 3), None, r"one shape \[time, 3, 4\]"),
        ((0, 3, 4), (0, 3, 4), None, "with a time"),
        ((2, 3, 4), (2, 3, 4), (2, 3, 2), r"weights must have shape \(2, 3, 1\)"),
    ],
)
def test_wrong_shapes_are_refused(
    truth: tuple, prediction: tuple, weights: tuple | None, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        PairMoments.empty(3, 4).add(
            np.zeros(truth), np.zeros(prediction), None if weights is None else np.zeros(weights)
        )


def test_logarithmic_bins_hold_what_they_say() -> None:
    bins = LogBins(-2, 1, 4)
    assert bins.count == 14
    quarter = 10**0.25
    np.testing.assert_allclose(
        bins.edges[[0, 1, 4, 12]], [0.01, 0.01 * quarter, 0.1, 10.0], rtol=1e-14
    )
    np.testing.assert_allclose(bins.centres[[0, 1, 13]], [0.01, 0.01 * 10**0.125, 10.0], rtol=1e-14)
    values = np.array([0.0, -1.0, 0.009, 0.01, 0.5, 9.99, 10.0, 1e9])
    index = bins.of(values)
    np.testing.assert_array_equal(index[[0, 1, 2]], 0)
    np.testing.assert_array_equal(index[[6, 7]], bins.count - 1)
    inside = slice(3, 6)
    assert (bins.edges[index[inside] - 1] <= values[inside]).all()
    assert (values[inside] < bins.edges[index[inside]]).all()
    assert (np.diff(bins.centres) > 0).all()


def test_sums_by_bin_and_equal_parts() -> None:
    index = np.array([3, 0, 3])
    got = sums_by_bin(
        index, 4, np.array([[1.0, 2.0], [4.0, 5.0], [10.0, 20.0]]), np.array([1.0, 0.5, 2.0])
    )
    np.testing.assert_array_equal(got, [[2.0, 2.5], [0, 0], [0, 0], [21.0, 42.0]])
    counts = np.random.default_rng(1).integers(0, 20, 500).astype(np.float64)
    parts = equal_parts(counts, 10)
    held = gather(parts, 10, counts)
    assert (np.diff(parts) >= 0).all()
    assert held.sum() == counts.sum()
    assert np.abs(held - counts.sum() / 10).max() <= 20
    np.testing.assert_array_equal(equal_parts(np.zeros(5), 3), 0)
