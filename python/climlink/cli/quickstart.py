"""climlink quickstart: the whole path from columns to a hybrid run, told in words."""

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
    from climlink.quickstart import OnlineComparison, QuickstartResult


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("quickstart")(quickstart)


def quickstart(
    climsim: Annotated[
        Path | None,
        typer.Option(
            help="ClimSim folder: train on its columns and replay them, instead of the embedded "
            "model"
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("-o", "--output", help="folder for everything it makes")
    ] = Path("runs/quickstart"),
) -> None:
    """Make data with the embedded model, train, export, verify, replay, and run the emulator in the
    model: nothing is needed beforehand.

    About 5 minutes on 2 cores. With --climsim the columns are real ones and the path ends with the
    replay.

    Example: `climlink quickstart`
    """
    from climlink.config import ConfigError
    from climlink.quickstart import run_embedded, run_quickstart

    start = monotonic()
    comparison = None
    if climsim is None:
        result, comparison = run_embedded(folder, StageReporter())
    elif climsim.is_dir():
        result = run_quickstart(climsim, folder, StageReporter())
    else:
        raise ConfigError(
            f"no ClimSim folder at {climsim}: it must hold E3SM-MMF.mli/mlo pairs and the grid "
            "file (data set LEAP/ClimSim_low-res); leave --climsim out to make columns with the "
            "embedded model"
        )
    _show(result, folder, monotonic() - start)
    if comparison is not None:
        _show_online(comparison)
    if not result.verification.passed:
        raise typer.Exit(1)


class StageReporter:
    """Tells of stages and progress on the error stream."""

    def stage(self, title: str) -> None:
        errors.print(f"[bold]{title}[/]", highlight=False)

    def bar(self, label: str) -> AbstractContextManager[Callable[..., None]]:
        return progress_bar(label)


def _show(result: QuickstartResult, folder: Path, seconds: float) -> None:
    from climlink.evaluation.offline.times import distance_words

    table = Table(
        "output",
        "Python R²",
        "Fortran replay R²",
        title="R² on the test snapshots (profiles: median over levels)",
        title_justify="left",
    )
    for name, python in result.python_scores.summary().items():
        table.add_row(name, f"{python:.4f}", f"{result.replay_scores.summary()[name]:.4f}")
    output.print(table)
    if result.times is not None:
        scored = result.times.scored
        output.print(f"The {scored.times} test snapshots lie {distance_words(scored)}.")
    routes = result.verification.routes
    worst = max(r.max_difference for r in routes)
    verdict = "agree" if result.verification.passed else "[bold red]do not agree[/]"
    output.print(
        f"Five routes {verdict}: largest difference {worst:.1e} (tolerance "
        f"{max(r.tolerance for r in routes):.0e})."
    )
    output.print(
        "The Fortran replay scores what Python scores: R² differs by at most "
        f"{result.largest_score_difference:.1e}."
    )
    output.print(
        f"Package: {result.package.path}   report: {result.report}   everything: {folder}   time: "
        f"{seconds / 60:.1f} minutes."
    )


def _show_online(comparison: OnlineComparison) -> None:
    """Say in words what the hybrid run did."""
    if comparison.hybrid.status == "finished":
        held = comparison.hybrid.support
        on_support = held is not None and held.on_support
        output.print(
            f"Online: the hybrid ran to its end, day {comparison.hybrid.day}"
            + (f", alive on support: {held.words}." if held and on_support else ".")
        )
    else:
        output.print(f"Online: [bold red]the hybrid ended early[/], {comparison.hybrid.message}.")
    found = comparison.evaluation.numbers
    if "daily_rmse_T" not in found:
        output.print("It did not complete a day, so there is no drift to tell.")
    else:
        day = found["daily_rmse_T"].sel(pair="run").dropna("daily_day")["daily_day"].values[-1]
        (t, q), (twin_t, twin_q), (mean_t, mean_q) = (
            [float(found[f"daily_rmse_{name}"].sel(pair=pair, daily_day=day)) for name in "TQ"]
            for pair in ("run", "twin", "climatology")
        )
        output.print(
            f"After {day:.0f} days it is off the reference by {t:.2f} K and {1e3 * q:.2f} g/kg "
            "(mass-weighted RMSE of daily means); two references that began 0.01 K apart differ "
            f"by {twin_t:.2f} K and {1e3 * twin_q:.2f} g/kg, and climatology is off by "
            f"{mean_t:.2f} K and {1e3 * mean_q:.2f} g/kg."
        )
    output.print(
        f"Report: {comparison.report}   runs: "
        f"{comparison.hybrid.folder.parent}/{{reference,truth,twin,hybrid}}"
    )
