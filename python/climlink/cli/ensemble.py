"""climlink ensemble: several trained packages as one, weights, stacks, a second stage, and their
scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from climlink.cli.console import errors, output, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from climlink.ensembles.held_out import HeldOut
    from climlink.ensembles.scoring import Candidate, Comparison, Score
    from climlink.packages.read import EmulatorPackage

Members = Annotated[
    list[Path], typer.Argument(metavar="A.pt B.pt ...", help="packages of one contract")
]
Store = Annotated[Path, typer.Option("--store", help="store made by `climlink data prepare`")]
Out = Annotated[Path, typer.Option("-o", "--output", help="package to write")]
Times = Annotated[
    str | None,
    typer.Option(
        "--times",
        help="times to fit on: `validation`, the store's split, or `cut`, the training times that "
        "no member was trained on; default: validation where the store has it",
    ),
]
Weights = Annotated[
    str | None, typer.Option("--weights", help="one number per member, such as 2,1,1")
]
WeightsFile = Annotated[
    Path | None, typer.Option("--weights-file", help="made by `climlink ensemble weights`")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(
        name="ensemble",
        help="Several trained packages as one, their weights, a second stage, and all scores.",
        no_args_is_help=True,
    )
    for command in (mean, stack, weights, refine, checkpoints, score):
        group.command()(command)
    app.add_typer(group)


def mean(
    members: Members,
    out: Out = Path("wrap_model.pt"),
    given: Weights = None,
    weights_file: WeightsFile = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="store to choose golden columns from; default: the members' own"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the package")] = None,
) -> None:
    """Make one package of several: the mean of what their networks predict, then the constraints,
    once.

    The spread of the members, a standard deviation in units of the output scale, is its confidence.
    It needs the memory and the time of all members together.

    Example: `climlink ensemble mean seed_7.pt seed_43.pt seed_1024.pt -o wrap_model.pt`

    Example: `climlink ensemble mean a.pt b.pt --weights-file weights.yaml -o wrap_model.pt`
    """
    from climlink.data.files import require_writable
    from climlink.data.store import ColumnStore
    from climlink.ensembles.build import equal_weights, write_ensemble
    from climlink.ensembles.members import read_members
    from climlink.ensembles.weights import given_weights, read_weights, weights_of

    require_writable(out)
    read = read_members(members)
    record: dict[str, Any] = {}
    if given is not None and weights_file is not None:
        raise typer.BadParameter("give --weights or --weights-file")
    chosen = equal_weights(read)
    if given is not None:
        chosen = given_weights(_numbers(given), read)
    elif weights_file is not None:
        file = read_weights(weights_file)
        chosen = weights_of(file, read)
        times = None if file.times is None else file.times.model_dump()
        record = {"method": file.method, "per": file.per, "blend": file.blend, "fitted_on": times}
    package = write_ensemble(
        read,
        chosen,
        out,
        name=name or f"mean_of_{len(read)}",
        columns=None if columns is None else ColumnStore.open(columns),
        record=record,
    )
    _tell(package, len(read))


def stack(
    members: Members,
    store: Store,
    out: Out = Path("wrap_model.pt"),
    times: Times = None,
    folds: Annotated[int, typer.Option(min=2, help="folds of times, one network each")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the held-out columns")] = 20,
    width: Annotated[int, typer.Option(min=1, help="channels of its layers")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="of weights and order of columns")] = 7,
    name: Annotated[str | None, typer.Option(help="name of the package")] = None,
) -> None:
    """Make one package of several: a small convolutional network over all members' outputs, fitted
    to held-out times in folds and blended with their mean.

    The manifest records the times, and the score out of fold beside that of the mean. Test times
    are never used.

    Example: `climlink ensemble stack a.pt b.pt c.pt --store climsim.zarr -o stack.pt`
    """
    from climlink.data.files import require_writable
    from climlink.ensembles.build import equal_weights, write_ensemble
    from climlink.ensembles.members import read_members
    from climlink.ensembles.stack import StackSettings, fit_stack

    require_writable(out)
    read = read_members(members)
    held = _held_out(store, [m.package for m in read], times)
    settings = StackSettings(folds=folds, epochs=epochs, width=width, seed=seed)
    with progress_bar("stack") as bar:
        combination, record = fit_stack(read, held, settings, bar)
    package = write_ensemble(
        read,
        equal_weights(read),
        out,
        name=name or f"stack_of_{len(read)}",
        combination=combination,
        columns=held.store,
        record=record,
    )
    scores = record["scores"]
    output.print(
        f"mean of max(R², 0) of network outputs: {scores['out_of_fold']:.4f} out of fold with a "
        f"share of {record['share']:g}, {scores['equal_weights']:.4f} for the mean"
    )
    _tell(package, len(read))


def weights(
    members: Members,
    store: Store,
    out: Annotated[Path, typer.Option("-o", "--output", help="YAML file to write")] = Path(
        "weights.yaml"
    ),
    method: Annotated[
        str, typer.Option(help="how to search: nelder-mead or hill-climbing")
    ] = "hill-climbing",
    per: Annotated[
        str, typer.Option(help="one weight per member for `all` outputs, or one per `target`")
    ] = "all",
    folds: Annotated[int, typer.Option(min=2, help="folds of times")] = 5,
    times: Times = None,
) -> None:
    """Choose the members' weights on held-out times, in folds, blended with equal weights.

    Example: `climlink ensemble weights a.pt b.pt c.pt --store climsim.zarr -o weights.yaml`

    Example: `climlink ensemble weights a.pt b.pt --store climsim.zarr --method nelder-mead --per
    target --folds 8`
    """
    from climlink.data.files import require_writable
    from climlink.ensembles.members import read_members
    from climlink.ensembles.weights import METHODS, PER, fit_weights, write_weights

    search, kind = _choice(method, METHODS, "--method"), _choice(per, PER, "--per")
    require_writable(out)
    read = read_members(members)
    held = _held_out(store, [m.package for m in read], times)
    with progress_bar("weights") as bar:
        found = fit_weights(read, held, method=search, per=kind, folds=folds, progress=bar)
    write_weights(found, out)
    for m in found.members:
        told = f"{m.weight:.4f}" if isinstance(m.weight, float) else "by output"
        output.print(f"{m.name}: {told}", highlight=False)
    scores = ", ".join(f"{v:.4f} {k.replace('_', ' ')}" for k, v in found.scores.items())
    output.print(f"mean of max(R², 0) of network outputs: {scores}", highlight=False)
    output.print(f"{out}: equal weights have a share of {found.blend:g}")


def refine(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    store: Store,
    out: Annotated[Path, typer.Option("-o", "--output", help="folder to write")] = Path("refined"),
    times: Times = None,
    trees: Annotated[int, typer.Option(min=1, help="most trees per output and level")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="of LightGBM")] = 7,
) -> None:
    """Fit a second stage: LightGBM corrects the water tendencies of every level (extra `lightgbm`).

    It is for offline scores: trees do not run in a graph, so no host gets it. It is fitted to
    held-out times, of which the last quarter ends the fitting. The folder holds the package, the
    trees as text, and a record with digests.

    Example: `climlink ensemble refine wrap_model.pt --store climsim.zarr -o refined`
    """
    from climlink.data.files import require_writable
    from climlink.ensembles.refine import RefineSettings
    from climlink.ensembles.refine import refine as fit
    from climlink.packages.read import EmulatorPackage

    require_writable(out)
    read = EmulatorPackage.read(package)
    held = _held_out(store, [read], times)
    with progress_bar("second stage") as bar:
        record = fit(read, held, out, RefineSettings(most_trees=trees, seed=seed), bar)
    output.print(
        f"{out}: {len(record.models)} outputs and levels are refined, by "
        f"{sum(m.trees for m in record.models)} trees; offline only: no host can run it"
    )


def checkpoints(
    run: Annotated[Path, typer.Argument(help="run folder made with `keep_checkpoints`")],
    epochs: Annotated[str, typer.Option(help="epochs whose weights are averaged, such as 8,10,12")],
    out: Annotated[Path, typer.Option("-o", "--output", help="checkpoint to write")] = Path(
        "member.ckpt"
    ),
) -> None:
    """Average the weights that one training had after some epochs: one more member, of no cost.

    Example: `climlink ensemble checkpoints runs/lstm --epochs 8,10,12 -o member.ckpt` and
    `climlink export member.ckpt -o member.pt`
    """
    from climlink.data.files import require_writable
    from climlink.ensembles.checkpoints import epoch_files
    from climlink.training.averaging import average_checkpoints

    require_writable(out)
    files = epoch_files(run, [int(n) for n in _numbers(epochs, "--epochs")])
    output.print(f"{average_checkpoints(files, out)}: the mean of {len(files)} epochs")


def score(
    members: Annotated[
        list[Path],
        typer.Argument(metavar="A.pt B.pt ...", help="packages: single, mean or stack"),
    ],
    store: Store,
    split: Annotated[str, typer.Option(help="which part of the store: test or validation")] = (
        "test"
    ),
    given: Weights = None,
    weights_file: WeightsFile = None,
    refined: Annotated[
        list[Path] | None, typer.Option("--refined", help="second stage; may stand several times")
    ] = None,
    bootstrap: Annotated[
        int,
        typer.Option(min=0, help="resamples of snapshots for differences to the best single"),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print the scores as JSON")] = False,
) -> None:
    """Score packages, their mean and second stages side by side, with the LEAP competition's score.

    The mean is that of the single packages among those given, where there are two and more, and
    needs no file. `floored` counts targets of negative R² as 0, which is what the mean of the truth
    would have had.

    Example: `climlink ensemble score a.pt b.pt stack.pt --refined refined --store climsim.zarr`

    Example: `climlink ensemble score a.pt b.pt --store climsim.zarr --bootstrap 2000 --json`
    """
    from climlink.data.store import ColumnStore
    from climlink.ensembles.refine import Refined
    from climlink.ensembles.scoring import compare, of_package, of_refined
    from climlink.packages.read import EmulatorPackage

    packages = [EmulatorPackage.read(p) for p in members]
    candidates = [of_package(p) for p in packages]
    singles = [p for p, c in zip(packages, candidates, strict=True) if c.kind == "single"]
    candidates += _means(singles, given, weights_file)
    candidates += [of_refined(Refined(folder)) for folder in refined or []]
    with progress_bar("score", hidden=as_json) as bar:
        found = compare(
            candidates, ColumnStore.open(store), split, resamples=bootstrap, progress=bar
        )
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _means(
    singles: Sequence[EmulatorPackage], given: str | None, weights_file: Path | None
) -> list[Candidate]:
    """Return the mean of single packages with equal and with chosen weights."""
    from climlink.ensembles.build import equal_weights
    from climlink.ensembles.members import read_members
    from climlink.ensembles.scoring import of_mean
    from climlink.ensembles.weights import WeightsFile, given_weights, read_weights, weights_of

    if len(singles) < 2:
        if given is not None or weights_file is not None:
            raise typer.BadParameter("weights need two single packages and more")
        return []
    read = read_members(singles)
    found = [of_mean(read, equal_weights(read))]
    if weights_file is not None:
        file = read_weights(weights_file)
        found.append(of_mean(read, weights_of(file, read), file))
    if given is not None:
        chosen = given_weights(_numbers(given), read)
        found.append(of_mean(read, chosen, WeightsFile.of_numbers(read, chosen)))
    return found


def _numbers(text: str, option: str = "--weights") -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: expected numbers, such as 2,1,1", param_hint=option
        ) from error


def _choice(given: str, known: Sequence[Any], option: str) -> Any:
    from climlink.wrappers.errors import near_names

    if given not in known:
        raise typer.BadParameter(
            f"unknown {given!r}{near_names(given, known)}; known: {', '.join(known)}",
            param_hint=option,
        )
    return given


def _held_out(store: Path, packages: Sequence[EmulatorPackage], times: str | None) -> HeldOut:
    from climlink.data.store import ColumnStore
    from climlink.ensembles.held_out import PARTS, held_out

    part = None if times is None else _choice(times, PARTS, "--times")
    held = held_out(ColumnStore.open(store), packages, part)
    for note in held.notes:
        errors.print(f"note: {note}", markup=False, highlight=False)
    return held


def _tell(package: EmulatorPackage, members: int) -> None:
    m = package.manifest
    output.print(
        f"{package.path}: {members} members, {m.n_input} inputs, {m.n_output} outputs with the "
        f"members' spread, {package.path.stat().st_size / 1e6:.1f} MB, SHA-256 {package.digest}"
    )


def _show(found: Comparison) -> None:
    first = found.scores[0]
    names = [*first.leap, *first.r2]
    table = Table(
        "score", *(s.label for s in found.scores), title=f"{found.split}, {found.times} times"
    )
    table.title_justify = "left"
    table.add_row("kind", *(s.kind for s in found.scores))
    for name in names:
        table.add_row(name, *(_cell({**s.leap, **s.r2}[name]) for s in found.scores))
    table.add_section()
    table.add_row("mean R² of t q1 q2 q3 u v PRECC", *(_cell(s.mean) for s in found.scores))
    table.add_row("mean R² of all outputs", *(_cell(s.skill) for s in found.scores))
    for label, by_output in found.differences.items():
        for name, d in by_output.items():
            if name == "mean":
                output.print(
                    f"{label} against {found.best_single}: {d.difference:+.4f} in the mean, 95 % "
                    f"of resampled snapshots within {d.low:+.4f} and {d.high:+.4f}",
                    highlight=False,
                )
    output.print(table)
    _show_notes(found.scores)


def _show_notes(scores: Sequence[Score]) -> None:
    for s in scores:
        if s.note:
            errors.print(f"note: {s.note}", markup=False, highlight=False)
    if scores[0].left_out:
        errors.print(
            f"note: {scores[0].left_out} columns without a finite prediction of one of these are "
            "left out of all scores",
            highlight=False,
        )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
