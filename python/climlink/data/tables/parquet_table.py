"""A Parquet file, read in blocks through pyarrow (the extra ``tables``)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from climlink.data.errors import DataError
from climlink.data.tables.layout import SAMPLE_ID
from climlink.data.tables.table import Block, Numbers

_BATCH_ROWS = 1024


class ParquetTable:
    """A Parquet file with one row per row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pyarrow, parquet = _pyarrow()
        self._types: Any = pyarrow.types
        self._error: type[Exception] = pyarrow.ArrowException
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, self._error) as error:
            problem = f"{path}: not a readable Parquet file ({error});"
            raise DataError(f"{problem} fetch it again") from error
        self.header: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self.width = len(self.header)
        self.n_row: int = self._file.metadata.num_rows
        if self.n_row == 0:
            raise DataError(f"{path}: no rows")
        sizes = [
            self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)
        ]
        self._ends = np.cumsum(sizes)
        self._position = -1
        self._batches: Iterator[tuple[Numbers, list[str] | None]] = iter(())
        self._columns: tuple[int, ...] = ()

    def where(self, row: int) -> str:
        """Return file and row, from 1."""
        return f"{self.path}: row {row + 1}"

    def read(self, start: int, stop: int, columns: tuple[int, ...]) -> Block:
        """Return columns of some rows; reading on where the last call ended is fastest."""
        if start != self._position or columns != self._columns:
            self._columns, self._position = columns, start
            self._batches = self._from(start)
            self._left: tuple[Numbers, list[str] | None] = (np.empty((0, len(columns))), None)
        values, ids = [self._left[0]], list(self._left[1] or [])
        while sum(map(len, values)) < stop - start:
            try:
                more = next(self._batches)
            except (OSError, self._error) as error:
                problem = f"{self.where(start)} and the rows after it cannot be read ({error});"
                raise DataError(f"{problem} fetch it again") from error
            values.append(more[0])
            ids += more[1] or []
        joined, cut = np.concatenate(values), stop - start
        self._position = stop
        self._left = (joined[cut:], ids[cut:])
        return Block(joined[:cut], ids[:cut] if SAMPLE_ID in self.header else None)

    def _from(self, start: int) -> Iterator[tuple[Numbers, list[str] | None]]:
        """Yield batches of rows from ``start`` on."""
        group = int(np.searchsorted(self._ends, start, side="right"))
        row = int(self._ends[group - 1]) if group else 0
        names = [self.header[c] for c in self._columns]
        wanted = [*names, SAMPLE_ID] if SAMPLE_ID in self.header else names
        groups = list(range(group, len(self._ends)))
        for batch in self._file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=wanted):
            skipped = max(0, start - row)
            if skipped < batch.num_rows:
                part = batch.slice(skipped)
                numbers = [self._numbers(part, name, row + skipped) for name in names]
                ids = (
                    [str(i) for i in part.column(SAMPLE_ID).to_pylist()]
                    if SAMPLE_ID in wanted
                    else None
                )
                yield np.stack(numbers, axis=1), ids
            row += batch.num_rows

    def _numbers(self, batch: Any, name: str, first: int) -> Numbers:
        """Return a column of a batch in float64; DataError for text and for absent values."""
        column = batch.column(name)
        if not (self._types.is_floating(column.type) or self._types.is_integer(column.type)):
            raise DataError(f"{self.path}: column {name} is {column.type}, expected numbers")
        if column.null_count:
            bad = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise DataError(f"{self.where(first + bad)}, column {name}: there is no value")
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its Parquet part; DataError where it is not installed."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        problem = "Parquet files need pyarrow: pip install 'climlink[tables]',"
        raise DataError(f"{problem} or write the table as CSV") from error
