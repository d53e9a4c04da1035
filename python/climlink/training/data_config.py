"""Which columns are trained on, and which are held out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel


class ValidationConfig(StrictModel):
    """Which times are held out to measure R2 after each epoch and to choose the best checkpoint.

    ``none``: every training time is trained on and the last checkpoint is the result. ``store``:
    the store's validation split. ``cut``: every ``every``-th time of the training split, from
    ``offset``, is held out of training.
    """

    source: Literal["none", "store", "cut"] = Field(default="none", description="what is held out")
    every: int = Field(default=5, ge=2)
    offset: int = Field(default=2, ge=0)
