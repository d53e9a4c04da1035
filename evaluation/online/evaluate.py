"""Online evaluation of one run beside its reference: survival, growth of error, drift, bias, rain,
conservation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.beside import Beside
from climlink.evaluation.online.blocks import (
    REFERENCE,
    RUN,
    TWIN,
    Gaps,
    Progress,
    SideBySide,
    collect,
)
from climlink.evaluation.online.conservation import read_budgets, support_of_counters
from climlink.evaluation.online.fields import parts
from climlink.evaluation.online.history import (
    CADENCES,
    RunHistory,
    common_records,
    read_history,
    require_comparable,
    require_one_grid,
    shared_fields,
)
from climlink.evaluation.online.metrics import online_metrics
from climlink.evaluation.online.outcome import Outcome, read_outcome
from climlink.evaluation.online.plan import Cadences, plan_collectors, with_forecasts
from climlink.evaluation.online.sections import online_report
from climlink.evaluation.online.states import MonthlyGrowth
from climlink.evaluation.online.yardsticks import FAR_APART_D, saturated_spread, window_days
from climlink.evaluation.report import Exclusion, Report
from climlink.evaluation.summary import OnlineSummary


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
    independent: Sequence[Path] = (),
    from_day: float | None = None,
    planned_days: float | None = None,
    progress: Progress | None = None,
) -> OnlineEvaluation:
    """Evaluate a run of the embedded model or of E3SM beside a reference run, a twin of the
    reference for internal variability, and further references that began elsewhere
    (``independent``) for what that grows to.

    Means, maps and distributions leave out what lies before ``from_day``, counted from the start of
    what both have. ``planned_days`` is the length that the run was to have, where its folder does
    not say. A run that ended early, even before it wrote history, is a result.

    EvaluationError for a folder that is no run, for one that is still going on, and for runs that
    cannot be compared: other grids, other calendars, other units, no time or field in common.
    """
    beside = Beside(reference, twin, independent, from_day)
    theirs, twins = read_history(reference), None if twin is None else read_history(twin)
    further = [read_history(path) for path in independent]
    ours = _history_or_none(run)
    outcome = read_outcome(
        run, ours, planned_days=planned_days, fallback_days=theirs.end - theirs.start
    )
    excluded = [
        *_labelled("the reference", theirs),
        *([] if twins is None else _labelled("the twin", twins)),
        *(e for one in further for e in _labelled(f"the further reference {one.folder}", one)),
    ]
    if ours is None:
        excluded.append(
            Exclusion(
                "every comparison",
                f"{run} holds no record of history: the run ended before it wrote one",
            )
        )
        return _finish(run, beside, outcome, xr.Dataset(), 0.0, excluded)
    require_comparable(ours, theirs)
    if twins is not None:
        require_comparable(twins, theirs)
    for one in further:
        require_one_grid(one, theirs)
    excluded = [*_labelled("the run", ours), *excluded]
    start = max(ours.start, theirs.start)
    sides, more = _sides(ours, theirs, twins, start, from_day or 0.0)
    compared = min(ours.end, theirs.end) - start
    # What an error is held against must not depend on how long a run lived.
    window = max(FAR_APART_D, outcome.planned_days or np.inf)
    numbers, unmeasured = _measure(sides, further, compared, window, progress)
    budgets, cut = _budgets(run, outcome, start - ours.start + outcome.first_day)
    excluded += [*more, *unmeasured, *cut, *_beyond(ours, theirs)]
    if from_day is not None and from_day >= compared:
        why = (
            f"run and reference have {compared:g} days in common, and those before day "
            f"{from_day:g} are left out"
        )
        excluded.append(Exclusion("means, maps and distributions", why))
    numbers = xr.merge(
        [numbers, budgets], combine_attrs="override", join="outer", compat="no_conflicts"
    )
    return _finish(run, beside, outcome, numbers, compared, excluded)


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
    sides: Mapping[str, SideBySide],
    further: Sequence[RunHistory],
    length_d: float,
    window_d: float,
    progress: Progress | None,
) -> tuple[xr.Dataset, list[Exclusion]]:
    """Go through the history of each cadence, once for the climatology and once for everything
    else, and return all numbers, and what was left out of them.
    """
    used, excluded = Cadences.of(sides), list[Exclusion]()
    sides = with_forecasts(sides, used, window_d)
    plan = plan_collectors(sides, used, length_d, excluded)
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
    for cadence, names in used.growth().items():
        others = [h.streams[cadence] for h in further if cadence in h.streams]
        spread, why = saturated_spread(sides[cadence], names, others, window_d)
        found.append(spread)
        excluded += why
    merged = xr.merge(found, combine_attrs="drop_conflicts", join="outer", compat="no_conflicts")
    if "pair" in merged.coords:
        order = dict.fromkeys(p for s in sides.values() for p in s.pairs)
        merged = merged.sel(pair=[p for p in order if p in merged["pair"].values])
        days = max(window_days(side, window_d) for side in sides.values())
        merged["climatology_days"] = ((), np.round(days, 6), {"units": "days"})
    return merged, excluded


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


def _finish(
    run: Path,
    beside: Beside,
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
        reference=str(beside.reference),
        survived=outcome.survived,
        planned_days=outcome.planned_days,
        days=float(np.round(outcome.days, 6)),
        ended=outcome.ended,
        support=outcome.support or support_of_counters(numbers),
        compared_days=float(np.round(compared_days, 6)),
        years_per_day=outcome.years_per_day,
        metrics=online_metrics(numbers),
        excluded=[f"{e.what}: {e.why}" for e in excluded],
    )
    sources = {"run": str(run)} | beside.sources()
    return OnlineEvaluation(summary, numbers, tuple(excluded), sources, beside.command([str(run)]))
