"""Entry point of ``climlink``: the commands, and how errors become messages and exit codes.

0 ok, 1 failed, 2 wrong usage, 128+n ended by signal n.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from climlink.cli import configs, data, e3sm, evaluate, online, package, quickstart, train
from climlink.cli.console import errors
from climlink.signals import Interrupted, interruptible
from climlink.wrappers.errors import ClimlinkError

app = typer.Typer(
    name="climlink",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
quickstart.register(app)
data.register(app)
train.register(app)
package.register(app)
online.register(app)
evaluate.register(app)
e3sm.register(app)
configs.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from climlink.provenance import climlink_version

        print(f"climlink {climlink_version()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Trained emulators of cloud and convection physics inside Fortran climate models."""


@app.command("cmake-prefix")
def cmake_prefix() -> None:
    """Print the prefix under which CMake finds this installation.

    Example: `cmake -B build -DCMAKE_PREFIX_PATH=$(climlink cmake-prefix)`
    """
    from climlink.installation import cmake_prefix as prefix

    print(prefix())


def main() -> None:
    """Run the command line; an error of ours, or a signal, ends it with a message and exit code."""
    try:
        with interruptible():
            app()
    except ClimlinkError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", highlight=False)
        sys.exit(1)
    except Interrupted as stop:
        errors.print(str(stop))
        sys.exit(stop.exit_code)


def _escaped(error: ClimlinkError) -> str:
    from rich.markup import escape

    return escape(str(error))
