"""Synthetic ClimSim files: small mli/mlo pairs and a grid file in the published format, for tests
and trials without the data.

The columns are plausible (temperature, humidity, clouds and fluxes in the range of real ones,
pressure from the hybrid formula) but hold no physics: the tendencies are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import (
    INPUT_SET,
    LAGGED_SET,
    OUTPUT_SET,
    TIME_STEP_S,
    PairKind,
    file_name,
    is_tendency,
    state_name,
)
from climlink.data.columns import derive, pack_inputs
from climlink.data.grid import Grid, read_grid
from climlink.data.lags import place_inputs
from climlink.data.stamp import Stamp
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.vertical import HybridCoordinate

GRID_NAME = "ClimSim_low-res_grid-info.nc"
_FORMAT: Literal["NETCDF3_64BIT_DATA"] = "NETCDF3_64BIT_DATA"  # CDF-5, as published
_SURFACE_PA, _TOP_PA = 1.0e5, 100.0
_NO_SEA_ICE = 1e30
_SCALAR_RANGES = {
    "pbuf_SOLIN": (0.0, 1300.0),
    "pbuf_LHFLX": (-20.0, 300.0),
    "pbuf_SHFLX": (-50.0, 150.0),
    "pbuf_TAUX": (-0.3, 0.3),
    "pbuf_TAUY": (-0.3, 0.3),
    "cam_in_LWUP": (150.0, 550.0),
    "cam_in_SNOWHLAND": (0.0, 0.3),
    "cam_out_PRECSC": (0.0, 1e-8),
    "cam_out_PRECC": (1e-8, 2e-7),
}
_TENDENCY_SCALES = {"ptend_t": 1e-4, "ptend_u": 1e-5, "ptend_v": 1e-5}
_WATER_TENDENCY = 1e-9  # kg/kg/s


def write_dataset(
    directory: str | Path,
    stamps: Iterable[Stamp | str],
    *,
    n_column: int = 6,
    level_count: int = 8,
    seed: int = 0,
    monthly: bool = True,
) -> Path:
    """Write a grid file and one mli/mlo pair per stamp below ``directory`` (in monthly folders
    unless flat) and return it.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    grid = write_grid(directory / GRID_NAME, n_column=n_column, level_count=level_count)
    for number, item in enumerate(stamps):
        stamp = Stamp.parse(item) if isinstance(item, str) else item
        folder = (
            directory / "train" / f"{stamp.year:04d}-{stamp.month:02d}" if monthly else directory
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_pair(folder, stamp, grid, np.random.default_rng((seed, number)))
    return directory


def write_grid(path: Path, *, n_column: int, level_count: int) -> Grid:
    """Write a grid file with evenly spread columns and a pure sigma-pressure blend, and return
    it.
    """
    grid = synthetic_grid(n_column=n_column, hybrid=synthetic_hybrid(level_count))
    columns = {"lat": grid.latitude, "lon": grid.longitude, "area": grid.area}
    with netCDF4.Dataset(path, "w", format=_FORMAT) as file:
        for name, size in (("ncol", n_column), ("ilev", level_count + 1), ("lev", level_count)):
            file.createDimension(name, size)
        file.createVariable("P0", "f8")[...] = grid.hybrid.p0_pa
        for name, array in columns.items():
            file.createVariable(name, "f8", ("ncol",))[:] = array
        for name, dimension in (
            ("hyai", "ilev"),
            ("hybi", "ilev"),
            ("hyam", "lev"),
            ("hybm", "lev"),
        ):
            file.createVariable(name, "f8", (dimension,))[:] = getattr(grid.hybrid, name)
    return read_grid(path)


def synthetic_hybrid(level_count: int) -> HybridCoordinate:
    """Return a pure sigma-pressure blend from 1 hPa to the surface."""
    edges = np.linspace(0.0, 1.0, level_count + 1)
    interfaces = (_TOP_PA + edges**1.5 * (_SURFACE_PA - _TOP_PA)) / _SURFACE_PA
    hybi = interfaces * edges**2
    hyai = interfaces - hybi
    midpoints = ((hyai[1:] + hyai[:-1]) / 2, (hybi[1:] + hybi[:-1]) / 2)
    return HybridCoordinate(1.0e5, *(tuple(a.tolist()) for a in (*midpoints, hyai, hybi)))


def synthetic_grid(*, n_column: int, hybrid: HybridCoordinate) -> Grid:
    """Return evenly spread columns, each with the area of its zone, on a vertical coordinate."""
    latitude = np.linspace(-80.0, 80.0, n_column)
    zone = np.cos(np.radians(latitude))
    return Grid(
        Path("synthetic"),
        hybrid,
        latitude=latitude,
        longitude=np.linspace(0.0, 350.0, n_column),
        area=4.0 * np.pi * zone / zone.sum(),
        sha256="",
    )


def write_training_run(
    directory: str | Path,
    stamps: Iterable[Stamp],
    *,
    case: str,
    pairs: Sequence[PairKind] = ("mli-mlo",),
    n_column: int = 6,
    level_count: int = 8,
    seed: int = 0,
) -> Path:
    """Write what an E3SM run built with -DMMF_ML_TRAINING leaves, one file of each kind per step,
    and a grid file; return ``directory``.

    The files carry the case's name, lie flat, and have positions and more dimensions beside the
    variables, but no ymd and tod.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    grid = write_grid(directory / GRID_NAME, n_column=n_column, level_count=level_count)
    for number, stamp in enumerate(stamps):
        for place, kind in enumerate(pairs):
            rng = np.random.default_rng((seed, number, place))
            before = synthetic_inputs(grid, rng)
            for name, columns in zip(
                kind.split("-"), (before, synthetic_outputs(grid, before, rng)), strict=True
            ):
                _write_training_file(directory / file_name(name, stamp, case), grid, columns)
    return directory


def _write_training_file(
    path: Path, grid: Grid, columns: Mapping[str, NDArray[np.float64]]
) -> None:
    with netCDF4.Dataset(path, "w", format=_FORMAT) as file:
        for name, size in (
            ("ncol", grid.n_column),
            ("lev", grid.level_count),
            ("ilev", grid.level_count + 1),
            ("pcnst", 3),
        ):
            file.createDimension(name, size)
        for name, values in {
            "lat": grid.latitude,
            "lon": grid.longitude,
            "area": grid.area,
            **columns,
        }.items():
            file.createVariable(name, "f8", ("lev", "ncol") if values.ndim == 2 else ("ncol",))[
                :
            ] = values.T


def write_pair(folder: Path, stamp: Stamp, grid: Grid, rng: np.random.Generator) -> None:
    """Write the mli and mlo files of one stamp."""
    before = synthetic_inputs(grid, rng)
    after = synthetic_outputs(grid, before, rng)
    write_file(folder / file_name("mli", stamp), stamp, before)
    write_file(folder / file_name("mlo", stamp), stamp, after)


def synthetic_inputs(grid: Grid, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return the variables of an mli file: profiles [column, level], scalars [column]."""
    n, shape = grid.n_column, (grid.n_column, grid.level_count)
    columns: dict[str, NDArray[np.float64]] = {}
    for v in variable_set(INPUT_SET, grid.level_count).variables:
        columns[v.name] = rng.normal(0.0, 10.0, shape) if v.is_profile else _scalar(v.name, n, rng)
    columns["state_ps"] = rng.uniform(9.7e4, 1.02e5, n)
    columns["state_pmid"] = grid.midpoint_pressure(columns["state_ps"])
    height = np.log(_SURFACE_PA / columns["state_pmid"])
    columns["state_t"] = np.maximum(295.0 - 45.0 * height, 205.0) + rng.normal(0.0, 2.0, shape)
    columns["state_q0001"] = 0.012 * np.exp(-2.5 * height) * rng.uniform(0.3, 1.0, shape) + 2e-6
    for name in ("state_q0002", "state_q0003"):
        columns[name] = np.where(rng.random(shape) < 0.5, 10.0 ** rng.uniform(-9, -4, shape), 0.0)
    for name, surface in (("pbuf_ozone", 5e-8), ("pbuf_CH4", 1e-6), ("pbuf_N2O", 5e-7)):
        columns[name] = surface * (1.0 + 0.1 * rng.random(shape))
    columns["cam_in_SNOWHICE"] = np.where(
        np.arange(n) % 2 == 0, _NO_SEA_ICE, rng.uniform(0.0, 0.5, n)
    )
    return columns


def synthetic_rows(
    variables: VariableSet, hybrid: HybridCoordinate, n_column: int, seed: int = 0
) -> NDArray[np.float32]:
    """Return host rows [column, width] of any host input set, lagged inputs included: plausible,
    without physics.
    """
    rng = np.random.default_rng(seed)
    grid = synthetic_grid(n_column=n_column, hybrid=hybrid)
    columns = synthetic_inputs(grid, rng)
    columns |= _synthetic_lags(grid, columns, rng)
    return pack_inputs(derive(variables.names, columns, hybrid), variables)


def _synthetic_lags(
    grid: Grid, now: Mapping[str, NDArray[np.float64]], rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Return the inputs of earlier steps and of place for the columns ``now``: tendencies as strong
    as those of synthetic pairs.
    """
    lags = place_inputs(grid)
    for v in (
        v
        for v in variable_set(LAGGED_SET, grid.level_count).variables
        if v.name not in now and v.name not in lags
    ):
        if v.is_profile:
            # Water changes by a millionth of itself per second, so that the dry stratosphere stays
            # dry.
            scale = (
                now["state_q0001"] * 1e-6
                if v.units == "kg/kg/s"
                else {"K/s": 1e-4, "m/s2": 1e-5}[v.units]
            )
            lags[v.name] = scale * rng.normal(0.0, 1.0, now["state_t"].shape)
        else:
            lags[v.name] = now[v.name.removeprefix("tm_")] * rng.uniform(0.99, 1.01, grid.n_column)
    return lags


def synthetic_outputs(
    grid: Grid, before: Mapping[str, NDArray[np.float64]], rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Return the variables of an mlo file for the inputs ``before``: the state one time step later,
    and the fluxes.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for v in variable_set(OUTPUT_SET, grid.level_count).variables:
        if is_tendency(v.name):
            state = before[state_name(v.name)]
            columns[state_name(v.name)] = state + TIME_STEP_S * _TENDENCY_SCALES.get(
                v.name, _WATER_TENDENCY
            ) * rng.normal(0.0, 1.0, state.shape)
        else:
            columns[v.name] = _scalar(v.name, grid.n_column, rng)
    return columns


def _scalar(name: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one scalar variable [column]: in its range where one is known, 0 to 400 W/m2 for
    fluxes, 0 to 1 for the rest.
    """
    low, high = _SCALAR_RANGES.get(
        name, (0.0, 400.0) if name.startswith("cam_out_") else (0.0, 1.0)
    )
    return rng.uniform(low, high, n)


def write_file(path: Path, stamp: Stamp, columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Write named columns, [column, level] or [column], as a file in ClimSim's format."""
    profile = next(a for a in columns.values() if a.ndim == 2)
    with netCDF4.Dataset(path, "w", format=_FORMAT) as file:
        file.createDimension("ncol", profile.shape[0])
        file.createDimension("lev", profile.shape[1])
        file.createVariable("ymd", "i4")[...] = stamp.ymd
        file.createVariable("tod", "i4")[...] = stamp.second
        for name, values in columns.items():
            file.createVariable(name, "f8", ("lev", "ncol") if values.ndim == 2 else ("ncol",))[
                :
            ] = values.T
        file.calendar = "NO_LEAP"


def replace_variable(
    path: Path,
    name: str,
    change: Callable[[NDArray[Any]], Any] = lambda values: values,
    dtype: str = "f8",
    fill: Any = None,
    time: int = 0,
    **attributes: Any,
) -> None:
    """Put a variable with changed values in the place of one of a file, which gets another name.

    What ``change`` returns is stored as ``dtype``, not packed, with ``fill`` as _FillValue,
    ``time`` times over along a leading dimension time (none for 0), and with the attributes.
    """
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        dimensions, values = file[name].dimensions, np.array(file[name][...])
        file.renameVariable(name, f"{name}_{len(file.variables)}")
        if time:
            dimensions, values = ("time", *dimensions), np.stack([values] * time)
            if "time" not in file.dimensions:
                file.createDimension("time", time)
        new = file.createVariable(name, dtype, dimensions, fill_value=fill)
        new.set_auto_maskandscale(False)
        new.setncatts(attributes)
        new[...] = np.asarray(change(values)).astype(dtype)
