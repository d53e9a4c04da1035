"""A store before its values: all metadata and coordinates, every variable without values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from climlink.data.blocks import MARKS
from climlink.data.files import make_folder, refusals, remove_folder
from climlink.data.plan import Plan
from climlink.data.split import SPLIT_NAMES
from climlink.data.stamp import Stamp
from climlink.data.store import STORE_VERSION, TARGET_WEIGHTS, VERSION_ATTRIBUTE, record_of

SOURCE_SHA256 = "source_sha256"
_EPOCH = Stamp(1, 1, 1)


def create_skeleton(store: Path, plan: Plan) -> None:
    """Create the group with all coordinates and empty (NaN) variables, beside the store and then
    renamed.
    """
    beside = make_folder(store.parent) / f".{store.name}.new"
    remove_folder(beside)  # of a process that was killed
    try:
        with refusals(store, beside=beside):
            _write_skeleton(beside, plan)
            beside.rename(store)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_skeleton(beside: Path, plan: Plan) -> None:
    """Write the group, its coordinates and its variables without values."""
    group = zarr.create_group(beside, zarr_format=3, attributes=_attributes(plan))
    names = _create_coordinates(group, plan)
    group.update_attributes({"coordinates": " ".join(names)})
    for v in plan.source.variables:
        own = [(d, plan.source.dims[d]) for d in v.dims]
        dimensions, shape = zip(*plan.dimensions, *own, strict=True)
        group.create_array(
            v.name,
            shape=shape,
            chunks=(plan.source.block_size, *shape[1:]),
            dtype=plan.config.dtype_of(v),
            fill_value=float("nan"),
            dimension_names=dimensions,
            attributes={"units": v.units, "long_name": v.long_name},
        )
    (beside / MARKS).mkdir()


def _attributes(plan: Plan) -> dict[str, Any]:
    source = plan.source
    found = {
        VERSION_ATTRIBUTE: STORE_VERSION,
        "complete": False,
        "data_digest": "",
        "source": source.title,
        "left_out_without_history": source.left_out,
        "level_count": source.level_count,
        "variables": [record_of(v, plan.source.dims) for v in source.variables],
        "time_step_s": plan.config.time_step_s,
        "split_declaration": json.loads(plan.split.declaration),
        "store_configuration": json.loads(plan.config.model_dump_json()),
        "prepared_from": plan.arguments(),
    }
    if source.stamps is not None:
        found["calendar"] = "noleap"
    if source.hybrid is not None:
        found["p0_pa"] = source.hybrid.p0_pa
    if plan.weights is not None:
        found[TARGET_WEIGHTS] = plan.weights.values
    return found


def _create_coordinates(group: zarr.Group, plan: Plan) -> list[str]:
    """Write what is known of times, splits, column positions and hybrid coefficients; return the
    names but that of the dimension.
    """
    source, record = plan.source, plan.dimensions[0][0]
    meanings = {
        "flag_values": list(range(len(SPLIT_NAMES))),
        "flag_meanings": " ".join(SPLIT_NAMES),
    }
    _coordinate(group, "split", source.codes, record, **meanings)
    names = ["split"]
    if source.stamps is not None:
        names += _create_times(group, source.stamps)
    if source.grid is not None:
        _coordinate(group, "latitude", source.grid.latitude, "column", units="degrees_north")
        _coordinate(group, "longitude", source.grid.longitude, "column", units="degrees_east")
        _coordinate(group, "area", source.grid.area, "column", units="steradian")
        names += ["latitude", "longitude", "area"]
    if source.hybrid is not None:
        for name, dimension in (
            ("hyam", "level"),
            ("hybm", "level"),
            ("hyai", "interface"),
            ("hybi", "interface"),
        ):
            _coordinate(group, name, np.array(getattr(source.hybrid, name)), dimension, units="1")
            names.append(name)
    return names


def _create_times(group: zarr.Group, stamps: Sequence[Stamp]) -> list[str]:
    """Write time, stamp and the place for the digests of source files."""
    text = np.dtypes.StringDType()
    seconds = np.array([s.since(_EPOCH) for s in stamps], dtype=np.int64)
    since = f"seconds since {_EPOCH.year:04d}-01-01 00:00:00"
    _coordinate(group, "time", seconds, "time", units=since, calendar="noleap")
    written = np.array([str(s) for s in stamps], dtype=text)
    _coordinate(group, "stamp", written, "time", long_name="stamp of the source files")
    empty = np.full(len(stamps), "", dtype=text)
    meaning = "SHA-256 of the mli and mlo files, those of earlier steps behind"
    _coordinate(group, SOURCE_SHA256, empty, "time", long_name=meaning)
    return ["stamp", SOURCE_SHA256]


def _coordinate(
    group: zarr.Group, name: str, values: NDArray[Any], dimension: str, **attributes: Any
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        dimension_names=(dimension,),
        attributes=attributes,
    )
    array[...] = values
