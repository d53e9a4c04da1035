"""The option of evaluations whose figures have a pressure axis."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PressureAxis = Annotated[
    Literal["log", "linear"],
    typer.Option(
        help="pressure axes of figures: log shows all levels alike, linear shows air by its mass"
    ),
]
