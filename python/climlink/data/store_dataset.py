"""A column store as a lazy dataset for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from climlink.data.store import ColumnStore

CHUNK_ROWS = 8192
"""Rows (times * columns) of a chunk, in whole chunks of the store: few tasks, and little of it in
memory at once."""

_INTERNAL = ("stamp", "source_sha256")


def store_dataset(store: ColumnStore, split: str | None = None) -> xr.Dataset:
    """Return the variables of a store [time, column, level], lazily, of one split or of all times.

    Coordinates: time (no-leap calendar), split, latitude, longitude and area of columns, pressure
    of levels in hPa where ps is P0, and the hybrid coefficients; of a table, [row, level], what is
    known of these. StoreError for an unknown split.
    """
    dataset = xr.open_zarr(store.path, chunks=None, consolidated=False, zarr_format=3)
    coordinates = {n: c.load() for n, c in dataset.coords.items() if n not in _INTERNAL}
    dataset = dataset[[v.name for v in store.variables]].drop_vars(_INTERNAL, errors="ignore")
    dataset = dataset.assign_coords(coordinates)
    dataset.attrs = {
        "store": str(store.path),
        "digest": store.digest,
        "time_step_s": store.time_step_s,
    }
    hybrid = store.known_hybrid
    if hybrid is not None:
        pressure = hybrid.p0_pa / 100.0 * (np.array(hybrid.hyam) + np.array(hybrid.hybm))
        told = {"units": "hPa", "long_name": "midpoint pressure where ps is P0"}
        dataset = dataset.assign_coords(pressure=("level", pressure, told)).assign_attrs(
            p0_pa=hybrid.p0_pa
        )
    record = dataset[store.variables[0].name].dims[0]
    chosen = dataset if split is None else dataset.isel({record: store.indices(split)})
    together = max(1, CHUNK_ROWS // (store.n_column * store.time_chunk)) * store.time_chunk
    return chosen.chunk({record: together})
