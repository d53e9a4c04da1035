"""Free runs: a linear emulator grows and leaves its range when it must, a stable one stays, only
the part that moves moves, and frozen limits judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from climlink.config import ConfigError
from climlink.data.climsim import Columns, find_pairs, read_pair
from climlink.data.grid import find_grid, read_grid
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.data.store import ColumnStore
from climlink.data.sun import SOLAR_CONSTANT, sun
from climlink.data.synthetic import write_dataset
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.fitted_physics import fit_heating
from climlink.evaluation.stability.free_run import (
    METRIC_NAMES,
    FreeRuns,
    Part,
    column_parts,
    free_run_metrics,
    growth_per_day,
    run_alone,
    run_recorded,
    training_bounds,
)
from climlink.evaluation.stability.limits import FrozenLimits, Limit, LimitsFile, judge
from climlink.evaluation.stability.records import (
    STATES,
    ColumnsOf,
    HeldRecord,
    PairsRecord,
)
from climlink.evaluation.stability.response import tendency_name
from climlink.evaluation.stability.semi_online import Tendencies, no_tendencies, replay
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.manifest import ConstraintEntry, Manifest
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.vertical import HybridCoordinate

LEVELS, COLUMNS = 4, 3
STEP_S = 1200.0
PER_DAY = 72
V2 = variable_set("host_v2_q", LEVELS)
PRESSURE_HPA = np.array([1.0, 50.0, 500.0, 950.0])
HYBRID = HybridCoordinate(
    1e5,
    hyam=tuple(PRESSURE_HPA / 1e3),
    hybm=(0.0,) * LEVELS,
    hyai=(0.0, 0.02, 0.2, 0.0, 0.0),
    hybi=(0.0, 0.0, 0.0, 0.7, 1.0),
)
MIDDLE = 250.0
STRATOSPHERE, TROPOSPHERE = column_parts(PRESSURE_HPA, ("state_t", "state_q0001"))


def held(days: float, sun_moves: bool = False) -> HeldRecord:
    """Columns one, two and three kelvin above the middle on all levels."""
    start = {name: np.zeros((COLUMNS, LEVELS)) for name in STATES}
    start["state_t"] = MIDDLE + np.arange(1.0, COLUMNS + 1.0)[:, None] + np.zeros(LEVELS)
    still = {tendency_name(name): np.zeros((COLUMNS, LEVELS)) for name in STATES}
    scalars = {"state_ps": np.full(COLUMNS, 1e5), "pbuf_COSZRS": np.zeros(COLUMNS)}
    return HeldRecord(
        columns=start | still | scalars,
        seconds=np.full(COLUMNS, Stamp.parse("0001-03-22-00000").seconds),
        latitude=np.array([-60.0, 0.0, 60.0]),
        longitude=np.array([0.0, 90.0, 180.0]),
        area=np.ones(COLUMNS),
        hybrid=HYBRID,
        time_step_s=STEP_S,
        count=1 + round(days * PER_DAY),
        sun_moves=sun_moves,
    )


def linear(rate_per_day: np.ndarray | float, daily_k_per_day: float = 0.0) -> Tendencies:
    """dT/dt = rate (T - 250 K) + a heating that goes round in exactly a day."""
    steps = iter(range(10**6))

    def tendencies(columns: Columns) -> Columns:
        cycle = daily_k_per_day * math.sin(2.0 * math.pi * next(steps) / PER_DAY)
        heating = (rate_per_day * (columns["state_t"] - MIDDLE) + cycle) / SECONDS_PER_DAY
        return no_tendencies(columns) | {"state_t": heating}

    return tendencies


def wide(low: float = 200.0, high: float = 270.0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"state_t": (np.full(LEVELS, low), np.full(LEVELS, high))}


def alone(source: Tendencies, days: float, part: Part = STRATOSPHERE, **changes) -> FreeRuns:
    bounds = changes.get("bounds", wide())
    return run_alone(held(days), part, bounds, source, V2, changes.get("reference"))


@pytest.mark.parametrize("rate", [0.3, 0.05, -0.2])
def test_a_linear_emulator_grows_at_its_rate_under_a_daily_cycle(rate: float) -> None:
    run = alone(linear(rate, daily_k_per_day=20.0), 10.0).emulator
    # An explicit step multiplies by 1 + r dt, so a day by its 72nd power.
    assert run.growth == pytest.approx(PER_DAY * math.log1p(rate / PER_DAY), abs=1e-9)
    assert run.change.shape == (10, LEVELS)
    assert run.ended is None
    assert run.lived_days == run.planned_days == 10.0


def test_a_column_leaves_its_range_and_the_run_ends_on_the_days_that_follow() -> None:
    rate = 0.4
    run = alone(linear(np.array([0.1, rate, 0.0, 0.0])), 20.0).emulator
    step = 1.0 + rate / PER_DAY
    # The third column starts 3 K above the middle; the range ends 20 K above it, the run at 150 K.
    out, end = (math.ceil(math.log(k / 3.0) / math.log(step)) for k in (20.0, 150.0))
    assert run.first_out is not None
    assert (run.first_out.field, run.first_out.level, run.first_out.column) == ("state_t", 1, 2)
    assert run.first_out.day == out / PER_DAY == run.days_in_range
    assert run.first_out.value == pytest.approx(MIDDLE + 3.0 * step**out)
    assert run.lived_days == end / PER_DAY
    assert run.ended is not None
    assert run.ended.startswith("T is 40")
    assert run.hottest[-1] == run.high[1] == run.extreme.value > 400.0
    assert run.extreme.day == run.lived_days
    # The first column, 1 K above, is out when its own time has come; the second at the same rate.
    left = [math.ceil(math.log(20.0 / k) / math.log(step)) for k in (1.0, 2.0, 3.0)]
    expected = [sum(n >= one for one in left) / COLUMNS for n in range(end + 1)]
    np.testing.assert_allclose(run.outside, expected)


def test_a_stable_emulator_stays_and_says_so() -> None:
    run = alone(linear(-0.5), 12.0).emulator
    assert run.first_out is None
    assert run.ended is None
    assert run.days_in_range == 12.0
    assert run.outside.max() == 0.0
    assert run.hottest.max() == MIDDLE + 3.0
    assert run.hottest[-1] < MIDDLE + 0.01
    assert run.growth < 0.0
    # Rounding has no growth.
    assert math.isnan(alone(linear(-3.0), 12.0).emulator.growth)


def test_only_the_part_that_moves_moves() -> None:
    seen: list[Columns] = []

    def watch(columns: Columns) -> Columns:
        seen.append(columns)
        ones = np.full((COLUMNS, LEVELS), 1e-4)
        return {name: ones.copy() for name in STATES}

    start = held(0.1).columns
    for part, moving in ((STRATOSPHERE, slice(0, 2)), (TROPOSPHERE, slice(2, 4))):
        seen.clear()
        run = alone(watch, 5 / PER_DAY, part).emulator
        last = seen[-1]
        fields = set(part.moved)
        for name in STATES:
            expected = start[name].copy()
            if name in fields:
                expected[:, moving] += 4 * STEP_S * 1e-4
            np.testing.assert_allclose(last[name], expected, atol=1e-12)
        resting = np.ones(LEVELS, dtype=bool)
        resting[moving] = False
        assert np.isnan(run.high[resting]).all()
        np.testing.assert_allclose(run.high[moving], MIDDLE + 3.0 + 5 * STEP_S * 1e-4)
    assert list(STRATOSPHERE.moved) == ["state_t"]
    assert list(TROPOSPHERE.moved) == ["state_t", "state_q0001"]


def test_a_part_without_levels_is_left_out() -> None:
    assert [p.name for p in column_parts(np.array([200.0, 900.0]), ("state_t",))] == ["troposphere"]
    assert [p.name for p in column_parts(np.array([1.0, 90.0]), ("state_t",))] == ["stratosphere"]


def test_what_began_outside_does_not_count_and_what_is_not_finite_does() -> None:
    low = wide(200.0, MIDDLE + 2.5)
    run = alone(linear(0.0), 1.0, bounds=low).emulator
    assert run.began_outside == 2
    assert run.first_out is None
    assert run.outside.max() == 0.0

    def broken(columns: Columns) -> Columns:
        heating = np.zeros((COLUMNS, LEVELS))
        heating[1, 1] = np.nan
        return no_tendencies(columns) | {"state_t": heating}

    ended = alone(broken, 1.0).emulator
    assert ended.ended is not None
    assert "state_t is not finite" in ended.ended
    assert ended.first_out is not None
    assert (ended.first_out.column, ended.first_out.level) == (1, 1)
    assert ended.outside[-1] == pytest.approx(1.0 / 3.0)


def test_without_ranges_nothing_is_said_of_them() -> None:
    run = alone(linear(0.4), 3.0, bounds={}).emulator
    told = run.measures()
    assert math.isnan(told["days_in_range"])
    assert math.isnan(told["outside_share"])
    assert run.first_out is None
    made = free_run_metrics([alone(linear(0.4), 3.0, bounds={})])
    assert made["free_run.alone.stratosphere.days_in_range"] is None
    assert made["free_run.recorded.troposphere.hottest_k"] is None
    assert set(METRIC_NAMES) <= set(made)


def test_ranges_come_from_the_manifest_and_widen_by_the_margin(
    linear_package: EmulatorPackage,
) -> None:
    manifest = linear_package.manifest
    pairs = {"state_t": [[200.0], [300.0]], "state_ps": [[9e4], [1e5]]}
    given = manifest.model_copy(update={"training_ranges": pairs})
    bounds = training_bounds(given, 0.1)
    assert list(bounds) == ["state_t"]
    np.testing.assert_array_equal(bounds["state_t"][0], np.full(60, 190.0))
    np.testing.assert_array_equal(bounds["state_t"][1], np.full(60, 310.0))
    assert training_bounds(manifest.model_copy(update={"training_ranges": {}})) == {}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> PairsRecord:
    """Five recorded days of four steps each."""
    stamps = [Stamp.parse("0008-02-27-00000").plus(21600 * n) for n in range(21)]
    folder = write_dataset(tmp_path_factory.mktemp("steps"), stamps, n_column=5, level_count=LEVELS)
    return PairsRecord(folder, V2, time_step_s=21600.0)


def true_tendencies(columns: Columns) -> Columns:
    return {name: columns[tendency_name(name)] for name in STATES}


@dataclass
class Warmed:
    """What was recorded, and a heating in K/s besides."""

    kelvin_per_s: float

    def __call__(self, columns: Columns) -> Columns:
        true = true_tendencies(columns)
        return true | {"state_t": true["state_t"] + self.kelvin_per_s}


def everywhere() -> Part:
    return Part("stratosphere", "T", {"state_t": np.ones(LEVELS, dtype=bool)})


def test_with_recorded_dynamics_true_tendencies_are_the_reference(record: PairsRecord) -> None:
    t = np.stack([record.read(n)["state_t"] for n in range(record.count)])
    lowest, highest = t[:10].min(axis=(0, 1)), t[:10].max(axis=(0, 1))
    runs = run_recorded(record, everywhere(), {"state_t": (lowest, highest)}, true_tendencies, V2)
    assert runs.reference is not None
    np.testing.assert_array_equal(runs.reference.hottest, t.max(axis=(1, 2)))
    np.testing.assert_array_equal(runs.reference.low, t.min(axis=(0, 1)))
    assert runs.reference.days_in_range >= 2.5
    np.testing.assert_allclose(runs.emulator.hottest, runs.reference.hottest, atol=1e-9)
    # The record is followed to round-off, so nothing is left that could grow.
    assert runs.emulator.change.max() < 1e-9
    assert math.isnan(runs.emulator.growth)


def test_with_recorded_dynamics_a_bias_departs_evenly_and_has_no_growth(
    record: PairsRecord,
) -> None:
    runs = run_recorded(ColumnsOf(record, np.array([1, 4])), everywhere(), {}, Warmed(1e-5), V2)
    np.testing.assert_allclose(runs.emulator.change, 1e-5 * SECONDS_PER_DAY, rtol=1e-9)
    assert runs.emulator.growth == pytest.approx(0.0, abs=1e-9)
    assert runs.emulator.lived_days == 5.0
    short = run_recorded(record, everywhere(), {}, Warmed(1e-5), V2, steps=8).emulator
    assert short.planned_days == short.lived_days == 2.0


def test_some_columns_of_a_record_are_those_columns(record: PairsRecord) -> None:
    some = ColumnsOf(record, np.array([4, 0]))
    np.testing.assert_array_equal(some.read(3)["state_q0001"][1], record.read(3)["state_q0001"][0])
    np.testing.assert_array_equal(some.area, record.area[[4, 0]])
    whole = replay(record, Warmed(1e-5), V2, steps=2)
    np.testing.assert_allclose(
        replay(some, Warmed(1e-5), V2, steps=2).rmse["state_t"], whole.rmse["state_t"], atol=1e-9
    )


class PlantedStore:
    """Columns whose heating above 100 hPa is damped about what the sun makes of it."""

    def __init__(self, damping_per_day: float) -> None:
        rng = np.random.default_rng(5)
        t = 200.0 + 60.0 * rng.random((2, 40, LEVELS))
        sunlight = 1000.0 * rng.random((2, 40))
        heating = (0.01 * sunlight[..., None] - damping_per_day * (t - 230.0)) / SECONDS_PER_DAY
        self._values = {
            "state_t": t,
            "ptend_t": heating,
            "pbuf_SOLIN": sunlight,
            "pbuf_COSZRS": sunlight / SOLAR_CONSTANT,
        }
        self.variables = [SimpleNamespace(name=name) for name in self._values]

    def read(self, names: tuple[str, ...], times: list[int]) -> Columns:
        return {name: self._values[name][times[0]] for name in names}


def test_the_fitted_reference_has_the_recorded_damping_and_levels_off() -> None:
    store = PlantedStore(damping_per_day=0.25)
    places = np.array([(time, column) for time in (0, 1) for column in range(40)])
    fit = fit_heating(store, places, STRATOSPHERE.levels)  # type: ignore[arg-type]
    assert fit is not None
    np.testing.assert_allclose(fit.damping_per_day[:2], -0.25, rtol=1e-9)
    assert np.isnan(fit.damping_per_day[2:]).all()
    np.testing.assert_allclose(fit.explained[:2], 1.0, atol=1e-12)
    # At night it relaxes to 230 K; at 250 K the emulator beside it runs away.
    columns = held(40.0)
    columns.columns["pbuf_SOLIN"] = np.zeros(COLUMNS)
    runs = run_alone(columns, STRATOSPHERE, wide(), linear(0.3), V2, fit)
    assert runs.reference is not None
    np.testing.assert_allclose(runs.reference.hottest[-1], 230.0, atol=0.01)
    assert runs.reference.growth == pytest.approx(PER_DAY * math.log1p(-0.25 / PER_DAY), abs=1e-6)
    assert runs.reference.ended is None
    assert runs.emulator.ended is not None


def test_no_recorded_heating_no_reference() -> None:
    store = PlantedStore(0.25)
    store.variables = [v for v in store.variables if v.name != "ptend_t"]
    columns = np.zeros((1, 2), dtype=int)
    assert fit_heating(store, columns, STRATOSPHERE.levels) is None  # type: ignore[arg-type]


def test_the_sun_stands_where_astronomy_puts_it() -> None:
    def at(stamp: str, latitude: float, longitude: float = 0.0) -> tuple[float, float]:
        seconds = np.array([Stamp.parse(stamp).seconds])
        cosine, light = sun(seconds, np.array([latitude]), np.array([longitude]))
        return float(cosine[0]), float(light[0])

    # Equinox of the calendar on day 80.5: overhead at the equator at noon of 0 E.
    assert at("0001-03-21-43200", 0.0)[0] == pytest.approx(1.0, abs=1e-6)
    assert at("0001-03-21-43200", 0.0, 180.0)[0] == 0.0
    assert at("0001-03-21-00000", 0.0, 180.0)[0] == pytest.approx(1.0, abs=1e-4)
    # Solstice: overhead at the tropic, none at the other pole.
    assert at("0001-06-21-43200", 23.4411)[0] == pytest.approx(1.0, abs=1e-5)
    assert at("0001-06-21-43200", -80.0)[0] == 0.0
    # Nearest to the sun in early January, 1/(1 - e)^2 of the mean.
    cosine, light = at("0001-01-03-43200", 0.0)
    assert light / cosine == pytest.approx(SOLAR_CONSTANT / (1.0 - 0.016708) ** 2, rel=1e-4)
    # Years are alike.
    assert at("0007-06-21-43200", 10.0) == pytest.approx(at("0001-06-21-43200", 10.0))


def test_the_sun_is_that_of_real_climsim_columns(climsim_dir: Path) -> None:
    grid = read_grid(find_grid(climsim_dir))
    for pair in find_pairs(climsim_dir)[:2]:
        columns = read_pair(pair, grid, STEP_S)
        # E3SM takes the mean over the coming step: the middle of it is nearest.
        seconds = np.full(len(grid.latitude), pair.stamp.seconds + 600)
        cosine, light = sun(seconds, grid.latitude, grid.longitude)
        assert np.abs(cosine - columns["pbuf_COSZRS"]).max() < 0.01
        assert np.abs(light - columns["pbuf_SOLIN"]).max() < 0.01 * SOLAR_CONSTANT


def test_held_columns_keep_all_but_the_sun() -> None:
    moving, still = held(1.0, sun_moves=True), held(1.0)
    assert still.read(30) is still.columns
    later = moving.read(PER_DAY // 2)
    assert set(later) == set(moving.columns)
    for name, values in later.items():
        if name != "pbuf_COSZRS":
            assert values is moving.columns[name]
    # Half a day later noon is where midnight was; at the equator in March a day is half a day.
    assert moving.read(0)["pbuf_COSZRS"][2] > 0.4
    assert later["pbuf_COSZRS"][2] < 0.01
    assert later["pbuf_COSZRS"][0] > 0.4


def test_held_columns_come_from_a_store(synthetic_store: ColumnStore) -> None:
    places = np.array([[3, 7], [1, 2], [3, 0]])
    made = HeldRecord.of(synthetic_store, places, count=4, sun_moves=False)
    # In the order of their times, which are read once each.
    np.testing.assert_array_equal(made.latitude, synthetic_store.latitude[[2, 7, 0]])
    stamps = synthetic_store.stamps
    assert made.seconds.tolist() == [stamps[t].seconds for t in (1, 3, 3)]
    columns = made.read(2)
    for row, (time, column) in enumerate(((1, 2), (3, 7), (3, 0))):
        stored = synthetic_store.read(("state_t", "state_ps"), [time])
        np.testing.assert_array_equal(columns["state_t"][row], stored["state_t"][column])
        assert columns["state_ps"][row] == stored["state_ps"][column]
    assert not columns["ptend_t"].any()
    with pytest.raises(EvaluationError, match=r"clock puts .* pbuf_COSZRS is .* recorded"):
        HeldRecord.of(synthetic_store, places, count=4, sun_moves=True)


def test_growth_of_an_exponential_is_its_rate_and_of_too_little_unknown() -> None:
    days = np.arange(12)
    assert growth_per_day(np.exp(0.07 * days)) == pytest.approx(0.07)
    assert growth_per_day(np.exp(0.07 * days), 0.5) == pytest.approx(0.14)
    # The first half does not count.
    assert growth_per_day(np.where(days < 6, 50.0, np.exp(-0.3 * days))) == pytest.approx(-0.3)
    assert math.isnan(growth_per_day(np.exp(0.07 * days)[:4]))
    assert math.isnan(growth_per_day(np.full(12, 1e-4)))
    assert math.isnan(growth_per_day(np.empty(0)))


NAME = "free_run.alone.stratosphere.hottest_k"
LIVED = "free_run.alone.troposphere.lived_days"


def limits(**changes: object) -> FrozenLimits:
    chosen = {NAME: Limit(above=330.0), LIVED: Limit(below=20.0)}
    return FrozenLimits(
        **{  # type: ignore[arg-type]
            "name": "spring",
            "calibrated_on": ["ab" * 32],
            "without_range_policy": chosen,
            **changes,
        }
    )


def with_policy(manifest: Manifest) -> Manifest:
    entry = ConstraintEntry(name="range_relaxation", parameters={})
    return manifest.model_copy(update={"constraints": [entry]})


def test_frozen_limits_judge_within_each_policy(linear_package: EmulatorPackage) -> None:
    manifest, digest = linear_package.manifest, linear_package.digest

    def call(hottest: float | None, lived: float | None, **changes: object):
        return judge(limits(**changes), manifest, digest, {NAME: hottest, LIVED: lived})

    assert call(330.0, 20.0).call == "within limits"
    assert call(330.0, 20.0).reasons == []
    broken = call(330.1, 19.9)
    assert broken.call == "outside limits"
    assert broken.reasons == [
        f"{NAME}: 330.1 is above 330",
        f"{LIVED}: 19.9 is below 20",
    ]
    assert call(300.0, None).call == "unknown"
    assert call(400.0, None).call == "outside limits"
    assert call(300.0, 30.0, calibrated_on=[digest]).reasons == [
        "spring was calibrated on this very package"
    ]
    other = judge(limits(), with_policy(manifest), digest, {NAME: 400.0, LIVED: 1.0})
    assert other.call == "not calibrated"
    assert other.reasons == ["spring has no limits for packages with a range policy"]
    both = limits(with_range_policy={NAME: Limit(above=500.0)})
    assert judge(both, with_policy(manifest), digest, {NAME: 400.0}).call == "within limits"
    assert judge(None, manifest, digest, {}).call == "not calibrated"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{above: 1.0, below: 2.0}", "either above or below"),
        ("{}", "either above or below"),
        ("{above: hot}", "valid number"),
    ],
)
def test_limits_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    head = "name: spring\ncalibrated_on: [x]\nwithout_range_policy:\n"
    path.write_text(f"{head}  {NAME}: {text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        LimitsFile.read(path)
    path.write_text(
        f"{head}  free_run.alone.stratosphere.hotest_k: {{above: 1}}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"no metric of a free run; did you mean .*hottest_k"):
        LimitsFile.read(path)
    path.write_text(f"{head}  {NAME}: {{above: 1}}\n", encoding="utf-8")
    assert LimitsFile.read(path).limits.without_range_policy == {NAME: Limit(above=1.0)}
    first = LimitsFile.read(path).digest
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert LimitsFile.read(path).digest != first
