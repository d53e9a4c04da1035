"""Entry point of ``climlink``: the commands, and how errors become messages and exit codes.

0 ok, 1 failed, 2 wrong usage, 128+n ended by signal n.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from climlink.cli import (
    bench,
    compile,
    configs,
    data,
    doctor,
    e3sm,
    ensemble,
    evaluate,
    hub,
    online,
    package,
    quickstart,
    train,
)
from climlink.cli.console import errors, show_everything
from climlink.data.files import explain
from climlink.signals import Interrupted, interruptible
from climlink.wrappers.errors import ClimlinkError

_OUTPUT = Path("the output")
"""What only the standard streams are to an error: they are written without a name."""

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
compile.register(app)
bench.register(app)
hub.register(app)
online.register(app)
evaluate.register(app)
ensemble.register(app)
e3sm.register(app)
doctor.register(app)
configs.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from climlink.provenance import climlink_version

        print(f"climlink {climlink_version()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
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
    """Run the command line; an error of ours or of the system, or a signal, ends it with a message
    and its exit code.
    """
    show_everything()
    code = _run()
    refused = _output_refused()
    sys.exit(_fail(refused) if refused and code == 0 else code)


def _run() -> int | str | None:
    try:
        with interruptible():
            app()
    except SystemExit as end:
        return end.code or 0
    except ClimlinkError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(explain(error, _OUTPUT))
    except Interrupted as stop:
        errors.print(str(stop))
        return stop.exit_code
    return 0


def _fail(message: str) -> int:
    errors.print(f"[bold red]error:[/] {escape(message)}", highlight=False)
    return 1


def _output_refused() -> str:
    """Write what standard output still holds; return why it takes no more, nothing where it does or
    where nobody reads it any longer.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes again when it ends, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "" if isinstance(error, BrokenPipeError) else explain(error, _OUTPUT)
    return ""
