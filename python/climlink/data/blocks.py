"""The blocks of a store under preparation: each is written whole and then marked, by whichever
process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import zarr

from climlink.data.climsim import Columns
from climlink.data.errors import DataError, StoreError
from climlink.data.files import replacing
from climlink.data.source import Note, Source
from climlink.data.store import StoreConfig

MARKS = ".prepare"
"""Folder, in a store under preparation, of a file with the notes of each block that was written."""

_READING = threading.Lock()
"""netCDF and HDF5 serve one thread of a process at a time; a scheduler may give it several."""


def write_blocks(
    store: Path,
    source: Source,
    config: StoreConfig,
    blocks: Mapping[int, slice],
    done: Callable[[int], None],
) -> int:
    """Write the blocks, given by number, that are not done yet; return the number of records
    written.

    ``done`` is called with the number of the last record that was read, or was there before.
    DataError for a source file that does not fit, or a value that overflows the declared type.
    """
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    written = 0
    for number, block in blocks.items():
        if is_done(store, source, number, block):
            done(block.stop)
            continue
        _mark(store, number).unlink(missing_ok=True)
        notes = _copy_block(group, source, config, block, done)
        with replacing(_mark(store, number)) as beside:
            beside.write_text(json.dumps(notes), encoding="utf-8")
        written += block.stop - block.start
    return written


def is_done(store: Path, source: Source, number: int, block: slice) -> bool:
    """Say whether a block was written whole, from files that still have the length they had
    then.
    """
    if not _mark(store, number).exists():
        return False
    return [note["sizes"] for note in notes_of(store, number)] == source.sizes(block)


def notes_of(store: Path, number: int) -> list[Note]:
    """Return the notes of a block that was written."""
    notes: list[Note] = json.loads(_mark(store, number).read_text(encoding="utf-8"))
    return notes


def array_of(group: zarr.Group, name: str) -> zarr.Array:
    """Return an array of a store; StoreError if it is not there."""
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise StoreError(
            f"{group.store_path}: {name} is not an array: the store is damaged; overwrite it with "
            "--overwrite"
        )
    return array


def _copy_block(
    group: zarr.Group,
    source: Source,
    config: StoreConfig,
    block: slice,
    done: Callable[[int], None],
) -> list[Note]:
    """Read and write one block, which is not in memory any more when the next one is read."""
    with _READING:
        columns, notes = source.read(block, done)
    _write_block(group, source, config, block, columns)
    return notes


def _write_block(
    group: zarr.Group, source: Source, config: StoreConfig, block: slice, columns: Columns
) -> None:
    """Write one block of every variable; DataError if a value overflows the declared type."""
    for v in source.variables:
        dtype = config.dtype_of(v)
        with np.errstate(over="ignore"):
            values = columns[v.name].astype(dtype, copy=False)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            problem = f"{source.where(block.start + bad)}: {v.name} does not fit {dtype};"
            raise DataError(f"{problem} declare it float64 in dtypes")
        array_of(group, v.name)[block] = values


def _mark(store: Path, number: int) -> Path:
    return store / MARKS / f"block-{number:06d}.json"
