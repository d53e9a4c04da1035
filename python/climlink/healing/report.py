"""What a healing found: one row per package, the dead counted, as report, Markdown and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climlink.evaluation.compare.chances import survival_interval
from climlink.evaluation.figures.heal import HealCurve, heal_figure
from climlink.evaluation.report import Picture, Report, Section, Table
from climlink.evaluation.report.document import Cell
from climlink.healing.config import HealConfig
from climlink.healing.labels import Labels
from climlink.healing.scores import MemberScore, Numbers, OfflineScore

DEAD = "dead"
_T, _Q = "ptend_t", "ptend_q0001"
_SKILLS = ("test", "first_hybrid", "own_hybrid")
_UNITS = {"T": "K", "Q": "g/kg"}


@dataclass(frozen=True)
class RoundResult:
    """What one package of a healing did; ``arm`` is start, heal or control."""

    arm: str
    number: int
    package_sha256: str
    labels: tuple[Labels, ...]
    members: tuple[MemberScore, ...]
    offline: OfflineScore

    @property
    def survived(self) -> int:
        """Members that lived all days."""
        return sum(m.survived for m in self.members)

    @property
    def mean_days(self) -> float:
        """Mean of the days that its members lived; those that lived to the end count with these."""
        return float(np.mean([m.days_lived for m in self.members]))

    def error(self, name: str, position: int) -> float:
        """Return the median error of a field on the chosen day at a position: a dead member is
        worse than every living one, so infinity where the half is dead.
        """
        values = [m.rmse[name][position] for m in self.members]
        ranked = sorted(math.inf if v is None else v for v in values)
        # The upper of two middle members: a mean with a dead one is not a number.
        return ranked[len(ranked) // 2]

    @property
    def energy_drift(self) -> float | None:
        """Median of the members' drift of energy over the days that each lived, W/m2."""
        known = [m.energy_drift_w_m2 for m in self.members if m.energy_drift_w_m2 is not None]
        return float(np.median(known)) if known else None

    def r2(self, where: str, output: str) -> float | None:
        """Return an offline R²; ``where`` is test, first_hybrid or own_hybrid."""
        found: Numbers | None = getattr(self.offline, where)
        return None if found is None else found.get(output)


