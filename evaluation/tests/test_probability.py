"""Predicted spreads: against numerical integration and the definition of the CRPS; confidence
scores on errors of known spread.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from climlink.evaluation.kernels.probability import (
    expected_huber,
    gaussian_crps,
    huber,
    sigma_of_loss,
)
from climlink.evaluation.offline.confidence import ConfidenceScores, ScaledOutputs
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import Variable

LEVELS = 3


@pytest.mark.parametrize(("error", "sigma"), [(0.0, 1.0), (1.3, 0.4), (-5.0, 2.0), (0.2, 30.0)])
def test_crps_is_the_integral_it_is_defined_by(error: float, sigma: float) -> None:
    below = quad(lambda x: norm.cdf(x, scale=sigma) ** 2, -np.inf, error)[0]
    above = quad(lambda x: norm.sf(x, scale=sigma) ** 2, error, np.inf)[0]
    assert gaussian_crps(np.array(error), np.array(sigma)) == pytest.approx(below + above, rel=1e-8)


def test_crps_of_no_spread_is_the_absolute_error() -> None:
    np.testing.assert_array_equal(gaussian_crps(np.array([-2.0, 0.5]), np.zeros(2)), [2.0, 0.5])
    np.testing.assert_allclose(gaussian_crps(np.array([2.0]), np.array([1e-9])), 2.0, rtol=1e-8)


@pytest.mark.parametrize("delta", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("sigma", [1e-3, 0.3, 1.0, 20.0])
def test_expected_huber_is_the_integral(sigma: float, delta: float) -> None:
    def integrand(e: float) -> float:
        return float(huber(np.array(e), delta) * norm.pdf(e, scale=sigma))

    expected = 2.0 * (
        quad(integrand, 0.0, delta, limit=200)[0]
        if sigma > 0.01
        else quad(integrand, 0.0, 20 * sigma)[0]
    )
    expected += 2.0 * quad(integrand, delta, delta + 40 * sigma, limit=200)[0]
    assert expected_huber(np.array([sigma]), delta)[0] == pytest.approx(expected, rel=1e-8)


def test_sigma_of_loss_is_the_inverse() -> None:
    sigma = np.logspace(-5, 3, 57)
    np.testing.assert_allclose(sigma_of_loss(expected_huber(sigma, 2.0), 2.0), sigma, rtol=1e-5)
    np.testing.assert_array_equal(sigma_of_loss(np.array([0.0, -1.0]), 2.0), 0.0)


def scores(spread_known: bool, seed: int = 0, blocks: int = 1, rows: int = 6000):
    """Return confidence scores of errors whose spread is either told by the confidence or not."""
    rng = np.random.default_rng(seed)
    network, host = variable_set("net308", LEVELS), variable_set("mmf368", LEVELS)
    scale = np.linspace(0.5, 2.0, network.width)
    outputs = ScaledOutputs(network, host, scale)
    sigma = np.exp(rng.normal(0.0, 1.0, (rows, 1))) * np.ones(network.width)
    error = sigma * rng.normal(size=sigma.shape) * scale
    truth = rng.normal(0.0, 3.0, (rows, host.width))
    prediction = truth.copy()
    for name in network.names:
        target = "ptend_q0002" if name == "ptend_qn" else name
        prediction[:, host.slice(target)] += error[:, network.slice(name)]
    confidence = expected_huber(sigma if spread_known else rng.permutation(sigma), 1.0)
    collected = ConfidenceScores(outputs, dict.fromkeys(network.names, 1.0))
    for part in np.array_split(np.arange(rows), blocks):
        collected.add(truth[part], prediction[part], confidence[part], np.ones(len(part)))
    return collected.result(), error / scale, sigma


def test_a_true_spread_is_calibrated_and_beats_a_constant_one() -> None:
    result, error, sigma = scores(spread_known=True)
    expected = gaussian_crps(error, sigma)
    network = variable_set("net308", LEVELS)
    assert set(result.crps) == set(network.names)
    for name in network.names:
        where = network.slice(name)
        assert result.crps[name] == pytest.approx(expected[:, where].mean(), rel=1e-4)
        assert result.mae[name] == pytest.approx(np.abs(error[:, where]).mean(), rel=1e-12)
        grid = min(
            gaussian_crps(error[:, where], np.full(error[:, where].shape, s)).mean()
            for s in np.logspace(-1, 1, 60)
        )
        assert result.crps_constant[name] == pytest.approx(grid, rel=3e-3)
        assert result.crps[name] < 0.9 * result.crps_constant[name] < result.mae[name]
    curve = result.calibration["ptend_t"]
    assert curve.count.sum() == 6000 * LEVELS
    np.testing.assert_allclose(curve.actual, curve.predicted, rtol=0.2)
    assert result.kept_loss[0] < 0.2 * result.kept_loss[-1]
    assert (np.diff(result.kept_r2["ptend_t"]) < 0).all()
    assert result.kept[-1] == 1.0
    assert result.not_positive == 0.0


def test_a_spread_that_tells_nothing_is_worse_than_a_constant_one() -> None:
    result, _, _ = scores(spread_known=False)
    assert result.crps["ptend_u"] > result.crps_constant["ptend_u"]
    curve = result.calibration["ptend_u"]
    assert np.ptp(curve.actual) < 0.2 * np.ptp(curve.predicted)
    assert result.kept_loss[0] == pytest.approx(result.kept_loss[-1], rel=0.15)


def test_confidence_scores_do_not_depend_on_blocks() -> None:
    one, _, _ = scores(spread_known=True, rows=500)
    many, _, _ = scores(spread_known=True, rows=500, blocks=7)
    for name in one.crps:
        assert many.crps[name] == pytest.approx(one.crps[name], rel=1e-12)
        np.testing.assert_allclose(many.kept_r2[name], one.kept_r2[name], rtol=1e-10)
    np.testing.assert_allclose(many.kept_loss, one.kept_loss, rtol=1e-12)


def test_all_rows_kept_score_the_plain_r2_and_pruned_outputs_are_left_out() -> None:
    network, host = variable_set("net308", LEVELS), variable_set("mmf368", LEVELS)
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(200, host.width))
    prediction = truth + rng.normal(0, 0.5, truth.shape)
    scale = np.ones(network.width)
    scale[network.slice("ptend_u")] = 0.0
    collected = ConfidenceScores(
        ScaledOutputs(network, host, scale), dict.fromkeys(network.names, 1.0)
    )
    confidence = rng.uniform(-0.1, 1.0, (200, network.width))
    counted = np.ones(200)
    counted[:5] = 0.0
    collected.add(truth, prediction, confidence, counted)
    result = collected.result()
    assert "ptend_u" not in result.crps
    y, p = truth[5:, host.slice("ptend_t")], prediction[5:, host.slice("ptend_t")]
    r2 = 1.0 - ((p - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert result.kept_r2["ptend_t"][-1] == pytest.approx(np.median(r2), rel=1e-12)
    used = confidence[5:, scale > 0.0]
    assert result.not_positive == pytest.approx((used <= 0).mean())


def test_every_output_has_the_delta_of_its_own_loss() -> None:
    network, host = variable_set("net308", LEVELS), variable_set("mmf368", LEVELS)
    deltas = {name: 0.5 * (k + 1) for k, name in enumerate(network.names)}
    collected = ConfidenceScores(ScaledOutputs(network, host, np.full(network.width, 2.0)), deltas)
    truth = np.zeros((4, host.width))
    prediction = np.full((4, host.width), 6.0)
    errors = {
        n: 6.0 if n == "ptend_qn" else 3.0 for n in network.names
    }  # total cloud has two parts
    loss = {n: d * (errors[n] - 0.5 * d) for n, d in deltas.items() if d <= 3.0}
    confidence = np.zeros((4, network.width))
    for name in network.names:
        confidence[:, network.slice(name)] = 0.1 * deltas[name]
    collected.add(truth, prediction, confidence, np.ones(4))
    result = collected.result()
    for name, expected in loss.items():
        curve = result.calibration[name]
        np.testing.assert_allclose(curve.actual, expected, rtol=1e-12)
        np.testing.assert_allclose(curve.predicted, 0.1 * deltas[name], rtol=1e-12)
        sigma = sigma_of_loss(np.array(0.1 * deltas[name]), deltas[name])
        crps = float(gaussian_crps(np.array(errors[name]), sigma))
        assert result.crps[name] == pytest.approx(crps, rel=1e-12)


def test_the_spread_of_an_ensemble_is_scored_as_the_sigma_that_it_is() -> None:
    outputs = VariableSet("one", (Variable("flux", "W/m2", "a flux"),), {})
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.2, 3.0, (4000, 1))
    sigma[0] = 0.0  # members that agree
    error = sigma * rng.normal(size=sigma.shape)
    truth = rng.normal(size=sigma.shape)
    scaled = ScaledOutputs(outputs, outputs, np.ones(1))
    scores = ConfidenceScores(scaled, {"flux": 1.0}, spread=True)
    scores.add(truth, truth + error, sigma, np.ones(len(truth)))
    found = scores.result()
    # there and back through the expected loss costs 1e-5 (sigma_of_loss)
    assert found.crps["flux"] == pytest.approx(gaussian_crps(error, sigma).mean(), rel=1e-4)
    # Errors of that very spread: predicted and actual loss agree, to the sampling of 400 rows.
    calibration = found.calibration["flux"]
    np.testing.assert_allclose(calibration.actual, calibration.predicted, rtol=0.3, atol=0.01)
