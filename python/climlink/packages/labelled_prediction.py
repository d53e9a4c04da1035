"""Predictions as labelled datasets: every sample by itself and lazily, or rolled out along a
dimension of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.packages.labelled import RowPacker, Sources, checked_array, find_sources
from climlink.packages.prediction import PredictionError, Predictor
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.wrappers.contract import host_sets
from climlink.wrappers.layout import START

PIECE_VALUES = 2**21
"""Values of inputs and outputs packed at once: 8 MiB in float32, whatever the size of a chunk."""

STEP_TOLERANCE_S = 1e-3


def predict_dataset(predictor: Predictor, dataset: xr.Dataset) -> xr.Dataset:
    """Return all outputs for every sample of a dataset, lazily and chunk by chunk where it is lazy.

    PredictionError where the dataset does not fit the package (see ``find_sources``), for lazy
    values when they are computed.
    """
    manifest = predictor.package.manifest
    sources = find_sources(dataset, manifest)
    outputs = host_sets(manifest)[1]
    known = {d for v in sources.packer.variables for d in v.dims}
    results = xr.apply_ufunc(
        _Forward(predictor, sources.packer),
        *sources.arrays,
        input_core_dims=[list(v.dims) for v in sources.packer.variables],
        output_core_dims=[list(v.dims) for v in outputs.variables],
        dask="parallelized",
        output_dtypes=[np.float32] * len(outputs.variables),
        dask_gufunc_kwargs={
            "output_sizes": {d: n for d, n in manifest.dims.items() if d not in known}
        },
    )
    arrays = results if isinstance(results, tuple) else (results,)
    return _labelled(
        dict(zip(outputs.names, (a.variable for a in arrays), strict=True)),
        dataset,
        predictor.package,
    )


class _Forward:
    """From arrays of one chunk to arrays of its outputs."""

    def __init__(self, predictor: Predictor, packer: RowPacker) -> None:
        self._predictor = predictor
        self._packer = packer
        self._outputs = host_sets(predictor.package.manifest)[1]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self._predictor, self._packer.variables, self._packer.dims

    def __call__(self, *arrays: NDArray[Any]) -> tuple[FloatRows, ...] | FloatRows:
        columns, shape = self._packer.flat(arrays)
        total = int(np.prod(shape, dtype=np.int64))
        found = {
            v.name: np.empty((total, *self._outputs.shape_of(v)), dtype=np.float32)
            for v in self._outputs.variables
        }
        for part in _pieces(total, self._predictor):
            rows = self._predictor.rows(self._packer.rows(columns, shape, part))
            for v in self._outputs.variables:
                found[v.name][part] = rows[:, self._outputs.slice(v.name)].reshape(
                    -1, *self._outputs.shape_of(v)
                )
        results = tuple(a.reshape((*shape, *a.shape[1:])) for a in found.values())
        return results if len(results) > 1 else results[0]


def _pieces(total: int, predictor: Predictor) -> Iterator[slice]:
    manifest = predictor.package.manifest
    size = (
        max(1, PIECE_VALUES // (manifest.n_input + manifest.n_output) // predictor.batch_rows)
        * predictor.batch_rows
    )
    return (slice(first, min(first + size, total)) for first in range(0, total, size))


def roll_out_dataset(
    predictor: Predictor,
    dataset: xr.Dataset,
    dim: str,
    state: Mapping[str, Any] | xr.Dataset | None = None,
) -> xr.Dataset:
    """Return all outputs of the steps along ``dim``, each with the state that the step before left.

    The first step begins (``start`` is 1), or goes on from ``state``: the carried outputs of an
    earlier result at its last step. The data may hold ``start`` themselves. They are read some
    steps at a time; the result is in memory. PredictionError as in ``predict_dataset``, for a
    package that carries nothing, and for steps that are not as far apart as the package's.
    """
    manifest = predictor.package.manifest
    if predictor.carried is None:
        raise PredictionError(
            f"{manifest.name!r} carries no state from step to step: leave out dim={dim!r}, every "
            "sample stands for itself"
        )
    inputs, outputs = host_sets(manifest)
    lacks = (*inputs.of_role("carried").names, START)
    values = dataset.drop_vars(inputs.of_role("carried").names, errors="ignore")
    sources = find_sources(values, manifest, may_lack=lacks)
    if dim not in sources.dims:
        raise PredictionError(
            f"no input has the dimension {dim!r} to roll out along; samples have "
            f"({', '.join(sources.dims)})"
        )
    if START in sources.packer.absent:
        _check_steps(dataset, dim, manifest.time_step_s)
    n_step = sources.sizes[dim]
    sizes = {d: n for d, n in sources.sizes.items() if d != dim}
    total = int(np.prod(list(sizes.values()), dtype=np.int64))
    before = None if state is None else _state_rows(predictor, xr.Dataset(dict(state)), sizes)
    found = {
        v.name: np.empty((n_step, total, *outputs.shape_of(v)), dtype=np.float32)
        for v in outputs.variables
    }
    for part in _step_blocks(sources, dim, n_step, total, predictor):
        rows = _step_rows(sources, dim, sizes, part).reshape(-1, total, inputs.width)
        if START in sources.packer.absent and part.start == 0 and before is None:
            rows[0, :, predictor.carried.start] = 1.0
        answers = predictor.roll_out(rows, before)
        before = answers[-1]
        for v in outputs.variables:
            found[v.name][part] = answers[:, :, outputs.slice(v.name)].reshape(
                -1, total, *outputs.shape_of(v)
            )
    variables = {
        v.name: xr.Variable(
            (dim, *sizes, *v.dims),
            found[v.name].reshape(n_step, *sizes.values(), *outputs.shape_of(v)),
        )
        for v in outputs.variables
    }
    return _labelled(variables, dataset, predictor.package)


def _step_blocks(
    sources: Sources, dim: str, n_step: int, n_sample: int, predictor: Predictor
) -> Iterator[slice]:
    """Yield some steps at a time: the chunks of the data where they have any."""
    chunks = next((a.chunksizes[dim] for a in sources.arrays if dim in a.chunksizes), None)
    if chunks is None:
        manifest = predictor.package.manifest
        size = max(1, PIECE_VALUES // (max(1, n_sample) * (manifest.n_input + manifest.n_output)))
        chunks = tuple(min(size, n_step - first) for first in range(0, n_step, size))
    ends = np.cumsum(chunks)
    return (slice(int(end) - n, int(end)) for n, end in zip(chunks, ends, strict=True))


def _step_rows(sources: Sources, dim: str, sizes: Mapping[str, int], part: slice) -> FloatRows:
    """Return the input rows [step * sample, n_input] of some steps; start and state that are absent
    are zero."""
    chosen = [a.isel({dim: part}) if dim in a.dims else a for a in sources.arrays]
    loaded = dask.compute(*(a.variable for a in chosen))
    shape = {dim: part.stop - part.start, **sizes}
    arrays = []
    for v, a in zip(sources.packer.variables, loaded, strict=True):
        whole = a.set_dims(shape | {d: a.sizes[d] for d in v.dims}).transpose(*shape, *v.dims)
        arrays.append(np.asarray(whole.values))
    packer = replace(sources.packer, dims=tuple(shape))
    columns, full = packer.flat(arrays)
    return packer.rows(columns, full, slice(0, int(np.prod(full, dtype=np.int64))))


def _state_rows(predictor: Predictor, state: xr.Dataset, sizes: Mapping[str, int]) -> FloatRows:
    """Return output rows [sample, n_output] that hold a given state; PredictionError for what is
    missing or of another shape."""
    manifest = predictor.package.manifest
    outputs = host_sets(manifest)[1]
    rows = np.zeros(
        (int(np.prod(list(sizes.values()), dtype=np.int64)), outputs.width), dtype=np.float32
    )
    for v in outputs.of_role("carried").variables:
        if v.name not in state:
            raise PredictionError(
                f"state lacks {v.name}; give the carried outputs of an earlier step: "
                f"{', '.join(outputs.of_role('carried').names)}"
            )
        array = checked_array(state[v.name], v, manifest.dims)
        samples = {str(d): int(n) for d, n in array.sizes.items() if d not in v.dims}
        if samples != dict(sizes):
            raise PredictionError(
                f"state {v.name} has samples {samples}, the data have {dict(sizes)}; of a result "
                "take one step: .isel(time=-1)"
            )
        values = array.transpose(*sizes, *v.dims).values.reshape(len(rows), -1)
        if not np.isfinite(values).all():
            raise PredictionError(f"state {v.name} holds values that are not finite")
        rows[:, outputs.slice(v.name)] = values
    return rows


def _check_steps(dataset: xr.Dataset, dim: str, step_s: float | None) -> None:
    """Raise PredictionError where a coordinate of time says that steps are not as far apart as the
    package's."""
    if step_s is None or dim not in dataset.indexes:
        return
    apart = np.diff(dataset[dim].values)
    if apart.dtype.kind == "m":
        seconds = apart / np.timedelta64(1, "s")
    elif len(apart) and hasattr(apart[0], "total_seconds"):
        seconds = np.array([a.total_seconds() for a in apart])
    else:
        return
    wrong = np.abs(seconds - step_s) > STEP_TOLERANCE_S
    if wrong.any():
        k = int(np.argmax(wrong))
        raise PredictionError(
            f"steps {k} and {k + 1} of {dim} are {seconds[k]:g} s apart, the package steps by "
            f"{step_s:g} s: give consecutive steps, or a variable start that is 1 where a sample "
            "begins again"
        )


def _labelled(
    variables: Mapping[str, xr.Variable], dataset: xr.Dataset, package: EmulatorPackage
) -> xr.Dataset:
    """Return outputs with units, meanings, the coordinates of the data and the package's own."""
    manifest = package.manifest
    for v in manifest.outputs.variables:
        variables[v.name].attrs = {"units": v.units, "long_name": v.long_name}
    result = xr.Dataset(
        dict(variables), attrs={"package": manifest.name, "package_sha256": package.digest}
    )
    kept = {
        n: c
        for n, c in dataset.coords.items()
        if n not in variables and set(c.dims) <= set(result.dims)
    }
    own = {
        d: (d, c.values, {"units": c.units})
        for d, c in manifest.coordinates.items()
        if d in result.dims and d not in kept
    }
    return result.assign_coords({**own, **kept})
