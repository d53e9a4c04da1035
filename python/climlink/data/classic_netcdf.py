"""The length a classic netCDF file (CDF-1, CDF-2, CDF-5) must have according to its own header.

The netCDF library opens a classic file that was cut short and reads zeros where the data are
missing, so a broken copy or download would pass for real columns. HDF5-based netCDF-4 files need no
such check: HDF5 refuses them itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from climlink.wrappers.errors import ClimlinkError

_LIST_TAGS = (0, 0x0A, 0x0B, 0x0C)  # absent, dimensions, variables, attributes
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


class ClassicFormatError(ClimlinkError, ValueError):
    """The header itself is cut short or not one of a classic netCDF file."""


@dataclass(frozen=True)
class _Variable:
    dimensions: list[int]
    item_size: int
    begin: int


class _Header:
    """Sequential reader of a classic header; ``count_bytes`` and ``offset_bytes`` follow from the
    version.
    """

    def __init__(self, stream: BinaryIO, version: int) -> None:
        self._stream = stream
        self._count_bytes = 8 if version == 5 else 4
        self._offset_bytes = 4 if version == 1 else 8

    def _integer(self, size: int) -> int:
        raw = self._stream.read(size)
        if len(raw) != size:
            raise ClassicFormatError("the file ends inside its header")
        return int.from_bytes(raw, "big")

    def count(self) -> int:
        return self._integer(self._count_bytes)

    def offset(self) -> int:
        return self._integer(self._offset_bytes)

    def word(self) -> int:
        return self._integer(4)

    def skip(self, size: int) -> None:
        """Skip ``size`` bytes and the padding to a multiple of four."""
        self._stream.seek(size + (-size) % 4, 1)

    def list_length(self) -> int:
        tag = self.word()
        if tag not in _LIST_TAGS:
            raise ClassicFormatError(f"unknown tag {tag} in the header")
        return self.count()

    def type_size(self) -> int:
        kind = self.word()
        if kind not in _TYPE_SIZES:
            raise ClassicFormatError(f"unknown type {kind} in the header")
        return _TYPE_SIZES[kind]

    def skip_attributes(self) -> None:
        for _ in range(self.list_length()):
            self.skip(self.count())
            size = self.type_size()
            self.skip(size * self.count())

    def dimension(self) -> int:
        self.skip(self.count())
        return self.count()

    def variable(self) -> _Variable:
        self.skip(self.count())
        dimensions = [self.count() for _ in range(self.count())]
        self.skip_attributes()
        size = self.type_size()
        self.count()  # vsize: redundant, and wrong by design for large variables
        return _Variable(dimensions, size, self.offset())


def required_bytes(path: Path) -> int | None:
    """Return the least length in bytes that holds all data of a classic netCDF file; None for a
    file of another format.

    Raises ClassicFormatError where the header itself is cut short or broken.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            return None
        header = _Header(stream, magic[3])
        records = header.count()
        dimensions = [header.dimension() for _ in range(header.list_length())]
        header.skip_attributes()
        variables = [header.variable() for _ in range(header.list_length())]
        end = stream.tell()
    return max(
        [end, *_fixed_ends(variables, dimensions), *_record_ends(variables, dimensions, records)]
    )


def _is_record(variable: _Variable, dimensions: list[int]) -> bool:
    """A record variable's first dimension has length 0 in the header."""
    return bool(variable.dimensions) and dimensions[variable.dimensions[0]] == 0


def _fixed_ends(variables: list[_Variable], dimensions: list[int]) -> list[int]:
    """Return the first byte after each variable without a record dimension."""
    return [
        v.begin + v.item_size * math.prod(dimensions[d] for d in v.dimensions)
        for v in variables
        if not _is_record(v, dimensions)
    ]


def _record_ends(variables: list[_Variable], dimensions: list[int], records: int) -> list[int]:
    """Return the first byte after the last record of each record variable."""
    recorded = [
        (v, v.item_size * math.prod(dimensions[d] for d in v.dimensions[1:]))
        for v in variables
        if _is_record(v, dimensions)
    ]
    if not recorded or records == 0:
        return []
    padded = [size + (-size) % 4 for _, size in recorded]
    stride = (
        recorded[0][1] if len(recorded) == 1 else sum(padded)
    )  # a lone record variable is not padded
    return [v.begin + (records - 1) * stride + size for v, size in recorded]
