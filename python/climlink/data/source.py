"""What a store is made from: the one interface between a kind of source and the writer, prepare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.grid import Grid
from climlink.data.stamp import Stamp
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

Note = dict[str, Any]
"""What is noted of values that were read, as JSON: ``sizes`` of their files, ``implausible`` counts
by name, and a source's own.
"""


class Source(Protocol):
    """Records in order: times that have the columns of a grid, or rows of a table that have neither
    stamp nor place.

    What a source does not know is None: nothing is invented for a store.
    """

    @property
    def title(self) -> str:
        """What the records come from, for the store's attribute ``source``."""

    @property
    def unit(self) -> Literal["pairs", "rows"]:
        """What a record is called."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What each record holds, inputs first."""

    @property
    def level_count(self) -> int:
        """Number of levels of a profile."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Sizes of the dimensions of the variables."""

    @property
    def hybrid(self) -> HybridCoordinate | None:
        """The vertical grid, None where none is known."""

    @property
    def grid(self) -> Grid | None:
        """Where the columns of every record are, None where a record is a row of no known place."""

    @property
    def stamps(self) -> tuple[Stamp, ...] | None:
        """The times of the records, None where they have none."""

    @property
    def n_record(self) -> int:
        """Number of records."""

    @property
    def left_out(self) -> int:
        """Records of the source that are not taken, for they lack the steps before."""

    @property
    def codes(self) -> NDArray[np.int8]:
        """Which split each record belongs to, as a position in SPLIT_NAMES [record]."""

    @property
    def block_size(self) -> int:
        """Records that are read, written and resumed together: the store's chunk."""

    def arguments(self) -> dict[str, str]:
        """Return digests of what decides the content, by the word a user knows each by."""

    def sizes(self, block: slice) -> list[list[int]]:
        """Return the lengths in bytes of the files of a block, one list per note."""

    def read(self, block: slice, done: Callable[[int], None]) -> tuple[Columns, list[Note]]:
        """Return the values of a block by name, float64 [record, column, level] or [row, level],
        and notes of it.

        ``done`` is called with the number of the last record that was read. DataError: file and
        variable, column or line that do not fit.
        """

    def part(self, records: slice) -> Source:
        """Return a source of some records, under the numbers that they have here, for another
        process: with all that reading them needs, and little more.
        """

    def where(self, record: int) -> str:
        """Return file and line of a record, for messages."""

    def conclude(self, notes: Sequence[Note]) -> list[str]:
        """Check what only all notes together show; return the SHA-256 of what was read: one per
        record, or one per file of a table.
        """


def digest(text: str) -> str:
    """Return the SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
