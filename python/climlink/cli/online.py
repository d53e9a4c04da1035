"""climlink online run: a case in a host model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from climlink.cli.console import output, progress_bar


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(help="Run a package inside a host model.", no_args_is_help=True)
    group.command("run")(run)
    group.callback()(_group)
    app.add_typer(group, name="online")


def _group() -> None:
    """Run a package inside a host model."""


def run(
    case: Annotated[Path, typer.Argument(help="case file, such as sim_configs/cases/replay.yaml")],
    package: Annotated[Path | None, typer.Option(help="wrap_model.pt instead of the case's")] = None,
    data: Annotated[Path | None, typer.Option(help="data folder instead of the case's")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="run folder instead of the case's")] = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="MPI ranks")] = None,
    pcols: Annotated[int | None, typer.Option(min=1, help="columns per chunk")] = None,
) -> None:
    """Run a case to its end; output, log, namelist and a record of versions and digests stay in the run folder.

    Example: `climlink online run sim_configs/cases/replay.yaml --ranks 2`
    """
    from climlink.online import load_case, run_online

    config = load_case(case, package=package, data=data, output=out, ranks=ranks, pcols=pcols)
    with progress_bar("online") as bar:
        finished = run_online(config, bar)
    output.print(f"{len(finished.files)} steps written to {finished.folder}/output")
