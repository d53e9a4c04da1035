"""climlink quickstart: the whole path on real columns, told in words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from climlink.cli.console import errors, output, progress_bar

if TYPE_CHECKING:
    from climlink.quickstart import QuickstartResult


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("quickstart")(quickstart)


def quickstart(
    climsim: Annotated[Path | None, typer.Option(help="ClimSim folder; default CLIMLINK_CLIMSIM_DIR, then ../shared/climsim")] = None,
    folder: Annotated[Path, typer.Option("-o", "--output", help="folder for everything it makes")] = Path("runs/quickstart"),
) -> None:
    """Prepare, train, export, verify, replay in Fortran on two MPI ranks and score, on real ClimSim columns (about 8 minutes on 2 cores).

    Example: `climlink quickstart --climsim DIR`
    """
    from climlink.quickstart import find_climsim, run_quickstart

    start = monotonic()
    result = run_quickstart(find_climsim(climsim), folder, _Reporter())
    _show(result, folder, monotonic() - start)
    if not result.verification.passed:
        raise typer.Exit(1)


class _Reporter:
    def stage(self, title: str) -> None:
        errors.print(f"[bold]{title}[/]", highlight=False)

    def bar(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
        return progress_bar(label)


def _show(result: QuickstartResult, folder: Path, seconds: float) -> None:
    table = Table(
        "output", "Python R²", "Fortran replay R²", title="R² on the test snapshots (profiles: median over levels)", title_justify="left"
    )
    for name, python in result.python_scores.summary().items():
        table.add_row(name, f"{python:.4f}", f"{result.replay_scores.summary()[name]:.4f}")
    output.print(table)
    routes = result.verification.routes
    worst = max(r.max_difference for r in routes)
    verdict = "agree" if result.verification.passed else "[bold red]do not agree[/]"
    output.print(f"Five routes {verdict}: largest difference {worst:.1e} (tolerance {max(r.tolerance for r in routes):.0e}).")
    output.print(f"The Fortran replay scores what Python scores: R² differs by at most {result.largest_score_difference:.1e}.")
    output.print(f"Package: {result.package.path}   figure: {result.figure}   everything: {folder}   time: {seconds / 60:.1f} minutes.")
