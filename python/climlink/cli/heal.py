"""climlink online heal: a hybrid that dies learns from the states it visits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
import yaml

from climlink.cli.console import errors, output, print_json, progress_bar


def heal(
    package: Annotated[
        Path | None,
        typer.Argument(help="package, or the run folder of its training", show_default=False),
    ] = None,
    config: Annotated[
        str, typer.Option("--config", help="healing file, or a shipped one by name")
    ] = "aquaplanet",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a key of the healing file"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder instead of the file's")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="print the whole healing file, and heal nothing")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the summary, or the settings, as JSON")
    ] = False,
) -> None:
    """Heal a package in the embedded model: run it as a hybrid, let the reference physics label the
    states it visits, fine-tune with them and with input noise, and run again, round by round.

    Beside it a control is trained as long without hybrid states and run too. A table and a figure
    tell days lived, errors, energy and offline skill of every round. What is done is skipped: after
    an interruption give the same command again.

    Examples: `climlink online heal runs/quickstart/wrap_model.pt`, `climlink online heal runs/mlp
    --set rounds=2 --set training.steps=500 -o runs/heal_mlp`, `climlink online heal --print-config`
    """
    from climlink.data.files import require_writable
    from climlink.healing.config import load_heal

    loaded = load_heal(config, assignments or [], out)
    if print_config:
        values = loaded.model_dump(mode="json")
        if as_json:
            print_json(values)
        else:
            # Not the console: rich would read brackets as markup.
            typer.echo(yaml.safe_dump(values, sort_keys=False, width=100), nl=False)
        return
    if package is None:
        raise typer.BadParameter("expected PACKAGE, a package or the run folder of its training")
    from climlink.healing.report import markdown
    from climlink.healing.rounds import heal as run

    require_writable(loaded.output)
    healed = run(package, loaded, _Reporter(as_json), progress=not as_json)
    if as_json:
        print_json(healed.summary())
        return
    output.print(markdown(healed), markup=False, highlight=False)
    output.print(f"report: {healed.folder}/report.html", highlight=False, markup=False)


class _Reporter:
    """Tells of parts and progress on the error stream."""

    def __init__(self, hidden: bool) -> None:
        self._hidden = hidden

    def stage(self, title: str) -> None:
        if not self._hidden:
            errors.print(f"[bold]{title}[/]", highlight=False)

    def bar(self, label: str) -> AbstractContextManager[Callable[..., None]]:
        return progress_bar(label, hidden=self._hidden)
