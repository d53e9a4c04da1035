"""Harrell's concordance against pairs counted by hand, Somers' D, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import somersd

from climlink.evaluation.concordance import comparable, concordance, difference
from climlink.evaluation.errors import EvaluationError

NEVER = np.zeros(4, dtype=bool)


def test_pairs_counted_by_hand() -> None:
    # A dies on day 5, B on day 10, C is stopped alive on day 8, D is stopped alive on day 10.
    days, died = np.array([5.0, 10.0, 8.0, 10.0]), np.array([True, True, False, False])
    # A before B, C and D; B before D, which was alive when B died; B and C cannot be told.
    expected = np.zeros((4, 4), dtype=bool)
    expected[0, [1, 2, 3]] = expected[1, 3] = True
    np.testing.assert_array_equal(comparable(days, died), expected)
    found = concordance(np.array([3.0, 1.0, 3.0, 2.0]), days, died)
    # A-B and A-D agree, A-C ties, B-D does not.
    assert (found.concordant, found.discordant, found.tied) == (2, 1, 1)
    assert found.pairs == 4
    assert found.index == 2.5 / 4


def test_deaths_of_one_day_are_not_compared() -> None:
    days, died = np.array([7.0, 7.0, 9.0]), np.array([True, True, True])
    found = concordance(np.array([1.0, 2.0, 0.0]), days, died)
    assert (found.concordant, found.pairs, found.index) == (2, 2, 1.0)


def test_without_censoring_it_is_somers_d() -> None:
    draws = np.random.default_rng(5)
    days, risk = draws.integers(1, 12, 40), draws.integers(0, 6, 40)
    found = concordance(risk.astype(float), days.astype(float), np.ones(40, dtype=bool))
    # D(risk | days) leaves out pairs tied in days, as the concordance does.
    assert found.index == pytest.approx(0.5 * (1.0 - somersd(days, risk).statistic), abs=1e-12)


def test_extremes_and_what_tells_nothing() -> None:
    days = np.array([3.0, 6.0, 20.0, 60.0])
    died = np.array([True, True, True, False])
    assert concordance(-days, days, died).index == 1.0
    assert concordance(days, days, died).index == 0.0
    nothing = concordance(np.ones(4), days, died)
    assert (nothing.index, nothing.tied) == (0.5, 6)
    alive = concordance(-days, days, NEVER)
    assert alive.pairs == 0
    assert np.isnan(alive.index)


def test_order_of_members_and_monotone_risks_do_not_matter() -> None:
    draws = np.random.default_rng(2)
    days, risk = draws.uniform(1, 60, 25).round(), draws.normal(size=25)
    died = draws.random(25) < 0.6
    found = concordance(risk, days, died)
    order = draws.permutation(25)
    assert concordance(risk[order], days[order], died[order]) == found
    assert concordance(np.exp(risk), days, died) == found
    swapped = concordance(-risk, days, died)
    assert (swapped.concordant, swapped.discordant) == (found.discordant, found.concordant)


def test_difference_of_equal_risks_is_zero() -> None:
    draws = np.random.default_rng(3)
    days, died = draws.uniform(1, 60, 12), draws.random(12) < 0.7
    risk = draws.normal(size=12)
    same = difference(risk, 2.0 * risk, days, died, resamples=200)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_difference_holds_both_risks_to_the_same_members() -> None:
    days, died = np.arange(1.0, 31.0), np.ones(30, dtype=bool)
    noise = np.random.default_rng(4).normal(size=30)
    found = difference(-days, noise, days, died, resamples=500)
    assert found.value == pytest.approx(1.0 - concordance(noise, days, died).index)
    assert found.low < found.value < found.high
    assert found.low > 0.0  # a perfect risk is better than noise
    back = difference(noise, -days, days, died, resamples=500)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    # one call with one seed gives the same interval again
    assert difference(-days, noise, days, died, resamples=500) == found


def test_too_few_resamples_with_a_pair_have_no_interval() -> None:
    days, died = np.array([60.0, 60.0, 60.0]), np.zeros(3, dtype=bool)
    found = difference(days, -days, days, died, resamples=150)
    assert found.used == 0
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.parametrize(
    ("risk", "days", "died", "wrong"),
    [
        ([1.0], [1.0, 2.0], [True, True], "one number for each of 2"),
        ([1.0, np.nan], [1.0, 2.0], [True, True], "finite"),
        ([1.0, 2.0], [1.0, np.inf], [True, True], "finite"),
        ([1.0, 2.0], [1.0, 2.0], [True], r"\[2\] and \[1\]"),
    ],
)
def test_what_does_not_fit_is_refused(
    risk: list[float], days: list[float], died: list[bool], wrong: str
) -> None:
    with pytest.raises(EvaluationError, match=wrong):
        concordance(np.array(risk), np.array(days), np.array(died))
