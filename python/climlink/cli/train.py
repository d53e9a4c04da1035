"""climlink train: a configuration becomes a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from climlink.cli.console import errors, output
from climlink.data.files import FileError
from climlink.signals import Interrupted


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("train", cls=_Train)(train)


class _Train(TyperCommand):
    """Tells in its help which architectures there are; they are looked for only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from climlink.architectures import architecture_names

        names = ", ".join(f"`{name}`" for name in architecture_names())
        self.epilog = f"Architectures: {names} (`climlink configs architectures`)"
        super().format_help(ctx, formatter)


def train(
    config: Annotated[
        Path, typer.Argument(help="training configuration: a file, or a shipped one by name")
    ],
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
) -> None:
    """Train an emulator; the checkpoint is a complete physical-to-physical emulator.

    A run that is ended by a signal, or by a full disk, keeps its last whole epoch; the command that
    goes on with it is printed.

    Example: `climlink train unet_small` (`climlink configs training` lists the shipped ones)
    """
    from climlink.training.config import load_training
    from climlink.training.run import train as run

    given = {"store": store, "output": out, "epochs": epochs, "seed": seed, "threads": threads}
    settings = load_training(config, {k: v for k, v in given.items() if v is not None})
    try:
        result = run(settings, resume=resume, overwrite=overwrite)
    except (Interrupted, FileError):
        _tell_how_to_go_on(settings.run_directory)
        raise
    output.print(f"{result.directory}: {result.epochs} epochs in {result.seconds:.0f} s")
    output.print(f"export it with `climlink export {result.directory} -o wrap_model.pt`")


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
