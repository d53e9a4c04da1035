"""Online evaluation of one run beside its reference: survival, growth of error, drift, bias, rain,
conservation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.areas import (
    AREA_QUANTITIES,
    GLOBAL_MEANS,
    AreaStatistics,
    GlobalMeans,
)
from climlink.evaluation.online.blocks import (
    REFERENCE,
    RUN,
    TWIN,
    Collector,
    Gaps,
    Progress,
    SideBySide,
    collect,
)
from climlink.evaluation.online.conservation import Counters, HistoryBudget, read_budgets
from climlink.evaluation.online.fields import PROFILES, parts
from climlink.evaluation.online.history import (
    CADENCES,
    RunHistory,
    common_records,
    read_history,
    require_comparable,
    shared_fields,
)
from climlink.evaluation.online.metrics import online_metrics
from climlink.evaluation.online.outcome import Outcome, read_outcome
from climlink.evaluation.online.rain import Hovmoeller, RainBand, RainIntensity, RainMap
from climlink.evaluation.online.sections import online_report
from climlink.evaluation.online.states import (
    FirstPeriod,
    Growth,
    MeanState,
    MonthlyGrowth,
    Tropopause,
)
from climlink.evaluation.online.surfaces import surface_fractions
from climlink.evaluation.report import Exclusion, Report
from climlink.evaluation.summary import OnlineSummary

_PER_DAY = {"hourly": 24.0, "daily": 1.0}


@dataclass(frozen=True)
class OnlineEvaluation:
    """What a run did beside its reference: the summary that scripts read, all numbers, and what was
    left out of them.
    """

    summary: OnlineSummary
    numbers: xr.Dataset
    excluded: tuple[Exclusion, ...]
    sources: Mapping[str, str]
    command: str

    @cached_property
    def report(self) -> Report:
        """The report; its figures are drawn when it is asked for."""
        return online_report(self.summary, self.numbers, self.sources, self.command, self.excluded)


def evaluate_online(
    run: Path,
    reference: Path,
    *,
    twin: Path | None = None,
    from_day: float | None = None,
    planned_days: float | None = None,
    progress: Progress | None = None,
) -> OnlineEvaluation:
    """Evaluate a run of the embedded model or of E3SM beside a reference run, and a twin of the
    reference for internal variability.

    Means, maps and distributions leave out what lies before ``from_day``, counted from the start of
    what both have. ``planned_days`` is the length that the run was to have, where its folder does
    not say. A run that ended early, even before it wrote history, is a result.

    EvaluationError for a folder that is no run, for one that is still going on, and for runs that
    cannot be compared: other grids, other calendars, other units, no time or field in common.
    """
    theirs, twins = read_history(reference), None if twin is None else read_history(twin)
    ours = _history_or_none(run)
    outcome = read_outcome(
        run, ours, planned_days=planned_days, fallback_days=theirs.end - theirs.start
    )
    excluded = [
        *_labelled("the reference", theirs),
        *([] if twins is None else _labelled("the twin", twins)),
    ]
    if ours is None:
        excluded.append(
            Exclusion(
                "every comparison",
                f"{run} holds no record of history: the run ended before it wrote one",
            )
        )
        return _finish(run, reference, twin, from_day, outcome, xr.Dataset(), 0.0, excluded)
    require_comparable(ours, theirs)
    if twins is not None:
        require_comparable(twins, theirs)
    excluded = [*_labelled("the run", ours), *excluded]
    start = max(ours.start, theirs.start)
    numbers, more = _measure(ours, theirs, twins, start, from_day or 0.0, progress)
    budgets, cut = _budgets(run, outcome, start - ours.start + outcome.first_day)
    compared = min(ours.end, theirs.end) - start
    excluded += [*more, *cut, *_beyond(ours, theirs)]
    if from_day is not None and from_day >= compared:
        why = (
            f"run and reference have {compared:g} days in common, and those before day "
            f"{from_day:g} are left out"
        )
        excluded.append(Exclusion("means, maps and distributions", why))
    return _finish(
        run,
        reference,
        twin,
        from_day,
        outcome,
        xr.merge([numbers, budgets], combine_attrs="override", join="outer", compat="no_conflicts"),
        compared,
        excluded,
    )


def _history_or_none(run: Path) -> RunHistory | None:
    """Return the history of a run; None for a run of the embedded model that wrote none."""
    try:
        return read_history(run)
    except EvaluationError:
        if (run / "run.json").is_file():
            return None
        raise


def _labelled(whose: str, history: RunHistory) -> list[Exclusion]:
    return [Exclusion(f"{e.what} ({whose})", e.why) for e in history.excluded]


def _budgets(run: Path, outcome: Outcome, day_zero: float) -> tuple[xr.Dataset, list[Exclusion]]:
    """Return the run's own budgets from a day of the case on. Where an emulator feeds back, the
    host closes energy with the flux at the top and writes zero for what the emulator made: that is
    left out."""
    budgets, excluded = read_budgets(run, day_zero)
    untold = "budget_emulated_energy_residual_W_m2"
    if (
        outcome.package_sha256 is not None
        and untold in budgets
        and not budgets[untold].values.any()
    ):
        why = (
            "an emulator does not say what crosses the top of the atmosphere, so the host cannot "
            "tell it"
        )
        excluded.append(Exclusion("energy that the emulated part made", why))
        budgets = budgets.drop_vars(untold)
    return budgets, excluded


def _beyond(ours: RunHistory, theirs: RunHistory) -> list[Exclusion]:
    longer = ours.end - theirs.end
    if longer <= 0.5:
        return []
    return [Exclusion(f"the last {longer:g} days of the run", "the reference ends before")]


def _measure(
    ours: RunHistory,
    theirs: RunHistory,
    twins: RunHistory | None,
    start: float,
    from_day: float,
    progress: Progress | None,
) -> tuple[xr.Dataset, list[Exclusion]]:
    """Go once through the history of each cadence and return all numbers, and what was left out of
    them.
    """
    sides, excluded = _sides(ours, theirs, twins, start, from_day)
    length = min(ours.end, theirs.end) - start
    plan = plan_collectors(sides, length, excluded)
    if not any(plan.values()):
        have = {
            f"{m} ({c})": sorted(s.streams[m].fields)
            for c, s in sides.items()
            for m in (RUN, REFERENCE)
        }
        raise EvaluationError(
            "run and reference have neither a state on levels with PS nor precipitation in "
            f"common: {have}"
        )
    found = []
    for cadence, collectors in plan.items():
        gaps = Gaps()
        collect(sides[cadence], collectors, gaps, progress)
        found += [collector.result() for collector in collectors]
        excluded += gaps.exclusions(cadence)
        excluded += [e for c in collectors if isinstance(c, MonthlyGrowth) for e in c.excluded]
    return xr.merge(
        found, combine_attrs="drop_conflicts", join="outer", compat="no_conflicts"
    ), excluded


def _sides(
    ours: RunHistory, theirs: RunHistory, twins: RunHistory | None, start: float, from_day: float
) -> tuple[dict[str, SideBySide], list[Exclusion]]:
    sides: dict[str, SideBySide] = {}
    excluded = []
    for cadence in CADENCES:
        reference, run = theirs.streams.get(cadence), ours.streams.get(cadence)
        if reference is None or run is None:
            if reference is not run:
                lacks = "the run" if run is None else "the reference"
                excluded.append(Exclusion(f"{cadence} history", f"{lacks} has none"))
            continue
        if not len(common_records(run, reference)[0]):
            excluded.append(
                Exclusion(
                    f"{cadence} history", "run and reference have no record of one time in common"
                )
            )
            continue
        present = {REFERENCE: reference, RUN: run}
        twin = None if twins is None else twins.streams.get(cadence)
        excluded += shared_fields(run, reference)[1]
        if twin is not None:
            shared_fields(twin, reference)  # refuses other units
            present[TWIN] = twin
        elif twins is not None:
            excluded.append(Exclusion(f"{cadence} history of the twin", "it has none"))
        sides[cadence] = SideBySide(cadence, theirs.grid, present, start, from_day)
        if parts("PRECT", run.fields) == ("PRECC",):
            excluded.append(
                Exclusion(
                    f"PRECL ({cadence})",
                    "not on the tape: PRECC is taken as all precipitation, as in E3SM-MMF",
                )
            )
    return sides, excluded


def plan_collectors(
    sides: Mapping[str, SideBySide], length_d: float, excluded: list[Exclusion]
) -> dict[str, list[Collector]]:
    """Return what is collected from which cadence: the state from daily records (else hourly, else
    monthly), errors of months from monthly means (else from the state's records), rain from the
    finest records that have it. Adds to ``excluded`` what cannot be told."""
    plan: dict[str, list[Collector]] = {cadence: [] for cadence in sides}
    profiles = {c: [n for n in PROFILES if s.shared(n)] for c, s in sides.items() if s.shared("PS")}
    fine = next((c for c in ("daily", "hourly", "monthly") if profiles.get(c)), None)
    if fine is None:
        excluded.append(
            Exclusion("errors of the state", "run and reference share no field on levels with PS")
        )
    else:
        plan[fine] += _state_collectors(sides[fine], profiles[fine], length_d)
        coarse = "monthly" if profiles.get("monthly") else fine
        if coarse == "monthly":
            plan[coarse].append(Growth(profiles[coarse], _pairs(sides[coarse]), "monthly"))
        else:
            calendar = sides[fine].streams[REFERENCE].calendar
            plan[fine].append(
                MonthlyGrowth(profiles[fine], _pairs(sides[fine]), calendar, _PER_DAY[fine])
            )
        _add_areas(plan, sides, fine, coarse, length_d)
    rain = next(
        (c for c in ("hourly", "daily", "monthly") if c in sides and sides[c].shared("PRECT")), None
    )
    if rain is None:
        excluded.append(
            Exclusion("precipitation", "run and reference share neither PRECT nor PRECC")
        )
    else:
        surfaces, why = surface_fractions(sides)
        excluded += why
        side = sides[rain]
        plan[rain] += [RainMap(side), RainIntensity(side, surfaces), RainBand(side, length_d)]
        plan[rain].append(
            Hovmoeller(side, "PRECT", "precipitation", "mm/day", 86_400_000.0, length_d)
        )
        if side.shared("OLR"):
            plan[rain].append(Hovmoeller(side, "OLR", "olr", "W/m2", 1.0, length_d))
    for cadence, side in sides.items():
        counters = Counters(side, RUN)
        if counters.names and not any(
            isinstance(c, Counters) for members in plan.values() for c in members
        ):
            plan[cadence].append(counters)
    return plan


def _pairs(side: SideBySide) -> list[str]:
    return [member for member in side.streams if member != REFERENCE]


def _state_collectors(side: SideBySide, profiles: list[str], length_d: float) -> list[Collector]:
    pairs = _pairs(side)
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


def _add_areas(
    plan: dict[str, list[Collector]],
    sides: Mapping[str, SideBySide],
    fine: str,
    coarse: str,
    length_d: float,
) -> None:
    """Statistics of areas by month where there are monthly means of three months and more, else by
    day.
    """
    cadence = coarse if length_d >= 90.0 else fine
    side = sides[cadence]
    quantities = [q for q, needed in AREA_QUANTITIES.items() if all(side.shared(n) for n in needed)]
    if quantities:
        plan[cadence].append(AreaStatistics(side, quantities))


def _finish(
    run: Path,
    reference: Path,
    twin: Path | None,
    from_day: float | None,
    outcome: Outcome,
    numbers: xr.Dataset,
    compared_days: float,
    excluded: list[Exclusion],
) -> OnlineEvaluation:
    if outcome.note is not None:
        excluded = [*excluded, Exclusion("the planned length", outcome.note)]
    summary = OnlineSummary(
        run=str(run),
        name=outcome.name,
        host=outcome.host,
        package=outcome.package,
        package_sha256=outcome.package_sha256,
        reference=str(reference),
        survived=outcome.survived,
        planned_days=outcome.planned_days,
        days=float(np.round(outcome.days, 6)),
        ended=outcome.ended,
        compared_days=float(np.round(compared_days, 6)),
        years_per_day=outcome.years_per_day,
        metrics=online_metrics(numbers),
        excluded=[f"{e.what}: {e.why}" for e in excluded],
    )
    sources = {"run": str(run), "reference": str(reference)} | (
        {} if twin is None else {"twin of the reference": str(twin)}
    )
    if from_day:
        sources["days left out of means"] = f"before day {from_day:g}"
    command = f"climlink evaluate online {run} --reference {reference}" + (
        f" --twin {twin}" if twin else ""
    )
    command += f" --from-day {from_day:g}" if from_day else ""
    return OnlineEvaluation(summary, numbers, tuple(excluded), sources, command)
