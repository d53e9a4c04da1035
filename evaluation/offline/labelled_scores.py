"""R², RMSE and bias of every output as labelled arrays: of a store's evaluation, or of any two
datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.result import OfflineResult
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

BLOCK_ROWS = 8192


def result_scores(result: OfflineResult) -> xr.Dataset:
    """Return r2_X, rmse_X and bias_X of every output X of an evaluation on a store, as its
    numbers.nc has them."""
    attributes = {
        "rows": result.rows,
        "nonfinite_rows": result.misses.rows,
        "weights": "R²: every column and time alike; RMSE and bias: mass (dp times area), a scalar "
        "by area",
    }
    scores = _labelled_scores(result.outputs, result.pooled, result.mass, attributes)
    return scores.assign_coords(pressure=("level", result.place.pressure_hpa, {"units": "hPa"}))


def dataset_scores(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    outputs: VariableSet,
    weights: xr.DataArray | None = None,
) -> xr.Dataset:
    """Return r2_X, rmse_X and bias_X of every output X, [dims of X], over all samples of two
    datasets.

    R² counts every sample alike, RMSE and bias by ``weights`` [sample dims], alike without. Samples
    with a prediction that is not finite are left out and counted. EvaluationError where dims or
    coordinates of the two differ, for weights that are negative, and where no sample is left.
    """
    pooled, weighted = PairMoments.empty(1, outputs.width), PairMoments.empty(1, outputs.width)
    missed = 0
    for predicted, true, weight in _blocks(prediction, truth, outputs, weights):
        finite = np.isfinite(predicted).all(axis=1)
        missed += int((~finite).sum())
        y, p = true[finite, None], predicted[finite, None]
        if len(y):
            pooled.add(y, p)
            weighted.add(y, p, None if weight is None else weight[finite, None, None])
    rows = int(pooled.weight[0, 0])
    if rows == 0:
        raise EvaluationError(
            f"there is nothing to score: none of {missed} samples has a finite prediction"
        )
    told = (
        "every sample alike"
        if weights is None
        else "R²: every sample alike; RMSE and bias: as given"
    )
    return _labelled_scores(
        outputs, pooled, weighted, {"rows": rows, "nonfinite_rows": missed, "weights": told}
    )


def _blocks(
    prediction: xr.Dataset, truth: xr.Dataset, outputs: VariableSet, weights: xr.DataArray | None
) -> Iterator[tuple[Array, Array, Array | None]]:
    """Yield prediction and truth [row, width] and weights [row], chunk by chunk along the first
    dimension that has chunks."""
    first = outputs.variables[0]
    dims = [str(d) for d in prediction[first.name].dims if d not in first.dims]
    pairs = [
        prediction[list(outputs.names)].reset_coords(drop=True),
        truth[list(outputs.names)].reset_coords(drop=True),
    ]
    for name in outputs.names:
        if set(pairs[0][name].dims) != set(pairs[1][name].dims):
            raise EvaluationError(
                f"truth of {name} has the dimensions {pairs[1][name].dims}, the prediction "
                f"{pairs[0][name].dims}"
            )
    try:
        aligned: tuple[Any, ...] = xr.align(
            *pairs, *([] if weights is None else [weights]), join="exact"
        )
    except ValueError as error:
        raise EvaluationError(
            f"prediction, truth and weights must have the same coordinates: {error}"
        ) from error
    along, ends = _cuts(aligned[0], dims)
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        part = (
            [a.isel({along: slice(start, stop)}, missing_dims="ignore") for a in aligned]
            if along
            else list(aligned)
        )
        loaded = dask.compute(*part)
        sizes = {d: loaded[0].sizes[d] for d in dims}
        predicted, true = (_rows(one, outputs, dims) for one in loaded[:2])
        _require_finite(true, outputs)
        yield predicted, true, None if weights is None else _weight_rows(loaded[2], sizes)


def _cuts(dataset: xr.Dataset, dims: list[str]) -> tuple[str | None, list[int]]:
    """Return the dimension to cut along and the ends of the pieces."""
    chunked = [d for d in dims if len(dataset.chunksizes.get(d, ())) > 1]
    if chunked:
        return chunked[0], np.cumsum(dataset.chunksizes[chunked[0]]).tolist()
    if not dims:
        return None, [1]
    others = int(np.prod([dataset.sizes[d] for d in dims[1:]], dtype=np.int64))
    step, size = max(1, BLOCK_ROWS // max(1, others)), dataset.sizes[dims[0]]
    return dims[0], [*range(step, size, step), size]


def _rows(dataset: xr.Dataset, outputs: VariableSet, dims: list[str]) -> Array:
    """Return the outputs of a piece as rows [row, width]."""
    arrays = [dataset[v.name].transpose(*dims, *v.dims).values for v in outputs.variables]
    count = int(np.prod([dataset.sizes[d] for d in dims], dtype=np.int64))
    return np.concatenate([a.reshape(count, -1).astype(np.float64) for a in arrays], axis=1)


def _require_finite(truth: Array, outputs: VariableSet) -> None:
    bad = ~np.isfinite(truth)
    if bad.any():
        feature = int(np.argwhere(bad)[0][1])
        name = next(
            n for n in outputs.names if outputs.slice(n).start <= feature < outputs.slice(n).stop
        )
        raise EvaluationError(
            f"truth of {name} holds values that are not finite: leave out such samples"
        )


def _weight_rows(weights: xr.DataArray, sizes: Mapping[str, int]) -> Array:
    foreign = [d for d in weights.dims if d not in sizes]
    if foreign:
        raise EvaluationError(
            f"weights have the dimension {foreign[0]!r}, samples have {list(sizes)}"
        )
    rows = (
        weights.variable.set_dims(dict(sizes))
        .transpose(*sizes)
        .values.reshape(-1)
        .astype(np.float64)
    )
    if not (np.isfinite(rows).all() and (rows >= 0.0).all()):
        raise EvaluationError("weights must be finite and not negative")
    return rows


def _labelled_scores(
    outputs: VariableSet, pooled: PairMoments, weighted: PairMoments, attributes: dict[str, object]
) -> xr.Dataset:
    scores = {"r2": pooled.r2()[0], "rmse": weighted.rmse()[0], "bias": weighted.bias()[0]}
    found = {}
    for v in outputs.variables:
        for name, values in scores.items():
            told = {
                "units": "1" if name == "r2" else v.units,
                "long_name": f"{name} of {v.long_name}",
            }
            found[f"{name}_{v.name}"] = xr.Variable(
                v.dims, values[outputs.slice(v.name)].reshape(outputs.shape_of(v)), told
            )
    return xr.Dataset(found, attrs=attributes)
