"""The published ClimSim normalization files, read into the same Statistics as our own.

The mean, minimum and maximum files are themselves edited: where the published networks do not
centre or scale a variable, they hold mean 0, minimum 0 and maximum 1 (or a standard deviation as
maximum). So subtract = mean and divide by maximum - minimum holds for every variable. What a file
does not give is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.netcdf import open_netcdf, read_numbers
from climlink.wrappers.errors import near_names
from climlink.wrappers.statistics import MOMENTS, Statistics, VariableStatistics
from climlink.wrappers.variables import variable_names

_Arrays = dict[str, NDArray[np.float64]]
_LAMBDA_FILES = {"state_qn": "qn", "state_q0002": "qc", "state_q0003": "qi"}
_DIVIDED_BY_STD = "_prvphy"
"""Tendencies of earlier steps: the edited files hold their standard deviation as maximum."""
_NAN = float("nan")


@dataclass(frozen=True)
class _Files:
    """File names of one published normalization, by moment, below inputs/ and outputs/."""

    mean: str
    maximum: str
    minimum: str
    std: str | None
    output_scale: str | None


def _pervar(version: str, maximum: str | None = None) -> _Files:
    return _Files(
        mean=f"input_mean_{version}_pervar.nc",
        maximum=maximum or f"input_max_{version}_pervar.nc",
        minimum=f"input_min_{version}_pervar.nc",
        std=None,
        output_scale=f"output_scale_std_lowerthred_{version}.nc",
    )


_PUBLISHED = {
    "v2_rh_mc": _pervar("v2_rh_mc"),
    "v5": _pervar("v5"),
    "v6": _pervar("v6"),
    "v7": _pervar(
        "v7", maximum="input_max_v7.pervar.nc"
    ),  # a dot where the others have an underscore
    "original": _Files("input_mean.nc", "input_max.nc", "input_min.nc", "input_std.nc", None),
}
PUBLISHED_NAMES = (*_PUBLISHED, "multirep")


def read_published(directory: str | Path, which: str = "v2_rh_mc") -> Statistics:
    """Return published statistics from the folder that holds ``inputs/`` and ``outputs/``.

    ``which`` is v2_rh_mc, v5, v6, v7, original (the first ClimSim files, with std) or multirep.
    Outputs have std = 1 / scale and nothing else. multirep holds mean and std per level,
    ``name@variable`` (one mean and std per variable) and ``name@log`` (minimum: the offset of the
    logarithm, in units of the per-level normalization).
    """
    directory = Path(directory)
    if which not in PUBLISHED_NAMES:
        raise DataError(
            f"unknown published normalization {which!r}{near_names(which, PUBLISHED_NAMES)}; "
            f"known: {', '.join(PUBLISHED_NAMES)}"
        )
    files = _PUBLISHED["v2_rh_mc" if which == "multirep" else which]
    variables = _inputs(directory / "inputs", files)
    if which == "multirep":
        variables = variables | _multirepresentation(directory / "inputs" / "multirepresentation")
    if files.output_scale is not None:
        variables |= _outputs(directory / "outputs" / files.output_scale)
    lambdas = {
        name: _read_lambda(directory / "inputs" / f"{short}_exp_lambda_large.txt")
        for name, short in _LAMBDA_FILES.items()
    }
    return Statistics(variables, lambdas, source=f"the published ClimSim normalization {which}")


def read_arrays(path: Path) -> _Arrays:
    """Return the catalogue's variables of one published file, float64 [width] each; the files hold
    others that climlink does not use.
    """
    known = set(variable_names())
    with open_netcdf(path) as dataset:
        found = {n: v for n, v in dataset.variables.items() if n in known}
        return {name: np.atleast_1d(read_numbers(path, v)) for name, v in found.items()}


def _entry(**moments: NDArray[np.float64] | None) -> VariableStatistics:
    """Return statistics from the moments that are given; the others are NaN."""
    width = next(len(m) for m in moments.values() if m is not None)
    absent = np.full(width, _NAN)
    given = {name: values for name, values in moments.items() if values is not None}
    mean, std, minimum, maximum = (torch.tensor(given.get(name, absent)) for name in MOMENTS)
    return VariableStatistics(mean, std, minimum, maximum)


def _inputs(folder: Path, files: _Files) -> dict[str, VariableStatistics]:
    mean, maximum, minimum = (
        read_arrays(folder / name) for name in (files.mean, files.maximum, files.minimum)
    )
    std = {} if files.std is None else read_arrays(folder / files.std)
    std |= {n: maximum[n] - minimum[n] for n in mean if n.endswith(_DIVIDED_BY_STD)}
    return {
        n: _entry(mean=mean[n], std=std.get(n), minimum=minimum.get(n), maximum=maximum.get(n))
        for n in mean
    }


def _outputs(path: Path) -> dict[str, VariableStatistics]:
    """Return std = 1 / scale of every output."""
    scales = read_arrays(path)
    for name, scale in scales.items():
        if not (scale > 0.0).all():
            wanted = "expected one over a standard deviation"
            raise DataError(f"{path}: the scale of {name} is {scale.min():g} somewhere, {wanted}")
    return {name: _entry(std=1.0 / scale) for name, scale in scales.items()}


def _multirepresentation(folder: Path) -> dict[str, VariableStatistics]:
    subtract, divide = (
        read_arrays(folder / "per_lev_sub.nc"),
        read_arrays(folder / "per_lev_div.nc"),
    )
    whole_mean, whole_std = (
        read_arrays(folder / "per_col_sub.nc"),
        read_arrays(folder / "per_col_div.nc"),
    )
    offset = read_arrays(folder / "per_lev_min_norm.nc")
    entries = {n: _entry(mean=subtract[n], std=divide[n]) for n in subtract}
    entries |= {f"{n}@variable": _entry(mean=whole_mean[n], std=whole_std[n]) for n in whole_mean}
    return entries | {f"{n}@log": _entry(minimum=offset[n]) for n in offset}


def _read_lambda(path: Path) -> torch.Tensor:
    """Return the one comma-separated row of a lambda file, float64 [level], in (kg/kg) to the minus
    one.
    """
    try:
        values = [
            float(word)
            for word in path.read_text(encoding="utf-8").replace("\n", ",").split(",")
            if word.strip()
        ]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected one row of comma-separated numbers ({error})") from error
    wrong = [value for value in values if not 0.0 < value < np.inf]
    if wrong:
        raise DataError(f"{path}: expected positive, finite numbers, found {wrong[0]}")
    return torch.tensor(values, dtype=torch.float64)
