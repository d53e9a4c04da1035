"""What is in a store, as plain values that a table or JSON can show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from climlink.data.climsim import stored_variables
from climlink.data.errors import StoreError
from climlink.data.split import SPLIT_NAMES
from climlink.data.store import IMPLAUSIBLE, VERSION_ATTRIBUTE, ColumnStore, holds_lags, open_group

Progress = Callable[[int, int], None]
"""Called with the variables done and the variables in all."""


def describe(path: str | Path, *, ranges: bool = True, progress: Progress | None = None) -> dict[str, Any]:
    """Return completeness, digest, grid, splits, and per variable units, dimensions, type, size on disk and range.

    Works on an unfinished store too, without ranges; ``ranges=False`` leaves them out of a large one (they read all of it). StoreError
    for what is not a store.
    """
    path = Path(path)
    group = open_group(path)
    attributes: dict[str, Any] = dict(group.attrs)
    kept = attributes.get(IMPLAUSIBLE, {})
    complete = group.attrs.get("complete") is True
    stamps = [str(s) for s in _values(group, "stamp")]
    codes = _values(group, "split")
    level_count = len(_values(group, "hyam"))
    names = [v.name for v in stored_variables(level_count, holds_lags(group.attrs.asdict()))]
    store = ColumnStore.open(path) if complete and ranges else None
    variables = {}
    for number, name in enumerate(names):
        variables[name] = _variable(path, name, _array(group, name)) | ({} if store is None else _range(store, name))
        if progress:
            progress(number + 1, len(names))
    return {
        "path": str(path),
        "complete": complete,
        "version": group.attrs[VERSION_ATTRIBUTE],
        "digest": group.attrs.get("data_digest") or None,
        "times": len(stamps),
        "columns": len(_values(group, "latitude")),
        "levels": level_count,
        "time_step_s": group.attrs.get("time_step_s"),
        "lagged_inputs": holds_lags(group.attrs.asdict()),
        "left_out_without_history": group.attrs.get("left_out_without_history", 0),
        IMPLAUSIBLE: {name: {"count": count} for name, count in kept.items()},
        "calendar": group.attrs.get("calendar"),
        "first": stamps[0],
        "last": stamps[-1],
        "bytes_on_disk": _bytes(path),
        "splits": {name: _split([s for s, c in zip(stamps, codes, strict=True) if c == code]) for code, name in enumerate(SPLIT_NAMES)},
        "variables": variables,
    }


def _values(group: zarr.Group, name: str) -> NDArray[Any]:
    return np.asarray(_array(group, name)[...])


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{group.store_path}: the store lacks {name}; prepare it again with overwrite")
    return array


def _split(stamps: list[str]) -> dict[str, Any]:
    return {"times": len(stamps), "first": stamps[0] if stamps else None, "last": stamps[-1] if stamps else None}


def _variable(path: Path, name: str, array: zarr.Array) -> dict[str, Any]:
    return {
        "units": array.attrs.get("units"),
        "dimensions": " ".join(("time", "column", "level")[: array.ndim]),
        "dtype": str(array.dtype),
        "bytes_on_disk": _bytes(path / name),
    }


def _range(store: ColumnStore, name: str) -> dict[str, float]:
    """Return the smallest and largest stored value, reading one chunk of times after another."""
    lows, highs = [], []
    for first in range(0, store.n_time, store.time_chunk):
        values = store.read([name], np.arange(first, min(first + store.time_chunk, store.n_time)))[name]
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return {"minimum": min(lows), "maximum": max(highs)}


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
