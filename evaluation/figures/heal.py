"""The figure of a healing: what its rounds bring, beside training without the hybrids' states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climlink.evaluation.figures.style import WIDTH_IN

_COLOURS = {"heal": "#1f77b4", "control": "#d62728", "start": "0.3"}
_FIELDS = {"T": "T RMSE (K)", "Q": "q RMSE (g/kg)"}


@dataclass(frozen=True)
class HealCurve:
    """One way of training, by round; errors are infinite where the half of the runs was dead."""

    label: str
    rounds: Sequence[int]
    days: Sequence[Sequence[float]]
    """Days lived [round][run]."""
    errors: Mapping[str, Sequence[float]]
    """Field (T in K, Q in g/kg) -> [round]."""
    r2_test: Sequence[float | None]
    r2_hybrid: Sequence[float | None]


def heal_figure(
    curves: Sequence[HealCurve],
    planned_days: float,
    day: int,
    climatology: Mapping[str, float | None],
) -> Figure:
    """Return, one under the other, days lived, errors of T and q on a day beside climatology's, and
    offline R² of the heating, by round.
    """
    figure = Figure(figsize=(WIDTH_IN, 10.0), layout="constrained")
    lived, *errors, skill = figure.subplots(4, 1, sharex=True)
    for curve in curves:
        colour = _COLOURS.get(curve.label, "0.5")
        _days(lived, curve, colour)
        for axes, name in zip(errors, _FIELDS, strict=True):
            _errors(axes, curve, curve.errors[name], colour)
        for values, line in ((curve.r2_test, "-o"), (curve.r2_hybrid, "--s")):
            known = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
            skill.plot(curve.rounds, known, line, color=colour)
    lived.axhline(planned_days, color="0.6", linewidth=1.0, linestyle=":")
    lived.set(ylabel="days lived", ylim=(0.0, 1.08 * planned_days))
    for axes, (name, title) in zip(errors, _FIELDS.items(), strict=True):
        level = climatology[name]
        if level is not None:
            axes.axhline(level, color="0.4", linewidth=1.0, linestyle="--", label="climatology")
            axes.legend(frameon=False)
        axes.set_ylabel(f"{title}\nday {day}")
        axes.margins(y=0.25)  # room for the crosses of the dead
        axes.set_ylim(bottom=0.0)
    skill.plot([], [], "-", color="0.3", label="test times")
    skill.plot([], [], "--", color="0.3", label="first hybrids")
    skill.set(xlabel="round", ylabel="offline R², heating")
    skill.set_xticks(sorted({number for curve in curves for number in curve.rounds}))
    lived.legend(frameon=False)
    skill.legend(frameon=False)
    for axes in (lived, *errors, skill):
        axes.grid(alpha=0.3)
    return figure


def _days(axes: Axes, curve: HealCurve, colour: str) -> None:
    means = [float(np.mean(days)) for days in curve.days]
    axes.plot(curve.rounds, means, "-", color=colour, label=curve.label)
    for number, days in zip(curve.rounds, curve.days, strict=True):
        axes.plot([number] * len(days), days, "o", color=colour, alpha=0.7)


def _errors(axes: Axes, curve: HealCurve, errors: Sequence[float], colour: str) -> None:
    values = np.array(errors, dtype=np.float64)
    dead = np.isinf(values)
    axes.plot(curve.rounds, np.where(dead, np.nan, values), "-o", color=colour)
    places = np.asarray(curve.rounds)[dead]
    # On the upper edge, where the worst belong.
    axes.plot(
        places, np.full(len(places), 0.95), "x", color=colour, markersize=9,
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
