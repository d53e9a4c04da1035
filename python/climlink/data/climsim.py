"""ClimSim files: names, discovery of mli/mlo pairs, and one pair as named float64 columns.

``mli`` holds the state before the physics, ``mlo`` after it, at the same stamp; profiles are
``(lev, ncol)`` from the model top down, scalars ``(ncol)``, all float64 in file units. Which
variables are read is the business of the catalogue (host_v2_q and mmf368).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.grid import Grid
from climlink.data.netcdf import is_packed, open_netcdf, read_numbers
from climlink.data.stamp import Stamp
from climlink.wrappers.errors import near_names
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.statistics import FILL_THRESHOLD, FILLED_VARIABLES
from climlink.wrappers.units import same_units
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.variables import Variable, variable, variable_names

TIME_STEP_S = 1200.0
INPUT_SET = "host_v2_q"
OUTPUT_SET = "mmf368"
LAGGED_SET = "host_v4_q"
"""The set that has every input of earlier steps and of place."""

Columns = dict[str, NDArray[np.float64]]
"""Named columns: profiles [column, level], scalars [column]."""

PairKind = Literal["mli-mlo", "mlis-mlos", "mlisp-mlosp"]
"""Kinds of files before and after: of the column as it is coupled, and, in partially coupled runs,
of the host's own physics beside it.
"""

KINDS = ("mli", "mlo", "mlis", "mlos", "mlisp", "mlosp")
_PUBLISHED = "E3SM-MMF"
# As published, E3SM-MMF.mli.STAMP.nc, or as E3SM writes them: CASE.eam.mli.STAMP.nc, formerly
# CASE.cam.mli.STAMP.nc, of one member of an ensemble CASE.eam_0001.mli.STAMP.nc.
_FILE_NAME = re.compile(rf"(.+)\.({'|'.join(KINDS)})\.(\d[^.]*)\.nc")
_CALENDARS = ("noleap", "no_leap", "365_day")
_TENDENCY = "ptend_"
_STATE = "state_"
_FLUX = "cam_out_"
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
        raise DataError(
            f"{path}: not named as a ClimSim file: expected E3SM-MMF.mli.YYYY-MM-DD-SSSSS.nc or "
            "CASE.eam.mli.… (or mlo)"
        )
    return _stamp(match.group(3), path)


def _stamp(text: str, path: Path) -> Stamp:
    try:
        return Stamp.parse(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def kind_of(path: Path) -> str | None:
    """Return the kind that a file's name says, such as ``mli``; None for a name of another form."""
    match = _FILE_NAME.fullmatch(path.name)
    return match.group(2) if match else None


def _case_of(path: Path) -> str:
    match = _FILE_NAME.fullmatch(path.name)
    return match.group(1) if match else ""


def find_files(source: Path, kind: str) -> dict[Stamp, Path]:
    """Return all files of one kind, such as ``mli``, of one case at or below ``source`` (flat or in
    monthly folders), sorted by stamp.
    """
    return _find(source, [kind])[kind]


def _find(source: Path, kinds: Sequence[str]) -> dict[str, dict[Stamp, Path]]:
    """Return the files of some kinds, in one walk: a tree may have half a million."""
    if not source.is_dir():
        raise DataError(
            f"{source} is not a directory: expected a folder with "
            f"E3SM-MMF.{kinds[0]}.YYYY-MM-DD-SSSSS.nc files at or below it"
        )
    found: dict[str, dict[Stamp, Path]] = {kind: {} for kind in kinds}
    cases: dict[str, dict[str, Path]] = {kind: {} for kind in kinds}
    for top, folders, names in os.walk(source, followlinks=True):
        folders.sort()
        folder = Path(top)
        for name in sorted(names):
            match = _FILE_NAME.fullmatch(name)
            if match is None or match.group(2) not in found:
                continue
            case, kind, text = match.groups()
            path = folder / name
            cases[kind].setdefault(case, path)
            stamp, files = _stamp(text, path), found[kind]
            if stamp in files and len(cases[kind]) == 1:
                raise DataError(f"two {kind} files of {stamp}: {files[stamp]} and {path}; keep one")
            files[stamp] = path
    for kind in kinds:
        _require_one_case(source, kind, cases[kind])
    return {kind: _by_stamp(files) for kind, files in found.items()}


