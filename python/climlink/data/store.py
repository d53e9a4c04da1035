"""The column store: a Zarr v3 group of named variables, split and digest, readable by xarray and
read here into rows.

Layout, version 2: each variable that the attribute ``variables`` lists (name, units, long_name,
dims, width) under its own name, as ``[time, column, level]`` or ``[time, column]`` where it was
made of pairs, as ``[row, level]`` or ``[row]`` where it was made of a table. Coordinates: split
``[time]`` or ``[row]``; of pairs time, stamp, source_sha256 ``[time]``, latitude, longitude, area
``[column]``; and hyam, hybm ``[level]``, hyai, hybi ``[interface]`` where a grid file was given.
What is not known is not there. ``prepare`` writes it and sets the attribute ``complete`` last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field

from climlink.config import StrictModel, TimeStep
from climlink.data.climsim import TIME_STEP_S, PairKind, is_tendency, stored_variables
from climlink.data.columns import derivable, derive, pack_inputs, pack_targets, source_names
from climlink.data.errors import StoreError
from climlink.data.split import SPLIT_NAMES
from climlink.data.stamp import Stamp
from climlink.data.tables.config import TableConfig
from climlink.wrappers.errors import near_names
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable, variable, variable_names
from climlink.wrappers.vertical import HybridCoordinate

if TYPE_CHECKING:
    import xarray as xr

STORE_VERSION = 2
VERSION_ATTRIBUTE = "climlink_store_version"
TARGET_WEIGHTS = "target_weights"
"""Attribute: weights of the targets in a score, by name, one per level; absent if not given."""
IMPLAUSIBLE = "implausible_values"
"""Attribute: how many values outside the plausible range were kept, by variable allowed them."""
FloatName = Literal["float32", "float64"]
TimeIndices = Sequence[int] | NDArray[np.integer] | slice


class StoreConfig(StrictModel):
    """How a store is written: stored types, times per chunk, and the time step that tendencies are
    divided by.
    """

    time_chunk: int | None = Field(
        default=None,
        ge=1,
        description="times per chunk and restartable block; 8, and fewer on large grids, unless "
        "given",
    )
    input_dtype: FloatName = "float32"
    tendency_dtype: FloatName = Field(
        default="float64",
        description="tendencies are differenced in float64 whatever they are stored in",
    )
    flux_dtype: FloatName = Field(default="float64", description="scalar outputs")
    dtypes: dict[str, FloatName] = Field(
        default_factory=dict, description="exceptions by variable name"
    )
    time_step_s: TimeStep = TIME_STEP_S
    lags: bool = Field(
        default=False,
        description="store the inputs of earlier steps (sets v4 and v6) too; needs consecutive "
        "pairs",
    )
    pairs: PairKind = Field(default="mli-mlo", description="which files make a pair")
    allow_implausible: tuple[str, ...] = Field(
        default=(),
        description="variables whose values outside the plausible range are kept and counted",
    )
    variables: Path | None = Field(
        default=None, description="YAML file of own variables that pairs hold"
    )
    table: TableConfig = Field(
        default=TableConfig(), description="what a table's file cannot say of itself"
    )

    def dtype_of(self, variable: Variable) -> FloatName:
        """Return the type a variable is stored in."""
        if variable.name in self.dtypes:
            return self.dtypes[variable.name]
        if is_tendency(variable.name):
            return self.tendency_dtype
        return self.flux_dtype if variable.name.startswith("cam_out_") else self.input_dtype

    def check(self, variables: Iterable[Variable]) -> None:
        """Raise StoreError if ``dtypes`` or ``allow_implausible`` name what they cannot."""
        variables = tuple(variables)
        names, ranged = [v.name for v in variables], [v.name for v in variables if v.plausible]
        for name in self.dtypes:
            if name not in names:
                raise StoreError(
                    f"dtypes names {name!r}, which a store does not hold{near_names(name, names)}"
                )
        for name in self.allow_implausible:
            if name not in ranged:
                near = near_names(name, ranged)
                raise StoreError(f"allow_implausible names {name!r}, which has no range{near}")


def store_version(path: Path) -> int:
    """Return the version of the store at a path, complete or not; StoreError if there is none."""
    if not path.exists():
        raise StoreError(
            f"{path}: no column store here; make one with: climlink data prepare SOURCE --out "
            f"{path}"
        )
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
        version = group.attrs.get(VERSION_ATTRIBUTE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: not a column store: no readable Zarr v3 group ({type(error).__name__}: "
            f"{error})"
        ) from error
    if not isinstance(version, int):
        raise StoreError(
            f"{path}: a Zarr group, but not a column store: it has no integer attribute "
            f"{VERSION_ATTRIBUTE}"
        )
    return version


def open_group(path: Path) -> zarr.Group:
    """Return the Zarr group of a store, complete or not; StoreError if there is none, or one of
    another version.
    """
    version = store_version(path)
    if version > STORE_VERSION:
        raise StoreError(
            f"{path}: store version {version} is newer than the {STORE_VERSION} this climlink "
            "reads; update climlink"
        )
    if version < STORE_VERSION:
        raise StoreError(
            f"{path}: store version {version} is older than the {STORE_VERSION} this climlink "
            f"reads; make it again from its source: climlink data prepare SOURCE --out {path} "
            "--split SPLIT --overwrite"
        )
    return zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)


def record_of(v: Variable, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what a store says of a variable; ``sizes`` of its dimensions by name."""
    width = math.prod(sizes[d] for d in v.dims)
    meaning = {"name": v.name, "units": v.units, "long_name": v.long_name}
    return meaning | {"dims": list(v.dims), "width": width}


