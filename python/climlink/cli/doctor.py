"""climlink doctor: what this machine has and lacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from climlink.cli.console import output, print_json


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Show what this machine has and lacks, and what each lack would stop; exit code 1 where the
    basics do not work.

    The basics: climlink's compiled runtime, torch, netCDF, and a folder for temporary files. MPI,
    compilers and a GPU are not among them.

    Example: `climlink doctor`
    """
    from climlink.doctor import examine, works

    findings = examine()
    if as_json:
        print_json(
            {
                "works": works(findings),
                "findings": [{**asdict(f), "lacks": f.lacks} for f in findings],
            }
        )
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for f in findings:
            mark = (
                "ok" if not f.lacks else "[bold red]needed[/]" if f.needed else "[yellow]lacks[/]"
            )
            text = escape(f.found or f"{f.problem}; stops {f.stops}")
            table.add_row(mark, f"{f.group}: {f.name}" if f.group != f.name else f.name, text)
        output.print(table, highlight=False)
    if not works(findings):
        raise typer.Exit(1)
