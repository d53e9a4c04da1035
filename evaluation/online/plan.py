"""What is collected from which cadence of history, and what it is held against there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from climlink.evaluation.online.areas import (
    AREA_QUANTITIES,
    GLOBAL_MEANS,
    AreaStatistics,
    GlobalMeans,
)
from climlink.evaluation.online.blocks import REFERENCE, RUN, Collector, SideBySide
from climlink.evaluation.online.conservation import Counters, HistoryBudget
from climlink.evaluation.online.fields import PROFILES
from climlink.evaluation.online.rain import Hovmoeller, RainBand, RainIntensity, RainMap
from climlink.evaluation.online.states import (
    FirstPeriod,
    Growth,
    MeanState,
    MonthlyGrowth,
    Tropopause,
)
from climlink.evaluation.online.surfaces import surface_fractions
from climlink.evaluation.online.yardsticks import forecasts
from climlink.evaluation.report import Exclusion

_PER_DAY = {"hourly": 24.0, "daily": 1.0}


@dataclass(frozen=True)
class Cadences:
    """The cadences that are used: of the state (``fine``: daily, else hourly, else monthly), of
    errors of months (``coarse``: monthly, else as the state), of rain (the finest); None where
    nothing is shared. ``profiles`` are the fields on levels that are shared in each.
    """

    fine: str | None
    coarse: str | None
    rain: str | None
    profiles: Mapping[str, list[str]]

    @classmethod
    def of(cls, sides: Mapping[str, SideBySide]) -> Cadences:
        """Return the cadences that are used of those that there are."""
        profiles = {
            c: [n for n in PROFILES if s.shared(n)] for c, s in sides.items() if s.shared("PS")
        }
        fine = next((c for c in ("daily", "hourly", "monthly") if profiles.get(c)), None)
        rain = next((c for c in ("hourly", "daily", "monthly") if _has_rain(sides, c)), None)
        return cls(fine, "monthly" if profiles.get("monthly") else fine, rain, profiles)

    def growth(self) -> dict[str, list[str]]:
        """Return the cadences of whose records errors are told, with their fields on levels."""
        used = dict.fromkeys(c for c in (self.fine, self.coarse) if c is not None)
        return {cadence: self.profiles[cadence] for cadence in used}


def _has_rain(sides: Mapping[str, SideBySide], cadence: str) -> bool:
    return cadence in sides and sides[cadence].shared("PRECT")


def with_forecasts(
    sides: Mapping[str, SideBySide], used: Cadences, days: float
) -> dict[str, SideBySide]:
    """Return the sides with climatology and persistence of what errors are told of, the climatology
    over ``days`` from the first compared one on.
    """
    growth, found = used.growth(), {}
    for cadence, side in sides.items():
        names = [*growth.get(cadence, []), *(["PRECT"] if cadence == used.rain else [])]
        found[cadence] = replace(side, forecasts=forecasts(side, names, days)) if names else side
    return found


def plan_collectors(
    sides: Mapping[str, SideBySide], used: Cadences, length_d: float, excluded: list[Exclusion]
) -> dict[str, list[Collector]]:
    """Return what is collected from each cadence. Adds to ``excluded`` what cannot be told."""
    plan: dict[str, list[Collector]] = {cadence: [] for cadence in sides}
    if used.fine is None:
        excluded.append(
            Exclusion("errors of the state", "run and reference share no field on levels with PS")
        )
    else:
        _add_state(plan, sides, used, length_d)
    if used.rain is None:
        excluded.append(
            Exclusion("precipitation", "run and reference share neither PRECT nor PRECC")
        )
    else:
        surfaces, why = surface_fractions(sides)
        excluded += why
        side = sides[used.rain]
        plan[used.rain] += [RainMap(side), RainIntensity(side, surfaces), RainBand(side, length_d)]
        plan[used.rain].append(
            Hovmoeller(side, "PRECT", "precipitation", "mm/day", 86_400_000.0, length_d)
        )
        if side.shared("OLR"):
            plan[used.rain].append(Hovmoeller(side, "OLR", "olr", "W/m2", 1.0, length_d))
    for cadence, side in sides.items():
        counters = Counters(side, RUN)
        if counters.names and not any(
            isinstance(c, Counters) for members in plan.values() for c in members
        ):
            plan[cadence].append(counters)
    return plan


def _add_state(
    plan: dict[str, list[Collector]],
    sides: Mapping[str, SideBySide],
    used: Cadences,
    length_d: float,
) -> None:
    """Errors of the state; of months from monthly means, else from the state's records. Statistics
    of areas by month where there are monthly means of three months and more, else by day.
    """
    assert used.fine is not None
    assert used.coarse is not None
    fine, profiles = sides[used.fine], used.profiles[used.fine]
    plan[used.fine] += _state_collectors(fine, profiles)
    if used.coarse == "monthly":
        coarse = sides["monthly"]
        plan["monthly"].append(Growth(used.profiles["monthly"], coarse.pairs, "monthly"))
    else:
        calendar, per_day = fine.streams[REFERENCE].calendar, _PER_DAY[used.fine]
        plan[used.fine].append(MonthlyGrowth(profiles, fine.pairs, calendar, per_day))
    cadence = used.coarse if length_d >= 90.0 else used.fine
    side = sides[cadence]
    quantities = [q for q, needed in AREA_QUANTITIES.items() if all(side.shared(n) for n in needed)]
    if quantities:
        plan[cadence].append(AreaStatistics(side, quantities))


def _state_collectors(side: SideBySide, profiles: list[str]) -> list[Collector]:
    pairs = side.pairs
    collectors: list[Collector] = [
        MeanState(profiles, pairs, side.grid),
        FirstPeriod(profiles, pairs),
    ]
    if side.cadence != "monthly":
        collectors.append(Growth(profiles, pairs, side.cadence))
    if side.shared("T") and side.shared("Q") and len(side.grid.hyam) >= 3:
        collectors.append(Tropopause(side.grid))
    quantities = [q for q, needed in GLOBAL_MEANS.items() if all(side.shared(n) for n in needed)]
    if quantities:
        collectors.append(GlobalMeans(side, quantities))
    budget = HistoryBudget(side)
    if budget.names:
        collectors.append(budget)
    return collectors
