"""The section that a report opens with: what columns make of water and energy from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from climlink.evaluation.offline.global_water import global_water_tables
from climlink.evaluation.offline.residuals import UNITS, Residual
from climlink.evaluation.offline.result import OfflineResult
from climlink.evaluation.report import Section, Table

_WHICH = {
    "truth": "the truth's own",
    "before": "before the closures",
    "received": "as the host receives it",
    "later": "as the host receives it, on the later window",
}
_TEXT = (
    "Water: column water tendency plus precipitation, made from nothing where the reference closes "
    "by column. Energy: the net radiation at the top that the outputs imply, what heats the column "
    "less what enters at the surface, minus that which the truth implies. A package with closures "
    "implies the net radiation that it predicts, so its energy residual is the error of that "
    "prediction."
)
_GLOBAL_TEXT = (
    "Where a reference does not close by column, as E3SM-MMF, whose cloud-resolving models hold "
    "precipitating water back, only the global mean may be closed, by the host: one factor for all "
    "precipitation of a step."
)


def residual_section(results: Mapping[str, OfflineResult]) -> Section | None:
    """Return the section of some packages, by label; None where no residual could be told."""
    rows = [(label, r) for label, result in results.items() for r in _with_later(result)]
    if not rows:
        return None
    labels = [label for label, _ in rows]
    columns: dict[str, Any] = {"package": labels} if len(results) > 1 else {}
    columns |= {
        "residual": [f"{r.budget}, {_WHICH[r.which]}" for _, r in rows],
        "units": [UNITS[r.budget] for _, r in rows],
        "mean": [r.bias for _, r in rows],
        "RMS by column": [r.rms for _, r in rows],
        "R² of the implied net radiation at the top": [r.r2 for _, r in rows],
    }
    by_column = Table("residuals", "Residuals of columns", columns)
    of_globe = global_water_tables({label: r.global_water for label, r in results.items()})
    text = f"{_TEXT} {_GLOBAL_TEXT}" if of_globe else _TEXT
    return Section("Closure", text, [], [by_column, *of_globe])


def _with_later(result: OfflineResult) -> list[Residual]:
    later = [] if result.later is None else result.later.residuals
    received = [r for r in later if r.which == "received"]
    return [*result.residuals, *(replace(r, which="later") for r in received)]
