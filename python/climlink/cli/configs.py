"""climlink configs: the configurations that are shipped, found by name from any directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from climlink.cli.console import output, print_json

ARCHITECTURES = "architectures"
"""A kind that is no folder of files: networks, built in or of installed projects."""


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("configs")(configs)


def configs(
    kind: Annotated[
        str | None, typer.Argument(help="one kind, such as cases, splits or training")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(help="print this one, to copy and change it")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print names, purposes and paths as JSON")
    ] = False,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", help="training: print every key of a training or ensemble file, as Markdown"
        ),
    ] = False,
) -> None:
    """List the shipped training files, recipes, ensembles, cases, splits, machines, comparisons and
    healings, and the architectures; commands take them by name.

    Paths inside a shipped file are relative to where the command runs; inside a file of your own,
    to that file (training files: always to where the command runs).

    Architectures are those of climlink and of installed projects (docs/add-an-architecture.md).

    Examples: `climlink configs`, `climlink configs cases aquaplanet > my_case.yaml`, `climlink
    configs training --keys`
    """
    from climlink.installation import configuration_kinds, find_configuration
    from climlink.wrappers.errors import near_names

    kinds = [*configuration_kinds(), ARCHITECTURES]
    if kind is not None and kind not in kinds:
        raise typer.BadParameter(
            f"no kind {kind!r}{near_names(kind, kinds)}; kinds: {', '.join(kinds)}"
        )
    if keys:
        if kind != "training" or name is not None:
            raise typer.BadParameter("--keys goes with training: climlink configs training --keys")
        from climlink.training.keys import keys_page

        typer.echo(keys_page(), nl=False)
        return
    if kind is not None and name is not None:
        if kind == ARCHITECTURES:
            typer.echo(_architecture_text(name), nl=False)
            return
        # Not the console: rich would read brackets as markup.
        typer.echo(find_configuration(kind, name).read_text(encoding="utf-8"), nl=False)
        return
    found = {k: _entries(k) for k in ([kind] if kind else kinds)}
    if as_json:
        print_json(found)
        return
    table = Table("kind", "name", "purpose")
    for k, entries in found.items():
        for position, (n, entry) in enumerate(entries.items()):
            table.add_row("" if position else k, n, escape(entry["purpose"]))
    output.print(table)


def _entries(kind: str) -> dict[str, dict[str, str]]:
    """Return what is there of a kind: purpose and path of a shipped file, purpose and origin of an
    architecture.
    """
    from climlink.installation import configurations

    if kind != ARCHITECTURES:
        files = configurations(kind).items()
        return {name: {"purpose": _purpose(path), "path": str(path)} for name, path in files}
    from climlink.architectures.registry import every_architecture

    found, problems = every_architecture()
    entries = {a.name: {"purpose": _first_line(a.network), "origin": str(a.origin)} for a in found}
    for name, problem in problems.items():
        known = entries.get(name, {"purpose": "", "origin": ""})
        purpose = f"{known['purpose']} [{problem}]".strip()
        entries[name] = {**known, "purpose": purpose, "problem": problem}
    return entries


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _architecture_text(name: str) -> str:
    """Return the part of a training file that chooses an architecture, every field with its
    meaning.
    """
    from climlink.architectures import find, preset_names
    from climlink.architectures.configuration import PRESET_KEY

    known = find(name)
    presets = preset_names(name)
    lines = [f"# {_first_line(known.network)}. Of {known.origin}.", "architecture:"]
    lines += [f"  name: {name}", "  configuration:"]
    lines.append(f"    {PRESET_KEY}: {presets[0]}  # one of {', '.join(presets)}")
    for key, field in known.configuration.model_fields.items():
        lines.append(f"    # {key}: {field.description or ''}".rstrip())
    return "\n".join(lines) + "\n"


def _purpose(path: Path) -> str:
    """Return the first sentence of the comment that a shipped file begins with."""
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# ") or line.startswith("#  "):  # an indented line is a command
            break
        comment.append(line.removeprefix("# ").strip())
    sentence, _, _ = " ".join(comment).partition(". ")
    return sentence.removesuffix(".")
