"""Which files are the parts of a table, and which hold inputs and targets of the same rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from climlink.data.errors import DataError
from climlink.data.tables.array_tables import Hdf5Table, NpyTable
from climlink.data.tables.csv_table import CsvTable
from climlink.data.tables.parquet_table import ParquetTable
from climlink.data.tables.table import Table

_NAMED: dict[str, Callable[[Path], Table]] = {".csv": CsvTable, ".parquet": ParquetTable}
_ARRAYS: dict[str, Callable[[Path], Table]] = {
    ".npy": NpyTable,
    ".h5": Hdf5Table,
    ".hdf5": Hdf5Table,
}
_KINDS = _NAMED | _ARRAYS
_INPUT, _TARGET = "_input", "_target"
_SHOWN = 6


@dataclass(frozen=True)
class Files:
    """One part of a table: its name, and the files of its rows, inputs first."""

    name: str
    paths: tuple[Path, ...]


def open_table(path: Path) -> Table:
    """Return the table of a file, by its suffix; DataError for another one."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: expected a table: {', '.join(_KINDS)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    return kind(path)


def holds_tables(source: Path) -> bool:
    """Say whether a source is a table, or a folder with tables and no mli files."""
    if source.is_file():
        return True
    found = False
    for _, name in _files(source):
        if name.endswith(".nc") and ".mli" in name:
            return False
        found = found or _suffix(name) in _KINDS
    return found


def find_files(source: Path) -> list[Files]:
    """Return the parts of a table in order of their names: a file, or all files of one kind at or
    below a folder.

    Arrays come in pairs, ``X_input`` and ``X_target`` with the same suffix; an input alone has no
    targets. DataError for files of several kinds and for targets alone.
    """
    paths = [source] if source.is_file() else _walk(source)
    suffixes = sorted({p.suffix.lower() for p in paths})
    if len(suffixes) > 1:
        raise DataError(
            f"{source}: tables of several kinds ({', '.join(suffixes)}): {_listed(paths)}; give "
            "one file, or a folder of one kind"
        )
    root = source.parent if source.is_file() else source
    if suffixes and suffixes[0] in _ARRAYS:
        return _pairs(root, paths)
    return [Files(_part_name(root, p), (p,)) for p in paths]


def _pairs(root: Path, paths: list[Path]) -> list[Files]:
    inputs = [p for p in paths if p.stem.endswith(_INPUT)]
    targets = {p.with_name(p.stem.removesuffix(_INPUT) + _TARGET + p.suffix) for p in inputs}
    strange = [p for p in paths if p not in inputs and p not in targets]
    if strange:
        raise DataError(
            f"{_listed(strange)}: expected X{_INPUT}{strange[0].suffix}, with its targets in "
            f"X{_TARGET}{strange[0].suffix} beside it"
        )
    found = []
    for path in inputs:
        target = path.with_name(path.stem.removesuffix(_INPUT) + _TARGET + path.suffix)
        name = _part_name(root, path).removesuffix(_INPUT)
        found.append(Files(name, (path, target) if target.is_file() else (path,)))
    return found


def _part_name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _walk(folder: Path) -> list[Path]:
    return sorted(Path(top) / name for top, name in _files(folder) if _suffix(name) in _KINDS)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield folder and name of every file; names alone, for a tree may have half a million."""
    for top, _, names in os.walk(folder, followlinks=True):
        for name in names:
            yield top, name


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _listed(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(str, paths[:_SHOWN])) + more
