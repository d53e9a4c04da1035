"""The group ``distribution`` of a statistics file."""

from __future__ import annotations

import json
from pathlib import Path

import netCDF4
import numpy as np
import torch

from climlink.data.distribution import digest_of
from climlink.data.errors import DataError
from climlink.wrappers.distribution import ACCURACY, LARGEST, SMALLEST, Distribution

_GROUP = "distribution"
_DIMENSIONS = {
    "center": ("value",),
    "unit": ("value",),
    "counts": ("value", "bucket"),
    "mean": ("input_value",),
    "comoment": ("input_value", "input_value"),
}


def write_distribution(distribution: Distribution, path: Path) -> None:
    """Add the group to a statistics file."""
    with netCDF4.Dataset(path, "a") as dataset:
        group = dataset.createGroup(_GROUP)
        for name, dimensions in _DIMENSIONS.items():
            values = getattr(distribution, name).numpy()
            for dimension, size in zip(dimensions, values.shape, strict=True):
                if dimension not in group.dimensions:
                    group.createDimension(dimension, size)
            # Most buckets are empty: a hundredth of their size is left.
            is_sparse = name == "counts"
            group.createVariable(name, values.dtype, dimensions, zlib=is_sparse)[...] = values
        group.setncatts(
            {
                "widths": json.dumps(distribution.widths),
                "inputs": json.dumps(distribution.inputs),
                "count": distribution.count,
                "accuracy": ACCURACY,
                "smallest": SMALLEST,
                "largest": LARGEST,
                "digest": digest_of(distribution),
            }
        )


def read_distribution(dataset: netCDF4.Dataset, path: Path) -> Distribution | None:
    """Return what the group holds, None where there is none; DataError if it was changed since."""
    if _GROUP not in dataset.groups:
        return None
    group = dataset.groups[_GROUP]
    widths: dict[str, int] = json.loads(group.widths)
    found = Distribution(
        widths=widths,
        inputs=tuple(json.loads(group.inputs)),
        count=int(group.count),
        **{name: torch.from_numpy(np.array(group[name][...])) for name in _DIMENSIONS},
    )
    made = (float(group.accuracy), float(group.smallest), float(group.largest))
    if digest_of(found) != group.digest or made != (ACCURACY, SMALLEST, LARGEST):
        raise DataError(
            f"{path}: the distribution is not the one that was written, or of another kind; "
            "compute the statistics again"
        )
    return found
