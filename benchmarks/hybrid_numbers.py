"""What is told of a run of the study of hybrids: errors beside a reference, balances, and how its
package fares on the columns that it visited.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hybrid_plan import TIME_STEP_S, Days

from climlink.data.climsim import stored_variables
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore, StoreConfig
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.online.evaluate import OnlineEvaluation
from climlink.evaluation.summary import Metrics, finite_or_none
from climlink.packages.read import EmulatorPackage

SHOWN = {"T": 1.0, "Q": 1e3}
"""Fields whose errors are kept, and what makes K and g/kg of them."""
PAIRS = ("run", "twin", "climatology", "persistence")
OFFLINE = ("r2.ptend_t", "r2.ptend_q0001", "residual_", "range_use.")
"""Beginnings of the offline metrics that are kept."""
VISITED = "visited.zarr"


def visited(folder: Path, package: Path) -> dict[str, float | None]:
    """Return how a package fares on the columns that its own hybrid visited, with the reference
    physics of the same columns as truth: what energy (W/m2) and water (mm/day) it made from
    nothing, R², and how much the range policy held it; empty where no column was recorded.
    """
    pairs = folder / "climsim" / "shadow"
    if not any(pairs.rglob("*.mlo.*")):
        return {}
    store, read = folder / VISITED, EmulatorPackage.read(package)
    grid = next((folder / "climsim").glob("*grid-info*.nc"))
    every = {"remainder": "train", "time_step_s": TIME_STEP_S}
    kept = [v.name for v in stored_variables(read.manifest.level_count) if v.plausible]
    prepare(
        pairs,
        store,
        split=Split.model_validate(every),
        grid=grid,
        config=StoreConfig(allow_implausible=tuple(kept)),
        overwrite=store.exists(),
    )
    found = metrics(offline_result(read, ColumnStore.open(store), "train"))
    return chosen_metrics(found, OFFLINE)


def chosen_metrics(metrics: Metrics, prefixes: tuple[str, ...]) -> dict[str, float | None]:
    """Return metrics whose names begin so, rounded for a catalogue."""
    return {n: rounded(v) for n, v in metrics.items() if n.startswith(prefixes)}


def rounded(value: float | None, digits: int = 5) -> float | None:
    """Return a number with so many significant digits, None for one that is not finite."""
    if value is None or finite_or_none(value) is None:
        return None
    return float(f"{value:.{digits}g}")


def of_run(days: Days, found: OnlineEvaluation, folder: Path, reference: Path) -> dict[str, Any]:
    """Return the numbers of a run that the tables show."""
    summary, numbers = found.summary, found.numbers
    errors: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for name, scale in SHOWN.items():
        rmse = numbers.get(f"daily_rmse_{name}")
        if rmse is None:
            continue
        at = numbers["daily_day"].values
        by_pair = {p: rmse.sel(pair=p).values * scale for p in rmse["pair"].values if p in PAIRS}
        errors[name] = {
            p: {str(d): at_day(at, values, d) for d in days.asked()}
            for p, values in by_pair.items()
        }
        spread = numbers.get(f"daily_saturated_{name}")
        if spread is not None:
            errors[name]["saturated"] = rounded(float(spread) * scale)
        series[name] = [rounded(v, 4) for v in by_pair["run"]]
    lived = budgets(folder)["day"][-1] - days.start
    return {
        "days": rounded(lived, 6),
        "errors": errors,
        "series": series,
        "top_less_reference_w_m2": rounded(top_less_reference(folder, reference, days)),
        "rain_difference_mm_day": rounded(summary.metrics.get("precipitation.bias")),
        "temperature_drift_k": rounded(summary.metrics.get("drift.T")),
        "conservation": chosen_metrics(summary.metrics, ("conservation.",)),
    }


def at_day(days: np.ndarray, values: np.ndarray, day: int) -> float | None:
    """Return a series' value at the record that ends on a day; None after the run's end."""
    at = np.flatnonzero(np.isclose(days, day))
    return rounded(float(values[at[0]])) if len(at) else None


def budgets(folder: Path) -> dict[str, np.ndarray]:
    """Return the columns of a run's budgets.csv that are told by name, [step]."""
    lines = (folder / "budgets.csv").read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in lines[0].split(",")]
    rows = [line for line in lines[1:] if line.count(",") == len(names) - 1]
    table = np.loadtxt(rows, delimiter=",", ndmin=2)
    return {name: table[:, k] for k, name in enumerate(names)}


def top_less_reference(folder: Path, reference: Path, days: Days) -> float:
    """Return what must have come through the top to close a run's energy, less what came through
    the reference's on the same days, in W/m2, as the mean over the days that the run lived.

    What comes through the top is dE/dt + what goes into the surface. The fixer gives back what the
    dynamics took and nothing else, so it stands in neither. Weather makes two references differ
    too: the twin tells by how much.
    """
    ours, theirs = budgets(folder), budgets(reference)
    last = ours["day"][-1]
    return through_top(ours, days.start, last) - through_top(theirs, days.start, last)


def through_top(table: Mapping[str, np.ndarray], first: float, last: float) -> float:
    """Return the mean flux through the top from one day to another that closes a budget, W/m2."""
    day = table["day"]
    inside = (day > first + 1e-6) & (day <= last + 1e-6)
    if inside.sum() < 2:
        return float("nan")
    energy, seconds = table["energy_J_m2"][inside], day[inside] * SECONDS_PER_DAY
    stored = (energy[-1] - energy[0]) / (seconds[-1] - seconds[0])
    return float(stored + table["surface_net_W_m2"][inside][1:].mean())
