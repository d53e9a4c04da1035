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
from typing import Literal

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
LAGGED_SET = "host_v4_q"
"""The set that has every input of earlier steps and of place."""

Columns = dict[str, NDArray[np.float64]]
"""Named columns: profiles [column, level], scalars [column]."""

PairKind = Literal["mli-mlo", "mlis-mlos", "mlisp-mlosp"]
"""Kinds of files before and after: of the column as it is coupled, and, in partially coupled runs, of the host's own physics beside it."""

KINDS = ("mli", "mlo", "mlis", "mlos", "mlisp", "mlosp")
_PUBLISHED = "E3SM-MMF"
# As published, E3SM-MMF.mli.STAMP.nc, or as E3SM writes them, CASE.eam.mli.STAMP.nc.
_FILE_NAME = re.compile(rf"({_PUBLISHED}|.+\.eam)\.({'|'.join(KINDS)})\.([^.]+)\.nc")
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


def file_name(kind: str, stamp: Stamp, case: str | None = None) -> str:
    """Return the name of a file of a stamp: ClimSim's, or E3SM's own for a case."""
    return f"{_PUBLISHED if case is None else f'{case}.eam'}.{kind}.{stamp}.nc"


def stamp_of(path: Path) -> Stamp:
    """Return the stamp in the name of an ``mli`` or ``mlo`` file."""
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: not named as a ClimSim file: expected E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc or CASE.eam.mli.… (or mlo)")
    try:
        return Stamp.parse(match.group(3))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def find_files(source: Path, kind: str) -> dict[Stamp, Path]:
    """Return all files of one kind, such as ``mli``, of one case at or below ``source`` (flat or in monthly folders), sorted by stamp."""
    if not source.is_dir():
        raise DataError(f"{source} is not a directory: expected a folder with E3SM-MMF.{kind}.YYYY-MM-DD-SSSSS.nc files at or below it")
    found: dict[Stamp, Path] = {}
    cases: dict[str, Path] = {}
    for folder, folders, names in os.walk(source, followlinks=True):
        folders.sort()
        for name in sorted(names):
            match = _FILE_NAME.fullmatch(name)
            if match is None or match.group(2) != kind:
                continue
            path = Path(folder) / name
            cases.setdefault(match.group(1), path)
            stamp = stamp_of(path)
            if stamp in found:
                raise DataError(f"two {kind} files of {stamp}: {found[stamp]} and {path}; keep one")
            found[stamp] = path
    if len(cases) > 1:
        raise DataError(f"{source}: {kind} files of {len(cases)} cases: {_listed(cases.values())}; give the folder of one")
    return dict(sorted(found.items()))


def find_pairs(source: str | Path, kind: PairKind = "mli-mlo") -> list[Pair]:
    """Return every pair of one kind at or below ``source`` in time order; DataError lists the files without their partner."""
    source = Path(source)
    before, after = kind.split("-")
    mli, mlo = find_files(source, before), find_files(source, after)
    if not mli and not mlo:
        others = [k for k in KINDS if find_files(source, k)]
        hint = f"; there are files of {', '.join(others)}: choose them with --pairs" if others else ""
        raise DataError(f"{source}: no file named E3SM-MMF.{before}.YYYY-MM-DD-SSSSS.nc or CASE.eam.{before}.… at or below it{hint}")
    problems = [
        f"{len(alone)} {one} file(s) without their {other} file: {_listed(alone)}"
        for one, other, alone in (
            (before, after, [path for stamp, path in mli.items() if stamp not in mlo]),
            (after, before, [path for stamp, path in mlo.items() if stamp not in mli]),
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


def read_after(path: Path, grid: Grid, stamp: Stamp | None = None) -> Columns:
    """Return the states after the physics and the fluxes of one mlo file under the file's own names."""
    with _open(path, stamp) as dataset:
        return {
            source: _read(dataset, path, source, v.is_profile, grid)
            for v in variable_set(OUTPUT_SET, grid.level_count).variables
            for source in [state_name(v.name) if is_tendency(v.name) else v.name]
        }


def outputs_of(before: Columns, after: Columns, level_count: int, time_step_s: float = TIME_STEP_S) -> Columns:
    """Return tendencies (per second, differenced in float64) and fluxes of the columns before and after the physics."""
    columns: Columns = {}
    for v in variable_set(OUTPUT_SET, level_count).variables:
        state = state_name(v.name)
        columns[v.name] = (after[state] - before[state]) / time_step_s if is_tendency(v.name) else after[v.name]
    return columns


def read_outputs(path: Path, before: Columns, grid: Grid, stamp: Stamp | None = None, time_step_s: float = TIME_STEP_S) -> Columns:
    """Return tendencies (per second, from ``before``, the mli columns) and fluxes of one mlo file, differenced in float64."""
    return outputs_of(before, read_after(path, grid, stamp), grid.level_count, time_step_s)


def read_pair(pair: Pair, grid: Grid, time_step_s: float = TIME_STEP_S) -> Columns:
    """Return the inputs, tendencies and fluxes of one pair by name, float64: profiles [column, level], scalars [column]."""
    inputs = read_inputs(pair.mli, grid, pair.stamp)
    return inputs | read_outputs(pair.mlo, inputs, grid, pair.stamp, time_step_s)


def stored_variables(level_count: int, lags: bool = False) -> tuple[Variable, ...]:
    """Return the variables of a pair, in catalogue order: host inputs, with ``lags`` those of earlier steps and of place, host outputs."""
    inputs = variable_set(INPUT_SET, level_count).variables
    if lags:
        inputs += tuple(v for v in variable_set(LAGGED_SET, level_count).variables if v not in inputs)
    return inputs + variable_set(OUTPUT_SET, level_count).variables


@contextmanager
def _open(path: Path, stamp: Stamp | None) -> Iterator[xr.Dataset]:
    """Open one mli or mlo file; where its stamp is known, the times inside must agree."""
    with open_netcdf(path) as dataset:
        if stamp is not None:
            _check_time(dataset, path, stamp)
        yield dataset


def _check_time(dataset: xr.Dataset, path: Path, stamp: Stamp) -> None:
    """Raise DataError unless the file's ymd and tod are those of its name; E3SM's own files may be without, their name is its clock."""
    for name, expected in (("ymd", stamp.ymd), ("tod", stamp.second)):
        if name not in dataset.variables:
            if not path.name.startswith(f"{_PUBLISHED}."):
                continue
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
