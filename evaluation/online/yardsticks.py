"""What an error is held against: forecasts that need no model, and how far apart independent states
of the reference are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.online.blocks import (
    CLIMATOLOGY,
    PERSISTENCE,
    REFERENCE,
    Block,
    Gaps,
    SideBySide,
    Values,
)
from climlink.evaluation.online.fields import PROFILES, parts
from climlink.evaluation.online.history import HistoryGrid
from climlink.evaluation.online.kernels import latitude_rows, mass_shares, weighted_rmse
from climlink.evaluation.online.stream import EPOCH, Stream, selected
from climlink.evaluation.report import Exclusion
from climlink.evaluation.weights import layer_thickness, zonal_weights

Array = NDArray[np.float64]

FAR_APART_D = 30.0
"""Days after which weather has forgotten where it began, and the season has hardly moved."""
_LEAST_IN_ROW = 8
_MOST_PAIRS = 60
_SOON_D = 1e-6


def zonal_mean(grid: HistoryGrid, values: Array) -> Array:
    """Return the area-weighted zonal mean in the place of every column, [..., column].

    Over the columns of one latitude; over bins of 10 degrees on grids with fewer than 8 columns of
    a latitude.
    """
    _, row = latitude_rows(grid.lat)
    if len(grid.lat) < _LEAST_IN_ROW * (int(row.max()) + 1):
        _, weights = zonal_weights(grid.lat, grid.area)
        row = weights.argmax(axis=0)
    rows = values.reshape(-1, len(row))
    sums = np.stack([np.bincount(row, grid.area * one) for one in rows])
    area = np.bincount(row, grid.area)
    means = np.divide(sums, area, out=np.full_like(sums, np.nan), where=area > 0.0)
    return np.asarray(means[:, row].reshape(values.shape))


def window_days(side: SideBySide, days: float) -> float:
    """Return how many of ``days`` from the first compared one on the reference has."""
    begin = side.start + side.from_day
    return max(0.0, min(days, float(side.streams[REFERENCE].end[-1]) - begin))


def forecasts(side: SideBySide, names: Sequence[str], days: float) -> dict[str, dict[str, Values]]:
    """Return the climatology and the persistence of the reference, fields [(level,) column] by name
    in the units of the files.

    Climatology is the zonal mean over the reference's records of the ``days`` from the first
    compared one on: those that a run is held against, so the climatology has seen them. Persistence
    is the reference's first day, or its first record where that is longer. NaN where the reference
    has no finite record there.
    """
    stream = side.streams[REFERENCE]
    first = int(np.searchsorted(stream.start, side.start - _SOON_D))
    wanted = np.arange(first, len(stream.start))
    wanted = wanted[stream.start[wanted] < side.start + side.from_day + days - _SOON_D]
    if not len(wanted):
        return {}
    shown = selected(stream, wanted)
    day_one = max(1.0, float(shown.end[0] - side.start)) + _SOON_D
    window, start = _Mean(), _Mean()
    alone = replace(side, streams={REFERENCE: shown}, forecasts={})
    for _, _, block in alone.blocks(names, Gaps()):
        window.add(block, names, block.compared)
        start.add(block, names, block.day <= day_one)
    return {
        CLIMATOLOGY: {n: zonal_mean(side.grid, window.of(n)).astype(np.float32) for n in names},
        PERSISTENCE: {n: start.of(n).astype(np.float32) for n in names},
    }


class _Mean:
    """Mean of fields of the reference over chosen records."""

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._counts: dict[str, int] = {}

    def add(self, block: Block, names: Sequence[str], chosen: NDArray[np.bool_]) -> None:
        for name in names:
            at = chosen & block.usable[REFERENCE][name]
            total = block.values[REFERENCE][name][at].sum(axis=0, dtype=np.float64)
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._counts[name] = self._counts.get(name, 0) + int(at.sum())

    def of(self, name: str) -> Array:
        return self._sums[name] / (self._counts[name] or np.nan)


State = tuple[Stream, int]
"""A record of a stream."""


def independent_pairs(
    side: SideBySide, others: Sequence[Stream], days: float
) -> tuple[list[tuple[State, State]], str]:
    """Return the reference's records within ``days`` from the first compared one, each with a state
    of the same season that has nothing to do with it, and in words how they were chosen.

    Such a state is of the same calendar date, in another year of the reference or in ``others``,
    further references that began elsewhere; where there is none, the reference 30 days later. At
    most 60 pairs, spread over the time; none where there are none.
    """
    stream = side.streams[REFERENCE]
    begin = side.start + side.from_day - _SOON_D
    chosen = np.flatnonzero((stream.start >= begin) & (stream.start < begin + days))
    dates: dict[tuple[int, ...], list[State]] = {}
    for source in (stream, *others):
        for k in range(len(source.start)):
            dates.setdefault(_date(source, k), []).append((source, k))
    pairs: list[tuple[State, State]] = [
        ((stream, int(k)), (source, j))
        for k in chosen
        for source, j in dates[_date(stream, int(k))]
        if source is not stream or abs(stream.middle[j] - stream.middle[k]) >= FAR_APART_D
    ]
    between = "states of one calendar date in different years or different references"
    if not pairs and side.cadence != "monthly":
        after = np.searchsorted(stream.middle, stream.middle[chosen] + FAR_APART_D - _SOON_D)
        pairs = [
            ((stream, int(k)), (stream, int(j)))
            for k, j in zip(chosen, after, strict=True)
            if j < len(stream.middle) and stream.middle[j] - stream.middle[k] < FAR_APART_D + 1.0
        ]
        between = f"states of the reference {FAR_APART_D:g} days apart"
    if len(pairs) > _MOST_PAIRS:
        kept = np.linspace(0, len(pairs) - 1, _MOST_PAIRS).round().astype(int)
        pairs = [pairs[k] for k in kept]
    return pairs, between


def _date(stream: Stream, record: int) -> tuple[int, ...]:
    """Return month, day and second of the middle of a record; the month alone of monthly means."""
    when = cftime.num2date(float(stream.middle[record]), EPOCH, stream.calendar)
    if stream.cadence == "monthly":
        return (when.month,)
    seconds = round(float(stream.middle[record] % 1.0) * SECONDS_PER_DAY)
    return (when.month, when.day, seconds)


def saturated_spread(
    side: SideBySide, names: Sequence[str], others: Sequence[Stream], days: float
) -> tuple[xr.Dataset, list[Exclusion]]:
    """Return CADENCE_saturated_NAME, the RMSE between independent states of the reference in the
    units of the files: what an error grows to when nothing is left of what began alike.

    sqrt(mean over pairs of sum(w d²)), w = dp area with the mean dp of the two; sqrt(2) times the
    standard deviation of the weather where the states are independent. Pairs with a field that is
    not finite are left out.
    """
    pairs, between = independent_pairs(side, others, days)
    squares: dict[str, list[float]] = {name: [] for name in names}
    for pair in pairs:
        one, other = (_load(state, (*names, "PS")) for state in pair)
        g = side.grid
        ps = 0.5 * (one["PS"] + other["PS"])
        shares = mass_shares(layer_thickness(g.hyai, g.hybi, g.p0_pa, ps), g.area)
        for name in names:
            rmse = float(weighted_rmse(one[name] - other[name], shares))
            if np.isfinite(rmse):
                squares[name].append(rmse**2)
    found = xr.Dataset(
        {
            f"{side.cadence}_saturated_{name}": (
                (),
                np.sqrt(np.mean(values)),
                {"units": PROFILES[name].file_units, "pairs": len(values), "between": between},
            )
            for name, values in squares.items()
            if values
        }
    )
    if found.data_vars:
        return found, []
    apart = "" if side.cadence == "monthly" else f" and no two records {FAR_APART_D:g} days apart"
    why = (
        f"the reference holds no calendar date in two years{apart}; a further reference, of the "
        "same dates from another start, tells it (--independent)"
    )
    return found, [Exclusion(f"spread of independent states ({side.cadence})", why)]


def _load(state: State, names: Sequence[str]) -> dict[str, Array]:
    """Return fields of a record in float64, NaN for those that its stream does not have."""
    stream, record = state
    needed = {name: parts(name, stream.fields) or () for name in names}
    raw = sorted({part for found in needed.values() for part in found})
    loaded = {n: v[0].astype(np.float64) for n, v in stream.load(raw, np.array([record])).items()}
    return {
        name: np.asarray(sum(loaded[part] for part in found)) if found else np.array(np.nan)
        for name, found in needed.items()
    }