def _variable_of(record: Mapping[str, Any], path: Path) -> Variable:
    """Return a recorded variable; StoreError if the catalogue has it otherwise."""
    name, units, long_name = (str(record[key]) for key in ("name", "units", "long_name"))
    found = Variable(name, units, long_name, tuple(record["dims"]))
    if name not in variable_names():
        return found
    known = variable(name)
    if (known.units, known.dims) != (found.units, found.dims):
        raise StoreError(
            f"{path} holds {name} in {units!r} over {list(found.dims)}, the catalogue has it in "
            f"{known.units!r} over {list(known.dims)}: make the store again from its source"
        )
    return known


def recorded_variables(attributes: Mapping[str, Any], path: Path) -> tuple[Variable, ...]:
    """Return the variables that a store with these attributes says it holds."""
    return tuple(_variable_of(record, path) for record in attributes["variables"])


@dataclass(frozen=True)
class _PlaceAndTime:
    """Place and time of the rows of some times; StoreError for what the store does not hold."""

    store: ColumnStore
    indices: NDArray[np.int64]

    @property
    def time_step_s(self) -> float:
        return self.store.time_step_s

    @property
    def latitude(self) -> NDArray[np.float64]:
        return np.tile(self.store.latitude, len(self.indices))

    @property
    def longitude(self) -> NDArray[np.float64]:
        return np.tile(self.store.longitude, len(self.indices))

    @property
    def seconds(self) -> NDArray[np.int64]:
        stamps = self.store.stamps
        seconds = np.array([stamps[i].seconds for i in self.indices], dtype=np.int64)
        return np.repeat(seconds, self.store.n_column)


