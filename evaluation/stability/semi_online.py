"""Semi-online replay: the state advanced with the emulator's tendencies and the recorded run's own
dynamics.

With x(n) the recorded state before the physics of step n and P(n) the recorded physics tendency,
dynamics did

    D(n) = (x(n+1) - x(n)) / dt - P(n)

and the replayed state y, which starts as x(0), takes y(n+1) = y(n) + dt (E(y(n)) + D(n)) with the
emulator's tendency E. With a nudging time scale tau the state is then drawn to the record, y <- (y
+ dt/tau x) / (1 + dt/tau). Everything that is not state (surface pressure, insolation, surface
fluxes, gases) is as recorded, so nothing feeds back through dynamics: errors grow from the emulator
and the column alone. With true tendencies the error is round-off. Water below zero is set to zero,
as hosts do, and counted.

Only some fields on some levels may be moved; all others then are as recorded. Of a record without
dynamics, in which nothing moves, that is a run of the emulator alone (``free_run``).

Inputs of earlier steps come from the replayed states themselves from the third step on, and from
the record before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.columns import derive, pack_inputs
from climlink.data.lags import lagged_inputs, needs_lags
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.records import STATES, Record
from climlink.evaluation.stability.response import LinearizedPackage, tendency_name
from climlink.evaluation.weights import area_weights, mass_weights
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate

Tendencies = Callable[[Columns], Columns]
"""From named columns before the physics to tendencies per second of every state variable."""

Moved = Mapping[str, NDArray[np.bool_]]
"""By state variable, the levels on which a replay moves it, [level]; one not named is not moved."""

TEMPERATURE_RANGE_K = (100.0, 400.0)
"""A replay ends where temperature leaves this range; the embedded model ends there too."""
_WATER = ("state_q0001", "state_q0002", "state_q0003")
_LAST_LEVELS = ("state_t", "state_q0001")


@dataclass(frozen=True)
class Replay:
    """Errors of a replay, by state variable: mass-weighted RMSE [step] in the variable's units, and
    for T and q area-weighted RMSE by level [step, level]. ``hours`` [step] since the start.
    ``ended`` says why it ended early, ``clipped`` how many values of water were below zero."""

    hours: np.ndarray
    rmse: dict[str, np.ndarray]
    by_level: dict[str, np.ndarray]
    ended: str | None
    clipped: int

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self.hours) - 1


def package_tendencies(linear: LinearizedPackage, hybrid: HybridCoordinate) -> Tendencies:
    """Return the tendencies of a package as a function of named columns."""

    def tendencies(columns: Columns) -> Columns:
        rows = pack_inputs(derive(linear.inputs.names, columns, hybrid), linear.inputs)
        values = linear.predict(rows)
        return {name: values[:, linear.outputs.slice(tendency_name(name))] for name in STATES}

    return tendencies


def no_tendencies(columns: Columns) -> Columns:
    """Return zero tendencies: the error of having no physics at all, which an emulator must
    beat.
    """
    return {name: np.zeros_like(columns[name]) for name in STATES}


def replay(
    record: Record,
    tendencies: Tendencies,
    inputs: VariableSet,
    *,
    steps: int | None = None,
    nudging_s: float | None = None,
    moved: Moved | None = None,
    observe: Callable[[Columns, Columns], None] | None = None,
    progress: Callable[[], None] | None = None,
) -> Replay:
    """Replay a record with tendencies of any source, for ``steps`` steps or all that there are,
    with a nudging time scale or none.

    ``moved`` says what moves (default: all); ``observe(state, recorded)`` is called with the first
    state and after every step, the one that ends the replay included. EvaluationError for a record
    without two consecutive steps and for a time scale that is not positive.
    """
    if record.count < 2:
        raise EvaluationError("a replay needs two consecutive recorded steps; there are none")
    if nudging_s is not None and nudging_s <= 0.0:
        raise EvaluationError(f"the nudging time scale must be above 0 s, got {nudging_s}")
    dt = record.time_step_s
    pull = 0.0 if nudging_s is None else dt / nudging_s
    last = record.count - 1 if steps is None else min(steps, record.count - 1)
    lagged = needs_lags(inputs.names, inputs.level_count)
    now = record.read(0)
    state = {name: now[name].copy() for name in STATES}
    errors = [_errors(state, now, record)]
    if observe is not None:
        observe(state, now)
    history: list[tuple[Columns, Columns]] = []
    ended, clipped = None, 0
    for step in range(last):
        before = {**now, **state}
        if lagged and len(history) == 2:
            before |= lagged_inputs(before, history[-1], history[-2], dt)
        physics = tendencies(before)
        after = {name: state[name] + dt * physics[name] for name in STATES}
        history = [*history[-1:], (before, after)]
        following = record.read(step + 1)
        for name in STATES:
            dynamics = (following[name] - now[name]) / dt - now[tendency_name(name)]
            free = (after[name] + dt * dynamics + pull * following[name]) / (1.0 + pull)
            state[name] = free if moved is None else _where_moved(moved, name, free, following)
        clipped += _clip(state)
        now = following
        if observe is not None:
            observe(state, now)
        ended = _unphysical(state, record, step + 1)
        if ended is not None:
            break
        errors.append(_errors(state, now, record))
        if progress is not None:
            progress()
    return _replay(errors, dt, ended, clipped)


def _where_moved(
    moved: Moved, name: str, free: NDArray[np.float64], recorded: Columns
) -> NDArray[np.float64]:
    return np.where(moved[name], free, recorded[name]) if name in moved else recorded[name]


def _clip(state: Columns) -> int:
    """Set water below zero to zero in place and return how many values that were."""
    count = 0
    for name in _WATER:
        below = state[name] < 0.0
        count += int(below.sum())
        state[name] = np.where(below, 0.0, state[name])
    return count


def _unphysical(state: Columns, record: Record, step: int) -> str | None:
    """Return what ended a replay: a value that is not finite, or a temperature outside the range;
    None if nothing did.
    """
    hours = step * record.time_step_s / 3600.0
    for name in STATES:
        bad = np.argwhere(~np.isfinite(state[name]))
        if bad.size:
            return (
                f"{name} is not finite after {hours:.3g} hours, in column {bad[0][0]}, level "
                f"{bad[0][1]}"
            )
    t = state["state_t"]
    low, high = TEMPERATURE_RANGE_K
    bad = np.argwhere((t < low) | (t > high))
    if bad.size:
        column, level = bad[0]
        return (
            f"T is {t[column, level]:.0f} K after {hours:.3g} hours, in column {column}, level "
            f"{level}"
        )
    return None


def _errors(
    state: Columns, truth: Columns, record: Record
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    hybrid = record.hybrid
    weights = mass_weights(
        record.area,
        np.asarray(hybrid.hyai),
        np.asarray(hybrid.hybi),
        hybrid.p0_pa,
        truth["state_ps"],
    ).T
    squares = {name: (state[name] - truth[name]) ** 2 for name in STATES}
    total = {name: float(np.sqrt((weights * values).sum())) for name, values in squares.items()}
    return total, {
        name: np.sqrt(area_weights(record.area) @ squares[name]) for name in _LAST_LEVELS
    }


def _replay(
    errors: list[tuple[dict[str, float], dict[str, np.ndarray]]],
    dt: float,
    ended: str | None,
    clipped: int,
) -> Replay:
    return Replay(
        hours=np.arange(len(errors)) * dt / 3600.0,
        rmse={name: np.array([total[name] for total, _ in errors]) for name in STATES},
        by_level={name: np.stack([levels[name] for _, levels in errors]) for name in _LAST_LEVELS},
        ended=ended,
        clipped=clipped,
    )
