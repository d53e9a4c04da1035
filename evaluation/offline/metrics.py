"""The numbers of a summary, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from climlink.evaluation.offline.conservation import BUDGETS
from climlink.evaluation.offline.global_water import global_water_metrics
from climlink.evaluation.offline.leap import LEVEL_COUNT, TARGET_SET, leap_scores
from climlink.evaluation.offline.result import Array, OfflineResult
from climlink.evaluation.offline.scores import without_variance
from climlink.evaluation.summary import Metrics, finite_or_none
from climlink.wrappers.variable_sets import variable_set


def metrics(result: OfflineResult) -> Metrics:
    """Return every number of a result as METRIC.VARIABLE.

    First ``residual_bias`` and ``residual_rms`` of ``water`` (mm/day) and ``energy`` (W/m2), as the
    host receives them and with ``_before`` the package's closures, and ``residual_r2`` of the net
    radiation at the top that the outputs imply (see ColumnResiduals).
    ``global_residual_bias``, ``global_residual_rms``, ``water_fixer``: of the whole globe at each
    time, see GlobalWater.
    ``r2``: pooled over columns and times, median over levels not pruned. ``r2_column``,
    ``r2_column_median``: R² over time of a column, mean and median over columns, then the same
    median. ``rmse``, ``mae``, ``bias``: over dp and area, in units of the output. ``climsim_mae``,
    ``climsim_rmse``, ``climsim_bias``: ClimSim's in W/m2, mean over levels not pruned;
    ``climsim_r2`` their median. ``leap``: the competition's. ``bias`` and ``rmse`` of
    ``water_residual`` and ``energy_source``: of column sums. ``constraint``: share of values
    changed. ``range_use``: see RangeUse. ``confidence``: see ConfidenceResult. ``r2_later``,
    ``residual_bias_later``, ``residual_rms_later``, ``residual_r2_later``, ``nonfinite_later``: the
    same of the later window, by which nothing is to be chosen. What is over time is
    null where the split has one time, or the store was made of a table.
    """
    found = _residuals(result) | global_water_metrics(result.global_water)
    found |= {f"r2.{n}": v for n, v in result.r2_table().summary().items()}
    columns, medians = mean_column_r2(result), median_column_r2(result)
    climsim = climsim_scores(result)
    for name in result.outputs.names:
        found[f"r2_column.{name}"] = over_levels(result, columns, name, np.median)
        found[f"r2_column_median.{name}"] = over_levels(result, medians, name, np.median)
        weighted = result.weighted(name)
        for metric, value in (
            ("rmse", weighted.rmse()),
            ("mae", weighted.mae()),
            ("bias", weighted.bias()),
        ):
            found[f"{metric}.{name}"] = float(value[0, 0])
        for metric, values in climsim.items():
            found[f"climsim_{metric}.{name}"] = over_levels(
                result, values, name, np.median if metric == "r2" else np.mean
            )
    if is_competition(result):
        r2, constant = result.pooled.r2()[0], result.constant[0]
        found |= leap_scores(r2, constant, result.outputs, result.place.target_weights)
    found |= _budgets(result) | _constraints(result) | _confidence(result)
    if result.range_use is not None:
        found |= {f"range_use.{name}": v for name, v in asdict(result.range_use).items()}
    found["nonfinite.rows"] = float(result.misses.rows)
    found |= _later(result)
    if not result.place.over_time:
        found |= {
            name: float("nan") for name in found if name.startswith(("r2_column", "climsim_r2"))
        }
    return {name: finite_or_none(value) for name, value in found.items()}


def is_competition(result: OfflineResult) -> bool:
    """Say whether the outputs are the LEAP competition's targets."""
    return (
        result.outputs.names == variable_set(TARGET_SET).names
        and result.outputs.level_count == LEVEL_COUNT
    )


