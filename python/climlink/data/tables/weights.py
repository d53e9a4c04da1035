"""The weights of a score's targets, as the LEAP competition gives them: in every row of its example
submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climlink.data.climsim import OUTPUT_SET
from climlink.data.errors import DataError
from climlink.data.files import sha256_file
from climlink.data.tables.find import open_table
from climlink.data.tables.layout import column_names, match_columns
from climlink.wrappers.variable_sets import variable_set

_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class TargetWeights:
    """Weights by variable, one number per level, and the digest of their file."""

    values: dict[str, list[float]]
    sha256: str


def read_weights(path: Path, level_count: int) -> TargetWeights:
    """Return the weights in a CSV or Parquet file: one row, or many that are equal.

    DataError for columns that are not those of mmf368, for rows that differ, and for a weight below
    0 or not finite.
    """
    table, outputs = open_table(path), variable_set(OUTPUT_SET, level_count)
    if table.header is None:
        problem = f"{path}: expected weights with the names of their columns,"
        raise DataError(f"{problem} as CSV or Parquet")
    match_columns(path, table.header, [outputs], ())
    names = column_names(outputs)
    columns = tuple(table.header.index(n) for n in names)
    first = table.read(0, 1, columns).values[0]
    bad = np.flatnonzero(~(np.isfinite(first) & (first >= 0.0)))
    if bad.size:
        problem = f"{table.where(0)}, column {names[bad[0]]}:"
        raise DataError(f"{problem} the weight {first[bad[0]]:g}, expected 0 or more")
    for start in range(0, table.n_row, _BLOCK_ROWS):
        differ = table.read(start, min(start + _BLOCK_ROWS, table.n_row), columns).values != first
        if differ.any():
            row, column = np.argwhere(differ)[0]
            raise DataError(
                f"{table.where(start + int(row))}, column {names[column]}: another weight than in "
                "the first row: expected the same in each, as in the example submission"
            )
    values = {v.name: first[outputs.slice(v.name)].tolist() for v in outputs.variables}
    return TargetWeights(values, sha256_file(path))
