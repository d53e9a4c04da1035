"""Make a column store from a source: in blocks, restartable, and never half-read.

The skeleton (all metadata and coordinates) is built beside the store and renamed, so a store that
exists is well formed. Each block of records is written whole and then marked; the attribute
``complete`` is set last. A second call with the same arguments goes on at the first block without a
mark; a call with other arguments is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.errors import DataError, StoreError
from climlink.data.files import followed, make_folder, refusals, remove_folder, replacing
from climlink.data.plan import Plan, make_plan
from climlink.data.source import Note, digest
from climlink.data.split import SPLIT_NAMES, Split
from climlink.data.stamp import Stamp
from climlink.data.store import (
    IMPLAUSIBLE,
    STORE_VERSION,
    TARGET_WEIGHTS,
    VERSION_ATTRIBUTE,
    StoreConfig,
    open_group,
    record_of,
    store_version,
)

Progress = Callable[[int, int], None]
"""Called with the records done and the records in all."""

_MARKS = ".prepare"
_SHA256 = "source_sha256"
_EPOCH = Stamp(1, 1, 1)


@dataclass(frozen=True)
class Prepared:
    """What a call of prepare did; ``status`` says whether it made, resumed or found the store."""

    path: Path
    status: Literal["made", "resumed", "already complete"]
    records: int
    """Pairs, or rows of a table."""
    records_written: int
    digest: str
    left_out: int = 0
    """Pairs of the source that lack one of the two steps before, where lagged inputs are asked for.
    """
    implausible: dict[str, int] = field(default_factory=dict)
    """Values outside the plausible range that were kept, by variable that was allowed them."""
    unit: Literal["pairs", "rows"] = "pairs"
    """What the records are."""


def prepare(
    source: str | Path,
    store: str | Path,
    *,
    split: Split | str | Path,
    grid: str | Path | None = None,
    config: StoreConfig | None = None,
    targets: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write the column store of ``source``; resume an interrupted one, leave a complete one alone.

    ``source`` is a folder with mli/mlo pairs at or below it, or tables: CSV or Parquet files,
    ``X_input.npy`` or ``X_input.h5`` with ``X_target`` beside them (or a folder of these).
    ``targets`` is a table of the targets of the same rows, ``weights`` one of the weights of the
    targets. Raises DataError (a source file does not fit; the finished blocks are kept),
    SplitError, or StoreError where something else is at ``store`` or it was begun with other
    arguments, unless ``overwrite``; FileError where the system refuses to write.
    """
    given = Path(store)
    plan = make_plan(Path(source), split, grid, config or StoreConfig(), targets, weights)
    if overwrite:
        _remove(given)
    place = followed(given)
    resumed = place.exists()
    if resumed:
        attributes = _attributes_of_same(place, plan)
        if attributes["complete"]:
            _check_sizes(place, attributes, plan)
            shutil.rmtree(place / _MARKS, ignore_errors=True)
            return _prepared(given, "already complete", plan, 0, attributes)
    else:
        _create_skeleton(place, plan)
    with refusals(
        given, kept="finished blocks are kept: repeat the command to go on with the others"
    ):
        written = _write_blocks(place, plan, progress)
        found = _finish(place, plan)
    return _prepared(given, "resumed" if resumed else "made", plan, written, found)


def _prepared(
    store: Path,
    status: Literal["made", "resumed", "already complete"],
    plan: Plan,
    written: int,
    attributes: dict[str, Any],
) -> Prepared:
    s = plan.source
    last = (attributes["data_digest"], s.left_out, attributes[IMPLAUSIBLE], s.unit)
    return Prepared(store, status, s.n_record, written, *last)


def _remove(store: Path) -> None:
    """Remove a store of any version, behind a link too; StoreError if what is there is none."""
    if store.exists():
        store_version(store)
        remove_folder(store)


def _attributes_of_same(store: Path, plan: Plan) -> dict[str, Any]:
    """Return the attributes of an existing store; StoreError if it was begun with other
    arguments.
    """
    attributes: dict[str, Any] = dict(open_group(store).attrs)
    begun, asked = attributes.get("prepared_from", {}), plan.arguments()
    different = [word for word in {**asked, **begun} if begun.get(word) != asked.get(word)]
    if different:
        raise StoreError(
            f"{store} was prepared with other arguments (different: {', '.join(different)}). Give "
            "the same ones to resume it, name another output, or overwrite it with --overwrite"
        )
    return attributes


