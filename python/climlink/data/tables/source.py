"""A table as a source of a store: its parts one after another, each row a column of unknown time
and place.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns, count_implausible
from climlink.data.errors import DataError
from climlink.data.files import sha256_file
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.data.source import Note, digest
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import StoreConfig
from climlink.data.tables.checks import check_values
from climlink.data.tables.find import Files, find_files
from climlink.data.tables.layout import SAMPLE_ID
from climlink.data.tables.normalized import Denormalizer
from climlink.data.tables.parts import Part, Piece, open_part, require_alike
from climlink.data.tables.table import Block
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.variable_sets import DEFAULT_LEVEL_COUNT, VariableSet
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

_ID_BYTES = 8
_ID_TYPE = np.dtype(">u8")


@dataclass(frozen=True)
class TableSource:
    """The parts of a table with the same variables."""

    parts: tuple[Part, ...]
    variables: tuple[Variable, ...]
    level_count: int
    codes: NDArray[np.int8]
    config: StoreConfig
    split: Split
    vertical: Grid | None
    """The grid file: of it the levels are taken, not the places of its columns."""
    denormalizer: Denormalizer | None
    unit: Literal["pairs", "rows"] = "rows"
    grid: None = None
    stamps: tuple[Stamp, ...] | None = None
    left_out: int = 0

    @classmethod
    def find(
        cls,
        source: Path,
        split: Split,
        grid: Path | None,
        config: StoreConfig,
        targets: Path | None,
    ) -> TableSource:
        """Find and check everything that can be checked before a value is read."""
        if config.lags:
            problem = f"{source} is a table: its rows say neither time nor place,"
            raise DataError(f"{problem} so steps before are not known; leave lags out")
        vertical = None if grid is None else read_grid(find_grid(source, grid))
        levels = DEFAULT_LEVEL_COUNT if vertical is None else vertical.level_count
        files = find_files(source)
        if targets is not None:
            if len(files) != 1 or len(files[0].paths) != 1:
                problem = f"{source} has {len(files)} part(s), some with targets:"
                raise DataError(f"{problem} a file of targets needs one file without")
            files = [Files(files[0].name, (files[0].paths[0], targets))]
        parts = tuple(open_part(f, config, levels) for f in files)
        sets = [s for piece in parts[0].pieces for s in piece.sets]
        require_alike(parts)
        return cls(
            parts=parts,
            variables=tuple(v for s in sets for v in s.variables),
            level_count=levels,
            codes=split.assign_rows([(p.name, p.n_row) for p in parts]),
            config=config,
            split=split,
            vertical=vertical,
            denormalizer=_denormalizer(parts, config, sets),
        )

    @property
    def title(self) -> str:
        """What the records come from."""
        files = [piece.table.path.name for part in self.parts for piece in part.pieces]
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        return f"the table {shown}"

    @property
    def hybrid(self) -> HybridCoordinate | None:
        """The vertical grid, None without a grid file."""
        return None if self.vertical is None else self.vertical.hybrid

    @cached_property
    def n_record(self) -> int:
        """Number of rows."""
        return sum(p.n_row for p in self.parts)

    @property
    def block_size(self) -> int:
        """Rows of a block."""
        return self.config.table.row_chunk

    def arguments(self) -> dict[str, str]:
        """Return digests of the arguments; the source counts by the names and rows of its parts."""
        parts = [[p.name, p.n_row, [piece.names for piece in p.pieces]] for p in self.parts]
        found = {
            "parts and columns of the source": digest(json.dumps(parts)),
            "grid file": "" if self.vertical is None else self.vertical.sha256,
            "split": digest(self.split.declaration),
        }
        return (
            found
            if self.denormalizer is None
            else found | {"normalization files": self.denormalizer.sha256}
        )

    @property
    def dims(self) -> dict[str, int]:
        """Sizes of the dimensions of the variables."""
        return {LEVEL: self.level_count}

    def sizes(self, block: slice) -> list[list[int]]:
        """Return the lengths of the files that a block is read from."""
        return [[size for part, _, _ in self._of(block) for size in part.sizes]]

    def read(self, block: slice, done: Callable[[int], None]) -> tuple[Columns, list[Note]]:
        """Return the values [row, level] of some rows, and one note of them."""
        found: list[Columns] = []
        ids: list[str] = []
        for part, start, stop in self._of(block):
            columns, known = self._rows(part, start, stop)
            found.append(columns)
            ids += known or []
        whole = {v.name: np.concatenate([c.pop(v.name) for c in found]) for v in self.variables}
        step = self.config.time_step_s
        allowed = [v for v in self.variables if v.name in self.config.allow_implausible]
        hashes = _packed(ids)
        note: Note = {
            "sizes": self.sizes(block)[0],
            "implausible": count_implausible(whole, allowed, step),
            "ids": hashes,
        }
        self._refuse_twice(np.frombuffer(_unpacked(hashes), dtype=_ID_TYPE))
        done(block.stop)
        return whole, [note]

    def part(self, records: slice) -> TableSource:
        """Return the table without what only the whole needs."""
        return replace(self, codes=self.codes[:0])

    def where(self, record: int) -> str:
        """Return file and line of a row."""
        part, start, _ = next(self._of(slice(record, record + 1)))
        return part.pieces[0].table.where(start)

    def conclude(self, notes: Sequence[Note]) -> list[str]:
        """Check that no sample_id stands twice in the whole; return the SHA-256 of every file."""
        self._refuse_twice(
            np.frombuffer(b"".join(_unpacked(n["ids"]) for n in notes), dtype=_ID_TYPE)
        )
        return [sha256_file(piece.table.path) for part in self.parts for piece in part.pieces]

    def _of(self, block: slice) -> Iterator[tuple[Part, int, int]]:
        """Yield the parts of a block with their first row and the one after the last."""
        first = 0
        for part in self.parts:
            start, stop = max(block.start - first, 0), min(block.stop - first, part.n_row)
            if start < stop:
                yield part, start, stop
            first += part.n_row

    def _rows(self, part: Part, start: int, stop: int) -> tuple[Columns, list[str] | None]:
        """Return checked physical values of some rows of a part, and their sample_ids."""
        columns: Columns = {}
        ids: list[str] | None = None
        for piece in part.pieces:
            block = piece.table.read(start, stop, piece.columns)
            _require_finite(piece, block, start)
            _require_same_ids(part.pieces[0], piece, ids, block.ids, start)
            ids = block.ids if ids is None else ids
            columns |= piece.split(block)
        if self.denormalizer is not None:
            columns = self.denormalizer.undo(columns)
        tables = {
            v.name: piece.table for piece in part.pieces for s in piece.sets for v in s.variables
        }
        check_values(columns, self.config, lambda name, row: tables[name].where(start + row))
        return columns, ids

    def _refuse_twice(self, hashes: NDArray[np.unsignedinteger]) -> None:
        """Raise DataError if two rows have the same sample_id, given the hashes of some."""
        values, counts = np.unique(hashes, return_counts=True)
        doubled = set(values[counts > 1].tolist())
        if not doubled:
            return
        seen: dict[str, str] = {}
        for part in self.parts:  # again, for the hashes do not say where: 8192 rows at a time
            piece = next(
                p for p in part.pieces if p.table.header is not None and SAMPLE_ID in p.table.header
            )
            for start in range(0, part.n_row, self.block_size):
                stop = min(start + self.block_size, part.n_row)
                for row, name in enumerate(
                    piece.table.read(start, stop, piece.columns[:1]).ids or [], start
                ):
                    if _hash(name) not in doubled:
                        continue
                    if name in seen:
                        problem = f"{piece.table.where(row)}, column {SAMPLE_ID}:"
                        raise DataError(f"{problem} {name!r} stands in {seen[name]} too; keep one")
                    seen[name] = piece.table.where(row)


def _denormalizer(
    parts: Sequence[Part],
    config: StoreConfig,
    sets: Sequence[VariableSet],
) -> Denormalizer | None:
    """Return what undoes the normalization, None where values are physical; DataError where that
    was not said.
    """
    t, first = config.table, parts[0].pieces[0].table
    named = first.header is not None
    if t.values is None and not named:
        raise DataError(
            f"{first.path} does not say whether its values are physical or normalized: "
            "say --values physical, or --values normalized and in the configuration "
            "the files they were normalized with (table: normalization)"
        )
    if t.values != "normalized":
        if t.normalization is not None:
            problem = "normalization files are given, but the values are"
            raise DataError(f"{problem} not said to be normalized: say --values normalized")
        return None
    if t.normalization is None:
        problem = "normalized values need the files they were normalized with:"
        raise DataError(f"{problem} name them in the configuration (table: normalization)")
    return Denormalizer(t.normalization, sets[0], sets[1] if len(sets) > 1 else None)


def _require_finite(piece: Piece, block: Block, start: int) -> None:
    bad = ~np.isfinite(block.values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        where = f"{piece.table.where(start + int(row))}, column {piece.names[column]}"
        problem = f"{where}: {block.values[row, column]} is not finite;"
        raise DataError(f"{problem} mend it or leave the row out")


def _require_same_ids(
    first: Piece,
    piece: Piece,
    ids: list[str] | None,
    others: list[str] | None,
    start: int,
) -> None:
    """Raise DataError if two files of a part name a row differently."""
    if ids is None or others is None or ids == others:
        return
    row = next(i for i, (a, b) in enumerate(zip(ids, others, strict=True)) if a != b)
    raise DataError(
        f"{piece.table.where(start + row)}, column {SAMPLE_ID}: {others[row]!r}, "
        f"but {first.table.where(start + row)} is {ids[row]!r}; "
        "both files need the same rows in the same order"
    )


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=_ID_BYTES).digest(), "big")


def _packed(ids: Sequence[str]) -> str:
    """Return the 8-byte hashes of sample_ids as text: what is kept of 10 million rows are 80 MB."""
    return base64.b64encode(np.array([_hash(i) for i in ids], dtype=_ID_TYPE).tobytes()).decode()


def _unpacked(text: str) -> bytes:
    return base64.b64decode(text)
