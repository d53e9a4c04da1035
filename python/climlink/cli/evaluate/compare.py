"""climlink evaluate compare: would the offline number have told?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from climlink.cli.console import output, print_json, progress_bar


def register(app: typer.Typer) -> None:
    """Add the command of this file to a command line."""
    app.command("compare")(compare)


def compare(
    matrix: Annotated[
        Path, typer.Option(help="matrix file: packages, their runs, store, reference and twin")
    ],
    folder: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="folder for the report, and for the single evaluations that it uses again",
        ),
    ] = Path("runs/compare"),
    as_json: Annotated[
        bool, typer.Option("--json", help="print the summary as JSON and nothing else")
    ] = False,
) -> None:
    """Hold packages' offline scores against what their runs did: rank correlation, survival, speed,
    regions, and what is too little to say.

    Every package is scored and every run evaluated once; what has not changed since is read from
    the output folder. Crashed runs belong into the matrix: they count.

    Example: `climlink evaluate compare --matrix aquaplanet -o runs/compare`
    """
    from climlink.data.files import require_writable
    from climlink.evaluation.compare.evaluate import evaluate_compare
    from climlink.evaluation.report import write_report

    require_writable(folder)
    with progress_bar("evaluations", hidden=as_json) as bar:
        found = evaluate_compare(matrix, folder, progress=bar)
    page = write_report(found.report, folder)
    if as_json:
        print_json(found.summary.model_dump(mode="json"))
        return
    output.print(found.summary.words, highlight=False)
    output.print(f"Report: {page}")
