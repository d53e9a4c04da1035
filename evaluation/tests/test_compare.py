"""Comparison of packages on hand-written summaries: planted orderings, survival, and honest words
at small numbers.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import permutation_test, spearmanr

from climlink.evaluation.compare.analysis import compare
from climlink.evaluation.compare.chances import distinction, survival_interval
from climlink.evaluation.compare.evaluate import CompareEvaluation, compare_results
from climlink.evaluation.compare.matrix import MatrixConfig
from climlink.evaluation.compare.outcomes import goodness, worst_ranks
from climlink.evaluation.compare.ranks import (
    agreement,
    bootstrap_interval,
    permutation_p_value,
    smallest_p_value,
)
from climlink.evaluation.compare.results import Bands, MemberResult, PackageResult, checked
from climlink.evaluation.compare.summary import CompareSummary
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion, write_report
from climlink.evaluation.summary import OfflineSummary, OnlineSummary, PackageSummary
from climlink.support import Support


def package(
    label: str, architecture: str = "mlp", recipe: str | None = None, parameters: int = 1000
) -> PackageSummary:
    return PackageSummary(
        name=label,
        sha256=label.encode().hex().ljust(64, "0"),
        architecture=architecture,
        parameters=parameters,
        seed=7,
        recipe=recipe,
    )


def offline(label: str, r2: float | None, **changes: object) -> OfflineSummary:
    values: dict[str, object] = {
        "package": package(label),
        "store": "store.zarr",
        "store_digest": "a" * 64,
        "split": "test",
        "rows": 10,
        "metrics": {
            "r2.ptend_t": r2,
            "rmse.ptend_t": None if r2 is None else 1.0 - r2,
            "constraint.a.b": 0.5,
        },
    }
    return OfflineSummary.model_validate(values | changes)


def online(
    run: str, label: str, error: float | None, *, died_on: float | None = None, **changes: object
) -> MemberResult:
    values: dict[str, object] = {
        "run": run,
        "name": run,
        "host": "aquaplanet",
        "package": package(label),
        "package_sha256": package(label).sha256,
        "reference": "reference",
        "survived": died_on is None,
        "planned_days": 10.0,
        "days": 10.0 if died_on is None else died_on,
        "ended": None if died_on is None else "T is 400 K",
        "compared_days": 10.0 if died_on is None else died_on,
        "years_per_day": 50.0,
        "metrics": {"rmse.T": error, "twin.rmse.T": 0.05, "relative_error.T": 0.7},
        "excluded": [],
    }
    bands = Bands(
        np.array([-90.0, 0.0, 90.0]), np.array([2.0, 1.0]) * (np.nan if error is None else error)
    )
    return MemberResult(OnlineSummary.model_validate(values | changes), bands)


def results(
    r2: list[float], errors: list[list[float]], architectures: list[str] | None = None
) -> list[PackageResult]:
    """Packages p0, p1, ... with an offline number and the errors of their runs; a negative error is
    a run that died on that day.
    """
    found = []
    for k, (score, row) in enumerate(zip(r2, errors, strict=True)):
        label = f"p{k}"
        members = [
            online(f"{label}_{m}", label, 0.01 * (m + 1), died_on=-e)
            if e < 0
            else online(f"{label}_{m}", label, e)
            for m, e in enumerate(row)
        ]
        about = package(label, (architectures or ["mlp"] * len(r2))[k])
        found.append(PackageResult(label, about, None, offline(label, score), tuple(members)))
    return found


def matrix(**changes: object) -> MatrixConfig:
    values = {
        "store": "store.zarr",
        "reference": "reference",
        "twin": "twin",
        "packages": [{"package": "a.pt", "label": "a", "runs": ["r"]}],
    }
    return MatrixConfig.model_validate(values | changes)


def evaluated(
    of: list[PackageResult], excluded: list[Exclusion] | None = None
) -> CompareEvaluation:
    return compare_results(
        of, matrix(), "climlink evaluate compare --matrix m.yaml", excluded or []
    )


GOOD = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def errors_like(order: list[float]) -> list[list[float]]:
    return [[e, 1.01 * e, 0.99 * e] for e in order]


def test_a_perfect_ordering_is_told() -> None:
    found = evaluated(results(GOOD, errors_like([1, 2, 3, 4, 5, 6, 7, 8, 9])))
    assert found.summary.verdict == "told"
    assert found.summary.words.startswith("Would the offline number r2.ptend_t have told? Yes")
    assert found.comparison.headline.spearman == pytest.approx(1.0)
    assert found.comparison.headline.kendall == pytest.approx(1.0)
    assert found.comparison.headline.p_value == pytest.approx(1.0 / 50_001, rel=3.0)
    assert [p.online_place for p in found.summary.packages] == list(range(1, 10))


def test_a_reversed_ordering_misled() -> None:
    found = evaluated(results(GOOD, errors_like([9, 8, 7, 6, 5, 4, 3, 2, 1])))
    assert found.summary.verdict == "misled"
    assert found.comparison.headline.spearman == pytest.approx(-1.0)
    assert "misled" in found.summary.words


def test_an_ordering_without_relation_is_not_shown() -> None:
    order = [5.0, 1.0, 8.0, 3.0, 9.0, 2.0, 7.0, 4.0, 6.0]
    found = evaluated(results(GOOD, errors_like(order)))
    assert found.summary.verdict == "not_shown"
    assert found.comparison.headline.spearman == pytest.approx(
        spearmanr(np.arange(9), order).statistic
    )
    low, high = found.comparison.headline.low, found.comparison.headline.high
    assert low is not None
    assert high is not None
    assert low < 0.0 < high


def test_an_offline_error_counts_the_other_way_round() -> None:
    found = evaluated(results(GOOD, errors_like([1, 2, 3, 4, 5, 6, 7, 8, 9])))
    of = {(a.offline_metric, a.online_outcome): a.spearman for a in found.summary.agreements}
    assert of["rmse.ptend_t", "rank"] == pytest.approx(1.0)
    assert not any(name == "constraint.a.b" for name, _ in of)


def test_three_packages_cannot_tell_even_when_ordered_alike() -> None:
    found = evaluated(results([0.9, 0.5, 0.1], errors_like([1, 2, 3])))
    assert found.summary.verdict == "too_few"
    assert found.comparison.headline.spearman == pytest.approx(1.0)
    assert found.comparison.headline.p_value == pytest.approx(1.0 / 3.0)
    assert found.comparison.headline.low is None
    assert (
        "cannot be said: with 3 packages even a perfect ordering comes by chance with p = 0.33"
        in found.summary.words
    )
    assert any(
        "With 3 packages no interval of the rank correlation is given" in s
        for s in found.summary.statements
    )
    assert any(
        "survival between 29 and 71 % cannot be told apart" in s for s in found.summary.statements
    )


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_packages_have_no_correlation(count: int) -> None:
    found = evaluated(results(GOOD[:count], [[1.0], [2.0]][:count]))
    assert found.summary.verdict == "too_few"
    assert found.summary.agreements[0].spearman is None
    assert "cannot be said" in found.summary.words


def test_one_member_alone_is_compared_with_words(tmp_path: Path) -> None:
    found = evaluated(results([0.9], [[1.0]]))
    assert "The one run reached its end." in found.summary.words
    assert found.summary.packages[0].survival_low == pytest.approx(0.025)
    assert write_report(found.report, tmp_path).is_file()


def test_a_crashed_run_ranks_behind_every_survivor_though_its_error_is_small() -> None:
    found = evaluated(results([0.9, 0.5], [[-2.0, 5.0, 6.0], [7.0, 8.0, -4.0]]))
    ranks = {m.run: m.rank for p in found.summary.packages for m in p.members}
    assert ranks == {"p0_1": 1.0, "p0_2": 2.0, "p1_0": 3.0, "p1_1": 4.0, "p1_2": 5.0, "p0_0": 6.0}
    first = found.summary.packages[0]
    assert (first.survived, first.error_is_partial, first.error) == (2, True, 5.0)
    assert first.mean_rank == pytest.approx(3.0)
    assert "Of 6 runs 4 reached the end" in found.summary.words


def test_runs_that_lived_on_support_are_counted_beside_survival() -> None:
    of = results([0.9, 0.5], [[1.0], [3.0, -4.0]])
    held = Support.judged(0.3, 0.0, 1.0)
    more = (
        online("p0_held", "p0", 1.5, support=held),
        online("p0_free", "p0", 1.6, support=Support.judged(0.0, 0.0, 1.0)),
        online("p0_dead", "p0", 1.7, died_on=2.0, support=held),
    )
    of[0] = PackageResult("p0", of[0].package, None, of[0].offline, (*of[0].members, *more))
    summary = evaluated(of).summary
    assert [(p.survived, p.on_support) for p in summary.packages] == [(3, 1), (1, 0)]
    assert [m.on_support for m in summary.packages[0].members] == [False, True, False, False]
    assert "1 of those that reached it lived on support" in summary.words
    assert "on support" not in evaluated(results([0.9, 0.5], [[1.0], [3.0]])).summary.words


def test_equal_runs_share_a_rank_and_unknown_ones_have_none() -> None:
    members = [
        online("a", "p", 1.0),
        online("b", "p", 1.0),
        online("c", "p", None),
        online("d", "p", 9.0, died_on=3.0),
    ]
    members.append(online("e", "p", 1.0, died_on=3.0))
    np.testing.assert_array_equal(worst_ranks(members, "rmse.T"), [1.5, 1.5, np.nan, 3.5, 3.5])


def test_a_run_that_died_before_its_first_record_counts_in_survival_and_rank() -> None:
    of = results([0.9, 0.5], [[1.0, 2.0], [3.0, 4.0]])
    dead = online("p1_dead", "p1", None, died_on=0.0, metrics={})
    of[1] = PackageResult("p1", of[1].package, None, of[1].offline, (*of[1].members, dead))
    found = evaluated(of)
    second = found.summary.packages[1]
    assert (second.survived, len(second.members), second.members[-1].rank) == (2, 3, 5.0)
    group = next(g for g in found.comparison.groups if g.name == "p1")
    np.testing.assert_allclose(group.curve.probability[:1], [2.0 / 3.0])


def test_survival_by_architecture_follows_kaplan_and_meier() -> None:
    found = evaluated(
        results([0.9, 0.8, 0.7], [[1.0, -4.0], [-2.0, 2.0], [3.0, 3.5]], ["mlp", "mlp", "unet"])
    )
    groups = {(g.by, g.name): g for g in found.comparison.groups}
    mlp = groups["architecture", "mlp"]
    assert (mlp.packages, mlp.members, mlp.survived) == (2, 4, 2)
    np.testing.assert_allclose(mlp.curve.days, [0.0, 2.0, 4.0, 10.0])
    np.testing.assert_allclose(mlp.curve.probability, [1.0, 0.75, 0.5, 0.5])
    assert (
        next(
            s for s in found.summary.survival if s.group == "mlp" and s.by == "architecture"
        ).median_days
        == 4.0
    )
    assert groups["architecture", "unet"].survived == 2
    assert any("too narrow" in s for s in found.summary.statements)


def test_speed_and_regions_reach_the_summary() -> None:
    first = evaluated(results([0.9, 0.5], [[1.0, 3.0], [2.0, 2.5]])).summary.packages[0]
    assert first.years_per_day == 50.0
    assert first.best_region is not None
    assert first.worst_region is not None
    assert (
        first.best_region.south,
        first.best_region.error,
        first.worst_region.south,
        first.worst_region.error,
    ) == (0.0, 2.0, -90.0, 4.0)


def test_a_run_of_another_package_is_left_out_and_says_where_it_belongs() -> None:
    of = results([0.9, 0.5], [[1.0], [2.0]])
    stranger = online("lost", "p1", 1.0, package_sha256="f" * 64)
    swapped = online("swapped", "p1", 1.5)
    of[0] = PackageResult(
        "p0", of[0].package, None, of[0].offline, (*of[0].members, stranger, swapped)
    )
    found = evaluated(of)
    assert [m.run for m in found.summary.packages[0].members] == ["p0_0"]
    assert any(
        "lost" in e and "which the matrix does not list" in e for e in found.summary.excluded
    )
    assert any("swapped" in e and "which is p1: list it there" in e for e in found.summary.excluded)


def test_a_run_that_does_not_record_its_package_is_taken_at_the_matrix_word() -> None:
    of = results([0.9, 0.5], [[1.0], [2.0]])
    silent = online("silent", "p0", 1.5, package_sha256=None, package=None)
    of[0] = PackageResult("p0", of[0].package, None, of[0].offline, (*of[0].members, silent))
    found = evaluated(of)
    assert len(found.summary.packages[0].members) == 2
    assert any("silent" in s and "matrix" in s for s in found.summary.statements)


def test_copied_runs_are_counted_once() -> None:
    of = results([0.9, 0.5], [[1.0, 1.0], [2.0, 2.5]])
    kept, excluded = checked(of)
    assert [len(result.members) for result in kept] == [1, 2]
    assert "p0_1" in excluded[0].what
    assert "last digit" in excluded[0].why


def test_a_package_without_runs_is_scored_and_not_compared() -> None:
    found = evaluated(results([0.9, 0.5, 0.1], [[1.0], [2.0], []]))
    assert found.summary.packages[2].offline == 0.1
    assert found.summary.packages[2].offline_place is None
    assert any("package p2" in e and "no run" in e for e in found.summary.excluded)
    assert found.comparison.headline.packages == 2


def test_scores_over_different_columns_and_plans_of_different_length_are_named() -> None:
    of = results([0.9, 0.5], [[1.0, 1.5], [2.0, 2.5]])
    shorter = online("p1_short", "p1", 1.7, planned_days=5.0, days=5.0, compared_days=5.0)
    of[1] = PackageResult(
        "p1", of[1].package, None, offline("p1", 0.5, rows=9), (*of[1].members, shorter)
    )
    said = " ".join(evaluated(of).summary.statements)
    assert "different numbers of columns" in said
    assert "p0 10, p1 9" in said
    assert "different lengths (5, 10 days)" in said
    assert "different numbers of members (2, 3)" in said


def test_a_package_that_could_not_be_scored_keeps_its_survival() -> None:
    of = results([0.9, 0.5], [[1.0], [-2.0]])
    of[1] = PackageResult("p1", of[1].package, None, None, of[1].members)
    found = evaluated(of, [Exclusion("offline score of p1", "no finite prediction")])
    assert found.summary.packages[1].survived == 0
    assert found.comparison.headline.packages == 1
    assert found.summary.excluded[0].startswith("offline score of p1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.append(PackageResult("twice", r[0].package, None, None, ())),
            "are one package",
        ),
        (
            lambda r: r.append(
                PackageResult(
                    "p9", package("p9"), None, offline("p9", 0.5, store_digest="b" * 64), ()
                )
            ),
            "share one store",
        ),
        (
            lambda r: r.append(
                PackageResult("p9", package("p9"), None, offline("p9", 0.5, split="train"), ())
            ),
            "share one split",
        ),
        (
            lambda r: r.append(
                PackageResult(
                    "p9", package("p9"), None, None, (online("x", "p9", 1.0, reference="another"),)
                )
            ),
            "share one reference",
        ),
    ],
)
def test_summaries_that_cannot_be_compared_are_refused(change: object, message: str) -> None:
    of = results([0.9, 0.5], [[1.0], [2.0]])
    change(of)  # type: ignore[operator]
    with pytest.raises(EvaluationError, match=message):
        checked(of)


def test_unknown_metrics_are_refused_with_the_known_ones() -> None:
    of = results([0.9, 0.5], [[1.0], [2.0]])
    with pytest.raises(
        EvaluationError, match=r"no offline summary has the metric 'r2.ptend_x'.*r2.ptend_t"
    ):
        compare(of, "r2.ptend_x", "rmse.T")
    with pytest.raises(EvaluationError, match="whether more or less of it is better"):
        compare(of, "constraint.a.b", "rmse.T")
    with pytest.raises(EvaluationError, match="no run of any package"):
        compare(
            [PackageResult("p", package("p"), None, offline("p", 0.5), ())], "r2.ptend_t", "rmse.T"
        )


def test_directions_of_metrics() -> None:
    assert goodness("r2.ptend_t", 0.5) == 0.5
    assert goodness("rmse.T", 0.5) == -0.5
    assert goodness("bias.ptend_t", -0.5) == -0.5
    assert goodness("confidence.crps.ptend_t", 0.5) == -0.5
    assert goodness("confidence.crpss.ptend_t", 0.5) == 0.5
    assert goodness("constraint.positivity.ptend_t", 0.5) is None


def test_agreement_equals_scipy_with_ties_and_few_packages() -> None:
    x, y = np.array([1.0, 2.0, 2.0, 4.0, 5.0]), np.array([2.0, 1.0, 3.0, 3.0, 5.0])
    found = agreement(x, y)
    assert found.spearman == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert agreement(np.arange(5.0), np.arange(5.0)).p_value == pytest.approx(smallest_p_value(5))
    assert np.isnan(agreement(np.ones(5), np.arange(5.0)).spearman)
    with pytest.raises(EvaluationError, match="finite"):
        agreement(np.array([np.nan, 1.0, 2.0]), np.arange(3.0))


@pytest.mark.parametrize("seed", range(3))
def test_p_values_equal_scipy(seed: int) -> None:
    x, y = np.random.default_rng(seed).standard_normal((2, 6))

    def size(sample: np.ndarray) -> float:
        return abs(float(spearmanr(sample, y).statistic))

    oracle = permutation_test(
        (x,), size, permutation_type="pairings", alternative="greater", n_resamples=720
    )
    assert permutation_p_value(x, y) == pytest.approx(oracle.pvalue)
    assert permutation_p_value(np.arange(9.0), np.array([2.0, 1, 4, 3, 6, 5, 8, 7, 9])) < 0.01


def test_the_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Normal pairs of correlation r have a Spearman correlation of 6/pi asin(r/2)."""
    random, count, held = np.random.default_rng(3), 8, 0
    truth = 6.0 / np.pi * np.arcsin(0.25)
    for trial in range(300):
        x = random.standard_normal(count)
        y = 0.5 * x + np.sqrt(0.75) * random.standard_normal(count)
        low, high = bootstrap_interval(x, y, resamples=500, seed=trial)
        held += low <= truth <= high
    assert 0.90 <= held / 300 <= 0.995


