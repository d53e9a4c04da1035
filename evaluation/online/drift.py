"""How fast two runs of one model part: errors of the state against a reference, weighted by mass of air, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.weights import mass_weights

Series = NDArray[np.float64]


def weighted_rmse(difference: Series, weights: Series) -> Series:
    """Return sqrt(sum(w d²)) over cells of differences [time, level, column]; weights [level, column] sum to 1."""
    return np.asarray(np.sqrt((weights * difference**2).sum(axis=(1, 2))))


@dataclass(frozen=True)
class Drift:
    """RMSE of one run against its reference by day: ``temperature_k`` and ``humidity_kg_kg``, each [day]; days since the first."""

    days: Series
    temperature_k: Series
    humidity_kg_kg: Series


def drift(run: Path, reference: Path) -> Drift:
    """Compare the daily history of two runs of the embedded model over the days that both have.

    EvaluationError if one has no daily history, or they share no day or not the grid.
    """
    ours, truth = read_daily(run), read_daily(reference)
    shared = np.intersect1d(ours["time"].values, truth["time"].values)
    if len(shared) == 0:
        raise EvaluationError(f"{run} and {reference} have no day in common")
    if ours.sizes["ncol"] != truth.sizes["ncol"] or ours.sizes["lev"] != truth.sizes["lev"]:
        raise EvaluationError(f"{run} and {reference} are not on one grid")
    ours, truth = ours.sel(time=shared), truth.sel(time=shared)
    weights = mass_weights(
        truth["area"].values.astype(np.float64),
        truth["hyai"].values.astype(np.float64),
        truth["hybi"].values.astype(np.float64),
        float(truth["P0"]),
        truth["PS"].mean("time").values.astype(np.float64),
    )
    errors = [weighted_rmse(ours[name].values.astype(np.float64) - truth[name].values.astype(np.float64), weights) for name in ("T", "Q")]
    return Drift(np.asarray(shared - shared[0] + 1.0, dtype=np.float64), errors[0], errors[1])


def read_daily(run: Path) -> xr.Dataset:
    """Open the daily history (h1) of a run folder, its files joined in time; EvaluationError if there is none."""
    files = sorted((run / "history").glob("*.eam.h1.*.nc"))
    if not files:
        raise EvaluationError(f"{run}/history holds no daily history (*.eam.h1.*.nc)")
    return xr.open_mfdataset(files, decode_times=False, data_vars="minimal", coords="minimal", compat="override", join="override")
