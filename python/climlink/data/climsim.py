"""ClimSim files: names, discovery of mli/mlo pairs, and one pair as named float64 columns.

``mli`` holds the state before the physics, ``mlo`` after it, at the same stamp; profiles are ``(lev, ncol)`` from the model top down,
scalars ``(ncol)``, all float64 in file units. Which variables are read is the business of the catalogue (host_v2_q and mmf368).
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.grid import Grid
from climlink.data.netcdf import open_netcdf
from climlink.data.stamp import Stamp
from climlink.wrappers.errors import near_names
from climlink.wrappers.variable_sets import Variable, variable_set

TIME_STEP_S = 1200.0
INPUT_SET = "host_v2_q"
OUTPUT_SET = "mmf368"

Columns = dict[str, NDArray[np.float64]]
"""Named columns: profiles [column, level], scalars [column]."""

_FILE_NAME = re.compile(r"E3SM-MMF\.(mli|mlo)\.(.+)\.nc")
_TENDENCY = "ptend_"
_STATE = "state_"
_PRESSURE = "state_pmid"
_PRESSURE_TOLERANCE = 1e-9  # relative; the files agree with the hybrid formula to 2e-16
_SHOWN = 10


@dataclass(frozen=True, order=True)
class Pair:
    """The two files of one stamp."""

    stamp: Stamp
    mli: Path
    mlo: Path


def file_name(kind: str, stamp: Stamp) -> str:
    """Return ClimSim's name of the ``mli`` or ``mlo`` file of a stamp."""
    return f"E3SM-MMF.{kind}.{stamp}.nc"


def stamp_of(path: Path) -> Stamp:
    """Return the stamp in the name of an ``mli`` or ``mlo`` file."""
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: not named as a ClimSim file: expected E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc (or mlo)")
    try:
        return Stamp.parse(match.group(2))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def find_files(source: Path, kind: str) -> dict[Stamp, Path]:
    """Return all ``mli`` or ``mlo`` files at or below ``source`` (flat or in monthly folders), sorted by stamp."""
    if not source.is_dir():
        raise DataError(f"{source} is not a directory: expected a folder with E3SM-MMF.{kind}.YYYY-MM-DD-SSSSS.nc files at or below it")
    found: dict[Stamp, Path] = {}
    for folder, folders, names in os.walk(source, followlinks=True):
        folders.sort()
        for name in sorted(names):
            match = _FILE_NAME.fullmatch(name)
            if match is None or match.group(1) != kind:
                continue
            path = Path(folder) / name
            stamp = stamp_of(path)
            if stamp in found:
                raise DataError(f"two {kind} files of {stamp}: {found[stamp]} and {path}; keep one")
            found[stamp] = path
    return dict(sorted(found.items()))


def find_pairs(source: str | Path) -> list[Pair]:
    """Return every mli/mlo pair at or below ``source`` in time order; DataError lists the files without their partner."""
    source = Path(source)
    mli, mlo = find_files(source, "mli"), find_files(source, "mlo")
    if not mli and not mlo:
        raise DataError(f"{source}: no file named E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc at or below it")
    problems = [
        f"{len(alone)} {kind} file(s) without their {other} file: {_listed(alone)}"
        for kind, other, alone in (
            ("mli", "mlo", [path for stamp, path in mli.items() if stamp not in mlo]),
            ("mlo", "mli", [path for stamp, path in mlo.items() if stamp not in mli]),
        )
        if alone
    ]
    if problems:
        raise DataError(f"{source}: {'; '.join(problems)}; fetch the missing files or move the lone ones away")
    return [Pair(stamp, path, mlo[stamp]) for stamp, path in mli.items()]


def state_name(tendency: str) -> str:
    """Return the state variable whose change a ``ptend_`` variable is: ``state_q0001`` for ``ptend_q0001``."""
    return _STATE + tendency.removeprefix(_TENDENCY)


def is_tendency(name: str) -> bool:
    """Say whether a name is that of a tendency, differenced from the two files."""
    return name.startswith(_TENDENCY)


def read_inputs(path: Path, grid: Grid, stamp: Stamp | None = None) -> Columns:
    """Return every host input of one mli file; DataError names the file and the variable that do not fit."""
    variables = variable_set(INPUT_SET, grid.level_count)
    with _open(path, stamp) as dataset:
        columns = {v.name: _read(dataset, path, v.name, v.is_profile, grid) for v in variables.variables}
        if _PRESSURE in dataset.variables:
            _check_pressure(_read(dataset, path, _PRESSURE, True, grid), columns["state_ps"], grid, path)
    return columns


