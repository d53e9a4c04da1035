"""The states that a package is linearized about: columns of a store by latitude and moisture, or
given ones with their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import HUMIDITY, TEMPERATURE, Array
from climlink.evaluation.stability.response import CLOUD, Rows
from climlink.evaluation.weights import layer_thickness
from climlink.wrappers.constants import GRAVITY
from climlink.wrappers.variable_sets import VariableSet

POOL_TIMES = 24
POOL_ROWS = 9216
TROPICS_DEG = 30.0
POLAR_DEG = 60.0
_PROFILES = (TEMPERATURE, HUMIDITY, *CLOUD)


@dataclass(frozen=True)
class Pool:
    """Columns drawn from a store: host rows [row, n_input], profiles {name: [row, level]}, surface
    pressure in Pa, latitude in degrees and column water in kg/m2 [row], and ``places`` [row, 2],
    the numbers of their time and column in the store; ``times`` of the store were read."""

    rows: Rows
    profiles: dict[str, Array]
    surface_pressure: Array
    latitude: Array
    water: Array
    places: NDArray[np.int64]
    times: int

    def spread(self, fields: Sequence[str]) -> Array:
        """Return the standard deviation of fields over the pool, [field*level]."""
        return np.concatenate([self.profiles[name].std(axis=0) for name in fields])


@dataclass(frozen=True)
class StateGroup:
    """Columns that stand for one state: their numbers in the pool; ``name`` for files, ``title``
    for people.
    """

    name: str
    title: str
    members: NDArray[np.int64]


def reference_pressure_hpa(store: ColumnStore) -> Array:
    """Return the pressure of the midpoints over a surface at P0, [level] in hPa."""
    hybrid = store.hybrid
    return np.asarray(hybrid.p0_pa / 100.0 * (np.asarray(hybrid.hyam) + np.asarray(hybrid.hybm)))


def read_pool(store: ColumnStore, inputs: VariableSet, split: str, *, seed: int = 0) -> Pool:
    """Return up to POOL_ROWS columns of up to POOL_TIMES times of a split, spread evenly in time
    and drawn at random in space.

    EvaluationError for an empty split; StoreError where the store lacks what the package takes.
    """
    indices = store.indices(split)
    if indices.size == 0:
        raise EvaluationError(
            f"{store.path}: the {split} split holds no times; choose another with --split"
        )
    # Times by golden section, not evenly: an even stride that divides the day would read one hour
    # of the day only.
    chosen = np.unique(
        indices[
            (np.arange(min(POOL_TIMES, indices.size)) * 0.6180339887 % 1.0 * indices.size).astype(
                np.int64
            )
        ]
    )
    rng = np.random.default_rng(seed)
    kept = min(store.n_column, max(1, POOL_ROWS // len(chosen)))
    rows, profiles, pressure, places = [], [], [], []
    for time in chosen:
        columns = np.sort(rng.permutation(store.n_column)[:kept])
        values = store.read((*_PROFILES, "state_ps"), [int(time)])
        rows.append(store.pack(inputs, [int(time)])[columns])
        profiles.append({n: values[n][columns].astype(np.float64) for n in _PROFILES})
        pressure.append(values["state_ps"][columns].astype(np.float64))
        places.append(np.stack([np.full_like(columns, time), columns], axis=1))
    joined = {n: np.concatenate([p[n] for p in profiles]) for n in _PROFILES}
    ps = np.concatenate(pressure)
    hybrid = store.hybrid
    dp = layer_thickness(np.asarray(hybrid.hyai), np.asarray(hybrid.hybi), hybrid.p0_pa, ps).T
    water = (joined[HUMIDITY] * dp).sum(axis=1) / GRAVITY
    where = np.concatenate(places)
    latitude = store.latitude[where[:, 1]]
    return Pool(np.concatenate(rows), joined, ps, latitude, water, where, len(chosen))


def state_groups(pool: Pool, size: int, *, seed: int = 0) -> list[StateGroup]:
    """Return the groups that have columns, each of up to ``size``: the tropics by thirds of column
    water, and the other latitudes.
    """
    tropical = np.abs(pool.latitude) <= TROPICS_DEG
    groups: list[tuple[str, str, NDArray[np.bool_]]] = []
    if tropical.any():
        low, high = np.quantile(pool.water[tropical], [1 / 3, 2 / 3])
        parts = np.digitize(pool.water, [low, high])
        for number, name in enumerate(("dry", "middle", "moist")):
            groups.append(
                (f"tropics_{name}", f"tropics, {name} third", tropical & (parts == number))
            )
    for sign, side in ((-1.0, "south"), (1.0, "north")):
        latitude = sign * pool.latitude
        groups.append(
            (
                f"midlatitudes_{side}",
                f"{side}ern midlatitudes",
                (latitude > TROPICS_DEG) & (latitude <= POLAR_DEG),
            )
        )
        groups.append((f"polar_{side}", f"{side}ern polar region", latitude > POLAR_DEG))
    rng = np.random.default_rng(seed)
    drawn = [
        (name, title, rng.permutation(np.flatnonzero(mask))[:size]) for name, title, mask in groups
    ]
    return [
        StateGroup(name, title, np.sort(members)) for name, title, members in drawn if members.size
    ]


def given_column(
    store: ColumnStore, pool: Pool, inputs: VariableSet, column: str, size: int, number: int
) -> tuple[Pool, StateGroup]:
    """Return the pool with one more column, STAMP:COLUMN of the store, and the group of it and its
    nearest neighbours in the pool.

    Near is the root mean square difference of temperature and humidity in units of their spread
    over the pool. EvaluationError for a column that the store does not have.
    """
    stamp, _, place = column.rpartition(":")
    stamps = [str(s) for s in store.stamps]
    if stamp not in stamps or not place.isdigit() or int(place) >= store.n_column:
        raise EvaluationError(
            f"no column {column!r}: expected STAMP:COLUMN with a stamp of the store ({stamps[0]} "
            f"to {stamps[-1]}) and a column from 0 to {store.n_column - 1}"
        )
    time, index = [stamps.index(stamp)], int(place)
    values = store.read((*_PROFILES, "state_ps"), time)
    one = {n: values[n][index : index + 1].astype(np.float64) for n in _PROFILES}
    distance = np.zeros(len(pool.rows))
    for name in (TEMPERATURE, HUMIDITY):
        spread = pool.profiles[name].std(axis=0)
        apart = np.divide(
            pool.profiles[name] - one[name],
            spread,
            out=np.zeros_like(pool.profiles[name]),
            where=spread > 0.0,
        )
        distance += (apart**2).mean(axis=1)
    ps = values["state_ps"][index : index + 1].astype(np.float64)
    dp = layer_thickness(
        np.asarray(store.hybrid.hyai), np.asarray(store.hybrid.hybi), store.hybrid.p0_pa, ps
    ).T
    larger = Pool(
        rows=np.concatenate([pool.rows, store.pack(inputs, time)[index : index + 1]]),
        profiles={n: np.concatenate([pool.profiles[n], one[n]]) for n in _PROFILES},
        surface_pressure=np.concatenate([pool.surface_pressure, ps]),
        latitude=np.concatenate([pool.latitude, store.latitude[index : index + 1]]),
        water=np.concatenate([pool.water, (one[HUMIDITY] * dp).sum(axis=1) / GRAVITY]),
        places=np.concatenate([pool.places, [[time[0], index]]]),
        times=pool.times,
    )
    members = np.concatenate([[len(pool.rows)], np.argsort(distance)[: size - 1]])
    return larger, StateGroup(
        f"column_{number}", f"column {index} of {stamp} and its neighbours", np.sort(members)
    )
