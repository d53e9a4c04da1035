"""climlink evaluate stability: is a package stable, before it runs?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from climlink.cli.console import output, print_json, progress_bar
from climlink.cli.evaluate.axis import PressureAxis


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    app.command("stability")(stability)


def stability(
    package: Annotated[Path, typer.Argument(help="the wrap_model.pt to screen")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="store made by `climlink data prepare`: the states it is linearized about",
        ),
    ],
    folder: Annotated[Path, typer.Option("--output", "-o", help="folder of the report")] = Path(
        "stability"
    ),
    split: Annotated[str, typer.Option(help="which part of the store")] = "test",
    ensemble: Annotated[int, typer.Option(help="columns averaged about every state")] = 48,
    column: Annotated[
        list[str] | None,
        typer.Option(help="a state of your own, STAMP:COLUMN of the store; may be repeated"),
    ] = None,
    cloud: Annotated[
        bool, typer.Option("--cloud", help="perturb cloud liquid and ice too, not only T and q")
    ] = False,
    growth_limit: Annotated[
        float, typer.Option(help="growth of fast waves that is let pass, 1/day")
    ] = 0.1,
    shortest_km: Annotated[float, typer.Option(help="shortest wavelength, km")] = 300.0,
    longest_km: Annotated[float, typer.Option(help="longest wavelength, km")] = 40000.0,
    wavelengths: Annotated[int, typer.Option(help="number of wavelengths")] = 25,
    friction: Annotated[float, typer.Option(help="friction of the wind, 1/day")] = 0.2,
    sponge: Annotated[float, typer.Option(help="friction at the lid, 1/day; 0 for none")] = 4.0,
    sponge_hpa: Annotated[float, typer.Option(help="pressure where the sponge begins, hPa")] = 10.0,
    above_hpa: Annotated[
        float, typer.Option(help="sensitivity to inputs above this pressure is told apart, hPa")
    ] = 200.0,
    pairs: Annotated[
        Path | None,
        typer.Option(help="folder with consecutive mli/mlo pairs to replay; default: the store"),
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="grid file of --pairs, if not in the folder")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="longest replay, in steps")] = None,
    nudging_hours: Annotated[
        float, typer.Option(help="time scale of the nudged replay, hours")
    ] = 6.0,
    free_run_days: Annotated[
        float, typer.Option(help="length of the free runs of the emulator alone; 0: no free runs")
    ] = 30.0,
    free_run_columns: Annotated[int, typer.Option(help="columns of every state in free runs")] = 8,
    free_run_sun: Annotated[
        Literal["clock", "recorded"],
        typer.Option(help="sun of the emulator alone: clock moves it, recorded leaves it as it is"),
    ] = "clock",
    range_margin: Annotated[
        float,
        typer.Option(help="how far outside the training range counts, in parts of its width"),
    ] = 0.1,
    limits: Annotated[
        Path | None, typer.Option(help="YAML file of frozen limits that judge the free runs")
    ] = None,
    fail_on_unstable: Annotated[
        bool, typer.Option("--fail-on-unstable", help="exit code 1 if the verdict is unstable")
    ] = False,
    pressure_axis: PressureAxis = "log",
    as_json: Annotated[
        bool, typer.Option("--json", help="print the summary as JSON and nothing else")
    ] = False,
) -> None:
    """Screen a package: growing gravity waves, columns that do not damp, inputs it leans on,
    columns that it moves by itself, and a replay on recorded dynamics.

    Example: `climlink evaluate stability wrap_model.pt --data climsim.zarr -o stability`

    Example: `climlink evaluate stability wrap_model.pt --data climsim.zarr --pairs run/pairs
    --fail-on-unstable`

    Example: `climlink evaluate stability wrap_model.pt --data climsim.zarr --limits limits.yaml`
    """
    from climlink.data.files import require_writable
    from climlink.evaluation.figures.style import pressure_scale
    from climlink.evaluation.report import write_report
    from climlink.evaluation.stability.dynamics import Friction
    from climlink.evaluation.stability.evaluate import evaluate_stability
    from climlink.evaluation.stability.options import StabilityOptions

    options = StabilityOptions(
        split=split,
        ensemble=ensemble,
        columns=tuple(column or ()),
        cloud=cloud,
        friction=Friction(friction, sponge_hpa, sponge),
        shortest_km=shortest_km,
        longest_km=longest_km,
        wavelengths=wavelengths,
        growth_limit=growth_limit,
        above_hpa=above_hpa,
        pairs=pairs,
        grid=grid,
        steps=steps,
        nudging_hours=nudging_hours,
        free_run_days=free_run_days,
        free_run_columns=free_run_columns,
        sun=free_run_sun,
        range_margin=range_margin,
        limits=limits,
    )
    require_writable(folder)
    with progress_bar("stability", hidden=as_json) as bar, pressure_scale(pressure_axis):
        done = evaluate_stability(package, data, options=options, progress=bar)
    page = write_report(done.report, folder)
    if as_json:
        print_json(done.summary.model_dump(mode="json"))
    else:
        output.print(done.report.words, highlight=False)
        output.print(f"report: {page}")
    if fail_on_unstable and done.summary.verdict == "unstable":
        raise typer.Exit(1)
