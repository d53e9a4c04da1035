"""The column store: a Zarr v3 group of named variables, split and digest, readable by xarray and read here into rows.

Layout, version 1: dimensions time, column, level, interface. Every host input and host output of the catalogue, and where the
configuration asks for lags every input of earlier steps, under its own name as ``[time, column, level]`` or ``[time, column]``; coordinates
time, stamp, split, source_sha256 ``[time]``, latitude, longitude, area ``[column]``, hyam, hybm ``[level]``, hyai, hybi ``[interface]``.
``prepare`` writes it and sets the attribute ``complete`` last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field

from climlink.config import StrictModel, TimeStep
from climlink.data.climsim import TIME_STEP_S, PairKind, is_tendency, stored_variables
from climlink.data.columns import derive, pack_inputs, pack_targets, source_names
from climlink.data.errors import StoreError
from climlink.data.split import SPLIT_NAMES
from climlink.data.stamp import Stamp
from climlink.wrappers.errors import near_names
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

STORE_VERSION = 1
VERSION_ATTRIBUTE = "climlink_store_version"
IMPLAUSIBLE = "implausible_values"
"""Attribute: how many values outside the plausible range were kept, by variable allowed them."""
FloatName = Literal["float32", "float64"]
TimeIndices = Sequence[int] | NDArray[np.integer] | slice


class StoreConfig(StrictModel):
    """How a store is written: stored types, times per chunk, and the time step that tendencies are divided by."""

    time_chunk: int = Field(default=8, ge=1, description="times per chunk and per restartable block")
    input_dtype: FloatName = "float32"
    tendency_dtype: FloatName = Field(default="float64", description="tendencies are differenced in float64 whatever they are stored in")
    flux_dtype: FloatName = Field(default="float64", description="scalar outputs")
    dtypes: dict[str, FloatName] = Field(default_factory=dict, description="exceptions by variable name")
    time_step_s: TimeStep = TIME_STEP_S
    lags: bool = Field(default=False, description="store the inputs of earlier steps (sets v4 and v6) too; needs consecutive pairs")
    pairs: PairKind = Field(default="mli-mlo", description="which files make a pair")
    allow_implausible: tuple[str, ...] = Field(
        default=(),
        description="variables whose values outside the plausible range are kept and counted",
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
                raise StoreError(f"dtypes names {name!r}, which a store does not hold{near_names(name, names)}")
        for name in self.allow_implausible:
            if name not in ranged:
                near = near_names(name, ranged)
                raise StoreError(f"allow_implausible names {name!r}, which has no range{near}")


def open_group(path: Path) -> zarr.Group:
    """Return the Zarr group of a store, complete or not; StoreError if there is none or a newer climlink wrote it."""
    if not path.exists():
        raise StoreError(f"{path}: no column store here; make one with: climlink data prepare SOURCE --out {path}")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a column store: no readable Zarr v3 group ({type(error).__name__}: {error})") from error
    version = group.attrs.get(VERSION_ATTRIBUTE)
    if not isinstance(version, int):
        raise StoreError(f"{path}: a Zarr group, but not a column store: it has no integer attribute {VERSION_ATTRIBUTE}")
    if version > STORE_VERSION:
        raise StoreError(f"{path}: store version {version} is newer than the {STORE_VERSION} this climlink reads; update climlink")
    return group


def holds_lags(attributes: Mapping[str, Any]) -> bool:
    """Say whether a store with these attributes holds the inputs of earlier steps and of place."""
    return bool(attributes.get("store_configuration", {}).get("lags", False))


class ColumnStore:
    """A complete column store, read-only. Rows are numbered time * n_column + column, in the order of the time indices given."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group
        self.attributes: dict[str, Any] = dict(group.attrs)
        self.stamps: tuple[Stamp, ...] = tuple(Stamp.parse(str(s)) for s in self._coordinate("stamp"))
        self.split_codes: NDArray[np.int8] = self._coordinate("split")
        self.latitude: NDArray[np.float64] = self._coordinate("latitude")
        self.longitude: NDArray[np.float64] = self._coordinate("longitude")
        self.area: NDArray[np.float64] = self._coordinate("area")
        coefficients = (tuple(self._coordinate(name).tolist()) for name in ("hyam", "hybm", "hyai", "hybi"))
        self.hybrid = HybridCoordinate(float(self.attributes["p0_pa"]), *coefficients)

    @classmethod
    def open(cls, path: str | Path) -> ColumnStore:
        """Return the store at ``path``; StoreError if it is missing, incomplete, of a newer version, or not a store."""
        path = Path(path)
        group = open_group(path)
        if group.attrs.get("complete") is not True:
            raise StoreError(
                f"{path}: the store is incomplete: its preparation was interrupted. "
                "Run the same climlink data prepare command again to resume it"
            )
        return cls(path, group)

    @property
    def n_time(self) -> int:
        """Number of times."""
        return len(self.stamps)

    @property
    def n_column(self) -> int:
        """Number of columns per time."""
        return len(self.latitude)

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return self.hybrid.level_count

    @property
    def time_step_s(self) -> float:
        """Time step in s that the tendencies were divided by."""
        return float(self.attributes["time_step_s"])

    @property
    def lags(self) -> bool:
        """Whether the inputs of earlier steps and of place are stored."""
        return holds_lags(self.attributes)

    @property
    def digest(self) -> str:
        """SHA-256 over the SHA-256 of the grid file and of every source file in order."""
        return str(self.attributes["data_digest"])

    @property
    def time_chunk(self) -> int:
        """Times per chunk: reading whole chunks is fastest."""
        return int(self._array(self.variables[0].name).chunks[0])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The stored variables, inputs first."""
        return stored_variables(self.level_count, self.lags)

    def dtype_of(self, name: str) -> str:
        """Return the type that a variable is stored in."""
        return str(self._array(name).dtype)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the time indices of ``train``, ``validation``, ``test`` or ``unused``."""
        if split not in SPLIT_NAMES:
            raise StoreError(f"unknown split {split!r}{near_names(split, SPLIT_NAMES)}; known: {', '.join(SPLIT_NAMES)}")
        return np.flatnonzero(self.split_codes == SPLIT_NAMES.index(split))

    def read(self, names: Iterable[str], time_indices: TimeIndices) -> dict[str, NDArray[np.floating]]:
        """Return variables, derived ones included, as [time*column, level] or [time*column], stored type (derived: float64).

        Raises StoreError for a chunk that is missing or damaged: it is never taken for data.
        """
        wanted = tuple(names)
        indices = self._indices(time_indices)
        stored = {name: self._read_stored(name, indices) for name in source_names(wanted, self.variables)}
        return derive(wanted, stored, self.hybrid)

    def pack(self, variables: VariableSet, time_indices: TimeIndices) -> NDArray[np.float32]:
        """Return input rows, float32 [row, width]; derived inputs such as state_rh are computed in float64 and cast last."""
        self._check_levels(variables)
        return pack_inputs(self.read(variables.names, time_indices), variables)

    def targets(self, variables: VariableSet, time_indices: TimeIndices) -> NDArray[np.float64]:
        """Return output rows, float64 [row, width]: tendencies per second, fluxes in W/m2, precipitation in m/s."""
        self._check_levels(variables)
        return pack_targets(self.read(variables.names, time_indices), variables)

    def _check_levels(self, variables: VariableSet) -> None:
        if variables.level_count != self.level_count:
            raise StoreError(f"{self.path} has {self.level_count} levels, the set {variables.name!r} was made for {variables.level_count}")

    def _indices(self, time_indices: TimeIndices) -> NDArray[np.int64]:
        """Return time indices as an array; StoreError if one is outside the store."""
        if isinstance(time_indices, slice):
            return np.arange(self.n_time)[time_indices]
        indices = np.asarray(time_indices, dtype=np.int64).reshape(-1)
        if indices.size and (indices.min() < 0 or indices.max() >= self.n_time):
            raise StoreError(f"{self.path} has {self.n_time} times (0 to {self.n_time - 1}); asked for {indices.min()} to {indices.max()}")
        return indices

    def _read_stored(self, name: str, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return one stored variable as [time*column, ...], checked to be finite."""
        array = self._array(name)
        contiguous = indices.size > 0 and bool((np.diff(indices) == 1).all())
        try:
            selection = array[int(indices[0]) : int(indices[-1]) + 1] if contiguous else array.oindex[indices]
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(
                f"{self.path}: {name} cannot be read ({error}); a chunk is damaged: prepare the store again with overwrite"
            ) from error
        values = np.asarray(selection)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise StoreError(
                f"{self.path}: {name} is not finite at {self.stamps[indices[bad]]}; a chunk is "
                "missing: prepare the store again with overwrite"
            )
        return values.reshape(-1, *values.shape[2:])

    def _array(self, name: str) -> zarr.Array:
        array = self._group.get(name)
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{self.path}: the store lacks {name}; prepare it again with overwrite")
        return array

    def _coordinate(self, name: str) -> NDArray[Any]:
        return np.asarray(self._array(name)[...])
