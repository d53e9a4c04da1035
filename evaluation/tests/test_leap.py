"""The LEAP score, and what columns sum to, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.rows import row_moments
from climlink.evaluation.offline.conservation import BUDGETS, column_budgets
from climlink.evaluation.offline.deciles import LABELS, PrecipitationGroups
from climlink.evaluation.offline.leap import has_weight, leap_scores
from climlink.evaluation.offline.scores import without_variance
from climlink.wrappers.variable_sets import variable_set

OUTPUTS = variable_set("mmf368")


def test_63_targets_have_no_weight() -> None:
    weighted = has_weight(OUTPUTS)
    assert int(weighted.sum()) == 305
    assert weighted[:60].all()
    assert weighted[360:].all()
    # q0001 from 60, q0002 from 120, q0003 from 180, u from 240, v from 300
    for start, first in ((60, 12), (120, 15), (180, 12), (240, 12), (300, 12)):
        assert not weighted[start : start + first].any()
        assert weighted[start + first : start + 60].all()


def test_score_by_hand() -> None:
    # Ten targets of a half, one of -2, the rest exact; what has no weight may be as bad as it
    # likes.
    r2 = np.ones(368)
    r2[:10] = 0.5
    r2[360] = -2.0
    r2[~has_weight(OUTPUTS)] = -1e9
    got = leap_scores(r2, np.zeros(368, dtype=bool), OUTPUTS)
    total = 294 * 1.0 + 10 * 0.5 - 2.0
    assert got["leap.score"] == pytest.approx(total / 305, rel=1e-14)
    assert got["leap.score_floored"] == pytest.approx((total + 2.0) / 305, rel=1e-14)
    assert got["leap.score_368"] == pytest.approx((total + 63) / 368, rel=1e-14)
    assert got["leap.targets_below_0"] == 1.0
    assert got["leap.targets_left_out"] == 0.0


def test_score_is_that_of_weighted_columns_in_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 368)) * rng.uniform(1e-9, 1.0, 368)
    prediction = truth + 0.5 * rng.normal(size=truth.shape) * truth.std(axis=0)
    weights = np.where(has_weight(OUTPUTS), 1.0 / truth.std(axis=0), 0.0)
    moments = row_moments(truth, prediction)
    got = leap_scores(moments.r2()[0], moments.constant[0], OUTPUTS)
    assert got["leap.score_368"] == pytest.approx(
        r2_score(truth * weights, prediction * weights), rel=1e-10
    )


def test_truth_that_float32_cannot_resolve_is_without_variance() -> None:
    # The bound is 1e-6 of the smallest output scale, 3e-10 kg/kg/s for water: a standard deviation
    # of 3e-16.
    signs = np.where(np.arange(10) % 2, 1.0, -1.0)[:, None]  # standard deviation 1, mean 0
    truth = np.broadcast_to(signs, (10, 368)).copy()
    level = OUTPUTS.offset("ptend_q0003") + 30
    truth[:, level], truth[:, level + 1], truth[:, level + 2] = (
        3.01e-16 * signs[:, 0],
        2.99e-16 * signs[:, 0],
        5.0,
    )
    found = without_variance(row_moments(truth, truth), OUTPUTS)[0]
    assert np.flatnonzero(found).tolist() == [level + 1, level + 2]


def test_constant_truth_is_left_out_and_counted() -> None:
    r2, constant = np.full(368, 0.5), np.zeros(368, dtype=bool)
    r2[140], constant[140] = 0.0, True
    got = leap_scores(r2, constant, OUTPUTS)
    assert got["leap.score"] == 0.5
    assert got["leap.targets_left_out"] == 1.0
    with pytest.raises(EvaluationError, match="every target with weight is constant"):
        leap_scores(r2, np.ones(368, dtype=bool), OUTPUTS)


def test_other_outputs_have_no_score() -> None:
    with pytest.raises(EvaluationError, match="on 60 levels"):
        has_weight(variable_set("mmf368", 8))


def test_column_budgets_by_hand() -> None:
    outputs = variable_set("mmf368", 2)
    thickness = np.array([[[9806.16, 19612.32]]])  # 1000 and 2000 kg/m2
    row = np.zeros((1, 1, outputs.width))
    row[..., outputs.slice("ptend_t")] = [1e-5, -1e-5]
    row[..., outputs.slice("ptend_q0001")] = [1e-8, 2e-8]
    row[..., outputs.slice("ptend_q0002")] = [3e-8, 0.0]
    row[..., outputs.slice("ptend_q0003")] = [0.0, -1e-8]
    row[..., outputs.offset("cam_out_PRECC")] = 4e-8
    row[..., outputs.offset("cam_out_PRECSC")] = 1e-8
    got = dict(zip(BUDGETS, column_budgets(row, thickness, outputs)[0, 0], strict=True))
    water = 1e-5 + 4e-5 + 3e-5 - 2e-5  # kg/m2/s
    assert got["column_water"] == pytest.approx(86400 * water)
    assert got["precipitation"] == pytest.approx(86400 * 4e-5)
    assert got["water_residual"] == pytest.approx(86400 * (water + 4e-5))
    assert got["energy_source"] == pytest.approx(
        1004.64 * (1e-2 - 2e-2) + 2.501e6 * 5e-5 - 3.337e5 * (-2e-5 + 1e-5)
    )


def test_groups_of_precipitation_lose_no_column() -> None:
    rng = np.random.default_rng(5)
    rain = np.concatenate(
        [np.full(7, -1e-9), np.zeros(13), 10.0 ** rng.uniform(-12, -6, 2000), [1e-30, 1.0]]
    )
    rng.shuffle(rain)
    truth, prediction = rng.normal(size=(2, len(rain), 3))
    weights = rng.uniform(0.5, 1.0, len(rain))
    weights[::50] = 0.0
    groups = PrecipitationGroups(3)
    for part in np.array_split(np.arange(len(rain)), 9):
        groups.add(rain[part], truth[part], prediction[part], weights[part])
    got = groups.deciles()
    kept = weights > 0.0
    assert got.rows.sum() == kept.sum()
    for k, chosen in enumerate((rain < 0.0, rain == 0.0)):
        assert got.rows[k] == (chosen & kept).sum()
        np.testing.assert_allclose(
            got.prediction[k], np.average(prediction[chosen], axis=0, weights=weights[chosen])
        )
    lower = np.nextafter(0.0, 1.0)
    for k in range(2, len(LABELS)):
        upper = got.upper[k]
        chosen = (rain >= lower) & (rain < upper)
        assert got.rows[k] == (chosen & kept).sum()
        np.testing.assert_allclose(
            got.truth[k], np.average(truth[chosen], axis=0, weights=weights[chosen])
        )
        lower = upper
    exact = np.quantile(rain[(rain > 0) & kept], np.arange(1, 10) / 10)
    np.testing.assert_allclose(got.upper[2:-1], exact, rtol=0.15)


def test_a_group_without_columns_has_no_mean() -> None:
    groups = PrecipitationGroups(2)
    groups.add(np.full(4, 1e-8), np.ones((4, 2)), np.ones((4, 2)), np.ones(4))
    got = groups.deciles()
    assert got.rows.sum() == 4
    assert np.isnan(got.truth[0]).all()
    assert np.isnan(got.prediction[1]).all()
