"""Tables and figure of the study of hybrids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hybrid_numbers import SHOWN
from hybrid_parts import WARM, Study, read
from hybrid_plan import MEASURES, OFF, ON
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climlink.data.files import replacing
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.style import WIDTH_IN
from climlink.evaluation.survival import kaplan_meier
from climlink.wrappers.constraints.ranges import SUPPORT_HEATING_W_M2, SUPPORT_MASS

Result = dict[str, Any]
COLOURS = {ON: "#1f77b4", OFF: "#d62728"}
YARDSTICKS = {"climatology": "0.3", "persistence": "0.6", "twin": "#2ca02c"}
_HEADS = (
    "days lived",
    "T RMSE, K, day {days}",
    "q RMSE, g/kg, day {days}",
    "energy from nothing, W/m²",
    "flux at the top less reference, W/m²",
    "rain less reference, mm/day",
    "relaxation, W/m² / % of mass",
    "R² T / q, offline",
    "on visited columns",
)


def results(study: Study) -> list[Result]:
    """Return all results that are there, in the order of names and variants."""
    found = [read(p) for p in sorted((study.work / "results").glob("*/*.json"))]
    order = [ON, OFF, *(f"{ON}-{m}" for m in MEASURES), *(f"{OFF}+{m}" for m in MEASURES)]
    rank = {name: k for k, name in enumerate(order)}
    found.sort(key=lambda r: (r["package"], rank.get(r["variant"], len(rank))))
    return found


def best_of(study: Study) -> str:
    """Return the package that lived to the end with all measures and had the least error of T on
    the last day but those after day 30; EvaluationError where none lived.
    """
    day = str([d for d in study.days.asked() if d <= 30][-1])
    lived = [r for r in results(study) if r["variant"] == ON and r["outcome"] == "finished"]
    if not lived:
        raise EvaluationError(f"{study.work}: no hybrid with all measures lived to its end")
    best = min(lived, key=lambda r: float(r["errors"]["T"]["run"][day]))
    return str(best["package"])


def make_tables(study: Study) -> None:
    """Print and write the tables, and write the figure."""
    found, yardsticks = results(study), read(study.work / "yardsticks.json")
    text = "\n".join(_lines(study, found, yardsticks)) + "\n"
    print(text)
    with replacing(study.work / "tables.md") as beside:
        beside.write_text(text, encoding="utf-8")
    both = [r for r in found if r["variant"] in COLOURS]
    if both:
        _figure(study, both, yardsticks).savefig(study.work / "hybrids.png", dpi=150)


def _lines(study: Study, found: Sequence[Result], yardsticks: Result) -> list[str]:
    days = study.days.asked()
    lines = []
    for variant, title in ((ON, "All measures"), (OFF, "No measures, the same weights")):
        chosen = [r for r in found if r["variant"] == variant]
        if chosen:
            lines += [f"{title}: {distribution(chosen, study.days.hybrid)}", ""]
            lines += _table(days, [(r["package"], r) for r in chosen])
            if variant == ON:
                lines += _yardstick_rows(days, yardsticks)
            lines += [""]
    single = [r["package"] for r in found if {"-", "+"} & set(r["variant"])]
    for package in dict.fromkeys(single):
        chosen = [r for r in found if r["package"] == package and WARM not in r["variant"]]
        lines += [f"One by one, {package}", ""]
        lines += [*_table(days, [(r["variant"], r) for r in chosen]), ""]
    return [*lines, *_warm_lines(study, found)]


def distribution(found: Sequence[Result], asked: int) -> str:
    """Return in words how long hybrids lived, the dead counted with their days."""
    days = sorted(float(r["days"]) for r in found)
    lived = sum(r["outcome"] == "finished" for r in found)
    supported = sum(on_support(r) is True for r in found)
    text = f"{lived} of {len(days)} lived {asked} days"
    if lived < len(days):
        quarters = np.quantile(days, [0.0, 0.25, 0.5, 0.75])
        shown = ", ".join(f"{q:.3g}" for q in quarters)
        text += f" (days lived: least, quartile, median, quartile {shown})"
    return text + (f", {supported} of them on support" if supported else "")


def support_of(result: Result) -> tuple[float | None, float | None]:
    """Return heating by relaxation in W/m2 and the share of the mass that it touches: as the run's
    own record has them, else on the columns that the run visited; None where neither tells.
    """
    recorded, visited = result["support"], result["visited"]
    if recorded is not None:
        return recorded["heating_w_m2"], recorded["mass_share"]
    return visited.get("range_use.heating"), visited.get("range_use.mass")


def on_support(result: Result) -> bool | None:
    """Say whether relaxation held a run up; None where that is not told."""
    heating, share = support_of(result)
    if heating is None or share is None:
        return None
    return bool(heating > SUPPORT_HEATING_W_M2 or share > SUPPORT_MASS)


def _table(days: Sequence[int], rows: Sequence[tuple[str, Result]]) -> list[str]:
    heads = ["", *(h.format(days="/".join(map(str, days))) for h in _HEADS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for label, r in rows:
        died = "" if r["outcome"] == "finished" else ", died"
        support = ", on support" if on_support(r) else ""
        cells = [
            f"{r['days']:.3g}{died}{support}",
            *(_errors(r, name, "run", days) for name in SHOWN),
            _number(r["visited"].get("residual_bias.energy"), "+.2f"),
            *_balance(r),
            _support(r),
            *(_skill(r[where]) for where in ("offline", "visited")),
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _balance(result: Result) -> list[str]:
    return [
        _number(result["top_less_reference_w_m2"], "+.2f"),
        _number(result["rain_difference_mm_day"], "+.2f"),
    ]


def _support(result: Result) -> str:
    heating, share = support_of(result)
    percent = None if share is None else 100.0 * share
    return f"{_number(heating, '.2g')} / {_number(percent, '.2g')}"


def _skill(scored: Result) -> str:
    names = ("r2.ptend_t", "r2.ptend_q0001")
    return " / ".join(_number(scored.get(name), ".3f") for name in names)


def _yardstick_rows(days: Sequence[int], yardsticks: Result) -> list[str]:
    """Return the rows beneath the hybrids: the twin as a run, and what needs no model."""
    errors = yardsticks["errors"]
    rows = []
    for name in ("run", "climatology", "persistence"):
        label = {"run": "twin of the reference"}.get(name, name)
        own = name == "run"
        cells = [
            _number(yardsticks["days"], ".3g") if own else "",
            *(_errors(yardsticks, field, name, days) for field in SHOWN),
            "",
            *(_balance(yardsticks) if own else ["", ""]),
            *[""] * 3,
        ]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    spreads = [_number(errors[name].get("saturated"), ".3g") for name in SHOWN]
    rows.append(f"| independent states | | {' | '.join(spreads)} {'| ' * 6}|")
    return rows


def _errors(result: Result, name: str, pair: str, days: Sequence[int]) -> str:
    values = result["errors"].get(name, {}).get(pair, {})
    return " / ".join(_number(values.get(str(d)), ".3g") for d in days)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _warm_lines(study: Study, found: Sequence[Result]) -> list[str]:
    """Return what a warmer sea did to the reference and to hybrids: warming of the whole air at the
    end.
    """
    place = study.work / f"{WARM}_reference.json"
    if not place.exists():
        return []
    reference = read(place)
    lines = [
        "Warmer sea: the reference's air warms by "
        f"{_number(reference['temperature_drift_k'], '.2f')} K (by mass, last tenth of the days)",
        "",
        "| hybrid | days lived | warming, K | T RMSE to the warm reference, K, last day asked |",
        "|---|---|---|---|",
    ]
    at = {(r["package"], r["variant"]): r for r in found}
    for (package, variant), warm in at.items():
        plain = at.get((package, variant.removeprefix(f"{WARM}_")))
        if not variant.startswith(f"{WARM}_") or plain is None:
            continue
        parts = (reference, warm, plain)
        drifts = [p["temperature_drift_k"] for p in parts]
        warming = None if None in drifts else drifts[0] + drifts[1] - drifts[2]
        last = str(study.days.asked()[-1])
        error = warm["errors"].get("T", {}).get("run", {}).get(last)
        cells = [f"{warm['days']:.3g}", _number(warming, "+.2f"), _number(error, ".3g")]
        lines.append(f"| {package}, {variant} | {' | '.join(cells)} |")
    return [*lines, ""]


def _figure(study: Study, found: Sequence[Result], yardsticks: Result) -> Figure:
    """Return survival, and the error of T by day beside the yardsticks, with measures and
    without.
    """
    figure = Figure(figsize=(WIDTH_IN, 1.5 * WIDTH_IN), layout="constrained")
    survival, errors = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    labels = {ON: "all measures", OFF: "no measures"}
    for variant, colour in COLOURS.items():
        chosen = [r for r in found if r["variant"] == variant]
        if not chosen:
            continue
        days = np.array([float(r["days"]) for r in chosen])
        died = np.array([r["outcome"] != "finished" for r in chosen])
        curve = kaplan_meier(days, died)
        survival.step(
            [*curve.days, study.days.hybrid],
            [*curve.probability, curve.probability[-1]],
            where="post",
            color=colour,
            label=f"{labels[variant]} ({len(chosen)})",
        )
        for result in chosen:
            _series(errors, result["series"].get("T", []), colour, 0.9)
    for name, colour in YARDSTICKS.items():
        values = yardsticks["errors"]["T"].get("run" if name == "twin" else name, {})
        points = [(int(d), v) for d, v in values.items() if v is not None]
        errors.plot(*zip(*points, strict=True), "o--", color=colour, label=name)
    spread = yardsticks["errors"]["T"].get("saturated")
    if spread is not None:
        errors.axhline(spread, color="0.3", linestyle=":", label="independent states")
    survival.set_ylabel("share alive")
    survival.set_ylim(0.0, 1.05)
    errors.set_ylabel("RMSE of T (K)")
    errors.set_xlabel("days")
    errors.set_xlim(0.0, study.days.hybrid)
    errors.set_yscale("log")
    for axes in (survival, errors):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
    return figure


def _series(axes: Axes, values: Sequence[float | None], colour: str, width: float) -> None:
    """Draw an error by day up to where it ends."""
    shown = [np.nan if v is None else v for v in values]
    axes.plot(np.arange(1, len(shown) + 1), shown, color=colour, linewidth=width, alpha=0.8)
