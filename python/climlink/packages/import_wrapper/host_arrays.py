"""Numbers of a normalization that the host did outside of a graph, from an npz or netCDF file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.packages.import_wrapper.signature import PackedRows
from climlink.wrappers.errors import ContractError, near_names

Array = NDArray[np.float64]


def host_arrays(rows: PackedRows) -> dict[str, Tensor]:
    """Return {"subtract_0": [1, width], ...}, float32, by the numbers of arguments and results.

    An array has the axes of its tensor but the sample, or fewer that broadcast. ContractError for a
    file that cannot be read, a name it lacks, another shape, or values that are not finite.
    """
    signature = rows.signature
    if signature.arrays is None:
        return {}
    known = _read(signature.arrays)
    results, arguments = enumerate(signature.results), enumerate(signature.arguments)
    wanted = {f"scale_{i}": (r.scale, rows.given(r).shape) for i, r in results}
    for i, a in arguments:
        shape = rows.taken(a).shape
        wanted |= {f"subtract_{i}": (a.subtract, shape), f"gain_{i}": (a.gain, shape)}
    named = {key: (name, shape) for key, (name, shape) in wanted.items() if name}
    return {key: _fitted(signature.arrays, known, *of) for key, of in named.items()}


def _fitted(path: Path, known: dict[str, Array], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ContractError(f"{path}: no array {name!r}{near_names(name, known)}; it has {listed}")
    values = known[name]
    if not np.isfinite(values).all():
        raise ContractError(f"{path}: {name} holds values that are not finite")
    try:
        whole = np.broadcast_to(values, shape)
    except ValueError as error:
        expected = f"{list(shape)}, or what broadcasts to it"
        got = f"{path}: {name} is {list(values.shape)}"
        raise ContractError(f"{got}; expected {expected}") from error
    return torch.from_numpy(whole.astype(np.float32).reshape(1, -1))


def _read(path: Path) -> dict[str, Array]:
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as file:
                return {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            numbers = {n: v for n, v in file.variables.items() if v.dtype != str}
            return {n: np.asarray(v[...], dtype=np.float64) for n, v in numbers.items()}
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: expected arrays in an npz or netCDF file: {error}") from error
