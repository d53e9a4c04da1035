"""Kaplan-Meier against a textbook's example, and where its variance says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.survival import kaplan_meier

# Weeks of remission under 6-mercaptopurine (Freireich et al. 1963), the usual textbook example; the
# second list was censored.
RELAPSED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]


def test_the_textbook_example() -> None:
    days = np.array(RELAPSED + CENSORED, dtype=float)
    curve = kaplan_meier(days, np.arange(21) < 9)
    at = {day: k for k, day in enumerate(curve.days)}
    steps = [at[day] for day in (6, 7, 10, 13, 16, 22, 23)]
    np.testing.assert_allclose(
        curve.probability[steps],
        [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482],
        atol=5e-5,
    )
    np.testing.assert_array_equal(curve.at_risk[steps], [21, 17, 15, 12, 11, 7, 6])
    # The log-log interval as statistical packages print it.
    np.testing.assert_allclose(
        curve.low[steps], [0.620, 0.563, 0.503, 0.432, 0.368, 0.268, 0.188], atol=6e-4
    )
    np.testing.assert_allclose(
        curve.high[steps], [0.952, 0.923, 0.889, 0.849, 0.805, 0.747, 0.680], atol=6e-4
    )
    assert (curve.days[0], curve.probability[0], curve.at_risk[0]) == (0.0, 1.0, 21)
    assert curve.probability[at[35]] == curve.probability[at[23]]


def test_all_alive_is_not_certain() -> None:
    curve = kaplan_meier(np.array([30.0, 30.0, 30.0]), np.zeros(3, dtype=bool))
    np.testing.assert_array_equal(curve.probability, [1.0, 1.0])
    # Three of three: the exact lower bound is the probability p with p³ = 0.025.
    assert curve.low[-1] == pytest.approx(0.025 ** (1 / 3), rel=1e-12)
    assert curve.high[-1] == 1.0


def test_all_dead_is_not_certain_either() -> None:
    curve = kaplan_meier(np.array([3.0, 5.0, 8.0]), np.ones(3, dtype=bool))
    np.testing.assert_allclose(curve.probability, [1.0, 2 / 3, 1 / 3, 0.0], atol=1e-15)
    assert curve.low[-1] == 0.0
    assert curve.high[-1] == pytest.approx(1.0 - 0.025 ** (1 / 3), rel=1e-12)


def test_one_member_and_a_death_on_day_zero() -> None:
    one = kaplan_meier(np.array([23.0]), np.array([True]))
    np.testing.assert_array_equal(one.probability, [1.0, 0.0])
    assert one.high[-1] == pytest.approx(0.975, rel=1e-12)
    at_once = kaplan_meier(np.array([0.0, 4.0]), np.array([True, False]))
    np.testing.assert_array_equal(at_once.days, [0.0, 4.0])
    np.testing.assert_array_equal(at_once.probability, [0.5, 0.5])


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_the_curve_and_never_rise(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 12))
    curve = kaplan_meier(generator.integers(1, 9, n).astype(float), generator.random(n) < 0.5)
    for line in (curve.probability, curve.low, curve.high, curve.at_risk):
        assert np.isfinite(line).all()
        assert (np.diff(line) <= 1e-15).all()
    assert (curve.low <= curve.probability + 1e-12).all()
    assert (curve.probability <= curve.high + 1e-12).all()


def test_what_is_no_survival_is_refused() -> None:
    with pytest.raises(EvaluationError, match="with a member"):
        kaplan_meier(np.empty(0), np.empty(0, dtype=bool))
    with pytest.raises(EvaluationError, match=r"finite and not negative.*nan"):
        kaplan_meier(np.array([np.nan]), np.array([True]))
    with pytest.raises(EvaluationError, match="between 0 and 1"):
        kaplan_meier(np.array([1.0]), np.array([True]), 95.0)
