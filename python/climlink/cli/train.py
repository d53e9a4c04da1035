"""climlink train: a configuration becomes a run folder, a matrix many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from climlink.cli.console import errors, output, print_json, progress_bar
from climlink.data.files import FileError
from climlink.signals import Interrupted

if TYPE_CHECKING:
    from climlink.training.attempt import Outcome
    from climlink.training.composition import Composition, Layer


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("train", cls=_Train)(train)


class _Train(TyperCommand):
    """Tells in its help which architectures and recipes there are; they are looked for only
    then.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from climlink.architectures import architecture_names
        from climlink.installation import configurations

        architectures = ", ".join(f"`{name}`" for name in architecture_names())
        recipes = ", ".join(f"`{name}`" for name in configurations("recipes"))
        self.epilog = (
            f"Architectures: {architectures} (`climlink configs architectures`)\n\n"
            f"Recipes: {recipes} (`climlink configs recipes`)"
        )
        super().format_help(ctx, formatter)


def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG | KEY=VALUE",
            help="training configuration (a file, or a shipped one by name; without it the "
            "settings of the preset, small by default), then settings",
            show_default=False,
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a setting, as without --set"),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="store instead of the configuration's")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="run folder instead of the configuration's"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="passes over the training split instead of the configuration's"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed instead of the configuration's")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the run folder's last checkpoint")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="start again in a folder that holds a run")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; one is fastest on a busy machine")
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="print the whole configuration, where each part comes from, and train nothing",
        ),
    ] = False,
    matrix: Annotated[
        str | None,
        typer.Option(help="many runs: a file, or a shipped ensemble by name"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="matrix: runs at a time")] = 1,
    submit: Annotated[
        Literal["slurm"] | None, typer.Option(help="matrix: submit each run as a batch job")
    ] = None,
    list_runs: Annotated[
        bool, typer.Option("--list", help="matrix: say how each run stands, and train nothing")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="with --print-config or --matrix: print JSON")
    ] = False,
) -> None:
    """Train an emulator; the checkpoint is a complete physical-to-physical emulator.

    A setting is a key of the training file with its value, such as `seed=43`, `loss.delta=2` or
    `loss.host_outputs=[ptend_t]`; short words: `architecture=NAME`, `recipe=NAME`, `preset=NAME`,
    `data=STORE`. Settings win over CONFIG, CONFIG over the recipe. A run without a name is called
    ARCHITECTURE_RECIPE_PRESET_seedN and lies in runs/. `climlink configs training --keys` lists the
    keys.

    `--matrix` trains every run of a file, or with `--submit slurm` submits it: what is done is
    skipped, what is half done goes on, after a failure the next run starts (exit code 1 at the
    end). There a setting with the key of an axis chooses the runs that have that value.

    A run that is ended by a signal, or by a full disk, keeps its last whole epoch; the command that
    goes on with it is printed.

    Examples: `climlink train unet_small` (`climlink configs training` lists the shipped ones),
    `climlink train architecture=unet preset=small seed=43 data=stores/mine.zarr --print-config`,
    `climlink train --matrix climsim_small --list`
    """
    from climlink.training.composition import compose

    options = {"store": store, "output": out, "epochs": epochs, "seed": seed, "threads": threads}
    config, settings = _parts(words or [], assignments or [], options)
    if matrix is not None:
        alone = {"CONFIG": config, "--output": out, "--print-config": print_config or None}
        _refuse("--matrix", {**alone, "--overwrite": overwrite or None})
        _matrix(matrix, settings, jobs, submit, list_runs, as_json)
        return
    _refuse_without_matrix(list_runs, submit, jobs)
    if config is None and not settings:
        raise typer.BadParameter(
            "expected CONFIG, settings such as architecture=unet, or --matrix FILE; see climlink "
            "train --help"
        )
    composition = compose(config, settings)
    if print_config:
        _print(composition, as_json)
        return
    if as_json:
        raise typer.BadParameter("--json goes with --print-config or --matrix")
    _require_store(composition, config)
    _train(composition, resume, overwrite)


def _parts(
    words: list[str], assignments: list[str], options: dict[str, Any]
) -> tuple[str | None, list[Layer]]:
    """Return the configuration that the arguments name, and the settings."""
    from climlink.training.composition import is_word, setting, word

    names = [text for text in words if not is_word(text)]
    if len(names) > 1:
        second = f"{names[1]!r} is neither the first nor a setting"
        raise typer.BadParameter(f"expected one CONFIG, then key=value; {second}")
    given = {key: value for key, value in options.items() if value is not None}
    settings = [word(text) for text in [*filter(is_word, words), *assignments]]
    settings += [setting(k, v, f"--{k} {v}") for k, v in given.items()]
    return names[0] if names else None, settings


