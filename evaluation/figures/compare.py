"""Figures of a comparison: one number against the other, orderings, survival, speed, regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from climlink.evaluation.compare.analysis import Comparison, Group
from climlink.evaluation.compare.chances import survival_interval
from climlink.evaluation.compare.outcomes import error_of
from climlink.evaluation.compare.words import shown_agreement
from climlink.evaluation.figures.style import WIDTH_IN

UNITS = {
    "T": "K",
    "Q": "kg/kg",
    "U": "m/s",
    "V": "m/s",
    "CLDLIQ": "kg/kg",
    "CLDICE": "kg/kg",
    "TOTCLD": "kg/kg",
    "precipitation": "mm/day",
}
_LARGE_RATIO = 10.0
_BY = {"package": "by package", "architecture": "by architecture", "recipe": "by recipe"}


def units_of(metric: str) -> str:
    """Return the units of an online metric such as rmse.T; empty where they are not known."""
    first, _, variable = metric.partition(".")
    return UNITS.get("precipitation" if first == "precipitation" else variable, "")


def with_units(metric: str) -> str:
    """Return an online metric with its units, such as ``rmse.T (K)``."""
    units = units_of(metric)
    return f"{metric} ({units})" if units else metric


def colours(comparison: Comparison) -> list[tuple[float, ...]]:
    """Return a colour for every package."""
    table = colormaps["tab10" if len(comparison.results) <= 10 else "tab20"]
    return [table(k % table.N) for k in range(len(comparison.results))]


def skill_figure(comparison: Comparison, twin_error: float | None) -> Figure:
    """Draw the online error of every member, and the mean rank of every package, against the
    offline number.
    """
    figure = Figure(figsize=(WIDTH_IN, 8.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for k, (result, colour) in enumerate(zip(comparison.results, colours(comparison), strict=True)):
        if not np.isfinite(comparison.offline[k]):
            continue
        for member in result.members:
            error = error_of(member, comparison.online_metric)
            if error is not None:
                _member_mark(
                    upper, float(comparison.offline[k]), error, member.summary.survived, colour
                )
            else:
                # No error to place it by: on the upper edge, where the worst belong.
                upper.plot(
                    comparison.offline[k],
                    0.97,
                    "x",
                    color=colour,
                    markersize=9,
                    transform=upper.get_xaxis_transform(),
                )
        if np.isfinite(comparison.mean_rank[k]):
            lower.plot(
                comparison.offline[k], comparison.mean_rank[k], "o", color=colour, markersize=9
            )
            lower.annotate(
                result.label,
                (comparison.offline[k], comparison.mean_rank[k]),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
            )
        upper.plot([], [], "o", color=colour, label=result.label)
    upper.plot(
        [], [], "o", color="0.3", markerfacecolor="none", label="ended early:\nover the days lived"
    )
    if any(
        error_of(m, comparison.online_metric) is None for r in comparison.results for m in r.members
    ):
        upper.plot([], [], "x", color="0.3", label="ended before\nit had an error")
    if twin_error is not None:
        upper.axhline(
            twin_error, color="0.4", linestyle="--", linewidth=1.0, label="two references"
        )
    _scale(upper)
    upper.set(
        ylabel=f"online: {with_units(comparison.online_metric)}",
        title="error of every run",
    )
    upper.legend(frameon=False)
    lower.set(
        xlabel=f"offline: {comparison.offline_metric}",
        ylabel="mean rank among all runs, 1 the best",
        title=shown_agreement(comparison),
    )
    lower.invert_yaxis()
    for axes in (upper, lower):
        axes.grid(color="0.92")
        axes.margins(x=0.2, y=0.15)
    return figure


def _member_mark(axes: Axes, x: float, y: float, survived: bool, colour: tuple[float, ...]) -> None:
    face = colour if survived else "none"
    axes.plot(
        x, y, "o", color=colour, markerfacecolor=face, markersize=8, markeredgewidth=1.6, alpha=0.85
    )


def _scale(axes: Axes) -> None:
    """Make the vertical axis of errors one from 0, or a logarithmic one where they differ by more
    than a factor of ten.
    """
    data = [
        np.asarray(line.get_ydata(), dtype=np.float64)
        for line in axes.lines
        if line.get_transform() != axes.get_xaxis_transform()
    ]
    data += [np.asarray(c.get_offsets(), dtype=np.float64)[:, 1] for c in axes.collections]
    values = np.concatenate([d.ravel() for d in data]) if data else np.empty(0)
    values = values[np.isfinite(values) & (values > 0.0)]
    if values.size and values.max() > _LARGE_RATIO * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0.0, top=1.15 * float(values.max()) if values.size else None)


def ordering_figure(comparison: Comparison) -> Figure:
    """Draw the place of every compared package offline beside its place online, joined by a
    line.
    """
    figure = Figure(
        figsize=(WIDTH_IN, 1.2 + 0.55 * max(3, int(comparison.compared.sum()))),
        layout="constrained",
    )
    axes = figure.subplots()
    offline, online = comparison.offline_places, comparison.online_places
    tied: dict[tuple[int, float], list[str]] = {}
    for k, (result, colour) in enumerate(zip(comparison.results, colours(comparison), strict=True)):
        if comparison.compared[k]:
            axes.plot(
                [0.0, 1.0], [offline[k], online[k]], "o-", color=colour, linewidth=2.0, markersize=8
            )
            for side, place in enumerate((offline[k], online[k])):
                tied.setdefault((side, float(place)), []).append(result.label)
    for (side, place), labels in tied.items():
        axes.annotate(
            " = ".join(labels),
            (side, place),
            xytext=(-12 if side == 0 else 12, 0),
            textcoords="offset points",
            ha="right" if side == 0 else "left",
            va="center",
        )
    axes.set_xlim(-0.7, 1.7)
    axes.set_xticks(
        [0.0, 1.0],
        [
            f"offline\n{comparison.offline_metric}",
            f"online\n{comparison.online_metric}, crashed last",
        ],
    )
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("place, 1 the best")
    axes.margins(y=0.15)
    for edge in ("top", "right", "bottom"):
        axes.spines[edge].set_visible(False)
    return figure


def survival_figure(comparison: Comparison) -> Figure:
    """Draw the share of runs that live on against days, by package, architecture and recipe, with
    the exact 95 % intervals of its end.
    """
    kinds = [by for by in _BY if any(g.by == by for g in comparison.groups)]
    figure = Figure(figsize=(WIDTH_IN, 3.4 * len(kinds) + 0.3), layout="constrained")
    panels = figure.subplots(len(kinds), 1, sharey=True, squeeze=False)[:, 0]
    for axes, by in zip(panels, kinds, strict=True):
        _survival_panel(axes, [g for g in comparison.groups if g.by == by])
        axes.set_title(_BY[by])
        axes.set_ylabel("share of runs that live on (%)")
    panels[-1].set_xlabel("days after the start")
    return figure


def _survival_panel(axes: Axes, groups: Sequence[Group]) -> None:
    """Draw the curves of groups and, to the right of their end, the exact intervals of the share
    that reached it.
    """
    table = colormaps["tab10" if len(groups) <= 10 else "tab20"]
    last = max(1e-3, *(float(g.curve.days[-1]) for g in groups))
    dodge = min(0.04, 0.4 / len(groups))
    for k, group in enumerate(groups):
        curve, colour = group.curve, table(k % table.N)
        share = 100.0 * np.append(curve.probability, curve.probability[-1])
        # Lines that lie on each other stay visible: the first are the thickest.
        width = 2.0 + 1.5 * (len(groups) - 1 - k)
        label = f"{group.name}: {group.survived}/{group.members}"
        axes.step(
            np.append(curve.days, last),
            share,
            where="post",
            color=colour,
            linewidth=min(width, 6.0),
            label=label,
        )
        if group.survived < group.members:
            low, high = (100.0 * np.append(v, v[-1]) for v in (curve.low, curve.high))
            axes.fill_between(
                np.append(curve.days, last),
                low,
                high,
                step="post",
                color=colour,
                alpha=0.1,
                linewidth=0.0,
            )
        interval = [100.0 * v for v in survival_interval(group.survived, group.members)]
        at = last * (1.04 + dodge * k)
        axes.plot([at, at], interval, color=colour, linewidth=2.0)
        axes.plot(at, 100.0 * group.survived / group.members, "o", color=colour, markersize=5)
    axes.set_ylim(-3.0, 103.0)
    axes.set_xlim(0.0, last * (1.04 + dodge * len(groups)))
    axes.grid(color="0.92")
    axes.legend(frameon=False, loc="center left")


def speed_figure(comparison: Comparison, twin_error: float | None) -> Figure | None:
    """Draw error against speed, with the number of parameters as size; None where no package has
    both numbers.
    """
    usable = np.isfinite(comparison.years_per_day) & np.isfinite(comparison.error)
    if not usable.any():
        return None
    figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
    axes = figure.subplots()
    for k, (result, colour) in enumerate(zip(comparison.results, colours(comparison), strict=True)):
        if not usable[k]:
            continue
        whole = all(m.summary.survived for m in result.members)
        parameters = result.package.parameters
        size = 60.0 if not parameters else 40.0 + 60.0 * max(0.0, np.log10(parameters) - 3.0)
        place = (comparison.years_per_day[k], comparison.error[k])
        axes.scatter(
            *place,
            s=size,
            color=colour if whole else "none",
            edgecolor=colour,
            linewidth=1.8,
            alpha=0.85,
        )
        count = "" if parameters is None else f"\n{_short(parameters)} parameters"
        axes.annotate(
            f"{result.label}{count}",
            place,
            xytext=(0, 14),
            textcoords="offset points",
            ha="center",
        )
    front = _front(comparison, usable)
    if len(front) > 1:
        axes.plot(
            comparison.years_per_day[front],
            comparison.error[front],
            color="0.6",
            linewidth=1.0,
            zorder=0,
        )
    if twin_error is not None:
        axes.axhline(twin_error, color="0.4", linestyle="--", linewidth=1.0, label="two references")
        axes.legend(frameon=False)
    _scale(axes)
    axes.set(
        xlabel="speed (simulated years per day)",
        ylabel=f"error online: {with_units(comparison.online_metric)}",
    )
    axes.set_axisbelow(True)
    axes.grid(color="0.92")
    axes.margins(x=0.35, y=0.25)
    return figure


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def _front(comparison: Comparison, usable: np.ndarray) -> list[int]:
    """Return packages, fastest first, of which no other is faster and better; those with crashed
    members are not on it.
    """
    whole = [all(m.summary.survived for m in r.members) for r in comparison.results]
    candidates = [int(k) for k in np.flatnonzero(usable & np.array(whole))]
    found: list[int] = []
    for k in sorted(candidates, key=lambda k: (-comparison.years_per_day[k], comparison.error[k])):
        if not found or comparison.error[k] < comparison.error[found[-1]]:
            found.append(k)
    return found


def region_figure(comparison: Comparison) -> Figure | None:
    """Draw the error of the mean state by latitude, a line per package; None where no package has
    it.
    """
    if not any(b is not None for b in comparison.bands):
        return None
    figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
    axes = figure.subplots()
    for result, bands, colour in zip(
        comparison.results, comparison.bands, colours(comparison), strict=True
    ):
        if bands is None:
            continue
        whole = all(m.summary.survived for m in result.members)
        middle = 0.5 * (bands.edges[1:] + bands.edges[:-1])
        label = result.label if whole else f"{result.label} (a member ended early)"
        axes.plot(
            middle,
            bands.error,
            marker="o",
            color=colour,
            linestyle="-" if whole else "--",
            markerfacecolor=colour if whole else "none",
            label=label,
        )
    variable = comparison.online_metric.split(".", 1)[1]
    units = units_of(comparison.online_metric)
    _scale(axes)
    axes.set(
        xlabel="latitude (degrees)",
        ylabel=f"zonal-mean error of {variable}" + (f" ({units})" if units else ""),
    )
    axes.set_xlim(-90.0, 90.0)
    axes.set_xticks(range(-90, 91, 30))
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure
