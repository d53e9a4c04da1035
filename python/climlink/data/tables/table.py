"""One file of rows: the interface, and the blocks that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Block(NamedTuple):
    """Some rows of a file."""

    values: Numbers
    """[row, column]: the columns asked for."""
    ids: list[str] | None
    """The sample_id of each row, None where the file has none."""


class Table(Protocol):
    """A file of rows, read in blocks; rows are numbered from 0."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def header(self) -> tuple[str, ...] | None:
        """The names of the columns in their order, None where they have none."""

    @property
    def width(self) -> int:
        """Number of columns."""

    @property
    def n_row(self) -> int:
        """Number of rows."""

    def read(self, start: int, stop: int, columns: tuple[int, ...]) -> Block:
        """Return columns, by position, of the rows from ``start`` to before ``stop``; DataError
        with column and line of what is no number.
        """

    def where(self, row: int) -> str:
        """Return how an editor finds a row: file and line, or file and row from 1."""
