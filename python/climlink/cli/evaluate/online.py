"""climlink evaluate online: runs beside a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climlink.cli.console import output, print_json, progress_bar
from climlink.cli.evaluate.axis import PressureAxis

if TYPE_CHECKING:
    from climlink.evaluation.report import Report

_DEFAULT = "evaluation_online"


def register(app: typer.Typer) -> None:
    """Add the command of this file to the group."""
    app.command("online")(online)


def online(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="run folders of the embedded model or of E3SM"),
    ],
    reference: Annotated[
        Path, typer.Option(help="run folder of the reference, made by the model's own physics")
    ],
    twin: Annotated[
        Path | None,
        typer.Option(help="a second reference: what it differs by is internal variability"),
    ] = None,
    independent: Annotated[
        list[Path] | None,
        typer.Option(
            help="a further reference of the same dates that began elsewhere, once for each: what "
            "it differs by is what internal variability grows to"
        ),
    ] = None,
    from_day: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="means and distributions from this day on, counted from the common start"
        ),
    ] = None,
    planned_days: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="days that the runs were to have, where their folders do not say"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help=f"folder of the report; default: {_DEFAULT} in the first run's folder",
        ),
    ] = None,
    pressure_axis: PressureAxis = "log",
    as_json: Annotated[
        bool, typer.Option("--json", help="print the summary as JSON, and nothing else")
    ] = False,
) -> None:
    """Say what runs did beside a reference: survival and skill, growth of error, drift, bias, rain,
    conservation; a report with all its numbers.

    Every error stands beside those of climatology and persistence, and beside how far apart
    independent states of the reference are.

    One run gives one report; several give one of all, and each its own in a folder below.

    Example: `climlink evaluate online runs/hybrid --reference runs/truth --twin runs/twin -o
    runs/hybrid_report`
    """
    from climlink.data.files import require_writable
    from climlink.evaluation.figures.style import pressure_scale
    from climlink.evaluation.online.ensemble import evaluate_ensemble
    from climlink.evaluation.online.evaluate import evaluate_online
    from climlink.evaluation.report import write_report

    folder = out or runs[0] / _DEFAULT
    require_writable(folder)
    reports: dict[Path, Report]
    with progress_bar("online", hidden=as_json) as bar, pressure_scale(pressure_axis):
        if len(runs) == 1:
            one = evaluate_online(
                runs[0],
                reference,
                twin=twin,
                independent=independent or (),
                from_day=from_day,
                planned_days=planned_days,
                progress=bar,
            )
            reports, report = {folder: one.report}, one.report
        else:
            many = evaluate_ensemble(
                runs,
                reference,
                twin=twin,
                independent=independent or (),
                from_day=from_day,
                planned_days=planned_days,
                progress=bar,
            )
            reports = {folder: many.report} | {
                folder / label: member.report for label, member in many.members.items()
            }
            report = many.report
        for number, (place, made) in enumerate(reports.items(), 1):
            bar(number, len(reports), "reports")
            page = write_report(made, place)
            if place == folder:
                shown = page
    if as_json:
        print_json(dict(report.summary))
        return
    output.print(report.words, highlight=False, markup=False)
    for one_excluded in report.excluded:
        output.print(
            f"left out: {one_excluded.what}: {one_excluded.why}", highlight=False, markup=False
        )
    output.print(f"report: {shown}", highlight=False, markup=False)
