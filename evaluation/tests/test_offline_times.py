"""How far scored times lie from training, and the test repeated on a later window."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.evaluation.offline.evaluate import OfflineEvaluation, evaluate_offline
from climlink.evaluation.offline.packages import combined_report
from climlink.evaluation.offline.times import scored_times, time_span
from climlink.packages.prediction import predict_package
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import value_sets

STAMPS = ("0008-01-14-03600", "0008-04-24-76800", "0008-07-07-54000", "0008-10-22-20400")
MOMENTS = [  # the same instants by another calendar's arithmetic, in a year without a leap day
    datetime(2001, 1, 14, 1), datetime(2001, 4, 24, 21, 20), datetime(2001, 7, 7, 15),
    datetime(2001, 10, 22, 5, 40),
]  # fmt: skip
DATED = Split(train=STAMPS[:2], test=(STAMPS[2],), later=(STAMPS[3],), remainder="unused")


def days(first: int, last: int) -> float:
    return (MOMENTS[last] - MOMENTS[first]).total_seconds() / 86400.0


def prepared(source: Path, folder: Path, split: Split) -> ColumnStore:
    prepare(source, folder / "store.zarr", split=split)
    return ColumnStore.open(folder / "store.zarr")


@pytest.fixture(scope="module")
def dated(synthetic_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return a store with two times to train, one to test, and a later one."""
    return prepared(synthetic_dir, tmp_path_factory.mktemp("dated"), DATED)


@pytest.fixture(scope="module")
def repeated(linear_package: EmulatorPackage, dated: ColumnStore) -> OfflineEvaluation:
    """Return the evaluation of a package that was trained on these files."""
    return evaluate_offline(linear_package, dated)


@pytest.mark.parametrize(
    ("train", "test", "gap", "relation"),
    [
        ((0, 1), (2, 3), (1, 2), "after"),
        ((2, 3), (0, 1), (1, 2), "before"),
        ((0, 3), (1,), (0, 1), "among"),
        ((0, 2), (1, 3), (1, 2), "among"),
    ],
)
def test_the_gap_is_between_the_nearest_times(
    synthetic_dir: Path,
    tmp_path: Path,
    train: tuple[int, ...],
    test: tuple[int, ...],
    gap: tuple[int, int],
    relation: str,
) -> None:
    parts = {n: tuple(STAMPS[i] for i in k) for n, k in (("train", train), ("test", test))}
    store = prepared(synthetic_dir, tmp_path, Split(**parts, remainder="unused"))
    found = scored_times(store, "test", trained_here=True)
    assert found is not None
    assert (found.first, found.last, found.times) == (
        parts["test"][0],
        parts["test"][-1],
        len(test),
    )
    assert found.days == days(test[0], test[-1])
    assert (found.gap_days, found.relation) == (days(*gap), relation)
    span = time_span(store, "train")
    assert span is not None
    assert (span.times, span.days) == (2, days(train[0], train[1]))
    elsewhere = scored_times(store, "test", trained_here=False)
    assert elsewhere is not None
    assert (elsewhere.gap_days, elsewhere.relation) == (None, None)


def test_the_summary_and_the_first_words_say_how_far(repeated: OfflineEvaluation) -> None:
    times = repeated.summary.times
    assert times is not None
    assert times.training is not None
    assert times.later is not None
    assert (times.training.times, times.training.days) == (2, days(0, 1))
    assert (times.scored.gap_days, times.later.gap_days) == (days(1, 2), days(1, 3))
    second = repeated.report.words.split(". ")[1]
    assert second.startswith("It was trained on this store, on 2 times from 0008-01-14-03600")
    assert second.endswith("those scored lie 73.7 days after training")
    titles = [s.title for s in repeated.report.sections]
    assert titles[:2] == ["Closure", "Distance from training"]
    assert repeated.report.sections[1].tables[0].columns["from training"] == [
        None, days(1, 2), days(1, 3),
    ]  # fmt: skip


def test_the_later_window_is_scored_as_the_test_is(
    repeated: OfflineEvaluation, linear_package: EmulatorPackage, dated: ColumnStore
) -> None:
    inputs, outputs = value_sets(linear_package.manifest)
    times = dated.indices("later")
    truth = dated.targets(outputs, times)
    rows = predict_package(linear_package, dated.pack(inputs, times))[:, : outputs.width]
    expected = r2_score(truth, rows.astype(np.float64), multioutput="raw_values")
    found = repeated.summary.metrics
    for name in ("ptend_t", "ptend_u", "cam_out_NETSW", "cam_out_PRECC"):
        levels = expected[outputs.slice(name)]
        single = np.median(levels[15:]) if len(levels) > 1 else levels[0]
        # Rows come in other batches, whose float32 roundings differ (docs/decisions.md 13).
        assert found[f"r2_later.{name}"] == pytest.approx(single, rel=1e-4), name
        assert found[f"r2_later.{name}"] != found[f"r2.{name}"]
    assert {f"residual_{n}_later.energy" for n in ("bias", "rms", "r2")} <= found.keys()
    scores = repeated.report.sections[2].tables[0].columns
    assert scores["R², later window"] == [found[f"r2_later.{n}"] for n in outputs.names]
    assert "on the later window (1 times from 0008-10-22" in repeated.report.words
    assert "as the host receives it, on the later window" in str(
        repeated.report.sections[0].tables[0].columns["residual"]
    )


def test_it_is_the_test_that_is_repeated(
    repeated: OfflineEvaluation, linear_package: EmulatorPackage, dated: ColumnStore
) -> None:
    alone = evaluate_offline(linear_package, dated, split="later")
    assert not any("_later" in n for n in alone.summary.metrics)
    assert alone.summary.times is not None
    assert alone.summary.times.later is None
    for name, value in repeated.summary.metrics.items():
        if name.startswith("r2_later."):
            same = alone.summary.metrics[name.replace("_later", "")]
            # Rows come in other batches, as above.
            assert value == pytest.approx(same, rel=1e-4), name
    package = alone.summary.package.model_copy(update={"sha256": "0" * 64})
    other = OfflineEvaluation(
        repeated.result, repeated.summary.model_copy(update={"package": package}), alone.report
    )
    both = combined_report([repeated, other], "command")
    about, scores = both.sections[1].tables
    assert about.columns["days from training"] == [days(1, 2)] * 2
    assert "r2_later.ptend_t" in scores.columns["score"]
