"""Free runs: columns that the emulator moves by itself, followed until they leave what it was
trained on.

A hybrid dies where nothing brings a column back from outside the training range. Linear response
tells whether a small departure grows; a free run tells how far it goes and when. Two kinds:

* **alone**: a recorded state, no dynamics, all other inputs held, the sun with the clock;
* **recorded**: the recorded run's own dynamics, sun and surface, as in the semi-online replay.

Only one part of the column moves, so that one cannot hide behind the other: temperature above 100
hPa, where radiation alone acts and damps, or the state below. All else is as recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.stability.dynamics import TEMPERATURE, Array
from climlink.evaluation.stability.modes import FIELD_LETTERS
from climlink.evaluation.stability.records import STATES, Record
from climlink.evaluation.stability.screen import STRATOSPHERE_HPA
from climlink.evaluation.stability.semi_online import Moved, Tendencies, replay
from climlink.evaluation.summary import Metrics, finite_or_none
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import VariableSet

Bounds = Mapping[str, tuple[Array, Array]]
"""Training range of state variables: the lowest and the highest value, each [level]."""

KINDS = ("alone", "recorded")
PARTS = ("stratosphere", "troposphere")
MEASURES = (
    "growth_per_day",
    "days_in_range",
    "lived_days",
    "hottest_k",
    "coldest_k",
    "outside_share",
)
METRIC_NAMES = tuple(f"free_run.{k}.{p}.{m}" for k in KINDS for p in PARTS for m in MEASURES)
"""What summary.json says of free runs: of the emulator; of the reference with .reference after."""

FLOOR_K = 1e-3
"""Day-to-day changes below it are rounding of float32 rows, and have no growth."""
_FEWEST_CHANGES = 3


@dataclass(frozen=True)
class Part:
    """A part of the column that moves; ``name`` for files, ``title`` for people."""

    name: str
    title: str
    moved: Moved

    @property
    def levels(self) -> NDArray[np.bool_]:
        """Where temperature moves, [level]."""
        return self.moved[TEMPERATURE]


def column_parts(pressure_hpa: Array, fields: Sequence[str]) -> list[Part]:
    """Return stratosphere (temperature) and troposphere (``fields``), those that have levels, of
    levels at a reference pressure in hPa.
    """
    above = pressure_hpa < STRATOSPHERE_HPA
    parts = [
        Part(PARTS[0], f"T above {STRATOSPHERE_HPA:g} hPa", {TEMPERATURE: above}),
        Part(
            PARTS[1],
            f"{', '.join(FIELD_LETTERS[name] for name in fields)} below {STRATOSPHERE_HPA:g} hPa",
            dict.fromkeys(fields, ~above),
        ),
    ]
    return [part for part in parts if part.levels.any()]


def training_bounds(manifest: Manifest, margin: float = 0.0) -> dict[str, tuple[Array, Array]]:
    """Return the training ranges of the state variables that a manifest records, each wider by
    ``margin`` of its width on either side.
    """
    bounds = {}
    for name in STATES:
        if name in manifest.training_ranges:
            low, high = (
                np.broadcast_to(np.asarray(side, dtype=np.float64), manifest.level_count)
                for side in manifest.training_ranges[name]
            )
            bounds[name] = (low - margin * (high - low), high + margin * (high - low))
    return bounds


@dataclass(frozen=True)
class Place:
    """A value of a run, in the field's units: where it was, and on which day of the run."""

    field: str
    value: float
    level: int
    column: int
    day: float


@dataclass(frozen=True)
class FreeRun:
    """What became of the columns.

    ``days`` [state] since the start; ``coldest`` and ``hottest`` [state] K, over the columns and
    the levels that move; ``low`` and ``high`` [level] K over the run, NaN where nothing moves.
    ``outside`` [state] is the share of columns with a value outside the training range that was
    inside at the start, ``first_out`` the first such value, ``began_outside`` how many values were
    outside at the start; NaN, None and 0 where no range is known. ``extreme`` is the temperature
    that went farthest from the mean of its level at the start. ``change`` [day, level] K is the
    root mean square over columns of what the departure of T from the record changed by in a day,
    ``growth`` its growth per day over the second half of the run, NaN where it cannot be told.
    ``ended`` says why the run ended before ``planned_days``.
    """

    days: Array
    coldest: Array
    hottest: Array
    low: Array
    high: Array
    outside: Array
    first_out: Place | None
    began_outside: int
    extreme: Place
    change: Array
    growth: float
    planned_days: float
    ended: str | None

    @property
    def lived_days(self) -> float:
        """Days until the run ended, early or not."""
        return float(self.days[-1])

    @property
    def days_in_range(self) -> float:
        """Days until the first value left the training range, all days where none did; NaN where
        no range is known.
        """
        if np.isnan(self.outside[0]):
            return float("nan")
        return self.lived_days if self.first_out is None else self.first_out.day

    def measures(self) -> dict[str, float]:
        """Return the MEASURES; NaN for what cannot be told."""
        values = (
            self.growth,
            self.days_in_range,
            self.lived_days,
            float(np.fmax.reduce(self.hottest)),
            float(np.fmin.reduce(self.coldest)),
            float(self.outside[-1]),
        )
        return dict(zip(MEASURES, values, strict=True))