def _by_stamp(files: Mapping[Stamp, Path]) -> dict[Stamp, Path]:
    return dict(sorted(files.items(), key=lambda item: item[0].seconds))


def _require_one_case(source: Path, kind: str, cases: dict[str, Path]) -> None:
    """Raise DataError if files are of several cases, given by name with a file of each."""
    if len(cases) > 1:
        raise DataError(
            f"{source}: {kind} files of {len(cases)} cases: {_listed(cases.values())}; "
            "give the folder of one, such as a folder of links to its files"
        )


def find_pairs(source: str | Path, kind: PairKind = "mli-mlo") -> list[Pair]:
    """Return every pair of one kind at or below ``source`` in time order; DataError lists the files
    without their partner.
    """
    source = Path(source)
    before, after = kind.split("-")
    mli, mlo = _find(source, [before, after]).values()
    if not mli and not mlo:
        others = [k for k, files in _find(source, KINDS).items() if files]
        hint = (
            f"; there are files of {', '.join(others)}: choose them with --pairs" if others else ""
        )
        raise DataError(
            f"{source}: no file named E3SM-MMF.{before}.YYYY-MM-DD-SSSSS.nc or CASE.eam.{before}.… "
            f"at or below it{hint}"
        )
    problems = [
        f"{len(alone)} {one} file(s) without their {other} file: {_listed(alone)}"
        for one, other, alone in (
            (before, after, [path for stamp, path in mli.items() if stamp not in mlo]),
            (after, before, [path for stamp, path in mlo.items() if stamp not in mli]),
        )
        if alone
    ]
    if problems:
        raise DataError(
            f"{source}: {'; '.join(problems)}; fetch the missing files or move the lone ones away"
        )
    some = [next(iter(files.values())) for files in (mli, mlo)]
    _require_one_case(source, f"{before} and {after}", {_case_of(path): path for path in some})
    return [Pair(stamp, path, mlo[stamp]) for stamp, path in mli.items()]


def state_name(tendency: str) -> str:
    """Return the state variable whose change a ``ptend_`` variable is: ``state_q0001`` for
    ``ptend_q0001``.
    """
    return _STATE + tendency.removeprefix(_TENDENCY)


def is_tendency(name: str) -> bool:
    """Say whether a name is that of a tendency, differenced from the two files."""
    return name.startswith(_TENDENCY)


def is_output(name: str) -> bool:
    """Say whether a variable is something that the physics gives."""
    return is_tendency(name) or name.startswith(_FLUX)


def read_inputs(
    path: Path,
    grid: Grid,
    stamp: Stamp | None = None,
    allowed: Collection[str] = (),
) -> Columns:
    """Return every host input of one mli file; DataError names file and variable that do not fit.

    Values outside the catalogue's plausible range are refused but for the ``allowed`` variables.
    """
    variables = variable_set(INPUT_SET, grid.level_count).variables
    with _open(path, stamp) as dataset:
        columns = {v.name: _read(dataset, path, v, grid, allowed) for v in variables}
        if _PRESSURE in dataset.variables:
            pressure = _read(dataset, path, variable(_PRESSURE), grid, allowed)
            _check_pressure(pressure, columns["state_ps"], grid, path)
    return columns


def read_variables(
    path: Path,
    variables: Sequence[Variable],
    grid: Grid,
    stamp: Stamp | None = None,
    allowed: Collection[str] = (),
    dims: Mapping[str, int] | None = None,
) -> Columns:
    """Return some variables [column, dims...] of one file; ``dims`` has the sizes of those that are
    not levels. Refusals as in read_inputs.
    """
    with _open(path, stamp) as dataset:
        return {v.name: _read(dataset, path, v, grid, allowed, dims) for v in variables}


