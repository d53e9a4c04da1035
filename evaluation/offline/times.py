"""How far scored times lie from those that a package was trained on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.evaluation.report import Section, Table
from climlink.evaluation.summary import ScoredTimes, TimeSpan, TimesSummary

_RELATIONS = {
    "after": "after training",
    "before": "before training",
    "among": "from the nearest training time",
}
_TEXT = (
    "Weather is forgotten within days, the stratosphere within weeks and a season within months: a "
    "score close to the training times says little of a run that goes on from there. Days from "
    "training are those between the nearest scored and training times. Nothing is chosen by the "
    "later window."
)


def time_span(store: ColumnStore, split: str) -> TimeSpan | None:
    """Return what a split of a store spans in time; None of an empty one and of a table, whose
    rows have no times.
    """
    indices = store.indices(split)
    if indices.size == 0 or not store.has_stamps:
        return None
    seconds = _seconds(store, indices)
    return TimeSpan(
        first=store.name_of(int(indices[seconds.argmin()])),
        last=store.name_of(int(indices[seconds.argmax()])),
        times=len(seconds),
        days=float(np.ptp(seconds)) / SECONDS_PER_DAY,
    )


def scored_times(store: ColumnStore, split: str, *, trained_here: bool) -> ScoredTimes | None:
    """Return what a scored split of a store spans, and how far it lies from the training times of
    a package that was trained on this store (``trained_here``); None of a table.
    """
    span = time_span(store, split)
    training = store.indices("train")
    if span is None or training.size == 0 or not trained_here:
        return None if span is None else ScoredTimes(**span.model_dump())
    scored, trained = (np.sort(_seconds(store, i)) for i in (store.indices(split), training))
    after = np.searchsorted(trained, scored).clip(max=len(trained) - 1)
    nearest = np.minimum(
        np.abs(scored - trained[after]), np.abs(scored - trained[np.maximum(after - 1, 0)])
    )
    relation: Literal["after", "before", "among"] = "among"
    if scored[0] > trained[-1]:
        relation = "after"
    elif scored[-1] < trained[0]:
        relation = "before"
    gap = float(nearest.min()) / SECONDS_PER_DAY
    return ScoredTimes(**span.model_dump(), gap_days=gap, relation=relation)


def _seconds(store: ColumnStore, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([store.stamps[i].seconds for i in indices], dtype=np.int64)


def distance_words(scored: ScoredTimes | None) -> str:
    """Return how far scored times lie from training; nothing where that is not known."""
    if scored is None or scored.gap_days is None or scored.relation is None:
        return ""
    return f"{scored.gap_days:.3g} days {_RELATIONS[scored.relation]}"


def times_section(times: TimesSummary | None) -> Section | None:
    """Return the section of what was trained on and scored when; None of a table."""
    if times is None:
        return None
    given = {"training": times.training, "scored": times.scored, "later window": times.later}
    rows = {label: span for label, span in given.items() if span is not None}
    gaps = [getattr(span, "gap_days", None) for span in rows.values()]
    columns: dict[str, Any] = {
        "times": list(rows),
        "first": [s.first for s in rows.values()],
        "last": [s.last for s in rows.values()],
        "number": [s.times for s in rows.values()],
        "span": [s.days for s in rows.values()],
        "from training": gaps,
    }
    table = Table("times", "Times", columns, {"span": "days", "from training": "days"})
    return Section("Distance from training", _TEXT, [], [table])