class Trace:
    """Follows the columns of a run, state by state."""

    def __init__(self, part: Part, bounds: Bounds, time_step_s: float) -> None:
        self._part, self._dt = part, time_step_s
        self._bounds = {n: bounds[n] for n in part.moved if n in bounds}
        self._per_day = max(1, round(SECONDS_PER_DAY / time_step_s))
        self._series: list[tuple[float, float, float]] = []
        self._departures: list[Array] = []
        self._began: dict[str, NDArray[np.bool_]] = {}
        self._first: Place | None = None
        n = len(part.levels)
        self._middle, self._farthest = np.zeros(n), -1.0
        self._extreme = Place(TEMPERATURE, math.nan, 0, 0, 0.0)
        self._low, self._high = np.full(n, np.inf), np.full(n, -np.inf)

    def add(self, state: Columns, recorded: Columns) -> None:
        """Take in the next state, and the recorded one that it departs from."""
        step = len(self._series)
        t = np.where(self._part.levels, state[TEMPERATURE], np.nan)
        if step % self._per_day == 0:
            departure = state[TEMPERATURE] - recorded[TEMPERATURE]
            self._departures.append(departure[:, self._part.levels])
        self._low = np.fmin(self._low, np.fmin.reduce(t))
        self._high = np.fmax(self._high, np.fmax.reduce(t))
        self._see_extreme(t, step)
        outside = self._outside(state, step)
        ends = float(np.fmin.reduce(t.ravel())), float(np.fmax.reduce(t.ravel()))
        self._series.append((*ends, outside))

    def _see_extreme(self, t: Array, step: int) -> None:
        """Keep the temperature farthest from the mean of its level at the start."""
        if step == 0:
            self._middle = t.mean(axis=0)
        # NaN, of levels that rest and of values that are not finite, is nowhere.
        apart = np.fmax(np.abs(t - self._middle), -1.0)
        column, level = np.unravel_index(int(apart.argmax()), apart.shape)
        if apart[column, level] > self._farthest:
            self._farthest = float(apart[column, level])
            self._extreme = self._place(TEMPERATURE, t, int(column), int(level), step)

    def _outside(self, state: Columns, step: int) -> float:
        """Return the share of columns outside the training range, and keep the first value that
        leaves it, the farthest in widths of the range where several do at once.
        """
        if not self._bounds:
            return float("nan")
        columns = np.zeros(len(state[TEMPERATURE]), dtype=bool)
        farthest, first = -1.0, None
        for name, (low, high) in self._bounds.items():
            values = state[name]
            # Written so that NaN is outside.
            out = ~((values >= low) & (values <= high)) & self._part.moved[name]
            if step == 0:
                self._began[name] = out
            out = out & ~self._began[name]
            columns |= out.any(axis=1)
            if self._first is None and out.any():
                beyond = np.fmax(low - values, values - high) / np.fmax(high - low, 1e-300)
                beyond = np.where(out, np.nan_to_num(beyond, nan=np.inf), -np.inf)
                column, level = np.unravel_index(int(beyond.argmax()), beyond.shape)
                if beyond[column, level] > farthest:
                    farthest = float(beyond[column, level])
                    first = self._place(name, values, int(column), int(level), step)
        self._first = self._first or first
        return float(columns.mean())

    def _place(self, name: str, values: Array, column: int, level: int, step: int) -> Place:
        day = step * self._dt / SECONDS_PER_DAY
        return Place(name, float(values[column, level]), level, column, day)

    def done(self, planned_steps: int, ended: str | None) -> FreeRun:
        """Return what was seen of a run of ``planned_steps``; ``ended`` says why it ended early."""
        coldest, hottest, outside = np.array(self._series).T
        departures = np.stack(self._departures)
        squares = np.diff(departures, axis=0) ** 2
        change = np.full((len(squares), len(self._part.levels)), np.nan)
        change[:, self._part.levels] = np.sqrt(squares.mean(axis=1))
        moving = self._part.levels
        return FreeRun(
            days=np.arange(len(coldest)) * self._dt / SECONDS_PER_DAY,
            coldest=coldest,
            hottest=hottest,
            low=np.where(moving, self._low, np.nan),
            high=np.where(moving, self._high, np.nan),
            outside=outside,
            first_out=self._first,
            began_outside=sum(int(out.sum()) for out in self._began.values()),
            extreme=self._extreme,
            change=change,
            growth=growth_per_day(
                np.sqrt(squares.mean(axis=(1, 2))), self._per_day * self._dt / SECONDS_PER_DAY
            ),
            planned_days=planned_steps * self._dt / SECONDS_PER_DAY,
            ended=ended,
        )