def mean_column_r2(result: OfflineResult) -> Array:
    """Return R² over time averaged over the columns whose truth varies, [width], each alike; NaN
    where none varies.
    """
    return _over_varying(result, np.nanmean)


def median_column_r2(result: OfflineResult) -> Array:
    """Return the median of R² over time over the columns whose truth varies, [width]; NaN where
    none varies.
    """
    return _over_varying(result, np.nanmedian)


def _over_varying(result: OfflineResult, reduce: Callable[..., Array]) -> Array:
    nothing = without_variance(result.plain, result.outputs) | (result.plain.weight == 0.0)
    r2 = np.where(nothing, np.nan, result.column_r2())
    some = np.isfinite(r2).any(axis=0)
    found = np.full(r2.shape[1], np.nan)
    found[some] = reduce(r2[:, some], axis=0)
    return found


def climsim_scores(result: OfflineResult) -> dict[str, Array]:
    """Return ClimSim's metrics per output and level, [width]: over time in every column, then the
    mean over columns.

    On values in W/m2 (see energy_factors): mae mean(|e|), rmse sqrt(mean(e²)), bias mean(e), r2 1 -
    sum(e²)/sum((y - mean(y))²); columns count alike, for their area is in the values (Yu et al.
    2023).
    """
    moments = result.energy
    per_column = {
        "mae": moments.mae(),
        "rmse": moments.rmse(),
        "r2": moments.r2(),
        "bias": moments.bias(),
    }
    known = moments.weight > 0.0
    return {
        n: np.asarray(np.where(known, v, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        for n, v in per_column.items()
    }


def over_levels(
    result: OfflineResult, values: Array, name: str, reduce: Callable[[Array], Any]
) -> float:
    """Return a mean or median over the levels of an output that are not pruned and whose truth
    varies; NaN where there is none.
    """
    where = result.outputs.slice(name)
    start = where.start + (result.first_level if result.outputs[name].is_profile else 0)
    varies = ~result.constant[0, start : where.stop]
    chosen = values[start : where.stop][varies]
    return float(reduce(chosen)) if chosen.size else float("nan")


def _residuals(result: OfflineResult) -> dict[str, float]:
    found: dict[str, float] = {}
    for r in (r for r in result.residuals if r.which != "truth"):
        when = "_before" if r.which == "before" else ""
        found |= {
            f"residual_bias{when}.{r.budget}": r.bias,
            f"residual_rms{when}.{r.budget}": r.rms,
        }
        if r.r2 is not None:
            found[f"residual_r2{when}.{r.budget}"] = r.r2
    return found


def _later(result: OfflineResult) -> dict[str, float]:
    later = result.later
    if later is None:
        return {}
    repeated = {f"r2.{n}": v for n, v in later.r2_table().summary().items()}
    repeated |= _residuals(later) | {"nonfinite.rows": float(later.misses.rows)}
    return {n.replace(".", "_later.", 1): v for n, v in repeated.items()}


def _budgets(result: OfflineResult) -> dict[str, float]:
    if result.budgets is None:
        return {}
    whole = result.budgets.over_columns(result.place.area)
    return {
        f"{metric}.{name}": float(values[0, k])
        for k, name in enumerate(BUDGETS)
        if name in ("water_residual", "energy_source")
        for metric, values in (("bias", whole.bias()), ("rmse", whole.rmse()))
    }


def _constraints(result: OfflineResult) -> dict[str, float]:
    return {
        f"constraint.{a.constraint}.{a.output}": float(a.changed.mean())
        for a in result.activities or []
    }


def _confidence(result: OfflineResult) -> dict[str, float]:
    c = result.confidence
    if c is None:
        return {}
    found = {f"confidence.crps.{n}": v for n, v in c.crps.items()}
    found |= {
        f"confidence.crpss.{n}": 1.0 - c.crps[n] / c.crps_constant[n]
        for n in c.crps
        if c.crps_constant[n] > 0.0
    }
    return found | {"confidence.not_positive": c.not_positive}