class ColumnStore:
    """A complete column store, read-only. Rows are numbered time * n_column + column, in the order
    of the time indices given.

    A store made of a table has rows of unknown time and place: each is a time of one column here,
    and ``stamps``, ``latitude``, ``longitude`` and ``area`` are StoreErrors; ask ``has_stamps`` and
    ``has_place`` first.
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group
        self._arrays: dict[str, zarr.Array] = {}
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.variables: tuple[Variable, ...] = recorded_variables(self.attributes, path)
        """The stored variables, inputs first."""
        self.level_count = int(self.attributes["level_count"])
        """Number of levels."""
        self.split_codes: NDArray[np.int8] = self._coordinate("split")
        self.has_stamps: bool = "stamp" in group
        self.has_place: bool = "latitude" in group

    @classmethod
    def open(cls, path: str | Path) -> ColumnStore:
        """Return the store at ``path``; StoreError if it is missing, incomplete, of a newer
        version, or not a store.
        """
        path = Path(path)
        group = open_group(path)
        if group.attrs.get("complete") is not True:
            raise StoreError(
                f"{path}: the store is incomplete: its preparation was interrupted. "
                "Run the same climlink data prepare command again to resume it"
            )
        return cls(path, group)

    @cached_property
    def stamps(self) -> tuple[Stamp, ...]:
        """Stamps of the times; StoreError where the store was made of a table."""
        return tuple(Stamp.parse(str(s)) for s in self._of_pairs("stamp", "no stamps"))

    @cached_property
    def source_digests(self) -> NDArray[np.str_]:
        """SHA-256 of the file of each time; StoreError where the store was made of a table."""
        return np.array([str(s) for s in self._of_pairs("source_sha256", "no files of times")])

    @cached_property
    def latitude(self) -> NDArray[np.float64]:
        """Latitude [column] in degrees north; StoreError where the store was made of a table."""
        return self._of_pairs("latitude", "no latitude")

    @cached_property
    def longitude(self) -> NDArray[np.float64]:
        """Longitude [column] in degrees east; StoreError where the store was made of a table."""
        return self._of_pairs("longitude", "no longitude")

    @cached_property
    def area(self) -> NDArray[np.float64]:
        """Area [column] in steradian; StoreError where the store was made of a table."""
        return self._of_pairs("area", "no area of columns")

    @cached_property
    def hybrid(self) -> HybridCoordinate:
        """The vertical grid; StoreError where no grid file was given."""
        found = self.known_hybrid
        if found is None:
            raise StoreError(
                f"{self.path} has no vertical grid, for it was made of a table without one: "
                "prepare it again with --grid GRID, the grid file of these data"
            )
        return found

    @cached_property
    def known_hybrid(self) -> HybridCoordinate | None:
        """The vertical grid, None where no grid file was given."""
        if "hyam" not in self._group:
            return None
        coefficients = (
            tuple(self._coordinate(name).tolist()) for name in ("hyam", "hybm", "hyai", "hybi")
        )
        return HybridCoordinate(float(self.attributes["p0_pa"]), *coefficients)

    @property
    def target_weights(self) -> dict[str, NDArray[np.float64]] | None:
        """Weights of the targets in a score, by name, [level] or [1]; None where none are kept."""
        given = self.attributes.get(TARGET_WEIGHTS)
        return None if given is None else {name: np.array(values) for name, values in given.items()}

    @property
    def n_time(self) -> int:
        """Number of times, or of rows where the store was made of a table."""
        return len(self.split_codes)

    @cached_property
    def n_column(self) -> int:
        """Number of columns per time; 1 where the store was made of a table."""
        return len(self.latitude) if self.has_place else 1

    @property
    def read_together(self) -> int:
        """Neighbouring times to read at once where order does not matter: 1, and of a table an
        eighth of a chunk.
        """
        return 1 if self.has_stamps else max(1, self.time_chunk // 8)

    def blocks_of(self, times: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return ascending times in the groups that are best read at once: those of one chunk, or
        neighbouring rows of a table.
        """
        if self.has_stamps:
            return np.split(times, np.flatnonzero(np.diff(times // self.time_chunk)) + 1)
        size = self.read_together
        return [times[first : first + size] for first in range(0, len(times), size)]

    def name_of(self, time_index: int) -> str:
        """Return how people know a time: its stamp, or the number of the row from 1."""
        return str(self.stamps[time_index]) if self.has_stamps else f"row {time_index + 1}"

    @property
    def time_step_s(self) -> float:
        """Time step in s that the tendencies were divided by."""
        return float(self.attributes["time_step_s"])

    @property
    def lags(self) -> bool:
        """Whether the inputs of earlier steps and of place are stored."""
        needed = {v.name for v in stored_variables(self.level_count, lags=True)}
        return needed.issubset(v.name for v in self.variables)

    @property
    def digest(self) -> str:
        """SHA-256 over the SHA-256 of the grid file and of every source file in order."""
        return str(self.attributes["data_digest"])

    @property
    def time_chunk(self) -> int:
        """Times per chunk: reading whole chunks is fastest."""
        return int(self._array(self.variables[0].name).chunks[0])

    @property
    def derived(self) -> tuple[Variable, ...]:
        """The variables that are not stored but can be computed from those that are."""
        has_pressure = self.known_hybrid is not None
        return tuple(variable(n) for n in derivable(self.variables, has_pressure=has_pressure))

    def dtype_of(self, name: str) -> str:
        """Return the type that a variable is stored in."""
        return str(self._array(name).dtype)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the time indices of ``train``, ``validation``, ``test``, ``later`` or
        ``unused``.
        """
        if split not in SPLIT_NAMES:
            raise StoreError(
                f"unknown split {split!r}{near_names(split, SPLIT_NAMES)}; known: "
                f"{', '.join(SPLIT_NAMES)}"
            )
        return np.flatnonzero(self.split_codes == SPLIT_NAMES.index(split))

    def read(
        self, names: Iterable[str], time_indices: TimeIndices
    ) -> dict[str, NDArray[np.floating]]:
        """Return variables, derived ones included, as [time*column, level] or [time*column], stored
        type (derived: float64).

        Raises StoreError for a chunk that is missing or damaged: it is never taken for data.
        """
        wanted = tuple(names)
        indices = self._indices(time_indices)
        stored = {
            name: self._read_stored(name, indices) for name in source_names(wanted, self.variables)
        }
        return derive(wanted, stored, self.known_hybrid, _PlaceAndTime(self, indices))

    def pack(self, variables: VariableSet, time_indices: TimeIndices) -> NDArray[np.float32]:
        """Return input rows, float32 [row, width]; derived inputs such as state_rh are computed in
        float64 and cast last.
        """
        self._check_levels(variables)
        return pack_inputs(self.read(variables.names, time_indices), variables)

    def targets(self, variables: VariableSet, time_indices: TimeIndices) -> NDArray[np.float64]:
        """Return output rows, float64 [row, width]: tendencies per second, fluxes in W/m2,
        precipitation in m/s.
        """
        self._check_levels(variables)
        return pack_targets(self.read(variables.names, time_indices), variables)

    def to_xarray(self, split: str | None = None) -> xr.Dataset:
        """Return the store as a lazy dataset [time, column, level], of one split or of all times;
        see ``store_dataset``.
        """
        from climlink.data.store_dataset import store_dataset

        return store_dataset(self, split)

    def _check_levels(self, variables: VariableSet) -> None:
        if variables.level_count != self.level_count:
            raise StoreError(
                f"{self.path} has {self.level_count} levels, the set {variables.name!r} was made "
                f"for {variables.level_count}"
            )

    def _indices(self, time_indices: TimeIndices) -> NDArray[np.int64]:
        """Return time indices as an array; StoreError if one is outside the store."""
        if isinstance(time_indices, slice):
            return np.arange(self.n_time)[time_indices]
        indices = np.asarray(time_indices, dtype=np.int64).reshape(-1)
        if indices.size and (indices.min() < 0 or indices.max() >= self.n_time):
            unit = "times" if self.has_stamps else "rows"
            there = f"{self.n_time} {unit} (0 to {self.n_time - 1})"
            problem = f"{self.path} has {there};"
            raise StoreError(f"{problem} asked for {indices.min()} to {indices.max()}")
        return indices

    def _read_stored(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return one stored variable as [time*column, ...], checked to be finite."""
        array = self._array(name)
        try:
            selection = _select(array, indices)
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(
                f"{self.path}: {name} cannot be read ({error}); a chunk is damaged: prepare the "
                "store again with overwrite"
            ) from error
        values = np.asarray(selection)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise StoreError(
                f"{self.path}: {name} is not finite at {self.name_of(int(indices[bad]))}; a chunk "
                "is missing: prepare the store again with overwrite"
            )
        return values.reshape(-1, *values.shape[2:]) if self.has_place else values

    def _array(self, name: str) -> zarr.Array:
        if name not in self._arrays:  # looking for it costs more than reading a block of it
            array = self._group.get(name)
            if not isinstance(array, zarr.Array):
                raise StoreError(
                    f"{self.path}: the store lacks {name}; prepare it again with overwrite"
                )
            self._arrays[name] = array
        return self._arrays[name]

    def _of_pairs(self, name: str, lacking: str) -> NDArray[Any]:
        if name not in self._group:
            raise StoreError(
                f"{self.path} has {lacking}: it was made of {self.attributes['source']}, "
                "whose rows say neither time nor place; for this give a store made of mli/mlo pairs"
            )
        return self._coordinate(name)

    def _coordinate(self, name: str) -> NDArray[Any]:
        return np.asarray(self._array(name)[...])


def _select(array: zarr.Array, indices: NDArray[np.int64]) -> Any:
    """Return some records; of a few chunks a plain slice, which is much faster than indices: a
    chunk is read as a whole anyway.
    """
    steps = np.diff(indices)
    if indices.size == 0 or not (steps > 0).all():
        return array.oindex[indices]
    first, stop = int(indices[0]), int(indices[-1]) + 1
    if (steps == 1).all():
        return array[first:stop]
    if stop - first > array.chunks[0]:
        return array.oindex[indices]
    return np.asarray(array[first:stop])[indices - first]
