"""How fast two runs of one model part: errors of temperature and humidity against a reference, weighted by mass of air, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.blocks import REFERENCE, RUN, Gaps, SideBySide, collect
from climlink.evaluation.online.history import RunHistory, read_history, require_comparable
from climlink.evaluation.online.states import Growth
from climlink.evaluation.online.stream import Stream

Series = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """RMSE of one run against its reference by day: ``temperature_k`` and ``humidity_kg_kg``, each [day]; days since the first."""

    days: Series
    temperature_k: Series
    humidity_kg_kg: Series


def drift(run: Path, reference: Path) -> Drift:
    """Compare the daily history of two runs over the days that both have.

    EvaluationError if one has no daily history, or they share no day or not the grid.
    """
    ours, theirs = read_history(run), read_history(reference)
    require_comparable(ours, theirs)
    streams = {REFERENCE: _daily(theirs), RUN: _daily(ours)}
    start = max(stream.start[0] for stream in streams.values())
    growth = Growth(("T", "Q"), (RUN,), "daily")
    collect(SideBySide("daily", theirs.grid, streams, float(start), 0.0), [growth], Gaps())
    found = growth.result().sel(pair=RUN)
    return Drift(found["daily_day"].values, found["daily_rmse_T"].values, found["daily_rmse_Q"].values)


def _daily(history: RunHistory) -> Stream:
    if "daily" not in history.streams:
        raise EvaluationError(f"{history.folder} has no daily history; it has {', '.join(history.streams)}")
    return history.streams["daily"]