def read_after(
    path: Path,
    grid: Grid,
    stamp: Stamp | None = None,
    allowed: Collection[str] = (),
) -> Columns:
    """Return the states after the physics and the fluxes of one mlo file, by the file's names.

    Refusals as in read_inputs.
    """
    with _open(path, stamp) as dataset:
        return {
            source: _read(dataset, path, variable(source), grid, allowed)
            for v in variable_set(OUTPUT_SET, grid.level_count).variables
            for source in [state_name(v.name) if is_tendency(v.name) else v.name]
        }


def outputs_of(
    before: Columns, after: Columns, level_count: int, time_step_s: float = TIME_STEP_S
) -> Columns:
    """Return tendencies (per second, differenced in float64) and fluxes of the columns before and
    after the physics.
    """
    columns: Columns = {}
    for v in variable_set(OUTPUT_SET, level_count).variables:
        state = state_name(v.name)
        columns[v.name] = (
            (after[state] - before[state]) / time_step_s if is_tendency(v.name) else after[v.name]
        )
    return columns


def read_pair(
    pair: Pair,
    grid: Grid,
    time_step_s: float = TIME_STEP_S,
    allowed: Collection[str] = (),
) -> Columns:
    """Return the inputs, tendencies and fluxes of one pair by name, float64.

    Profiles [column, level], scalars [column]; refusals as in read_inputs.
    """
    before = read_inputs(pair.mli, grid, pair.stamp, allowed)
    after = read_after(pair.mlo, grid, pair.stamp, allowed)
    return before | outputs_of(before, after, grid.level_count, time_step_s)


def read_outputs(
    path: Path,
    before: Columns,
    grid: Grid,
    stamp: Stamp | None = None,
    time_step_s: float = TIME_STEP_S,
) -> Columns:
    """Return tendencies (per second, from the mli columns ``before``) and fluxes an emulator wrote.

    No value is refused as implausible: what an emulator predicts is to be scored as it is.
    """
    after = read_after(path, grid, stamp, variable_names())
    return outputs_of(before, after, grid.level_count, time_step_s)


def count_implausible(
    columns: Columns,
    variables: Iterable[Variable],
    time_step_s: float,
) -> dict[str, int]:
    """Return by name how many values of a pair, before and after physics, are outside the range."""
    counts = {}
    for v in variables:
        name = v.name
        found, tendency = columns[name], name.replace(_STATE, _TENDENCY, 1)
        if tendency in columns and tendency != name:
            found = np.stack([found, found + time_step_s * columns[tendency]])
        low, high = v.plausible or (-np.inf, np.inf)
        flagged = found >= FILL_THRESHOLD if name in FILLED_VARIABLES else np.False_
        counts[name] = int((((found < low) | (found > high)) & ~flagged).sum())
    return counts


def stored_variables(level_count: int, lags: bool = False) -> tuple[Variable, ...]:
    """Return the variables of a pair, in catalogue order: host inputs, with ``lags`` those of
    earlier steps and of place, host outputs.
    """
    inputs = variable_set(INPUT_SET, level_count).variables
    if lags:
        inputs += tuple(
            v for v in variable_set(LAGGED_SET, level_count).variables if v not in inputs
        )
    return inputs + variable_set(OUTPUT_SET, level_count).variables


@contextmanager
def _open(path: Path, stamp: Stamp | None) -> Iterator[netCDF4.Dataset]:
    """Open one mli or mlo file; where its stamp is known, the times inside must agree."""
    with open_netcdf(path) as dataset:
        if stamp is not None:
            _check_time(dataset, path, stamp)
        yield dataset


def _check_time(dataset: netCDF4.Dataset, path: Path, stamp: Stamp) -> None:
    """Raise DataError unless calendar, ymd and tod are those of the name.

    E3SM's own files may be without ymd and tod, their name is their clock.
    """
    for holder in (dataset, dataset.variables.get("time")):
        calendar = str(getattr(holder, "calendar", _CALENDARS[0]))
        if calendar.lower() not in _CALENDARS:
            raise DataError(
                f"{path}: the calendar is {calendar}; expected noleap, in which E3SM-MMF runs and "
                "stamps are counted here: with a 29 February, steps before and splits would be "
                "others"
            )
    for name, expected in (("ymd", stamp.ymd), ("tod", stamp.second)):
        if name not in dataset.variables:
            if not path.name.startswith(f"{_PUBLISHED}."):
                continue
            raise DataError(f"{path}: variable {name} is missing; expected the scalar {expected}")
        found = read_numbers(path, dataset[name])
        if found.size != 1:
            raise DataError(f"{path}: {name} has {found.size} values; expected one time per file")
        if found.item() != expected:
            wrong = f"{path}: {name} is {found.item():.0f}, the file name says {expected}"
            raise DataError(f"{wrong}; the file is misnamed or not the one it claims to be")


