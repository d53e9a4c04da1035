"""climlink configs: the configurations that are shipped, found by name from any directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from climlink.cli.console import output, print_json


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("configs")(configs)


def configs(
    kind: Annotated[str | None, typer.Argument(help="one kind, such as cases, splits or training")] = None,
    name: Annotated[str | None, typer.Argument(help="print this one, to copy and change it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print names, purposes and paths as JSON")] = False,
) -> None:
    """List the shipped training files, cases, splits, machines and comparisons; commands take them by name.

    Paths inside a shipped file are relative to where the command runs; inside a file of your own, to that file
    (training files: always to where the command runs).

    Example: `climlink configs` or `climlink configs cases aquaplanet > my_case.yaml`
    """
    from climlink.installation import configuration_kinds, configurations, find_configuration
    from climlink.wrappers.errors import near_names

    kinds = configuration_kinds()
    if kind is not None and kind not in kinds:
        raise typer.BadParameter(f"no kind {kind!r}{near_names(kind, kinds)}; kinds: {', '.join(kinds)}")
    if kind is not None and name is not None:
        # Not the console: rich would read brackets as markup.
        typer.echo(find_configuration(kind, name).read_text(encoding="utf-8"), nl=False)
        return
    found = {k: configurations(k) for k in ([kind] if kind else kinds)}
    if as_json:
        print_json({k: {n: {"purpose": _purpose(p), "path": str(p)} for n, p in files.items()} for k, files in found.items()})
        return
    table = Table("kind", "name", "purpose")
    for k, files in found.items():
        for position, (n, path) in enumerate(files.items()):
            table.add_row("" if position else k, n, _purpose(path))
    output.print(table)


def _purpose(path: Path) -> str:
    """Return the first sentence of the comment that a shipped file begins with."""
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# ") or line.startswith("#  "):  # an indented line is a command
            break
        comment.append(line.removeprefix("# ").strip())
    sentence, _, _ = " ".join(comment).partition(". ")
    return sentence.removesuffix(".")
