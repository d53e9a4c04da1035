"""Which columns are trained on, and which are held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from climlink.config import StrictModel

MAIN = "main"
"""The name of a run's own store in a mix."""


class ValidationConfig(StrictModel):
    """Which times are held out to measure R2 after each epoch and to choose the best checkpoint.

    ``none``: every training time is trained on and the last checkpoint is the result. ``store``:
    the store's validation split. ``cut``: every ``every``-th time of the training split, from
    ``offset``, is held out of training.
    """

    source: Literal["none", "store", "cut"] = Field(default="none", description="what is held out")
    every: int = Field(default=5, ge=2)
    offset: int = Field(default=2, ge=0)


class FurtherStore(StrictModel):
    """A store that columns are mixed in from: its training split, with its own targets or those
    that a package predicts (pseudo-labels).
    """

    store: Path = Field(description="column store of the same variables, levels and time step")
    labels: Path | None = Field(
        default=None, description="package whose predictions are the targets; null: the store's own"
    )


def problems_of_mix(
    stores: Mapping[str, FurtherStore], mix: Mapping[str, float]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with the names and weights of a mix, with its key."""
    if MAIN in stores:
        yield ("stores", MAIN), f"{MAIN!r} is the name of the run's own store; choose another"
    known = (MAIN, *stores)
    for name, weight in mix.items():
        if name not in known:
            yield ("mix", name), f"no store is named so; known: {', '.join(known)}"
        if not 0 < weight < float("inf"):
            yield ("mix", name), f"the weight is {weight:g}; it must be positive (or leave it out)"
    unused = [name for name in stores if name not in mix]
    if unused:
        yield ("stores", unused[0]), "mix gives it no weight; name it there or take it out"