def growth_per_day(change: Array, interval_days: float = 1.0) -> float:
    """Return the growth per day of changes [interval] in K over the second half of the intervals:
    the slope of their logarithm; NaN with fewer than three above FLOOR_K.

    In a column that obeys dx/dt = r x + f(t) with f periodic in the interval, what x changes by in
    one interval grows at exactly r, whatever f is.
    """
    number = np.arange(len(change))
    used = (number >= len(change) // 2) & np.isfinite(change) & (change > FLOOR_K)
    if int(used.sum()) < _FEWEST_CHANGES:
        return float("nan")
    return float(np.polyfit(number[used] * interval_days, np.log(change[used]), 1)[0])


@dataclass(frozen=True)
class FreeRuns:
    """One kind of run of one part: the emulator's, and the reference physics' where there is one.

    ``kind`` is alone or recorded; ``reference_is`` says what stands for the reference physics.
    """

    kind: str
    part: Part
    emulator: FreeRun
    reference: FreeRun | None
    reference_is: str

    @property
    def name(self) -> str:
        """Name in metrics and files, such as ``alone.stratosphere``."""
        return f"{self.kind}.{self.part.name}"


def free_run_metrics(runs: Sequence[FreeRuns]) -> Metrics:
    """Return METRIC_NAMES, None for what was not run or cannot be told, and beside them the
    reference's.
    """
    metrics: Metrics = dict.fromkeys(METRIC_NAMES)
    for one in runs:
        for suffix, run in (("", one.emulator), (".reference", one.reference)):
            if run is not None:
                for name, value in run.measures().items():
                    metrics[f"free_run.{one.name}.{name}{suffix}"] = finite_or_none(value)
    return metrics


def run_alone(
    held: Record,
    part: Part,
    bounds: Bounds,
    emulator: Tendencies,
    inputs: VariableSet,
    reference: Tendencies | None,
    progress: Callable[[], None] | None = None,
) -> FreeRuns:
    """Run held columns with the emulator's tendencies, and with those that stand for the reference
    physics where they are given.
    """

    def run(source: Tendencies) -> FreeRun:
        trace = Trace(part, bounds, held.time_step_s)
        one = replay(held, source, inputs, moved=part.moved, observe=trace.add, progress=progress)
        return trace.done(held.count - 1, one.ended)

    beside = None if reference is None else run(reference)
    fit = "linear fit of the recorded tendencies"
    return FreeRuns(KINDS[0], part, run(emulator), beside, fit)


def run_recorded(
    record: Record,
    part: Part,
    bounds: Bounds,
    emulator: Tendencies,
    inputs: VariableSet,
    steps: int | None = None,
    progress: Callable[[], None] | None = None,
) -> FreeRuns:
    """Run the columns of a record with its own dynamics; with the reference physics they are those
    that were recorded.
    """
    traces = [Trace(part, bounds, record.time_step_s) for _ in range(2)]

    def observe(state: Columns, recorded: Columns) -> None:
        traces[0].add(state, recorded)
        traces[1].add(recorded, recorded)

    one = replay(
        record, emulator, inputs, steps=steps, moved=part.moved, observe=observe, progress=progress
    )
    planned = record.count - 1 if steps is None else min(steps, record.count - 1)
    emulated, reference = traces[0].done(planned, one.ended), traces[1].done(planned, None)
    return FreeRuns(KINDS[1], part, emulated, reference, "the record itself")
