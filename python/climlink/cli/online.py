"""climlink online run, resume, heal, settings: a case in a host model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from climlink.cli.console import errors, output, print_json, progress_bar
from climlink.cli.heal import heal
from climlink.data.files import refusals

if TYPE_CHECKING:
    from climlink.online.aquaplanet import AquaplanetRun


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(help="Run a package inside a host model.", no_args_is_help=True)
    group.command("run")(run)
    group.command("resume")(resume)
    group.command("heal")(heal)
    group.command("settings")(settings)
    group.callback()(_group)
    app.add_typer(group, name="online")


def _group() -> None:
    """Run a package inside a host model."""


def run(
    case: Annotated[Path, typer.Argument(help="case file, or a shipped case by name")],
    package: Annotated[
        Path | None, typer.Option(help="wrap_model.pt instead of the case's")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="replay: data folder instead of the case's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="run folder instead of the case's")
    ] = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="MPI ranks")] = None,
    pcols: Annotated[int | None, typer.Option(min=1, help="replay: columns per chunk")] = None,
    days: Annotated[
        float | None, typer.Option(help="embedded model: days to run, from the start of the case")
    ] = None,
) -> None:
    """Run a case to its end; output, log, namelist and a record of versions and digests stay in the
    run folder.

    Example: `climlink online run aquaplanet --ranks 2` (`climlink configs cases` lists the shipped
    ones)

    The ranks are started by mpirun, or by the launcher that the environment variable
    CLIMLINK_MPIRUN names, with its options, such as `srun` or `mpirun --bind-to core`; `-n RANKS`
    is appended. SIGINT, SIGTERM and SIGHUP end the whole job; exit code 128 + signal.
    """
    from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
    from climlink.online.case import load_case
    from climlink.online.replay import run_replay

    config = load_case(
        case, package=package, data=data, output=out, ranks=ranks, pcols=pcols, days=days
    )
    with progress_bar("online") as bar, refusals(config.output):
        if isinstance(config, AquaplanetConfig):
            ended = run_aquaplanet(config, bar)
        else:
            replayed = run_replay(config, bar)
    if isinstance(config, AquaplanetConfig):
        _tell(ended)
    else:
        output.print(f"{len(replayed.files)} steps written to {replayed.folder}/output")


def resume(
    folder: Annotated[Path, typer.Argument(help="run folder of the embedded model")],
    days: Annotated[
        float | None,
        typer.Option(help="days from the start of the case to run to, instead of the case's"),
    ] = None,
    ranks: Annotated[
        int | None, typer.Option(min=1, help="MPI ranks; the results do not depend on them")
    ] = None,
) -> None:
    """Go on from the newest restart of a run, as if it had not stopped.

    Launcher and signals: as for `climlink online run`.

    Example: `climlink online resume runs/aquaplanet --days 120`
    """
    from climlink.online.aquaplanet import resume_aquaplanet
    from climlink.run_folder import last_status

    status = last_status(folder)
    if status not in ("running", "finished"):
        errors.print(f"the last job in {folder} ended as {status}")
    with progress_bar("online") as bar, refusals(folder):
        ended = resume_aquaplanet(folder, days, ranks, bar)
    _tell(ended)


def settings(
    host: Annotated[Literal["replay", "aquaplanet"], typer.Argument(help="host of the case")],
    as_json: Annotated[bool, typer.Option("--json", help="print the list as JSON")] = False,
) -> None:
    """List what the host's program lets a case set: the entries of its namelist, with type and
    default, as program and library publish them.

    Entries of `emulator` are keys of a case's `emulator:` (options of the library in a replay: keys
    of the case); those of `dynamics` and `physics` stand under `dynamics:` and `parameters:`, the
    `history_` ones of `output` under `history:`. climlink writes the others itself, of the case.

    Example: `climlink online settings aquaplanet`
    """
    from climlink.online.settings import published_settings

    groups = published_settings(f"climlink-{host}")
    if as_json:
        print_json(
            {g: {n: e._asdict() for n, e in entries.items()} for g, entries in groups.items()}
        )
        return
    table = Table("group", "entry", "type", "default", "meaning")
    for group, entries in groups.items():
        for position, (name, entry) in enumerate(entries.items()):
            cells = (name, entry.kind, escape(entry.default), escape(entry.help))
            table.add_row(
                "" if position else group, *cells, end_section=position + 1 == len(entries)
            )
    output.print(table)


def _tell(ended: AquaplanetRun) -> None:
    """Say how a run of the embedded model ended; exit code 1 if it blew up."""
    if ended.status == "finished":
        output.print(
            f"day {ended.day} reached at {ended.years_per_day:.0f} simulated years per day; output "
            f"in {ended.folder}"
        )
        if ended.support is not None:
            lived = "alive on support" if ended.support.on_support else "alive without support"
            output.print(f"{lived}: {ended.support.words}", highlight=False)
        return
    errors.print(
        f"[bold red]the run ended early[/] {ended.message}; what it wrote is in {ended.folder}",
        highlight=False,
    )
    raise typer.Exit(1)
