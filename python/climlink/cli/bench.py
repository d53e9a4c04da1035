"""climlink bench: how fast a package runs on this machine, and with which micro-batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from climlink.cli.console import errors, output, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from climlink.packages.bench import Timing


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("bench")(bench)


def bench(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    columns: Annotated[int, typer.Option(min=1, help="columns of a step of one rank")] = 384,
    threads: Annotated[int, typer.Option(min=1, help="threads of a forward")] = 1,
    rounds: Annotated[int, typer.Option(min=5, help="interleaved rounds")] = 21,
    micro_batch: Annotated[
        list[int] | None,
        typer.Option(min=2, help="micro-batch to time (may stand several times); default: 64"),
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="time micro-batches from 32 to 1024 and keep the fastest in FILE, which a host "
            "names in the option tuning",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Time TorchScript and the compiled artefacts beside a package: how many times faster each is
    than TorchScript with all columns in one forward, as other bridges run it at best.

    The ways run in turn, round by round, so that what else the machine does falls on all alike; the
    median of the rounds' ratios is told with its 95 % interval.

    Example: `climlink bench wrap_model.pt --columns 192`

    Example: `climlink bench wrap_model.pt --tune tuning.json`
    """
    from climlink.packages.bench import MICRO_BATCHES, Setting
    from climlink.packages.bench import bench as timed
    from climlink.packages.bench import tune as keep
    from climlink.packages.compiled import beside
    from climlink.packages.read import EmulatorPackage

    read = EmulatorPackage.read(package)
    found = beside(read)
    artefacts = [b.artefact for b in found if b.artefact is not None and b.obstacle is None]
    for other in (b for b in found if b.artefact is None or b.obstacle is not None):
        errors.print(f"{other.path.name}: not timed: {other.error or other.obstacle}")
    sizes = micro_batch or (MICRO_BATCHES if tune else (64,))
    setting = Setting(columns, threads, rounds)
    with errors.status("timing") as status:
        timings = timed(read, artefacts, sizes, setting, lambda doing: status.update(doing))
    if as_json:
        print_json({"package": str(package), "timings": [t.as_dict() for t in timings]})
    else:
        _show(timings, columns)
    if tune is not None:
        for entry in keep(read, timings, threads, tune):
            errors.print(
                f"{tune}: micro-batch {entry.micro_batch} for {entry.engine} in {entry.precision}, "
                f"{threads} thread(s) of {entry.processor}"
            )


def _show(timings: Sequence[Timing], columns: int) -> None:
    table = Table(
        *("engine", "precision", "micro-batch", "ms", "speed-up", "95 % interval", "first call"),
        title=f"{columns} columns; speed-up over TorchScript with all in one forward",
        title_justify="left",
    )
    for t in timings:
        table.add_row(
            t.engine,
            t.precision,
            str(t.micro_batch),
            f"{1e3 * t.seconds:.2f}",
            f"{t.speed_up:.2f}",
            f"{t.interval[0]:.2f} to {t.interval[1]:.2f}",
            f"{t.first_call:.2f}",
        )
    output.print(table)
