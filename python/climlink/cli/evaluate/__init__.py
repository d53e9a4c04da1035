"""climlink evaluate: offline skill, online drift and survival, stability, and what one says about
the other.
"""

from __future__ import annotations

import typer

from climlink.cli.evaluate import compare, offline, online, stability


def register(app: typer.Typer) -> None:
    """Add the commands of this folder to the command line."""
    group = typer.Typer(
        name="evaluate",
        help="How good a package is offline, what it does online, and whether one tells the other.",
        no_args_is_help=True,
    )
    offline.register(group)
    online.register(group)
    stability.register(group)
    compare.register(group)
    app.add_typer(group)
