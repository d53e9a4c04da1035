"""Every number of a result as labelled arrays: numbers.nc."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from climlink.evaluation.offline.conservation import BUDGETS, UNITS
from climlink.evaluation.offline.deciles import LABELS
from climlink.evaluation.offline.metrics import climsim_scores, mean_column_r2, median_column_r2
from climlink.evaluation.offline.result import Array, OfflineResult

_CLIMSIM_UNITS = {"mae": "W/m2", "rmse": "W/m2", "bias": "W/m2", "r2": "1"}


def numbers(result: OfflineResult) -> xr.Dataset:
    """Return scores by level, by column and by latitude, groups of precipitation, and budgets, with
    units.
    """
    dataset = _by_level(result) | _deciles(result) | _confidence(result)
    grid: dict[str, Any] = {
        "level": (
            "level",
            np.arange(result.outputs.level_count),
            {"long_name": "level from the model top"},
        ),
        "pressure": (
            "level",
            result.place.pressure_hpa,
            {"units": "hPa", "long_name": "midpoint pressure where ps is P0"},
        ),
    }
    if not result.place.of_table:
        dataset |= _by_column(result) | _zonal(result)
        grid["latitude"] = ("column", result.place.latitude, {"units": "degrees_north"})
        grid["area"] = ("column", result.place.area)
    attributes = {
        "package": result.package.name,
        "package_sha256": result.package.sha256,
        "store": result.place.store,
        "split": result.place.split,
        "rows": result.rows,
        "first_level": result.first_level,
    }
    return xr.Dataset(dataset, coords=grid, attrs=attributes)


Variables = dict[str, xr.Variable]


def _split(
    result: OfflineResult,
    prefix: str,
    values: Array,
    leading: tuple[str, ...],
    units: str | None,
    text: str,
) -> Variables:
    """Return [..., width] as one variable per output; ``units`` None takes the output's own."""
    found = {}
    for v in result.outputs.variables:
        part = values[..., result.outputs.slice(v.name)]
        shaped = part.reshape((*part.shape[:-1], *result.outputs.shape_of(v)))
        attributes = {"units": units or v.units, "long_name": f"{text} of {v.long_name}"}
        found[f"{prefix}_{v.name}"] = xr.Variable((*leading, *v.dims), shaped, attributes)
    return found


def _by_level(result: OfflineResult) -> Variables:
    pooled, mass = result.pooled, result.mass
    found = _split(result, "r2", pooled.r2()[0], (), "1", "R² over columns and times")
    if not result.place.of_table:
        found |= _split(
            result,
            "r2_column",
            mean_column_r2(result),
            (),
            "1",
            "mean over columns of R² over time",
        )
        found |= _split(
            result,
            "r2_column_median",
            median_column_r2(result),
            (),
            "1",
            "median over columns of R² over time",
        )
    found |= _split(
        result,
        "constant",
        result.constant[0].astype(np.int8),
        (),
        "1",
        "1 where the truth is without variance",
    )
    for name, values in (("rmse", mass.rmse()), ("mae", mass.mae()), ("bias", mass.bias())):
        found |= _split(result, name, values[0], (), None, f"{name} over mass or area")
    for name, scores in climsim_scores(result).items():
        found |= _split(
            result, f"climsim_{name}", scores, (), _CLIMSIM_UNITS[name], f"ClimSim's {name}"
        )
    return found


def _by_column(result: OfflineResult) -> Variables:
    found = _split(result, "column_r2", result.column_r2(), ("column",), "1", "R² over time")
    if result.budgets is not None:
        for k, name in enumerate(BUDGETS):
            for which, values in (
                ("truth", result.budgets.truth_mean()),
                ("prediction", result.budgets.prediction_mean()),
            ):
                found[f"{name}_{which}"] = xr.Variable(
                    "column", values[:, k], {"units": UNITS[name]}
                )
    return found


def _zonal(result: OfflineResult) -> Variables:
    centres, truth = result.place.zonal_mean(result.plain.truth_mean())
    found = {"latitude_bin": xr.Variable("latitude_bin", centres, {"units": "degrees_north"})}
    for which, values in (
        ("truth", truth),
        ("bias", result.place.zonal_mean(result.plain.bias())[1]),
    ):
        found |= _split(
            result, f"zonal_{which}", values, ("latitude_bin",), None, f"zonal mean {which}"
        )
    floored = np.maximum(result.column_r2(), 0.0)
    return found | _split(
        result,
        "zonal_r2",
        result.place.zonal_mean(floored)[1],
        ("latitude_bin",),
        "1",
        "zonal mean of max(R², 0)",
    )


def _deciles(result: OfflineResult) -> Variables:
    if result.deciles is None:
        return {}
    d = result.deciles
    found = {
        "precipitation_group": xr.Variable("precipitation_group", list(LABELS)),
        "group_rows": xr.Variable("precipitation_group", d.rows),
        "group_upper": xr.Variable("precipitation_group", d.upper, {"units": "m/s"}),
    }
    for which, values in (("truth", d.truth), ("prediction", d.prediction)):
        start = 0
        for v in result.outputs.profiles:
            stop = start + result.outputs.width_of(v.name)
            found[f"group_{which}_{v.name}"] = xr.Variable(
                ("precipitation_group", "level"), values[:, start:stop], {"units": v.units}
            )
            start = stop
    return found


def _confidence(result: OfflineResult) -> Variables:
    c = result.confidence
    if c is None:
        return {}
    found = {
        "share_kept": xr.Variable("share_kept", c.kept),
        "kept_loss": xr.Variable("share_kept", c.kept_loss),
    }
    for name, values in c.kept_r2.items():
        found[f"kept_r2_{name}"] = xr.Variable("share_kept", values)
    for name, curve in c.calibration.items():
        part = f"confidence_part_{name}"
        found[f"predicted_loss_{name}"] = xr.Variable(part, curve.predicted)
        found[f"actual_loss_{name}"] = xr.Variable(part, curve.actual)
    return found
