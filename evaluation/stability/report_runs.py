"""What the report of the stability screen says of its runs: semi-online replay and free runs."""

from __future__ import annotations

from collections.abc import Sequence

from climlink.evaluation.figures.free_run import free_run_figure
from climlink.evaluation.figures.stability import replay_figure
from climlink.evaluation.report import Picture, Section, Table
from climlink.evaluation.report.document import Cell
from climlink.evaluation.stability.dynamics import Array
from climlink.evaluation.stability.findings import StabilityFindings
from climlink.evaluation.stability.free_run import KINDS, FreeRun, FreeRuns, Place
from climlink.evaluation.stability.modes import in_hpa
from climlink.evaluation.stability.states import reference_pressure_hpa
from climlink.evaluation.stability.summary import StabilitySummary
from climlink.evaluation.summary import finite_or_none

_KIND_WORDS = {
    KINDS[0]: "the emulator alone, without dynamics",
    KINDS[1]: "with the recorded dynamics",
}


def replay_words(findings: StabilityFindings) -> str:
    """Return a sentence about the semi-online replay."""
    if not findings.replays:
        return " There are no consecutive steps to replay."
    free, none = findings.replays["emulator"], findings.replays["no physics"]
    if free.ended is not None:
        return (
            f" Semi-online, left to itself, it ended after {free.steps} of "
            f"{len(findings.record_stamps) - 1} steps: {free.ended}."
        )
    text = (
        f" Semi-online, over {free.steps} step{'s' if free.steps > 1 else ''}, its error in T "
        f"reaches {free.rmse['state_t'][-1]:.3g} K"
    )
    beside = (
        f"{none.rmse['state_t'][-1]:.3g} K"
        if none.ended is None
        else f"ended after {none.steps} steps"
    )
    return f"{text} (no physics at all: {beside})."


def free_run_words(findings: StabilityFindings, summary: StabilitySummary) -> str:
    """Return sentences about the decisive free run, temperature above 100 hPa by the emulator
    alone, and what frozen limits say.
    """
    if not findings.free_runs:
        return ""
    pressure = reference_pressure_hpa(findings.store)
    first = findings.free_runs[0]
    text = (
        f" Left to {_KIND_WORDS[first.kind]}, {first.part.title} {_fate(first.emulator, pressure)}"
    )
    if first.reference is not None:
        text += f" ({first.reference_is}: {_fate(first.reference, pressure)})"
    return f"{text}. {call_words(summary)}"


def call_words(summary: StabilitySummary) -> str:
    """Return what frozen limits say of the free runs."""
    why = "; ".join(summary.free_run_reasons)
    return f"Free runs: {summary.free_run_call}{f' ({why})' if why else ''}."


def _fate(run: FreeRun, pressure_hpa: Array) -> str:
    """Return in words how far a run went and how long it lived."""
    farthest = run.extreme
    reached = (
        f"goes as far as {farthest.value:.0f} K at {in_hpa(pressure_hpa[farthest.level])} on day "
        f"{farthest.day:.3g}"
    )
    if run.first_out is not None:
        reached += (
            f", first leaves its training range on day {run.first_out.day:.3g} at "
            f"{in_hpa(pressure_hpa[run.first_out.level])}"
        )
    if run.ended is not None:
        return f"{reached}, and ends on day {run.lived_days:.3g} of {run.planned_days:g}"
    return f"{reached}, and is there after all {run.lived_days:g} days"


