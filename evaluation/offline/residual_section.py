"""The section that a report opens with: what columns make of water and energy from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
    return Section("Closure", _TEXT, [], [Table("residuals", "Residuals of columns", columns)])


def _with_later(result: OfflineResult) -> list[Residual]:
    later = [] if result.later is None else result.later.residuals
    received = [r for r in later if r.which == "received"]
    return [*result.residuals, *(replace(r, which="later") for r in received)]
