"""A CSV file, read in blocks: one pass counts lines, then a block is found by its position."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.files import explain
from climlink.data.tables.layout import SAMPLE_ID
from climlink.data.tables.table import Block

_PIECE_BYTES = 1 << 24
_INDEX_STRIDE = 1024
"""Lines between two positions that are kept: 10 million rows take 80 kB."""
_SHOWN_CHARACTERS = 40


class CsvTable:
    """A comma-separated file with a header and one line per row, in UTF-8."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._starts, self.n_row = _index(path)
            with path.open("rb") as stream:
                first = stream.readline()
        except OSError as error:
            raise DataError(explain(error, path)) from error
        names = next(csv.reader([self._text(first, 1, encoding="utf-8-sig")]), [])
        self.header: tuple[str, ...] = tuple(name.strip() for name in names)
        self.width = len(self.header)
        self._id = self.header.index(SAMPLE_ID) if SAMPLE_ID in self.header else None

    def where(self, row: int) -> str:
        """Return file and line; the header is line 1."""
        return f"{self.path}: line {row + 2}"

    def read(self, start: int, stop: int, columns: tuple[int, ...]) -> Block:
        """Return columns of some rows; DataError with line and column of what is no number, and of
        lines of another length.
        """
        lines = self._lines(start, stop)
        for row, line in enumerate(lines, start):
            found = line.count(",") + 1 if line else 0
            if found != self.width:
                raise DataError(
                    f"{self.where(row)} has {found} values, the header names {self.width}; "
                    "the file is damaged or cut short there: fetch it again"
                )
        try:
            values = np.loadtxt(
                lines, delimiter=",", usecols=columns, comments=None, quotechar='"', ndmin=2
            )
        except ValueError as error:
            raise self._no_number(lines, start, columns, error) from error
        return Block(values, self._ids(lines))

    def _lines(self, start: int, stop: int) -> list[str]:
        """Return some lines without their ends."""
        with self.path.open("rb") as stream:
            stream.seek(self._starts[start // _INDEX_STRIDE])
            raw = list(islice(stream, start % _INDEX_STRIDE, start % _INDEX_STRIDE + stop - start))
        if len(raw) != stop - start:
            problem = f"{self.path} became shorter while it was read:"
            raise DataError(f"{problem} {self.n_row} rows were counted in it")
        return [self._text(line, row + 2) for row, line in enumerate(raw, start)]

    def _text(self, line: bytes, number: int, encoding: str = "utf-8") -> str:
        try:
            return line.decode(encoding).rstrip("\r\n")
        except UnicodeDecodeError as error:
            problem = f"{self.path}: line {number}: expected UTF-8 text,"
            raise DataError(f"{problem} byte {error.start + 1} of it is not") from error

    def _ids(self, lines: list[str]) -> list[str] | None:
        if self._id is None:
            return None
        place = self._id
        return [line.split(",", place + 1)[place].strip('" ') for line in lines]

    def _no_number(
        self,
        lines: list[str],
        start: int,
        columns: tuple[int, ...],
        error: ValueError,
    ) -> DataError:
        """Return the error that names the first value that is no number."""
        for row, line in enumerate(lines, start):
            fields = next(csv.reader([line]))
            for column in columns:
                try:
                    float(fields[column])
                except ValueError:
                    found = fields[column][:_SHOWN_CHARACTERS]
                    what = f"{found!r} is not a number" if found.strip() else "there is no value"
                    return DataError(f"{self.where(row)}, column {self.header[column]}: {what}")
        return DataError(f"{self.where(start)} or a line after it: {error}")


def _index(path: Path) -> tuple[list[int], int]:
    """Return where every 1024th row begins, in bytes, and the number of rows; DataError for an
    empty file or an unended last line.
    """
    starts: list[NDArray[np.int64]] = []
    lines, offset, last = 0, 0, b""
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            ends = np.flatnonzero(np.frombuffer(piece, dtype=np.uint8) == ord("\n"))
            # The n-th line end of the file, from 0, is where row n begins: the header is the line
            # before row 0.
            chosen = (np.arange(lines, lines + ends.size) % _INDEX_STRIDE) == 0
            starts.append(ends[chosen] + offset + 1)
            lines, offset, last = lines + ends.size, offset + len(piece), piece[-1:]
    if lines < 2:
        problem = f"{path}: no rows: expected a header and at least one line below it,"
        raise DataError(f"{problem} each with its end")
    if last != b"\n":
        raise DataError(
            f"{path}: line {lines + 1}, the last, has no end: the file seems cut short; fetch it "
            "again (or end it, if it is whole)"
        )
    return np.concatenate(starts).tolist(), lines - 1