def free_run_section(findings: StabilityFindings, summary: StabilitySummary) -> Section:
    """Return the section of the free runs."""
    pressure = reference_pressure_hpa(findings.store)
    sun = "the sun moves with the clock" if findings.sun_moves else "the sun stands still"
    text = (
        "Columns that the emulator moves by itself, one part of the column at a time; all else is "
        f"held. Without dynamics {sun} and all other inputs are those of the recorded state; with "
        "recorded dynamics all is as recorded. What stands for the reference physics is, without "
        "dynamics, heating fitted linearly to temperature and sun in the recorded tendencies "
        "(above 100 hPa only), and with them the record itself. Growth per day is that of what "
        "temperature changes by from day to day (its departure from the record, where there is "
        "one), over the second half of the run. A value is outside where it is beyond its training "
        f"range by more than {100.0 * findings.range_margin:g} % of the range's width; values that "
        "began outside do not count. A run ends where a column leaves 100 to 400 K. "
        "Below 100 hPa and without dynamics nothing brings back what dynamics and surface give: "
        f"such a run compares packages and is no forecast. {call_words(summary)}"
    )
    pictures = [
        Picture(
            f"free_run_{kind}",
            free_run_figure(runs, findings.bounds, pressure),
            f"Hottest and coldest temperature of the columns by day, {_KIND_WORDS[kind]}, and the "
            "extremes of the whole run by level. Grey: the training range with its margin. Dashed: "
            "what stands for the reference physics.",
        )
        for kind in KINDS
        if (runs := [one for one in findings.free_runs if one.kind == kind])
    ]
    return Section("Free runs", text, pictures, [_free_run_table(findings.free_runs, pressure)])


def _free_run_table(runs: Sequence[FreeRuns], pressure_hpa: Array) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in runs:
        for source, run in (("emulator", one.emulator), (one.reference_is, one.reference)):
            if run is not None:
                label = (_KIND_WORDS[one.kind], one.part.title, source)
                rows.append((*label, *_free_run_cells(run, pressure_hpa)))
    return Table(
        "free_runs",
        "How far free columns go",
        dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)),
        {"growth": "1/day", "hottest": "K", "coldest": "K", "at": "hPa", "farthest at": "hPa"},
    )


_COLUMNS = (
    "run",
    "what moves",
    "tendencies",
    "days",
    "growth",
    "hottest",
    "coldest",
    "farthest at",
    "day of the farthest",
    "first out of range",
    "at",
    "on day",
    "columns outside at the end",
    "values outside at the start",
    "ended early",
)


def _free_run_cells(run: FreeRun, pressure_hpa: Array) -> tuple[Cell, ...]:
    told = run.measures()
    out: Place | None = run.first_out
    return (
        run.lived_days,
        finite_or_none(run.growth),
        told["hottest_k"],
        told["coldest_k"],
        float(pressure_hpa[run.extreme.level]),
        run.extreme.day,
        None if out is None else f"{out.field} {out.value:.4g}",
        None if out is None else float(pressure_hpa[out.level]),
        None if out is None else out.day,
        finite_or_none(told["outside_share"]),
        run.began_outside,
        run.ended or "no",
    )


def replay_section(findings: StabilityFindings) -> Section:
    """Return the section of the semi-online replay."""
    replays = findings.replays
    stamps = findings.record_stamps
    pressure = reference_pressure_hpa(findings.store)
    table = Table(
        "semi_online",
        "Errors at the end of the replay",
        {
            "replay": list(replays),
            "steps": [one.steps for one in replays.values()],
            "hours": [float(one.hours[-1]) for one in replays.values()],
            "RMSE of T": [float(one.rmse["state_t"][-1]) for one in replays.values()],
            "RMSE of q": [1e3 * float(one.rmse["state_q0001"][-1]) for one in replays.values()],
            "RMSE of u": [float(one.rmse["state_u"][-1]) for one in replays.values()],
            "water set to zero": [one.clipped for one in replays.values()],
            "ended early": [one.ended or "no" for one in replays.values()],
        },
        {
            "hours": "h",
            "RMSE of T": "K",
            "RMSE of q": "g/kg",
            "RMSE of u": "m/s",
            "water set to zero": "values",
        },
    )
    text = (
        f"{len(stamps)} consecutive recorded states, {stamps[0]} to {stamps[-1]}: "
        f"{len(stamps) - 1} step(s) to take. The state is advanced with the emulator's tendencies "
        "and the dynamics of the record, so nothing feeds back through dynamics. The nudged "
        f"replay is drawn to the record with a time scale of {findings.nudging_hours:g} hours."
    )
    caption = (
        "Mass-weighted error of the replayed state against the record, and the error by level."
    )
    return Section(
        "Semi-online replay",
        text,
        [Picture("semi_online_error", replay_figure(replays, pressure), caption)],
        [table],
    )