@dataclass(frozen=True)
class Healed:
    """What a healing found so far."""

    config: HealConfig
    folder: Path
    results: tuple[RoundResult, ...]

    def summary(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return {
            "kind": "heal",
            "settings": self.config.model_dump(mode="json"),
            "results": [
                {
                    "arm": r.arm,
                    "round": r.number,
                    "package_sha256": r.package_sha256,
                    "survived": r.survived,
                    "mean_days": r.mean_days,
                    "labels": [{**asdict(one), "store": str(one.store)} for one in r.labels],
                    "members": [m.model_dump(mode="json") for m in r.members],
                    "offline": r.offline.model_dump(mode="json"),
                }
                for r in self.results
            ],
        }

    def climatology(self, name: str, position: int) -> float | None:
        """Return the error of the reference's climatology on a chosen day, told by any run."""
        found = (m.climatology[name][position] for r in self.results for m in r.members)
        return next((v for v in found if v is not None), None)


def heal_report(healed: Healed, command: str) -> Report:
    """Return the report: a figure, a row per package, a row per run, all numbers."""
    packages, runs = _packages(healed), _runs(healed)
    shown = _shown_day(healed)
    day = healed.config.scored_days[shown]
    picture = Picture(
        "heal",
        heal_figure(
            list(_curves(healed, shown)),
            healed.config.days,
            day,
            {n: healed.climatology(n, shown) for n in _UNITS},
        ),
        f"By round, the healed packages beside the control, which is trained as many steps on the "
        f"original data alone. Dots: runs; errors on day {day}, crosses on the upper edge where "
        "half of the runs were dead by then. Offline: full lines on the original test times, "
        "dashed on held-out states of the first hybrids.",
    )
    text = (
        "Days lived never stand alone: beside them the errors, and those of the reference's "
        "climatology. A dead run is worse than every living one in every median."
    )
    return Report(
        title="Healing",
        words=_words(healed),
        sections=[Section("Rounds", text, [picture], [packages]), Section("Runs", "", [], [runs])],
        summary=healed.summary(),
        numbers=_numbers(healed),
        command=command,
        sources={"folder": str(healed.folder)},
    )


def markdown(healed: Healed) -> str:
    """Return the row of every package as a Markdown table."""
    days = healed.config.scored_days
    at = "/".join(map(str, days))
    head = ["", "lived", "days", *(f"{n} RMSE, {u}, day {at}" for n, u in _UNITS.items())]
    head += ["energy, W/m2", "R² T/q, test", "R² T/q, first hybrids", "R² T/q, own hybrids"]
    rows = [_markdown_row(r, len(days)) for r in healed.results]
    forecast = [_joined([healed.climatology(n, k) for k in range(len(days))]) for n in _UNITS]
    rows.append(["climatology", "", "", *forecast, "", "", "", ""])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _markdown_row(r: RoundResult, n_day: int) -> list[str]:
    skills = [_joined([r.r2(where, output) for output in (_T, _Q)]) for where in _SKILLS]
    return [
        _label(r),
        f"{r.survived} of {len(r.members)}",
        ", ".join(f"{m.days_lived:g}" for m in r.members),
        *(_joined([r.error(n, k) for k in range(n_day)]) for n in _UNITS),
        _told(r.energy_drift),
        *skills,
    ]


def _joined(values: Sequence[float | None]) -> str:
    return "/".join(map(_told, values))


def _told(value: float | None) -> str:
    if value is None:
        return "–"
    return DEAD if math.isinf(value) else f"{value:.2f}"


def _label(r: RoundResult) -> str:
    return r.arm if r.number == 0 else f"{r.arm} {r.number}"


def _words(healed: Healed) -> str:
    """Return what happened, in a paragraph."""

    def lived(r: RoundResult) -> str:
        days = ", ".join(f"{m.days_lived:g}" for m in r.members)
        return f"{_label(r)} lived {days} of {healed.config.days:g} days"

    newest = max(r.number for r in healed.results)
    shown = [r for r in healed.results if r.number in (0, newest)]
    done = f"After {newest} of {healed.config.rounds} rounds: "
    return done + "; ".join(map(lived, shown)) + "."


def _packages(healed: Healed) -> Table:
    rs = healed.results
    intervals = [survival_interval(r.survived, len(r.members)) for r in rs]
    columns: dict[str, Sequence[Cell]] = {
        "arm": [r.arm for r in rs],
        "round": [r.number for r in rs],
        "states to learn from": [sum(one.train for one in r.labels) for r in rs],
        "members": [len(r.members) for r in rs],
        "lived": [r.survived for r in rs],
        "lived, low": [low for low, _ in intervals],
        "lived, high": [high for _, high in intervals],
        "mean days": [r.mean_days for r in rs],
    }
    units = {"mean days": "days"}
    for name, unit in _UNITS.items():
        for position, day in enumerate(healed.config.scored_days):
            key = f"{name} RMSE, day {day}"
            errors = [r.error(name, position) for r in rs]
            columns[key] = [DEAD if math.isinf(e) else e for e in errors]
            units[key] = unit
    columns["energy drift"] = [r.energy_drift for r in rs]
    units["energy drift"] = "W/m2"
    for where in _SKILLS:
        for output in (_T, _Q):
            key = f"R² {output}, {where.replace('_', ' ')}"
            columns[key] = [r.r2(where, output) for r in rs]
    title = "Packages: medians over runs; the interval of the chance to live is exact, 95 %"
    return Table("packages", title, columns, units)


def _runs(healed: Healed) -> Table:
    rows = [(r, k, m) for r in healed.results for k, m in enumerate(r.members)]
    columns: dict[str, Sequence[Cell]] = {
        "arm": [r.arm for r, _, _ in rows],
        "round": [r.number for r, _, _ in rows],
        "member": [k + 1 for _, k, _ in rows],
        "days lived": [m.days_lived for _, _, m in rows],
        "T better than climatology until day": [m.skilful_days["T"] for _, _, m in rows],
        "q better than climatology until day": [m.skilful_days["Q"] for _, _, m in rows],
        "energy drift": [m.energy_drift_w_m2 for _, _, m in rows],
        "ended early": [m.ended for _, _, m in rows],
        "states to learn from": [r.labels[k].train for r, k, _ in rows],
        "held out": [r.labels[k].held_out for r, k, _ in rows],
        "left out: hotter or colder": [r.labels[k].hotter_or_colder for r, k, _ in rows],
        "left out: not plausible": [r.labels[k].not_plausible for r, k, _ in rows],
        "left out: before death": [r.labels[k].before_death for r, k, _ in rows],
    }
    return Table("runs", "Hybrid runs", columns, {"energy drift": "W/m2"})


def _numbers(healed: Healed) -> xr.Dataset:
    rs = healed.results
    values: dict[str, Any] = {
        "days_lived": (
            ("package", "member"),
            [[m.days_lived for m in r.members] for r in rs],
            {"units": "days"},
        )
    }
    for name, unit in _UNITS.items():
        values[f"rmse_{name}"] = (
            ("package", "member", "day"),
            np.array([[m.rmse[name] for m in r.members] for r in rs], dtype=np.float64),
            {"units": unit},
        )
    return xr.Dataset(
        values, coords={"package": [_label(r) for r in rs], "day": healed.config.scored_days}
    )


def _shown_day(healed: Healed) -> int:
    """Return the position of the last chosen day that most packages reached, else of the first."""
    reached = [
        sum(math.isfinite(r.error("T", k)) for r in healed.results) * 2 > len(healed.results)
        for k in range(len(healed.config.scored_days))
    ]
    return max((k for k, most in enumerate(reached) if most), default=0)


def _curves(healed: Healed, position: int) -> Iterator[HealCurve]:
    """Yield the curve of each arm; both begin with the package as it came."""
    arms = dict.fromkeys(r.arm for r in healed.results if r.number > 0)
    for arm in arms or ("start",):
        rs = [r for r in healed.results if r.number == 0 or r.arm == arm]
        yield HealCurve(
            label=arm,
            rounds=[r.number for r in rs],
            days=[[m.days_lived for m in r.members] for r in rs],
            errors={n: [r.error(n, position) for r in rs] for n in _UNITS},
            r2_test=[r.r2("test", _T) for r in rs],
            r2_hybrid=[r.r2("first_hybrid", _T) for r in rs],
        )
