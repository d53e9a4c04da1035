"""climlink train: a configuration becomes a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from climlink.cli.console import output


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("train")(train)


def train(
    config: Annotated[Path, typer.Argument(help="training configuration: a file, or a shipped one by name")],
    store: Annotated[Path | None, typer.Option(help="store instead of the configuration's")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="run folder instead of the configuration's")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the training split instead of the configuration's")] = None,
    seed: Annotated[int | None, typer.Option(help="seed instead of the configuration's")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the run folder's last checkpoint")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="start again in a folder that holds a run")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; one is fastest on a busy machine")] = None,
) -> None:
    """Train an emulator; the checkpoint is a complete physical-to-physical emulator.

    Example: `climlink train unet_small` (`climlink configs training` lists the shipped ones)
    """
    from climlink.training.run import train as run

    overrides = {"store": store, "output": out, "epochs": epochs, "seed": seed, "threads": threads}
    result = run(config, resume=resume, overwrite=overwrite, overrides={k: v for k, v in overrides.items() if v is not None})
    output.print(f"{result.directory}: {result.epochs} epochs in {result.seconds:.0f} s")
    output.print(f"export it with `climlink export {result.directory} -o wrap_model.pt`")
