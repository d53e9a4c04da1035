"""Limits fitted to packages whose fate is known, scored on an architecture that was left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from climlink.evaluation.concordance import concordance
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.calibration import (
    POLICIES,
    Screened,
    fit_limits,
    frozen_limits,
    leave_one_out,
    share_broken,
)
from climlink.evaluation.stability.limits import Limit, LimitsFile

HOT = "free_run.alone.stratosphere.hottest_k"
IN_RANGE = "free_run.alone.stratosphere.days_in_range"
PLAIN, HELD = POLICIES


def package(
    number: int,
    architecture: str,
    days: float,
    metrics: dict[str, float | None],
    *,
    policy: str = PLAIN,
    offline: float = 0.5,
) -> Screened:
    """Return a package of which 60 days were asked."""
    return Screened(
        f"{number:064d}", architecture, policy, metrics, offline, days, died=days < 60.0
    )


def lives(policy: str = PLAIN) -> list[Screened]:
    """Return packages of three architectures: above 320 K a package dies, the hotter the sooner."""
    hot = [300.0, 310.0, 330.0, 350.0, 305.0, 340.0]
    return [
        package(
            k,
            ("mlp", "unet", "pao")[k // 2],
            60.0 if t < 320.0 else 360.0 - t,
            {HOT: t, IN_RANGE: 9.0},
            policy=policy,
            offline=0.1 * k,
        )
        for k, t in enumerate(hot)
    ]


def test_a_limit_lies_between_those_that_live_and_those_that_die() -> None:
    limits = fit_limits(lives())
    # 310 K lived and 330 K died; a metric that is the same everywhere parts nothing
    assert limits == {HOT: Limit(above=320.0)}


def test_less_is_worse_for_days_in_range() -> None:
    few = [
        package(k, "mlp", d, {IN_RANGE: r}) for k, (d, r) in enumerate(((60, 8), (60, 7), (9, 2)))
    ]
    assert fit_limits(few) == {IN_RANGE: Limit(below=4.5)}


def test_a_metric_that_is_not_told_everywhere_has_no_limit() -> None:
    some = lives()
    some[3] = dataclasses.replace(some[3], metrics={HOT: None})
    assert fit_limits(some) == {}


def test_noise_and_runs_that_all_live_give_no_limits() -> None:
    alive = [dataclasses.replace(p, days=60.0, died=False) for p in lives()]
    assert fit_limits(alive) == {}
    # hotter ones live longer: the wrong way round
    assert fit_limits([package(k, "mlp", 10.0 + k, {HOT: 300.0 + k}) for k in range(6)]) == {}


def test_share_of_limits_that_are_broken() -> None:
    limits = {HOT: Limit(above=320.0), IN_RANGE: Limit(below=5.0)}
    assert share_broken(limits, {HOT: 330.0, IN_RANGE: 4.0}) == 1.0
    assert share_broken(limits, {HOT: 330.0, IN_RANGE: None}) == 0.5
    assert share_broken(limits, {HOT: 310.0, IN_RANGE: 5.0}) == 0.0
    assert share_broken({}, {HOT: 999.0}) == 0.0


def test_an_architecture_is_judged_by_limits_that_it_had_no_part_in() -> None:
    packages = lives()
    found = leave_one_out(packages, PLAIN, resamples=300)
    assert [f.architecture for f in found.left_out] == ["mlp", "unet", "pao"]
    for fold in found.left_out:
        others = [p for p in packages if p.architecture != fold.architecture]
        assert fold.limits == fit_limits(others)
        assert {p.architecture for p in fold.packages} == {fold.architecture}
        # changing what became of the left-out architecture does not change how it is judged
        changed = [
            dataclasses.replace(p, days=1.0, died=True)
            if p.architecture == fold.architecture
            else p
            for p in packages
        ]
        again = leave_one_out(changed, PLAIN, resamples=100)
        same = next(f for f in again.left_out if f.architecture == fold.architecture)
        np.testing.assert_array_equal(same.risk, fold.risk)
    assert (found.packages, found.died) == (6, 3)
    # each of three deaths is compared with three lives and with the later deaths
    assert found.screen.pairs == found.offline.pairs == 12
    # all limits call all six rightly; the three pairs of two deaths are told by no call
    assert (found.screen.concordant, found.screen.tied) == (9, 3)
    assert found.difference.value == pytest.approx(found.screen.index - found.offline.index)
    # pairs of one architecture: none of the two MLPs that both live
    assert {name: c.pairs for name, c in found.within.items()} == {"mlp": 0, "unet": 1, "pao": 1}


def test_offline_score_counts_as_skill() -> None:
    packages = [dataclasses.replace(p, offline=p.days) for p in lives()]
    assert leave_one_out(packages, PLAIN, resamples=100).offline.index == 1.0


def test_policies_are_calibrated_apart() -> None:
    cooler = [
        dataclasses.replace(p, metrics={HOT: (p.metrics[HOT] or 0.0) - 50.0}) for p in lives(HELD)
    ]
    both = [*lives(), *cooler]
    alone = leave_one_out(lives(), PLAIN, resamples=100)
    together = leave_one_out(both, PLAIN, resamples=100)
    assert together.screen == alone.screen
    assert together.packages == 6
    frozen = frozen_limits("both", both)
    assert frozen.without_range_policy == {HOT: Limit(above=320.0)}
    assert frozen.with_range_policy == {HOT: Limit(above=270.0)}


def test_frozen_limits_are_read_back_from_their_file(tmp_path: Path) -> None:
    frozen = frozen_limits("spring", lives())
    place = tmp_path / "limits.yaml"
    place.write_text(
        yaml.safe_dump(frozen.model_dump(mode="json", exclude_none=True)), encoding="utf-8"
    )
    read = LimitsFile.read(place).limits
    assert read == frozen
    assert read.calibrated_on == [f"{k:064d}" for k in range(6)]


def test_one_architecture_is_not_enough() -> None:
    with pytest.raises(EvaluationError, match="two architectures or more, got 2 of mlp"):
        leave_one_out(lives()[:2], PLAIN)
    with pytest.raises(EvaluationError, match="got 0 of none"):
        leave_one_out(lives(), HELD)
    with pytest.raises(EvaluationError, match="policy must be one of"):
        package(1, "mlp", 3.0, {}, policy="none")


def test_concordance_of_left_out_packages_is_that_of_their_risks() -> None:
    found = leave_one_out(lives(), PLAIN, resamples=100)
    judged = [p for f in found.left_out for p in f.packages]
    risk = np.concatenate([f.risk for f in found.left_out])
    days, died = np.array([p.days for p in judged]), np.array([p.died for p in judged])
    assert found.screen == concordance(risk, days, died)
