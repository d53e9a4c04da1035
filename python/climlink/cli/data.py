"""climlink data prepare, statistics, describe: from ClimSim files or tables to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from climlink.cli.console import output, print_json, progress_bar
from climlink.cli.hub import download


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(help="Prepare training data.", no_args_is_help=True)
    group.command("download")(download)
    group.command("prepare")(prepare)
    group.command("statistics")(statistics)
    group.command("describe")(describe)
    app.add_typer(group, name="data")


def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            help="folder with mli/mlo pairs and the grid file; or a table, or a folder of tables"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="store to write, such as climsim.zarr")],
    split: Annotated[
        Path,
        typer.Option(
            help="which stamps or rows train, validate and test: a file, or a shipped split by name"
        ),
    ],
    grid: Annotated[
        Path | None,
        typer.Option(help="grid file, if not in SOURCE; of a table it gives the levels' pressure"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="store configuration: dtypes, time_chunk, time_step_s, lags, pairs, table"
        ),
    ] = None,
    lags: Annotated[
        bool, typer.Option("--lags", help="store the inputs of earlier steps too (sets v4 and v6)")
    ] = False,
    pairs: Annotated[
        Literal["mli-mlo", "mlis-mlos", "mlisp-mlosp"] | None,
        typer.Option(help="files that make a pair"),
    ] = None,
    variables: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of own variables that the pairs hold too, to be stored with the others"
        ),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="SET", help="inputs of a table: a set, or variables with commas between"
        ),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="SET", help="targets of a table, in the same way")
    ] = None,
    values: Annotated[
        Literal["physical", "normalized"] | None,
        typer.Option(help="what .npy and HDF5 files hold; normalized needs --config"),
    ] = None,
    targets: Annotated[
        Path | None, typer.Option(help="file with the targets of the rows of SOURCE, physical")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="file with the weights of the targets in the LEAP score")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="column of a table to leave out; may be repeated"),
    ] = None,
    allow_implausible: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIABLE",
            help="keep and count values of it outside the plausible range; may be repeated",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes that write, on this machine", min=1)] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="scheduler of dask whose workers write instead, such as tcp://host:8786; they see "
            "the same files",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="replace an existing store, once the new one is complete"),
    ] = False,
) -> None:
    """Read pairs or a table into one chunked Zarr store; an interrupted call is resumed by
    repeating it.

    SOURCE holds ClimSim files of any of its grids, or what an E3SM run built with -DMMF_ML_TRAINING
    wrote (CASE.eam.mli.STAMP.nc); or it is a table: CSV, Parquet, X_input.npy with X_target.npy,
    X_input.h5 with X_target.h5.

    Example: `climlink data prepare DIR --out stores/climsim_sample.zarr --split climsim_sample`

    Example: `climlink data prepare DIR --out climsim.zarr --split climsim_published --workers 8`

    Example: `climlink data prepare RUNDIR --out v6.zarr --split split.yaml --grid grid-info.nc
    --lags --pairs mlisp-mlosp`

    Kaggle: `climlink data prepare train.csv -o leap.zarr --split rows --grid grid-info.nc --weights
    sample_submission.csv`

    Its test: `climlink data prepare test.csv --targets solution.csv --ignore Usage -o test.zarr
    --split rows_test`

    Parquet: `climlink data prepare PARQUET_DIR -o leap.zarr --split rows`

    NumPy: `climlink data prepare DIR --inputs climsim_v2 --outputs mmf368 --values physical -o
    s.zarr --split train_val_scoring`

    HDF5: `climlink data prepare DIR --inputs net_v2_mc --outputs net308 --values physical -o s.zarr
    --split train_val_scoring`
    """
    from climlink.config import load_config
    from climlink.data.prepare import prepare as run
    from climlink.data.store import StoreConfig

    settings = StoreConfig() if config is None else load_config(config, StoreConfig)
    table = settings.table
    settings = settings.model_copy(
        update={
            "lags": lags or settings.lags,
            "pairs": pairs or settings.pairs,
            "variables": variables or settings.variables,
            "allow_implausible": tuple(allow_implausible or settings.allow_implausible),
            "table": table.model_copy(
                update={
                    "inputs": _set(inputs) or table.inputs,
                    "outputs": _set(outputs) or table.outputs,
                    "values": values or table.values,
                    "ignore": tuple(ignore or table.ignore),
                }
            ),
        }
    )
    with progress_bar("prepare") as bar:
        done = run(
            source,
            out,
            split=split,
            grid=grid,
            config=settings,
            targets=targets,
            weights=weights,
            progress=bar,
            overwrite=overwrite,
            workers=workers,
            scheduler=scheduler,
        )
    size = f"{done.records} {done.unit} ({done.records_written} written now)"
    output.print(f"{done.path}: {done.status}, {size}, digest {done.digest[:16]}…")
    if done.left_out:
        output.print(
            f"{done.left_out} pairs left out: without the two steps before them they have no "
            "lagged inputs"
        )
    if done.implausible:
        counts = ", ".join(f"{name} {count}" for name, count in done.implausible.items())
        output.print(f"values outside their plausible range were kept: {counts}")


def _set(given: str | None) -> str | tuple[str, ...] | None:
    """Return a set's name, or variables with commas between as their names."""
    return tuple(given.split(",")) if given is not None and "," in given else given


def statistics(
    store: Annotated[Path, typer.Argument(help="store made by `climlink data prepare`")],
    out: Annotated[Path, typer.Option("--out", "-o", help="netCDF file to write")],
    split: Annotated[str, typer.Option(help="which part of the store")] = "train",
    workers: Annotated[int, typer.Option(help="processes that read", min=1)] = 1,
) -> None:
    """Compute the statistics of a store in one pass: moments, quantiles and covariance.

    Example: `climlink data statistics climsim.zarr --out statistics.nc`
    """
    from climlink.data.files import require_writable
    from climlink.data.statistics import compute_statistics, write_statistics
    from climlink.data.store import ColumnStore

    require_writable(out)
    with progress_bar("statistics") as bar:
        result = compute_statistics(
            ColumnStore.open(store), split=split, progress=bar, workers=workers
        )
    write_statistics(result, out)
    output.print(f"{out}: {len(result.variables)} variables, digest {result.digest[:16]}…")


def describe(
    store: Annotated[Path, typer.Argument(help="store made by `climlink data prepare`")],
    as_json: Annotated[bool, typer.Option("--json", help="print the description as JSON")] = False,
) -> None:
    """Show what is in a store.

    Example: `climlink data describe climsim.zarr`
    """
    from climlink.data.describe import describe as run

    description = run(store)
    if as_json:
        print_json(description)
    else:
        _show(description)


def _show(d: dict[str, Any]) -> None:
    facts = Table(show_header=False, title=str(d["path"]), title_justify="left")
    for key, value in d.items():
        if not isinstance(value, list | dict):
            facts.add_row(key.replace("_", " "), str(value))
    output.print(facts)
    for key, value in d.items():
        rows = [{"name": k, **v} for k, v in value.items()] if isinstance(value, dict) else value
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            table = Table(
                *(c.replace("_", " ") for c in rows[0]),
                title=key.replace("_", " "),
                title_justify="left",
            )
            for row in rows:
                table.add_row(*(_cell(v) for v in row.values()))
            output.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
