"""Inputs of earlier steps, from consecutive pairs: what dynamics and physics did, as the host's
lagged memory computes it.

With b(n) the state before and a(n) the state after the physics of step n, and dt the time step
(fortran_bridge, climlink_lagged_memory):

    X_dyn    = (b(n) - a(n-1)) / dt        tm_X_dyn    = (b(n-1) - a(n-2)) / dt
    X_prvphy = (a(n-1) - b(n-1)) / dt      tm_X_prvphy = (a(n-2) - b(n-2)) / dt

Water in state_q0_dyn is vapour, liquid and ice together; the scalars tm_* are those of the step
before. All in float64.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import (
    TIME_STEP_S,
    Columns,
    Pair,
    outputs_of,
    read_after,
    read_inputs,
    stored_variables,
)
from climlink.data.errors import DataError
from climlink.data.grid import Grid
from climlink.data.stamp import Stamp

STEPS_BACK = 2
"""Steps of history that a lagged input needs."""

_WATER = ("state_q0001", "state_q0002", "state_q0003")
_PHYSICS = ("state_t", *_WATER, "state_u")
_SCALARS = ("state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX", "pbuf_COSZRS")
_SUMS = {"state_qn_prvphy", "tm_state_qn_prvphy"}

Snapshot = tuple[Columns, Columns]
"""The columns before and after the physics of one step, under the files' own names."""


def lag_names(level_count: int) -> set[str]:
    """Return the names of the inputs of earlier steps and of place."""
    plain = {v.name for v in stored_variables(level_count)}
    return {v.name for v in stored_variables(level_count, lags=True)} - plain


def needs_lags(names: Iterable[str], level_count: int) -> bool:
    """Say whether some of the named variables come from earlier steps or from the place of the
    column.
    """
    return not (lag_names(level_count) | _SUMS).isdisjoint(names)


def predecessors(pair: Pair, known: Mapping[Stamp, Pair], time_step_s: float) -> list[Pair]:
    """Return the pairs of the steps before, newest first; fewer than STEPS_BACK where one is
    missing.
    """
    found: list[Pair] = []
    for back in range(1, STEPS_BACK + 1):
        before = known.get(pair.stamp.plus(-round(back * time_step_s)))
        if before is None:
            break
        found.append(before)
    return found


def with_history(pairs: Sequence[Pair], time_step_s: float) -> list[Pair]:
    """Return the pairs whose two predecessors are there; DataError if there is none."""
    known = {p.stamp: p for p in pairs}
    complete = [p for p in pairs if len(predecessors(p, known, time_step_s)) == STEPS_BACK]
    if not complete:
        raise DataError(
            f"none of the {len(pairs)} pairs has the pairs of both steps of {time_step_s:g} s "
            "before it; lagged inputs need three consecutive steps: fetch them, or leave the lags "
            "out"
        )
    return complete


class LaggedReader:
    """Reads pairs with their lagged inputs; the last three steps are kept, so files in time order
    are read once.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        grid: Grid,
        time_step_s: float = TIME_STEP_S,
        allowed: Collection[str] = (),
    ) -> None:
        self._known = {p.stamp: p for p in pairs}
        self._grid = grid
        self._time_step_s = time_step_s
        self._allowed = allowed
        self._steps: dict[Stamp, Snapshot] = {}

    def read(self, pair: Pair) -> Columns:
        """Return inputs, lagged inputs, tendencies and fluxes of one pair, float64; DataError if a
        predecessor is missing.
        """
        earlier = predecessors(pair, self._known, self._time_step_s)
        if len(earlier) < STEPS_BACK:
            absent = pair.stamp.plus(-round((len(earlier) + 1) * self._time_step_s))
            raise DataError(
                f"{pair.mli}: its lagged inputs need the pair of {absent}, which is not there"
            )
        # Kept are the steps of this pair and no others, so pairs may be read in any order.
        self._steps = {p.stamp: self._snapshot(p) for p in (pair, *earlier)}
        now, previous, oldest = self._steps.values()
        lags = lagged_inputs(now[0], previous, oldest, self._time_step_s)
        return (
            now[0]
            | lags
            | place_inputs(self._grid)
            | outputs_of(*now, self._grid.level_count, self._time_step_s)
        )

    def _snapshot(self, pair: Pair) -> Snapshot:
        known = self._steps.get(pair.stamp)
        return known or (
            read_inputs(pair.mli, self._grid, pair.stamp, self._allowed),
            read_after(pair.mlo, self._grid, pair.stamp, self._allowed),
        )


def lagged_inputs(
    now: Columns, previous: Snapshot, oldest: Snapshot, time_step_s: float
) -> Columns:
    """Return the lagged inputs of a step: ``now`` before its physics, and the two steps before."""
    lags: Columns = {}
    for prefix, begins, ended in (("", now, previous[1]), ("tm_", previous[0], oldest[1])):
        lags[f"{prefix}state_t_dyn"] = (begins["state_t"] - ended["state_t"]) / time_step_s
        lags[f"{prefix}state_q0_dyn"] = (_water(begins) - _water(ended)) / time_step_s
        lags[f"{prefix}state_u_dyn"] = (begins["state_u"] - ended["state_u"]) / time_step_s
    for prefix, (before, after) in (("", previous), ("tm_", oldest)):
        lags |= {
            f"{prefix}{name}_prvphy": (after[name] - before[name]) / time_step_s
            for name in _PHYSICS
        }
    return lags | {f"tm_{name}": previous[0][name] for name in _SCALARS}


def _water(columns: Columns) -> NDArray[np.float64]:
    vapour, liquid, ice = (columns[name] for name in _WATER)
    return vapour + liquid + ice


def place_inputs(grid: Grid) -> Columns:
    """Return cosine and sine of latitude, and the number of the column from 1, [column]."""
    latitude = np.deg2rad(grid.latitude)
    return {
        "clat": np.cos(latitude),
        "slat": np.sin(latitude),
        "icol": np.arange(1.0, grid.n_column + 1.0),
    }
