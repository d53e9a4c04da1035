"""climlink data download, publish, fetch: what comes from the Hugging Face hub and goes to it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climlink.cli.console import errors, output, progress_bar
from climlink.cli.package import TRUST_CODE_HELP

if TYPE_CHECKING:
    from climlink.hub.card import CardFacts
    from climlink.hub.download import Plan
    from climlink.packages.read import EmulatorPackage

_REVISION_HELP = "branch, tag or commit; default: main as it is now"


class Kind(StrEnum):
    """Kinds of published files (typer takes no list of literals)."""

    mli = "mli"
    mlo = "mlo"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("publish")(publish)
    app.command("fetch")(fetch)


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


def publish(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made where it is missing")],
    license_: Annotated[
        str,
        typer.Option("--license", help="license of the weights, such as apache-2.0"),
    ],
    evaluation: Annotated[
        Path | None,
        typer.Option(help="folder of `climlink evaluate offline`, whose scores the card shows"),
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="for everyone to see; default: private"),
    ] = False,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="do not run `climlink verify` first"),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="upload nothing: show the model card"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="with --dry-run: folder for all that would be uploaded"),
    ] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help=TRUST_CODE_HELP)] = False,
) -> None:
    """Put a package on the hub with a model card made from its manifest.

    Uploading needs a token that may write: `hf auth login`, or HF_TOKEN.

    Example: `climlink publish wrap_model.pt me/unet --license apache-2.0 --evaluation report`

    Example: `climlink publish wrap_model.pt me/unet --license cc-by-4.0 --dry-run`
    """
    from climlink.hub.card import CardFacts, read_scores
    from climlink.hub.publish import publish as upload
    from climlink.hub.publish import require_verified
    from climlink.hub.repository import require_id
    from climlink.packages.read import EmulatorPackage

    if out is not None and not dry_run:
        raise typer.BadParameter("--out goes with --dry-run")
    require_id(repo)
    read = EmulatorPackage.read(package, trust_code=trust_code)
    scores = None if evaluation is None else read_scores(evaluation, read)
    facts = CardFacts(repo, license_, scores)
    if not unverified:
        with errors.status("verifying") as status:
            require_verified(read, progress=lambda route: status.update(f"verifying: {route}"))
    if dry_run:
        _show_card(read, facts, out)
        return
    with errors.status(f"uploading to {repo}"):
        done = upload(read, facts, public=public)
    seen = "private" if done.private else "public"
    output.print(f"{done.url} ({seen}), commit {done.commit}, SHA-256 {read.digest}")
    output.print(f"to get it: climlink fetch {repo}@{done.commit} --sha256 {read.digest}")


def _show_card(package: EmulatorPackage, facts: CardFacts, out: Path | None) -> None:
    from climlink.hub.card import CARD_FILE
    from climlink.hub.publish import package_files, write_folder

    files = package_files(package, facts)
    if out is None:
        card = files[CARD_FILE]
        assert isinstance(card, bytes)
        output.print(card.decode(), markup=False, highlight=False, end="")
        return
    write_folder(files, out)
    output.print(f"{out}: {', '.join(files)}; nothing was uploaded")


def fetch(
    reference: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]", help="on the hub")],
    out: Annotated[Path, typer.Option("--output", "-o", help="file to write")] = Path(
        "wrap_model.pt",
    ),
    sha256: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="SHA-256 that the package must have"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="replace another file that is there"),
    ] = False,
) -> None:
    """Get a published package back from the hub, its digest checked.

    A package is code: fetch those whose author you trust, and pin the digest with --sha256.

    Example: `climlink fetch me/unet -o wrap_model.pt`

    Example: `climlink fetch hf://me/unet@v1.0 --sha256 DIGEST`
    """
    from climlink.hub.publish import fetch_package

    with progress_bar("fetch, MB") as bar:
        package = fetch_package(
            reference,
            out,
            pinned_sha256=sha256,
            overwrite=overwrite,
            progress=bar,
        )
    output.print(f"{package.path}: {package.manifest.name}, SHA-256 {package.digest}")
