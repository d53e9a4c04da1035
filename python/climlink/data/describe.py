"""What is in a store, as plain values that a table or JSON can show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from climlink.data.errors import StoreError
from climlink.data.lags import lag_names
from climlink.data.split import SPLIT_NAMES
from climlink.data.store import (
    IMPLAUSIBLE,
    TARGET_WEIGHTS,
    VERSION_ATTRIBUTE,
    ColumnStore,
    open_group,
    recorded_variables,
)

Progress = Callable[[int, int], None]
"""Called with the variables done and the variables in all."""


def describe(
    path: str | Path, *, ranges: bool = True, progress: Progress | None = None
) -> dict[str, Any]:
    """Return completeness, digest, grid, splits, and per variable units, dimensions, type, size on
    disk and range.

    Works on an unfinished store too, without ranges; ``ranges=False`` leaves them out of a large
    one (they read all of it). StoreError for what is not a store.
    """
    path = Path(path)
    group = open_group(path)
    attributes: dict[str, Any] = dict(group.attrs)
    kept = attributes.get(IMPLAUSIBLE, {})
    complete = group.attrs.get("complete") is True
    variables = recorded_variables(attributes, path)
    store = ColumnStore.open(path) if complete and ranges else None
    lags = lag_names(attributes["level_count"])
    leading = ("time", "column") if "stamp" in group else ("row",)
    found = {}
    for number, v in enumerate(variables):
        found[v.name] = _variable(path, _array(group, v.name), (*leading, *v.dims))
        if store is not None:
            found[v.name] |= _range(store, v.name)
        if progress:
            progress(number + 1, len(variables))
    return {
        "path": str(path),
        "complete": complete,
        "version": attributes[VERSION_ATTRIBUTE],
        "digest": attributes.get("data_digest") or None,
        "source": attributes["source"],
        **_size(group),
        "levels": attributes["level_count"],
        "vertical_grid": "hyam" in group,
        "time_step_s": attributes.get("time_step_s"),
        "lagged_inputs": not lags.isdisjoint(v.name for v in variables),
        "left_out_without_history": attributes.get("left_out_without_history", 0),
        IMPLAUSIBLE: {name: {"count": count} for name, count in kept.items()},
        "bytes_on_disk": _bytes(path),
        "target_weights": TARGET_WEIGHTS in attributes,
        "splits": _splits(group),
        "variables": found,
    }


def _size(group: zarr.Group) -> dict[str, Any]:
    """Return times, columns and the span of time, or the number of rows."""
    if "stamp" not in group:
        return {"rows": len(_values(group, "split"))}
    stamps = _values(group, "stamp")
    return {
        "times": len(stamps),
        "columns": len(_values(group, "latitude")),
        "calendar": group.attrs.get("calendar"),
        "first": str(stamps[0]),
        "last": str(stamps[-1]),
    }


def _splits(group: zarr.Group) -> dict[str, Any]:
    """Return size and span of every split; rows are counted from 1."""
    codes = _values(group, "split")
    stamped = "stamp" in group
    names = [str(s) for s in _values(group, "stamp")] if stamped else range(1, len(codes) + 1)
    found = {}
    for code, split in enumerate(SPLIT_NAMES):
        members = np.flatnonzero(codes == code)
        first, last = (names[members[0]], names[members[-1]]) if members.size else (None, None)
        found[split] = {"times" if stamped else "rows": len(members), "first": first, "last": last}
    return found


def _values(group: zarr.Group, name: str) -> NDArray[Any]:
    return np.asarray(_array(group, name)[...])


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise StoreError(
            f"{group.store_path}: the store lacks {name}; prepare it again with overwrite"
        )
    return array


def _variable(path: Path, array: zarr.Array, dimensions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "units": array.attrs.get("units"),
        "dimensions": " ".join(dimensions),
        "dtype": str(array.dtype),
        "bytes_on_disk": _bytes(path / array.basename),
    }


def _range(store: ColumnStore, name: str) -> dict[str, float]:
    """Return the smallest and largest stored value, reading one chunk of times after another."""
    lows, highs = [], []
    for first in range(0, store.n_time, store.time_chunk):
        values = store.read([name], np.arange(first, min(first + store.time_chunk, store.n_time)))[
            name
        ]
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return {"minimum": min(lows), "maximum": max(highs)}


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
