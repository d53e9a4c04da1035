"""Semi-online replay: true tendencies follow the record, known errors grow as they must, the end of
a replay is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climlink.data.climsim import Columns
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.records import (
    STATES,
    PairsRecord,
    StoreRecord,
    check_lags,
    longest_run,
)
from climlink.evaluation.stability.response import LinearizedPackage, tendency_name
from climlink.evaluation.stability.semi_online import no_tendencies, package_tendencies, replay
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import variable_set

LEVELS = 8
STEP_S = 1200.0
FIRST = Stamp.parse("0008-02-28-84000")
# One step, a gap, then six in a row over the end of a month, a gap, and two.
NUMBERS = (0, 2, 3, 4, 5, 6, 7, 9, 10)
V2 = variable_set("host_v2_q", LEVELS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stamps = [FIRST.plus(int(n * STEP_S)) for n in NUMBERS]
    return write_dataset(tmp_path_factory.mktemp("steps"), stamps, n_column=5, level_count=LEVELS)


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    path = tmp_path_factory.mktemp("store") / "steps.zarr"
    prepare(source, path, split=Split(test=(str(FIRST),)))
    return ColumnStore.open(path)


def true_tendencies(columns: Columns) -> Columns:
    """A perfect emulator: what was recorded."""
    return {name: columns[tendency_name(name)].copy() for name in STATES}


def biased(kelvin_per_s: float):
    def tendencies(columns: Columns) -> Columns:
        values = true_tendencies(columns)
        values["state_t"] = values["state_t"] + kelvin_per_s
        return values

    return tendencies


def test_the_longest_run_is_found_in_files_and_store(source: Path, store: ColumnStore) -> None:
    expected = tuple(FIRST.plus(int(n * STEP_S)) for n in range(2, 8))
    assert StoreRecord.of(store).stamps == expected
    assert PairsRecord(source, V2).stamps == expected
    np.testing.assert_array_equal(StoreRecord.of(store).area, PairsRecord(source, V2).area)


@given(st.sets(st.integers(0, 30), min_size=1, max_size=25))
def test_no_longer_run_exists(numbers: set[int]) -> None:
    ordered = sorted(numbers)
    found = longest_run([FIRST.plus(int(n * STEP_S)) for n in ordered], STEP_S)
    run = ordered[found]
    assert run == list(range(run[0], run[0] + len(run)))
    lengths = [next(k for k in range(1, 40) if n + k not in numbers) for n in numbers]
    assert len(run) == max(lengths)


def test_true_tendencies_follow_the_record_to_round_off(source: Path, store: ColumnStore) -> None:
    for record in (PairsRecord(source, V2), StoreRecord.of(store)):
        for nudging in (None, 3600.0):
            done = replay(record, true_tendencies, V2, nudging_s=nudging)
            assert done.steps == 5
            assert done.ended is None
            assert done.rmse["state_t"].max() < 1e-12 * 300.0
            assert done.rmse["state_q0001"].max() < 1e-12 * 0.02
            assert done.rmse["state_u"].max() < 1e-12 * 50.0
            np.testing.assert_allclose(done.hours, np.arange(6) / 3.0)


def test_true_tendencies_follow_the_real_consecutive_pair(climsim_dir: Path) -> None:
    record = PairsRecord(climsim_dir, variable_set("host_v2_q"))
    assert [str(s) for s in record.stamps] == ["0008-02-19-22800", "0008-02-19-24000"]
    done = replay(record, true_tendencies, variable_set("host_v2_q"))
    assert done.steps == 1
    assert done.rmse["state_t"][1] < 1e-12 * 300.0
    assert done.rmse["state_q0001"][1] < 1e-12 * 0.02
    assert replay(record, no_tendencies, variable_set("host_v2_q")).rmse["state_t"][1] > 0.01


def test_a_constant_error_grows_linearly_and_nudging_bounds_it(source: Path) -> None:
    record = PairsRecord(source, V2)
    bias = 1e-4
    free = replay(record, biased(bias), V2)
    np.testing.assert_allclose(free.rmse["state_t"], bias * STEP_S * np.arange(6), atol=1e-10)
    np.testing.assert_allclose(free.by_level["state_t"][3], 3 * bias * STEP_S, atol=1e-10)
    nudged = replay(record, biased(bias), V2, nudging_s=2400.0)
    expected = [0.0]
    for _ in range(5):
        expected.append((expected[-1] + bias * STEP_S) / 1.5)
    np.testing.assert_allclose(nudged.rmse["state_t"], expected, atol=1e-10)
    assert replay(record, biased(bias), V2, steps=2).steps == 2


def test_without_physics_the_error_is_the_recorded_tendency(source: Path) -> None:
    record = PairsRecord(source, V2)
    first = record.read(0)
    done = replay(record, no_tendencies, V2, steps=1)
    squares = (STEP_S * first["ptend_t"]) ** 2
    by_level = np.average(squares, axis=0, weights=record.area)
    np.testing.assert_allclose(done.by_level["state_t"][1], np.sqrt(by_level), rtol=1e-9)
    h, ps = record.hybrid, record.read(1)["state_ps"].reshape(-1, 1)
    mass = (
        np.diff(h.p0_pa * np.array(h.hyai) + ps * np.array(h.hybi), axis=1) * record.area[:, None]
    )
    whole = np.average(squares, weights=mass)
    np.testing.assert_allclose(done.rmse["state_t"][1], np.sqrt(whole), rtol=1e-9)


def test_a_replay_that_leaves_the_physical_range_ends_and_says_where(source: Path) -> None:
    def explode(columns: Columns) -> Columns:
        values = true_tendencies(columns)
        values["state_t"][3, 2] += 0.1  # 120 K in a step
        return values

    done = replay(PairsRecord(source, V2), explode, V2)
    assert done.steps < 5
    assert done.ended is not None
    assert "in column 3, level 2" in done.ended
    assert "after 0.667 hours" in done.ended

    def broken(columns: Columns) -> Columns:
        return {**true_tendencies(columns), "state_u": np.full_like(columns["state_u"], np.nan)}

    ended = replay(PairsRecord(source, V2), broken, V2)
    assert ended.steps == 0
    assert ended.ended is not None
    assert ended.ended.startswith("state_u is not finite after 0.333 hours")


def test_water_below_zero_is_counted(source: Path) -> None:
    def dry(columns: Columns) -> Columns:
        return {
            **true_tendencies(columns),
            "state_q0001": np.full_like(columns["state_q0001"], -1.0),
        }

    done = replay(PairsRecord(source, V2), dry, V2, steps=1)
    record = PairsRecord(source, V2)
    following = record.read(1)["state_q0001"]
    assert done.clipped >= following.size
    by_level = np.average(following**2, axis=0, weights=record.area)
    np.testing.assert_allclose(done.by_level["state_q0001"][1], np.sqrt(by_level))


@pytest.mark.parametrize("kind", ["pairs", "store"])
def test_lagged_inputs_come_from_the_replayed_states(
    kind: str, source: Path, tmp_path: Path
) -> None:
    inputs = variable_set("host_v4_q", LEVELS)
    if kind == "pairs":
        record: PairsRecord | StoreRecord = PairsRecord(source, inputs)
    else:
        prepare(
            source,
            tmp_path / "lags.zarr",
            split=Split(),
            config=StoreConfig(lags=True, input_dtype="float64"),
        )
        record = StoreRecord.of(ColumnStore.open(tmp_path / "lags.zarr"))
    assert record.stamps == tuple(FIRST.plus(int(n * STEP_S)) for n in range(4, 8))
    seen: list[Columns] = []

    def watch(bias: float) -> Iterator[Columns]:
        seen.clear()

        def tendencies(columns: Columns) -> Columns:
            seen.append(columns)
            return biased(bias)(columns)

        replay(record, tendencies, inputs)
        return iter(seen)

    for step, columns in enumerate(watch(0.0)):
        for name in ("state_t_dyn", "state_q0001_prvphy", "tm_state_u_prvphy", "tm_state_ps"):
            recorded = record.read(step)[name]
            np.testing.assert_allclose(
                columns[name], recorded, rtol=1e-6, atol=1e-9 * np.abs(recorded).max() + 1e-12
            )
    third = list(watch(1e-4))[2]
    np.testing.assert_allclose(
        third["state_t_prvphy"], record.read(2)["state_t_prvphy"] + 1e-4, atol=1e-10
    )


def test_a_packages_tendencies_are_its_outputs(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    linear = LinearizedPackage.load(linear_package)
    record = StoreRecord(synthetic_store, np.array([3]))
    got = package_tendencies(linear, record.hybrid)(record.read(0))
    expected = linear.predict(synthetic_store.pack(linear.inputs, [3]))
    for name in STATES:
        np.testing.assert_array_equal(
            got[name], expected[:, linear.outputs.slice("ptend_" + name.removeprefix("state_"))]
        )


def test_what_cannot_be_replayed_is_refused(source: Path, store: ColumnStore) -> None:
    lone = StoreRecord(store, np.array([0]))
    with pytest.raises(EvaluationError, match="two consecutive recorded steps"):
        replay(lone, true_tendencies, V2)
    with pytest.raises(EvaluationError, match="time scale must be above 0 s"):
        replay(PairsRecord(source, V2), true_tendencies, V2, nudging_s=0.0)
    with pytest.raises(EvaluationError, match=r"has 8 levels, the package was made for 60"):
        PairsRecord(source, variable_set("host_v2_q"))
    with pytest.raises(
        EvaluationError, match=r"prepared without lags, the package takes state_t_dyn"
    ):
        check_lags(store, variable_set("host_v4_q", LEVELS))