def _refuse(option: str, others: dict[str, Any]) -> None:
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise typer.BadParameter(f"{option} and {given[0]} exclude each other")


def _refuse_without_matrix(list_runs: bool, submit: str | None, jobs: int) -> None:
    for name, given in (("--list", list_runs), ("--submit", submit), ("--jobs", jobs > 1)):
        if given:
            raise typer.BadParameter(f"{name} needs --matrix FILE")


def _print(composition: Composition, as_json: bool) -> None:
    if as_json:
        print_json(composition.config.resolved().model_dump(mode="json"))
    else:
        # Not the console: rich would read brackets as markup.
        typer.echo(composition.text(), nl=False)


def _require_store(composition: Composition, config: str | None) -> None:
    """Raise ConfigError where nobody said which data, and those of the settings are not there."""
    from climlink.config import ConfigError

    store = composition.config.store
    if config is None and composition.source(["store"]) == composition.base and not store.exists():
        raise ConfigError(
            f"no data=STORE was given, and the store of these settings, {store}, is not there; "
            f"give one, or make it: climlink data prepare DIR --out {store} --split SPLIT"
        )


def _train(composition: Composition, resume: bool, overwrite: bool) -> None:
    from climlink.training.run import train as run

    settings = composition.config
    try:
        result = run(settings, resume=resume, overwrite=overwrite)
    except (Interrupted, FileError):
        _tell_how_to_go_on(settings.run_directory)
        raise
    output.print(f"{result.directory}: {result.epochs} epochs in {result.seconds:.0f} s")
    output.print(f"export it with `climlink export {result.directory} -o wrap_model.pt`")


def _matrix(
    name: str,
    settings: list[Layer],
    jobs: int,
    submit: str | None,
    list_runs: bool,
    as_json: bool,
) -> None:
    """List, run or submit a matrix; exit code 1 if a run failed."""
    from climlink.training.attempt import Outcome, queued_jobs, run_state
    from climlink.training.matrix import run_matrix
    from climlink.training.matrix_config import load_matrix
    from climlink.training.matrix_slurm import submit_matrix

    if submit is not None and jobs > 1:
        raise typer.BadParameter("--jobs and --submit exclude each other: the cluster decides")
    matrix = load_matrix(name, settings)
    if list_runs:
        queued = queued_jobs(matrix.runs)
        _tell_outcomes([Outcome(run, run_state(run, queued)) for run in matrix.runs], as_json)
        return
    with progress_bar(matrix.path.stem, hidden=as_json) as bar:
        outcomes: list[Outcome] = []

        def take(outcome: Outcome) -> None:
            outcomes.append(outcome)
            bar(len(outcomes), len(matrix.runs), outcome.run.name)
            if not as_json:
                errors.print(_line(outcome), markup=False, highlight=False)

        if submit is None:
            run_matrix(matrix.runs, jobs, take)
        else:
            submit_matrix(matrix.runs, matrix.config.slurm, take)
    _tell_outcomes(outcomes, as_json)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)


def _line(outcome: Outcome) -> str:
    spent = f" in {outcome.seconds:.0f} s" if outcome.seconds else ""
    return f"{outcome.run.name}: {outcome.state.kind}{spent} {outcome.state.note}".rstrip()


def _tell_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "name": o.run.name,
                    "folder": str(o.run.directory),
                    "state": o.state.kind,
                    "note": o.state.note,
                    "seconds": round(o.seconds, 1),
                }
                for o in outcomes
            ]
        )
        return
    table = Table("run", "state", "", title=None)
    for o in outcomes:
        table.add_row(o.run.name, o.state.kind, escape(o.state.note))
    output.print(table)
    counts = {o.state.kind: sum(x.state.kind == o.state.kind for x in outcomes) for o in outcomes}
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    output.print(f"{len(outcomes)} runs: {told}", highlight=False)


def _tell_how_to_go_on(directory: Path) -> None:
    from climlink.training.checkpoint import CONFIG_FILE, run_progress
    from climlink.training.errors import TrainingError

    if not (directory / CONFIG_FILE).exists():
        return  # nothing was begun
    try:
        progress = run_progress(directory)
    except TrainingError:
        errors.print(
            f"{directory}: no epoch was finished; the same command with --resume starts again",
            markup=False,
        )
    else:
        if not progress.finished:
            errors.print(
                f"{directory}: {progress}; go on with\n{progress.resume}",
                markup=False,
                highlight=False,
            )
