"""What a package of a healing does: its hybrid runs beside the reference, and its offline skill on
the original test times and on states of hybrids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from climlink.config import StrictModel
from climlink.data.files import replacing
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.online.blocks import CLIMATOLOGY, REFERENCE, RUN
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.summary import finite_or_none
from climlink.healing.labels import HELD_OUT
from climlink.online.launch import Progress
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.yaml_file import parse_config

Numbers = dict[str, float | None]
SCALES = {"T": 1.0, "Q": 1e3}
"""Of errors, to K and g/kg."""


class MemberScore(StrictModel):
    """A hybrid run beside the reference. Errors are mass-weighted RMSE of daily means on the chosen
    days, T in K and Q in g/kg; null on days that it did not live.
    """

    days_lived: float
    survived: bool
    ended: str | None
    rmse: dict[str, list[float | None]]
    """Field -> [day]."""
    climatology: dict[str, list[float | None]]
    """The same of the reference's zonal-mean climatology."""
    skilful_days: Numbers
    """Field -> days until the error first reaches climatology's."""
    energy_drift_w_m2: float | None
    """Change of the energy content against the reference's, over the days lived."""


class OfflineScore(StrictModel):
    """R² by output (median over levels of a profile): on the original test times, on held-out
    states of the first hybrids, and on those of its own; null where there are none.
    """

    test: Numbers | None
    first_hybrid: Numbers | None
    own_hybrid: Numbers | None


def score_member(
    run: Path, reference: Path, days: Sequence[int], file: Path, progress: Progress
) -> MemberScore:
    """Return the score of a hybrid run, kept in ``file``."""
    if file.is_file():
        return parse_config(file.read_text(encoding="utf-8"), MemberScore, str(file))
    found = evaluate_online(run, reference, progress=progress)
    numbers, summary = found.numbers, found.summary
    score = MemberScore(
        days_lived=summary.days,
        survived=summary.survived,
        ended=summary.ended,
        rmse={n: _on_days(numbers, n, RUN, days) for n in SCALES},
        climatology={n: _on_days(numbers, n, CLIMATOLOGY, days) for n in SCALES},
        skilful_days={n: summary.metrics.get(f"skilful_days.{n}") for n in SCALES},
        energy_drift_w_m2=_energy_drift(numbers),
    )
    _keep(score, file)
    return score


def score_offline(
    package: EmulatorPackage,
    original: ColumnStore,
    first: Sequence[ColumnStore],
    own: Sequence[ColumnStore],
    file: Path,
) -> OfflineScore:
    """Return the offline score of a package, kept in ``file``; ``first`` and ``own`` are stores of
    labels with held-out states.
    """
    if file.is_file():
        return parse_config(file.read_text(encoding="utf-8"), OfflineScore, str(file))
    tested = [original] if original.indices("test").size else []
    score = OfflineScore(
        test=_r2(package, tested, "test"),
        first_hybrid=_r2(package, first, HELD_OUT),
        own_hybrid=_r2(package, own, HELD_OUT),
    )
    _keep(score, file)
    return score


def _keep(score: StrictModel, file: Path) -> None:
    with replacing(file) as beside:
        beside.write_text(score.model_dump_json(indent=1), encoding="utf-8")


def _r2(package: EmulatorPackage, stores: Sequence[ColumnStore], split: str) -> Numbers | None:
    """Return the mean over stores of R² by output; None without a store."""
    tables = [
        offline_result(package, store, split, changes=False).r2_table().summary()
        for store in stores
    ]
    if not tables:
        return None
    return {name: finite_or_none(float(np.mean([t[name] for t in tables]))) for name in tables[0]}


def _on_days(numbers: xr.Dataset, name: str, pair: str, days: Sequence[int]) -> list[float | None]:
    """Return the error of a field at the end of chosen days; null where nothing tells it."""
    series = numbers.get(f"daily_rmse_{name}")
    if series is None or pair not in series["pair"].values:
        return [None] * len(days)
    wanted = [float(d) for d in days]
    at = series.sel(pair=pair).reindex(daily_day=wanted, method="nearest", tolerance=1e-3)
    return [finite_or_none(SCALES[name] * float(v)) for v in at.values]


def _energy_drift(numbers: xr.Dataset) -> float | None:
    """Return (E - E of the reference) / time in W/m2 at the last day that the run lived."""
    if "global_energy" not in numbers:
        return None
    energy = numbers["global_energy"]
    drift = (energy.sel(member=RUN) - energy.sel(member=REFERENCE)).dropna("global_day")
    if not drift.size:
        return None
    day = float(drift["global_day"][-1])
    return finite_or_none(float(drift[-1]) / (SECONDS_PER_DAY * day))