def test_exact_intervals_of_survival() -> None:
    low, high = survival_interval(3, 3)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 3)), 1.0)
    low, high = survival_interval(0, 3)
    assert (low, high) == (0.0, pytest.approx(1.0 - 0.025 ** (1 / 3)))
    # A published table: 8 of 10, 44.4 to 97.5 %.
    assert survival_interval(8, 10) == (
        pytest.approx(0.4439, abs=1e-4),
        pytest.approx(0.9748, abs=1e-4),
    )
    with pytest.raises(EvaluationError):
        survival_interval(4, 3)


def test_what_members_can_tell() -> None:
    assert distinction(3).worse is None
    assert distinction(3).needed == 6
    assert distinction(5).worse is None
    assert distinction(6).worse == 0
    assert distinction(6).overlap is None
    twenty = distinction(20)
    assert twenty.worse is not None
    assert (
        survival_interval(twenty.worse, 20)[1]
        < survival_interval(20, 20)[0]
        < survival_interval(twenty.worse + 1, 20)[1]
    )
    assert "at most" in twenty.words()


def test_the_report_on_disk_holds_the_numbers(tmp_path: Path) -> None:
    found = evaluated(
        results([0.9, 0.5, 0.1], [[1.0, -3.0], [2.0, 2.2], [3.0, 4.0]]),
        [Exclusion("run x", "no history")],
    )
    page = write_report(found.report, tmp_path).read_text()
    assert found.summary.words.split("?")[0] in page
    assert "run x" in page
    assert (
        CompareSummary.model_validate(json.loads((tmp_path / "summary.json").read_text()))
        == found.summary
    )
    with xr.open_dataset(tmp_path / "numbers.nc") as numbers:
        assert list(numbers["package"].values) == ["p0", "p1", "p2"]
        assert (
            float(numbers["spearman"].sel(metric="r2.ptend_t", outcome="rank"))
            == found.comparison.headline.spearman
        )
        assert float(numbers["member_rank"].sel(member="p0_1")) == 6.0
        np.testing.assert_array_equal(
            numbers["zonal_error"].sel(package_with_bands="p1"), [4.2, 2.1]
        )
    for name in ("skill", "ordering", "survival", "speed", "regions"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
    with (tmp_path / "tables" / "members.csv").open(encoding="utf-8") as table:
        members = list(csv.DictReader(table))
    assert "p0_1" in {row["run"] for row in members}
    assert {row["last error over climatology's"] for row in members} == {"0.7"}