def read_outputs(path: Path, before: Columns, grid: Grid, stamp: Stamp | None = None, time_step_s: float = TIME_STEP_S) -> Columns:
    """Return tendencies (per second, from ``before``, the mli columns) and fluxes of one mlo file, differenced in float64."""
    columns: Columns = {}
    with _open(path, stamp) as dataset:
        for v in variable_set(OUTPUT_SET, grid.level_count).variables:
            source = state_name(v.name) if is_tendency(v.name) else v.name
            values = _read(dataset, path, source, v.is_profile, grid)
            columns[v.name] = (values - before[source]) / time_step_s if is_tendency(v.name) else values
    return columns


def read_pair(pair: Pair, grid: Grid, time_step_s: float = TIME_STEP_S) -> Columns:
    """Return the inputs, tendencies and fluxes of one pair by name, float64: profiles [column, level], scalars [column]."""
    inputs = read_inputs(pair.mli, grid, pair.stamp)
    return inputs | read_outputs(pair.mlo, inputs, grid, pair.stamp, time_step_s)


def stored_variables(level_count: int) -> tuple[Variable, ...]:
    """Return the variables of a pair, in catalogue order: host inputs, then host outputs."""
    return variable_set(INPUT_SET, level_count).variables + variable_set(OUTPUT_SET, level_count).variables


@contextmanager
def _open(path: Path, stamp: Stamp | None) -> Iterator[xr.Dataset]:
    """Open one mli or mlo file; where its stamp is known, the times inside must agree."""
    with open_netcdf(path) as dataset:
        if stamp is not None:
            _check_time(dataset, path, stamp)
        yield dataset


def _check_time(dataset: xr.Dataset, path: Path, stamp: Stamp) -> None:
    """Raise DataError unless the file's ymd and tod are those of its name."""
    for name, expected in (("ymd", stamp.ymd), ("tod", stamp.second)):
        if name not in dataset.variables:
            raise DataError(f"{path}: variable {name} is missing; expected the scalar {expected}")
        got = int(np.asarray(dataset[name].values).reshape(-1)[0])
        if got != expected:
            raise DataError(f"{path}: {name} is {got}, the file name says {expected}; the file is misnamed or not the one it claims to be")


def _read(dataset: xr.Dataset, path: Path, name: str, is_profile: bool, grid: Grid) -> NDArray[np.float64]:
    """Return one variable as finite float64 [column, level] or [column]."""
    if name not in dataset.variables:
        raise DataError(f"{path}: variable {name} is missing{near_names(name, map(str, dataset.variables))}")
    entry = dataset[name]
    expected = {"lev": grid.level_count, "ncol": grid.n_column} if is_profile else {"ncol": grid.n_column}
    if dict(entry.sizes) != expected or tuple(entry.dims) != tuple(expected):
        raise DataError(
            f"{path}: variable {name} has dimensions {_sizes(entry.sizes)}, expected {_sizes(expected)} as in the grid {grid.path}"
        )
    if entry.dtype != np.float64:
        raise DataError(f"{path}: variable {name} is {entry.dtype}, expected float64")
    try:
        values = np.asarray(entry.values)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: variable {name} cannot be read ({error}); fetch the file again") from error
    _check_finite(values, path, name)
    return np.ascontiguousarray(values.T)


def _check_finite(values: NDArray[np.float64], path: Path, name: str) -> None:
    """Raise DataError naming the first column (and level) that is not finite; values is [lev, column] or [column]."""
    if np.isfinite(values).all():
        return
    bad = np.argwhere(~np.isfinite(values).T)
    level = f", level {bad[0][1]}" if values.ndim == 2 else ""
    raise DataError(
        f"{path}: variable {name} has {len(bad)} value(s) that are not finite, "
        f"the first ({values.T[tuple(bad[0])]}) in column {bad[0][0]}{level}; fetch the file again or leave this stamp out"
    )


def _check_pressure(pmid: NDArray[np.float64], ps: NDArray[np.float64], grid: Grid, path: Path) -> None:
    """Raise DataError if the file's midpoint pressure is not that of the grid file's hybrid coefficients."""
    expected = grid.midpoint_pressure(ps)
    worst = float(np.max(np.abs(pmid - expected) / expected))
    if worst > _PRESSURE_TOLERANCE:
        raise DataError(
            f"{path}: {_PRESSURE} differs from hyam*P0 + hybm*ps of {grid.path} by {worst:.1e} (relative): the grid file is another grid's"
        )


def _sizes(sizes: Mapping[Hashable, int] | Mapping[str, int]) -> str:
    return "(" + ", ".join(f"{name}={size}" for name, size in sizes.items()) + ")"


def _listed(paths: Iterable[Path]) -> str:
    shown = [str(p) for p in paths]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
