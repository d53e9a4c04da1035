"""The numbers of a run in one row: what a summary and a comparison of runs take from everything
measured.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.online.blocks import CLIMATOLOGY, PERSISTENCE, REFERENCE, RUN, TWIN
from climlink.evaluation.online.fields import PROFILES
from climlink.evaluation.summary import Metrics, finite_or_none

_END_SHARE = 0.1
"""Drift is told over the last tenth of the compared records, at least one."""


_PREFIXES = {
    RUN: "",
    TWIN: "twin.",
    CLIMATOLOGY: "climatology.",
    PERSISTENCE: "persistence.",
}


def online_metrics(numbers: xr.Dataset) -> Metrics:
    """Return metrics by name, in the units of the files (drift.energy in J/m2, precipitation in
    mm/day); null where they cannot be told.

    rmse.NAME is the error of the mean over the compared days, last_day_rmse.NAME that of the run's
    last day, drift.QUANTITY the difference of the global mean from the reference's over the last
    tenth of the run's days; twin.*, climatology.* and persistence.* are the same of the reference's
    twin and of forecasts without a model over the same days, saturated.last_day_rmse.NAME that of
    independent states. relative_error.NAME is last_day_rmse over climatology's, skilful_days.NAME
    the day until which the run was closer to the reference than climatology.
    """
    metrics: dict[str, float] = {}
    for member, prefix in _PREFIXES.items():
        metrics |= {f"{prefix}{name}": value for name, value in _of_member(numbers, member).items()}
    metrics |= _skill(numbers)
    for name in numbers.data_vars:
        if str(name).startswith("budget_"):
            metrics[f"conservation.{str(name).removeprefix('budget_')}"] = float(
                numbers[name].mean()
            )
    return {name: finite_or_none(value) for name, value in metrics.items()}


def _skill(numbers: xr.Dataset) -> dict[str, float]:
    """Return how the run's error by record compares with climatology's and with what it saturates
    at.
    """
    found: dict[str, float] = {}
    for name in PROFILES:
        for cadence in ("daily", "hourly"):
            series = numbers.get(f"{cadence}_rmse_{name}")
            if series is None or CLIMATOLOGY not in series["pair"].values:
                continue
            run, climatology = (series.sel(pair=p).values for p in (RUN, CLIMATOLOGY))
            day = numbers[f"{cadence}_day"].values
            found[f"skilful_days.{name}"] = skilful_days(day, run, climatology)
            last, beside = _at_last(run, run), _at_last(run, climatology)
            found[f"relative_error.{name}"] = last / beside if beside > 0.0 else float("nan")
            spread = numbers.get(f"{cadence}_saturated_{name}")
            if spread is not None:
                found[f"saturated.last_day_rmse.{name}"] = float(spread)
    return found


def skilful_days(
    day: NDArray[np.float64], run: NDArray[np.float64], climatology: NDArray[np.float64]
) -> float:
    """Return the end of the last record [record], in days, before a run's error first reaches
    climatology's: 0 where it never lay below, the run's last day where it never got there, NaN
    where nothing is known.
    """
    known = np.isfinite(run) & np.isfinite(climatology)
    if not known.any():
        return float("nan")
    day, lost = day[known], run[known] >= climatology[known]
    first = int(np.argmax(lost)) if lost.any() else len(day)
    return float(day[first - 1]) if first else 0.0


def _of_member(numbers: xr.Dataset, member: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in PROFILES:
        if f"mean_rmse_{name}" in numbers and member in numbers["pair"].values:
            found[f"rmse.{name}"] = float(numbers[f"mean_rmse_{name}"].sel(pair=member))
            for cadence in ("daily", "hourly"):
                if f"{cadence}_rmse_{name}" in numbers:
                    series = numbers[f"{cadence}_rmse_{name}"]
                    found[f"last_day_rmse.{name}"] = _at_last(
                        series.sel(pair=RUN).values, series.sel(pair=member).values
                    )
    for name in ("bias", "rmse"):
        if f"precipitation_{name}" in numbers and member in numbers["pair"].values:
            found[f"precipitation.{name}"] = float(
                numbers[f"precipitation_{name}"].sel(pair=member)
            )
    if "member" not in numbers.coords or member not in numbers["member"].values:
        return found
    for quantity in ("temperature", "vapour", "cloud", "energy"):
        if f"global_{quantity}" in numbers:
            series = numbers[f"global_{quantity}"]
            key = "T" if quantity == "temperature" else quantity
            lived = np.where(np.isfinite(series.sel(member=RUN).values), 1.0, np.nan)
            found[f"drift.{key}"] = _end_mean(
                (series.sel(member=member).values - series.sel(member=REFERENCE).values) * lived
            )
    if "rain_density" in numbers:
        density = numbers["rain_density"].sel(surface="global")
        width = float(np.diff(numbers["intensity"].values)[0])
        shift = np.abs(density.sel(member=member).values - density.sel(member=REFERENCE).values)
        found["precipitation.distribution"] = float(0.5 * width * shift.sum())
    for name in ("band_position", "band_width"):
        if name in numbers:
            error = (
                numbers[name].sel(member=member).values - numbers[name].sel(member=REFERENCE).values
            )
            found[f"rain_{name}.bias"] = _mean(error)
    for name in ("water", "energy"):
        if f"residual_{name}" in numbers:
            found[f"residual.{name}"] = _mean(numbers[f"residual_{name}"].sel(member=member).values)
    return found


def _at_last(run: NDArray[np.float64], series: NDArray[np.float64]) -> float:
    """Return a series at the last record of which the run has a value."""
    finite = np.flatnonzero(np.isfinite(run))
    return float(series[finite[-1]]) if len(finite) else float("nan")


def _end_mean(series: NDArray[np.float64]) -> float:
    finite = series[np.isfinite(series)]
    return (
        float(finite[-max(1, round(_END_SHARE * len(finite))) :].mean())
        if len(finite)
        else float("nan")
    )


def _mean(series: NDArray[np.float64]) -> float:
    finite = series[np.isfinite(series)]
    return float(finite.mean()) if len(finite) else float("nan")