def _read(
    dataset: netCDF4.Dataset,
    path: Path,
    wanted: Variable,
    grid: Grid,
    allowed: Collection[str],
    dims: Mapping[str, int] | None = None,
) -> NDArray[np.float64]:
    """Return one variable as finite, plausible float64 [column, dims...]."""
    name = wanted.name
    sizes = {LEVEL: grid.level_count, **(dims or {})}
    shape = [sizes[d] for d in wanted.dims]
    if name not in dataset.variables:
        raise DataError(f"{path}: variable {name} is missing{near_names(name, dataset.variables)}")
    entry = dataset[name]
    _check_declaration(entry, path, wanted, grid, shape)
    values = read_numbers(
        path,
        entry,
        None if name in allowed else wanted.plausible,
        FILL_THRESHOLD if name in FILLED_VARIABLES else None,
        remedy="fetch the file again or leave this stamp out",
        remedy_of_range=f"check its units, or keep and count them with --allow-implausible {name}",
    )
    return np.ascontiguousarray(np.moveaxis(values.reshape(*shape, grid.n_column), -1, 0))


def _check_declaration(
    entry: netCDF4.Variable,
    path: Path,
    wanted: Variable,
    grid: Grid,
    shape: Sequence[int],
) -> None:
    """Raise DataError unless dimensions, type and, where given, units are as expected."""
    where = f"{path}: variable {wanted.name}"
    sizes = list(zip(entry.dimensions, entry.shape, strict=True))
    names = ["lev" if d == LEVEL else d for d in wanted.dims]
    expected = [*zip(names, shape, strict=True), ("ncol", grid.n_column)]
    n_time = next((size for name, size in sizes[:1] if name == "time"), 1)
    if n_time > 1:
        one = "expected one time per file, named by its stamp"
        raise DataError(f"{where} holds {n_time} times; {one}: split the file by time")
    if sizes not in (expected, [("time", 1), *expected]):
        wanted_sizes = f"{_sizes(expected)} as in the grid {grid.path}"
        raise DataError(f"{where} has dimensions {_sizes(sizes)}, expected {wanted_sizes}")
    if np.dtype(entry.dtype).newbyteorder("=") != np.float64 and not is_packed(entry):
        raise DataError(
            f"{where} is {entry.dtype}, expected float64, or integers with scale_factor and "
            "add_offset: a tendency is the small difference of two states, and nothing says what "
            "was rounded away; take the files as the model wrote them"
        )
    units = str(getattr(entry, "units", wanted.units))
    if not same_units(units, wanted.units):
        remedy = "convert it, or correct the attribute units if it is wrong"
        raise DataError(f"{where} is in {units!r}, expected {wanted.units!r}; {remedy}")


def _check_pressure(
    pmid: NDArray[np.float64], ps: NDArray[np.float64], grid: Grid, path: Path
) -> None:
    """Raise DataError if the file's midpoint pressure is not that of the grid file's hybrid
    coefficients.
    """
    expected = grid.midpoint_pressure(ps)
    worst = float(np.max(np.abs(pmid - expected) / expected))
    if worst > _PRESSURE_TOLERANCE:
        raise DataError(
            f"{path}: {_PRESSURE} differs from hyam*P0 + hybm*ps of {grid.path} by {worst:.1e} "
            "(relative): the grid file is another grid's"
        )


def _sizes(sizes: Sequence[tuple[str, int]]) -> str:
    return "(" + ", ".join(f"{name}={size}" for name, size in sizes) + ")"


def _listed(paths: Iterable[Path]) -> str:
    shown = [str(p) for p in paths]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
