"""climlink evaluate offline: how good packages are on a store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from climlink.cli.console import output, print_json, progress_bar
from climlink.cli.evaluate.axis import PressureAxis

if TYPE_CHECKING:
    from climlink.evaluation.offline.evaluate import OfflineEvaluation


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("offline")(offline)


def offline(
    packages: Annotated[
        list[Path], typer.Argument(metavar="PACKAGE...", help="one or more wrap_model.pt")
    ],
    data: Annotated[Path, typer.Option("--data", help="store made by `climlink data prepare`")],
    folder: Annotated[
        Path, typer.Option("--output", "-o", help="folder to write the report to")
    ] = Path("runs/evaluation/offline"),
    split: Annotated[
        str, typer.Option(help="which part of the store: test, later, validation or train")
    ] = "test",
    pinned: Annotated[
        list[str] | None,
        typer.Option(
            "--pinned-sha256",
            help="digest that the package must have; once per package, in their order",
        ),
    ] = None,
    pressure_axis: PressureAxis = "log",
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Score packages on a store and write a report with figures and tables.

    With several packages FOLDER holds their common report, and the folder of each package's name in
    it that package's own.

    Example: `climlink evaluate offline wrap_model.pt --data climsim.zarr --output report`

    Example: `climlink evaluate offline seed_*.pt --data climsim.zarr --split validation --json`
    """
    import climlink
    from climlink.data.files import require_writable
    from climlink.evaluation.figures.style import pressure_scale
    from climlink.evaluation.offline.packages import combined_report, package_labels
    from climlink.evaluation.report import write_report

    if pinned and len(pinned) != len(packages):
        raise typer.BadParameter(
            f"{len(pinned)} digests for {len(packages)} packages; give one for each",
            param_hint="--pinned-sha256",
        )
    require_writable(folder)
    found = []
    store = climlink.Store.open(data)
    for number, package in enumerate(packages):
        bar_title = f"{number + 1}/{len(packages)}"
        with progress_bar(bar_title, hidden=as_json) as bar, pressure_scale(pressure_axis):
            opened = climlink.open(package, pinned[number] if pinned else None)
            found.append(climlink.evaluate(opened, store, split=split, progress=bar))
    report = found[0].report
    if len(found) > 1:
        with pressure_scale(pressure_axis):
            report = combined_report(found, shlex.join(["climlink", *sys.argv[1:]]))
        for label, one in zip(package_labels(found), found, strict=True):
            write_report(one.report, folder / label)
    page = write_report(report, folder)
    if as_json:
        print_json(report.summary)
    else:
        output.print(report.words)
        _show(found)
        output.print(f"report: {page}")


def _show(found: list[OfflineEvaluation]) -> None:
    table = Table(
        "output", *(e.summary.package.name for e in found), title="R²", title_justify="left"
    )
    for name in found[0].result.outputs.names:
        values = [e.summary.metrics.get(f"r2.{name}") for e in found]
        table.add_row(name, *("-" if v is None else f"{v:.4f}" for v in values))
    output.print(table)
