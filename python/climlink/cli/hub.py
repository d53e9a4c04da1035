"""climlink data download: data sets from the Hugging Face hub."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climlink.cli.console import output, progress_bar

if TYPE_CHECKING:
    from climlink.hub.download import Plan

_REVISION_HELP = "branch, tag or commit; default: main as it is now"


class Kind(StrEnum):
    """Kinds of published files (typer takes no list of literals)."""

    mli = "mli"
    mlo = "mlo"


def download(
    dataset: Annotated[
        str,
        typer.Argument(help="short name such as climsim-low-res, or OWNER/NAME on the hub"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to download into")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="first date or stamp, such as 0001-02-01"),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="last date (the whole day) or stamp"),
    ] = None,
    every: Annotated[
        int,
        typer.Option(min=1, help="only every N-th step, counted from --from"),
    ] = 1,
    time_step: Annotated[
        int,
        typer.Option(min=1, max=86400, help="seconds of a step, for --every"),
    ] = 1200,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(help="only files of this kind; may be repeated. Default: both"),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid/--no-grid", help="the data set's grid file too"),
    ] = True,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="other files too, such as `*norm*`; may be repeated"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help=_REVISION_HELP)] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="files at a time")] = 8,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="only say how many files and bytes"),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="replace files that are not the hub's"),
    ] = False,
) -> None:
    """Fetch ClimSim data from the hub into a folder that `climlink data prepare` reads.

    Short names: climsim-low-res, climsim-high-res, climsim-low-res-aquaplanet, climsim-subsampled.
    Every file's checksum is the hub's before it gets its name. An interrupted call is resumed by
    repeating it: finished files are kept, half ones continued.

    Example: `climlink data download climsim-low-res -o climsim --from 0001-02-01 --to 0001-02-28`

    Example: `climlink data download climsim-high-res -o hr --from 0001-02-01 --every 72 --dry-run`

    Example: `climlink data download climsim-subsampled -o npy --include 'train_*.npy'`
    """
    from climlink.hub.datasets import Selection
    from climlink.hub.download import plan

    if start is None and end is None and not include:
        raise typer.BadParameter("give dates (--from, --to) or --include: all of it is up to 41 TB")
    selection = Selection(
        start=start,
        end=end,
        every=every,
        kinds=tuple(dict.fromkeys(str(k) for k in kind or Kind)),
        grid=grid,
        include=tuple(include or ()),
        time_step_s=time_step,
    )
    with progress_bar("list and check") as bar:
        planned = plan(
            dataset,
            selection,
            out,
            revision=revision,
            overwrite=overwrite,
            progress=bar,
        )
    _show(planned)
    if dry_run or not planned.missing:
        return
    with progress_bar("download, MB") as bar:
        planned.run(workers=workers, progress=bar)
    output.print(f"{out}: {len(planned.missing)} files came, each with the hub's checksum")


def _show(planned: Plan) -> None:
    from climlink.hub.download import gigabytes

    files = (*planned.here, *planned.missing)
    stamps = sorted(planned.chosen.dated)
    dates = f", {stamps[0]} to {stamps[-1]}" if stamps else ""
    output.print(
        f"{planned.repository}{dates}: {len(files)} files, {gigabytes(planned.total_bytes)}; "
        f"{len(planned.here)} are here, {len(planned.missing)} are to come "
        f"({gigabytes(planned.missing_bytes)}, free are {gigabytes(planned.free_bytes)})",
        markup=False,
        highlight=False,
    )
    if lone := planned.chosen.lone:
        output.print(f"{len(lone)} stamps lack mli or mlo there and are left out, as {lone[0]}")