def _create_skeleton(store: Path, plan: Plan) -> None:
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
    (beside / _MARKS).mkdir()


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
        "split_declaration": json.loads(plan.split.model_dump_json()),
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
    _coordinate(group, _SHA256, empty, "time", long_name=meaning)
    return ["stamp", _SHA256]


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


def _write_blocks(store: Path, plan: Plan, progress: Progress | None) -> int:
    """Write every block that is not done yet and return the number of records written."""
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    total, written = plan.source.n_record, 0

    def done(record: int) -> None:
        if progress:
            progress(record, total)

    for number, block in enumerate(plan.blocks):
        if _is_done(store, plan, number):
            done(block.stop)
            continue
        _mark(store, number).unlink(missing_ok=True)
        notes = _copy_block(group, plan, block, done)
        with replacing(_mark(store, number)) as beside:
            beside.write_text(json.dumps(notes), encoding="utf-8")
        written += block.stop - block.start
    return written


def _copy_block(
    group: zarr.Group,
    plan: Plan,
    block: slice,
    done: Callable[[int], None],
) -> list[Note]:
    """Read and write one block, which is not in memory any more when the next one is read."""
    columns, notes = plan.source.read(block, done)
    _write_block(group, plan, block, columns)
    return notes


def _is_done(store: Path, plan: Plan, number: int) -> bool:
    """Say whether a block was written whole, from files that still have the length they had
    then.
    """
    if not _mark(store, number).exists():
        return False
    noted = [note["sizes"] for note in _notes(store, number)]
    return noted == plan.source.sizes(plan.blocks[number])


def _sizes_digest(plan: Plan) -> str:
    whole = [sizes for block in plan.blocks for sizes in plan.source.sizes(block)]
    return digest(json.dumps(whole))


def _check_sizes(store: Path, attributes: dict[str, Any], plan: Plan) -> None:
    """Raise StoreError if a source file of a complete store has changed its length since."""
    if attributes.get("source_sizes_sha256") != _sizes_digest(plan):
        raise StoreError(
            f"{store} is complete, but its source files have changed since; overwrite it with "
            "--overwrite or name another output"
        )


def _write_block(group: zarr.Group, plan: Plan, block: slice, columns: Columns) -> None:
    """Write one block of every variable; DataError if a value overflows the declared type."""
    for v in plan.source.variables:
        dtype = plan.config.dtype_of(v)
        with np.errstate(over="ignore"):
            values = columns[v.name].astype(dtype, copy=False)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            problem = f"{plan.source.where(block.start + bad)}: {v.name} does not fit {dtype};"
            raise DataError(f"{problem} declare it float64 in dtypes")
        _array(group, v.name)[block] = values


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise StoreError(
            f"{group.store_path}: {name} is not an array: the store is damaged; overwrite it with "
            "--overwrite"
        )
    return array


def _mark(store: Path, number: int) -> Path:
    return store / _MARKS / f"block-{number:06d}.json"


def _notes(store: Path, number: int) -> list[Note]:
    notes: list[Note] = json.loads(_mark(store, number).read_text(encoding="utf-8"))
    return notes


def _finish(store: Path, plan: Plan) -> dict[str, Any]:
    """Record the source digests, declare the store complete in one write, drop the marks.

    Return the attributes that came last.
    """
    notes = [note for number in range(len(plan.blocks)) for note in _notes(store, number)]
    digests = plan.source.conclude(notes)
    allowed = plan.config.allow_implausible
    counts = {name: sum(n["implausible"][name] for n in notes) for name in allowed}
    grid = plan.source.arguments()["grid file"]
    whole = digest("".join(f"{d}\n" for d in (grid, *digests)))
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    if plan.source.stamps is not None:
        _array(group, _SHA256)[...] = np.array(digests, dtype=np.dtypes.StringDType())
    found = {"data_digest": whole, "source_sizes_sha256": _sizes_digest(plan), IMPLAUSIBLE: counts}
    group.update_attributes({"complete": True, **found})
    shutil.rmtree(store / _MARKS)
    return found
