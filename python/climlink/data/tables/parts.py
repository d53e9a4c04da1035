"""The parts of a table: rows in order, from one file or from two, and where each variable stands in
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from climlink.data.climsim import OUTPUT_SET, Columns
from climlink.data.errors import DataError
from climlink.data.store import StoreConfig
from climlink.data.tables.find import Files, open_table
from climlink.data.tables.layout import (
    check_width,
    column_names,
    match_columns,
    variables_of,
)
from climlink.data.tables.table import Block, Table
from climlink.wrappers.variable_sets import VariableSet

NAMED_INPUTS = "climsim_v2_kaggle"
"""What columns with names are held against unless told otherwise."""


@dataclass(frozen=True)
class Piece:
    """A file of a part with the sets that it holds, and where their values stand in it."""

    table: Table
    sets: tuple[VariableSet, ...]
    columns: tuple[int, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are read."""
        return tuple(name for s in self.sets for name in column_names(s))

    def split(self, block: Block) -> Columns:
        """Return the values of a block by variable: profiles [row, level], scalars [row]."""
        found: Columns = {}
        start = 0
        for s in self.sets:
            for v in s.variables:
                part = block.values[:, start + s.offset(v.name) : start + s.slice(v.name).stop]
                found[v.name] = part if v.is_profile else part[:, 0]
            start += s.width
        return found


@dataclass(frozen=True)
class Part:
    """Rows in order, from one file or from two with the same rows."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def n_row(self) -> int:
        """Number of rows."""
        return self.pieces[0].table.n_row

    @property
    def sizes(self) -> list[int]:
        """Lengths of the files in bytes."""
        return [piece.table.path.stat().st_size for piece in self.pieces]


def open_part(files: Files, config: StoreConfig, level_count: int) -> Part:
    """Open the files of a part and match their columns; DataError for unequal rows and variables
    that stand twice.
    """
    tables = [open_table(path) for path in files.paths]
    if len({t.n_row for t in tables}) > 1:
        counts = ", ".join(f"{t.path} has {t.n_row}" for t in tables)
        problem = f"files of unequal rows: {counts};"
        raise DataError(f"{problem} expected inputs and targets of the same rows")
    pieces = tuple(_piece(t, number, config, level_count) for number, t in enumerate(tables))
    names = [name for piece in pieces for s in piece.sets for name in s.names]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        problem = f"{twice[0]} stands in {' and '.join(str(t.path) for t in tables)};"
        raise DataError(f"{problem} give it once")
    return Part(files.name, pieces)


def _piece(table: Table, number: int, config: StoreConfig, level_count: int) -> Piece:
    """Match the columns of a file: by name where they have names, else all of them in the order
    that the configuration says.
    """
    t = config.table
    if table.header is not None:
        known = [
            variables_of(t.inputs or NAMED_INPUTS, level_count),
            variables_of(t.outputs or OUTPUT_SET, level_count),
        ]
        sets = match_columns(table.path, table.header, known, t.ignore)
        if number == 0 and known[0] not in sets:
            problem = f"{table.path} holds targets only:"
            raise DataError(f"{problem} give the file of their inputs, and this one with --targets")
        place = {name: i for i, name in enumerate(table.header)}
        return Piece(table, sets, tuple(place[n] for s in sets for n in column_names(s)))
    given, option = (t.inputs, "--inputs") if number == 0 else (t.outputs, "--outputs")
    if given is None:
        raise DataError(
            f"{table.path}: {table.width} columns without names: say with {option} which set they "
            "are, or which variables in order"
        )
    variables = variables_of(given, level_count)
    check_width(table.path, table.width, variables, option)
    return Piece(table, (variables,), tuple(range(table.width)))


def require_alike(parts: Sequence[Part]) -> None:
    """Raise DataError unless all parts hold the same variables."""
    first = parts[0]
    for part in parts[1:]:
        if [p.sets for p in part.pieces] != [p.sets for p in first.pieces]:
            a, b = (
                " and ".join(s.name for piece in p.pieces for s in piece.sets)
                for p in (first, part)
            )
            problem = f"the part {first.name!r} holds {a},"
            raise DataError(f"{problem} {part.name!r} holds {b}: give files of the same columns")
