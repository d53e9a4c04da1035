"""The paired bootstrap: against scores of resampled rows, and what it says where the answer is
known.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.bootstrap import (
    HEADLINE,
    joined,
    paired_bootstrap,
    snapshot_moments,
)
from climlink.wrappers.variable_sets import variable_set

OUTPUTS = variable_set("mmf368", 6)
FIRST = 2


def _truth(snapshots: int, columns: int = 40, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    # a mean far above the spread, so that squares of raw values would cost digits
    weather = 1e3 + rng.normal(size=(snapshots, 1, OUTPUTS.width))
    return weather + rng.normal(size=(snapshots, columns, OUTPUTS.width))


def _noisy(truth: NDArray[np.float64], size: float, seed: int) -> NDArray[np.float64]:
    return truth + size * np.random.default_rng(seed).normal(size=truth.shape)


def _summary(truth: NDArray[np.float64], prediction: NDArray[np.float64], name: str) -> float:
    where = OUTPUTS.slice(name)
    first = where.start + (FIRST if OUTPUTS[name].is_profile else 0)
    y, p = (a[..., first : where.stop].reshape(-1, where.stop - first) for a in (truth, prediction))
    return float(np.median(r2_score(y, p, multioutput="raw_values")))


def test_scores_and_resamples_are_those_of_the_rows() -> None:
    truth = _truth(5)
    a, b = _noisy(truth, 0.3, 1), _noisy(truth, 0.6, 2)
    moments = [snapshot_moments(truth, p) for p in (a, b)]
    got = paired_bootstrap(*moments, OUTPUTS, first_level=FIRST, resamples=400, seed=3)
    for name in ("ptend_u", "cam_out_PRECC"):
        assert got[name].a == pytest.approx(_summary(truth, a, name), abs=1e-9)
        assert got[name].b == pytest.approx(_summary(truth, b, name), abs=1e-9)
    # The same draws, scored from all rows at once by scikit-learn.
    drawn = np.random.default_rng(3).multinomial(5, np.full(5, 0.2), 200)
    differences = []
    for counts in drawn:
        chosen = np.repeat(np.arange(5), counts)
        y = truth[chosen]
        differences.append(_summary(y, a[chosen], "ptend_u") - _summary(y, b[chosen], "ptend_u"))
    only = paired_bootstrap(*moments, OUTPUTS, first_level=FIRST, resamples=200, seed=3)
    low, high = np.quantile(differences, [0.025, 0.975])
    assert only["ptend_u"].low == pytest.approx(low, abs=1e-9)
    assert only["ptend_u"].high == pytest.approx(high, abs=1e-9)
    assert only["ptend_u"].share_better == float((np.array(differences) > 0.0).mean()) == 1.0


def test_the_mean_is_over_the_seven_outputs() -> None:
    truth = _truth(4)
    a, b = (snapshot_moments(truth, _noisy(truth, s, k)) for k, s in ((1, 0.3), (2, 0.5)))
    got = paired_bootstrap(a, b, OUTPUTS, first_level=FIRST, resamples=50)
    assert len(HEADLINE) == 7
    for side in ("a", "b", "difference"):
        assert getattr(got["mean"], side) == pytest.approx(
            np.mean([getattr(got[n], side) for n in HEADLINE]), abs=1e-12
        )


def test_a_package_against_itself_and_the_other_way_round() -> None:
    truth = _truth(6)
    a, b = (snapshot_moments(truth, _noisy(truth, s, k)) for k, s in ((1, 0.3), (2, 0.5)))
    same = paired_bootstrap(a, a, OUTPUTS, first_level=FIRST, resamples=100)["mean"]
    assert (same.difference, same.low, same.high, same.share_better) == (0.0, 0.0, 0.0, 0.0)
    there = paired_bootstrap(a, b, OUTPUTS, first_level=FIRST, resamples=100)["mean"]
    back = paired_bootstrap(b, a, OUTPUTS, first_level=FIRST, resamples=100)["mean"]
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_pairing_sees_what_two_intervals_would_not() -> None:
    # One snapshot is hard for both: each score swings with it, their difference does not.
    truth = _truth(10)
    hard = np.ones((10, 1, 1))
    hard[0] = 6.0
    noise = np.random.default_rng(5).normal(size=truth.shape) * hard
    a, b = (snapshot_moments(truth, truth + s * noise) for s in (0.30, 0.31))
    found = paired_bootstrap(a, b, OUTPUTS, first_level=FIRST, resamples=500)["mean"]
    assert found.difference > 0.0
    assert found.low > 0.0


def test_left_out_columns_and_parts_change_nothing_else() -> None:
    truth = _truth(4)
    p = _noisy(truth, 0.4, 1)
    counted = np.ones(truth.shape[:2])
    counted[1, :7] = 0.0
    whole = snapshot_moments(truth, p, counted)
    parts = joined(
        [snapshot_moments(truth[k : k + 2], p[k : k + 2], counted[k : k + 2]) for k in (0, 2)]
    )
    kept = counted > 0.0
    expected = r2_score(truth[kept], p[kept], multioutput="raw_values")
    for moments in (whole, parts):
        np.testing.assert_allclose(moments.over_columns().r2()[0], expected, atol=1e-9)


def test_moments_that_do_not_belong_together_are_refused() -> None:
    truth = _truth(4)
    a = snapshot_moments(truth, truth)
    of_others = snapshot_moments(_truth(4, seed=9), _truth(4, seed=9))
    one = snapshot_moments(truth[:1], truth[:1])
    flat = snapshot_moments(np.ones_like(truth), np.ones_like(truth))
    for x, y, told in (
        (a, of_others, "of other truth"),
        (a, PairMoments.empty(3, OUTPUTS.width), "moments must both be"),
        (one, one, "at least two"),
        (flat, flat, "constant"),
    ):
        with pytest.raises(EvaluationError, match=told):
            paired_bootstrap(x, y, OUTPUTS, first_level=0)
