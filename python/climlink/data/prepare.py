"""Make a column store from mli/mlo pairs: in blocks, restartable, and never half-read.

The skeleton (all metadata and coordinates) is built beside the store and renamed, so a store that exists is well formed. Each block of
``time_chunk`` pairs is written whole and then marked; the attribute ``complete`` is set last. A second call with the same arguments goes
on at the first block without a mark; a call with other arguments is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from climlink.data.climsim import (
    Columns,
    Pair,
    count_implausible,
    find_pairs,
    read_pair,
    stored_variables,
)
from climlink.data.errors import DataError, StoreError
from climlink.data.files import followed, make_folder, refusals, remove_folder, replacing, sha256_file
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.data.lags import LaggedReader, predecessors, with_history
from climlink.data.split import SPLIT_NAMES, Split, read_split
from climlink.data.stamp import Stamp
from climlink.data.store import (
    IMPLAUSIBLE,
    STORE_VERSION,
    VERSION_ATTRIBUTE,
    StoreConfig,
    open_group,
)
from climlink.wrappers.variables import Variable

Progress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all."""

_MARKS = ".prepare"
_EPOCH = Stamp(1, 1, 1)


@dataclass(frozen=True)
class Prepared:
    """What a call of prepare did; ``status`` says whether it made, resumed or found the store."""

    path: Path
    status: Literal["made", "resumed", "already complete"]
    pairs: int
    pairs_written: int
    digest: str
    left_out: int = 0
    """Pairs of the source that lack one of the two steps before, where lagged inputs are asked for."""
    implausible: dict[str, int] = field(default_factory=dict)
    """Values outside the plausible range that were kept, by variable that was allowed them."""


@dataclass(frozen=True)
class _Plan:
    """Everything that decides a store's content."""

    source: list[Pair]
    pairs: list[Pair]
    codes: NDArray[np.int8]
    grid: Grid
    config: StoreConfig
    split: Split

    @property
    def variables(self) -> tuple[Variable, ...]:
        return stored_variables(self.grid.level_count, self.config.lags)

    @property
    def left_out(self) -> int:
        return len(self.source) - len(self.pairs)

    @cached_property
    def known(self) -> dict[Stamp, Pair]:
        return {p.stamp: p for p in self.source}

    def files(self, pair: Pair) -> list[Path]:
        """Return the files that a time of the store is made of: its own pair, and those of the steps before where lags are asked for."""
        earlier = predecessors(pair, self.known, self.config.time_step_s) if self.config.lags else []
        return [path for p in (pair, *earlier) for path in (p.mli, p.mlo)]

    @property
    def blocks(self) -> list[slice]:
        chunk = self.config.time_chunk
        return [slice(first, min(first + chunk, len(self.pairs))) for first in range(0, len(self.pairs), chunk)]

    def arguments(self) -> dict[str, str]:
        """Return digests of the arguments, by the word a user knows each by; the source counts by its stamps, not by its place."""
        return {
            "stamps of the source": _digest("".join(f"{p.stamp}\n" for p in self.pairs)),
            "grid file": self.grid.sha256,
            "split": _digest(self.split.model_dump_json()),
            "store configuration (dtypes, time_chunk, time step)": _digest(self.config.model_dump_json()),
        }


def prepare(
    source: str | Path,
    store: str | Path,
    *,
    split: Split | str | Path,
    grid: str | Path | None = None,
    config: StoreConfig | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write the column store of all mli/mlo pairs at or below ``source``; resume an interrupted one, leave a complete one alone.

    Raises DataError (a source file does not fit; the finished blocks are kept), SplitError, or StoreError where something else is at
    ``store`` or it was begun with other arguments, unless ``overwrite``; FileError where the system refuses to write.
    """
    source, given = Path(source), Path(store)
    plan = _plan(source, split, grid, config or StoreConfig())
    if overwrite:
        _remove(given)
    place = followed(given)
    resumed = place.exists()
    if resumed:
        attributes = _attributes_of_same(place, plan)
        if attributes["complete"]:
            _check_sizes(place, attributes, plan)
            shutil.rmtree(place / _MARKS, ignore_errors=True)
            last = (attributes["data_digest"], plan.left_out, attributes[IMPLAUSIBLE])
            return Prepared(given, "already complete", len(plan.pairs), 0, *last)
    else:
        _create_skeleton(place, plan)
    with refusals(given, kept="finished blocks are kept: repeat the command to go on with the others"):
        written = _write_blocks(place, plan, progress)
        found = _finish(place, plan)
    last = (found["data_digest"], plan.left_out, found[IMPLAUSIBLE])
    return Prepared(given, "resumed" if resumed else "made", len(plan.pairs), written, *last)


def _plan(source: Path, split: Split | str | Path, grid: str | Path | None, config: StoreConfig) -> _Plan:
    """Find and check everything that can be checked before a file is read."""
    found = find_pairs(source, config.pairs)
    split = split if isinstance(split, Split) else read_split(split)
    if split.time_step_s != config.time_step_s:
        raise StoreError(
            f"the split counts steps of {split.time_step_s} s, the store's time step is {config.time_step_s:g} s; make them equal"
        )
    codes = split.assign([p.stamp for p in found])
    pairs = with_history(found, config.time_step_s) if config.lags else found
    kept = np.isin([p.stamp.seconds for p in found], [p.stamp.seconds for p in pairs])
    plan = _Plan(found, pairs, codes[kept], read_grid(find_grid(source, grid)), config, split)
    config.check(plan.variables)
    return plan


def _remove(store: Path) -> None:
    """Remove an old store, behind a link too; StoreError if what is there is not one."""
    if store.exists():
        open_group(store)
        remove_folder(store)


def _attributes_of_same(store: Path, plan: _Plan) -> dict[str, Any]:
    """Return the attributes of an existing store; StoreError if it was begun with other arguments."""
    attributes: dict[str, Any] = dict(open_group(store).attrs)
    begun, asked = attributes.get("prepared_from", {}), plan.arguments()
    different = [word for word, digest in asked.items() if begun.get(word) != digest]
    if different:
        raise StoreError(
            f"{store} was prepared with other arguments (different: {', '.join(different)}). Give the same ones to resume it, name another "
            "output, or overwrite it with --overwrite"
        )
    return attributes


def _create_skeleton(store: Path, plan: _Plan) -> None:
    """Create the group with all coordinates and empty (NaN) variables, beside the store and then renamed."""
    beside = make_folder(store.parent) / f".{store.name}.new"
    remove_folder(beside)  # of a process that was killed
    try:
        with refusals(store, beside=beside):
            _write_skeleton(beside, plan)
            beside.rename(store)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_skeleton(beside: Path, plan: _Plan) -> None:
    """Write the group, its coordinates and its variables without values."""
    group = zarr.create_group(beside, zarr_format=3, attributes=_attributes(plan))
    _create_coordinates(group, plan)
    n_time, n_column, n_level = len(plan.pairs), plan.grid.n_column, plan.grid.level_count
    for v in plan.variables:
        group.create_array(
            v.name,
            shape=(n_time, n_column, n_level) if v.is_profile else (n_time, n_column),
            chunks=(plan.config.time_chunk, n_column, n_level) if v.is_profile else (plan.config.time_chunk, n_column),
            dtype=plan.config.dtype_of(v),
            fill_value=float("nan"),
            dimension_names=("time", "column", "level") if v.is_profile else ("time", "column"),
            attributes={"units": v.units, "long_name": v.long_name},
        )
    (beside / _MARKS).mkdir()


def _attributes(plan: _Plan) -> dict[str, Any]:
    return {
        VERSION_ATTRIBUTE: STORE_VERSION,
        "complete": False,
        "data_digest": "",
        "source": f"ClimSim {plan.config.pairs} pairs",
        "left_out_without_history": plan.left_out,
        "calendar": "noleap",
        "time_step_s": plan.config.time_step_s,
        "p0_pa": plan.grid.hybrid.p0_pa,
        "split_declaration": json.loads(plan.split.model_dump_json()),
        "store_configuration": json.loads(plan.config.model_dump_json()),
        "prepared_from": plan.arguments(),
        "coordinates": "stamp split source_sha256 latitude longitude area hyam hybm hyai hybi",
    }


def _create_coordinates(group: zarr.Group, plan: _Plan) -> None:
    """Write times, splits, column positions and hybrid coefficients."""
    stamps = [p.stamp for p in plan.pairs]
    seconds = np.array([s.since(_EPOCH) for s in stamps], dtype=np.int64)
    _coordinate(group, "time", seconds, "time", units=f"seconds since {_EPOCH.year:04d}-01-01 00:00:00", calendar="noleap")
    _coordinate(
        group, "stamp", np.array([str(s) for s in stamps], dtype=np.dtypes.StringDType()), "time", long_name="stamp of the source files"
    )
    meanings = {"flag_values": list(range(len(SPLIT_NAMES))), "flag_meanings": " ".join(SPLIT_NAMES)}
    _coordinate(group, "split", plan.codes, "time", **meanings)
    empty = np.full(len(stamps), "", dtype=np.dtypes.StringDType())
    _coordinate(group, "source_sha256", empty, "time", long_name="SHA-256 of the mli and mlo files, those of earlier steps behind")
    _coordinate(group, "latitude", plan.grid.latitude, "column", units="degrees_north")
    _coordinate(group, "longitude", plan.grid.longitude, "column", units="degrees_east")
    _coordinate(group, "area", plan.grid.area, "column", units="steradian")
    for name, dimension in (("hyam", "level"), ("hybm", "level"), ("hyai", "interface"), ("hybi", "interface")):
        _coordinate(group, name, np.array(getattr(plan.grid.hybrid, name)), dimension, units="1")


def _coordinate(group: zarr.Group, name: str, values: NDArray[Any], dimension: str, **attributes: Any) -> None:
    array = group.create_array(
        name, shape=values.shape, chunks=values.shape, dtype=values.dtype, dimension_names=(dimension,), attributes=attributes
    )
    array[...] = values


def _write_blocks(store: Path, plan: _Plan, progress: Progress | None) -> int:
    """Write every block that is not done yet and return the number of pairs written."""
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    total, written = len(plan.pairs), 0
    settings = (plan.grid, plan.config.time_step_s, plan.config.allow_implausible)
    reader, digests = LaggedReader(plan.source, *settings), cache(sha256_file)
    for number, block in enumerate(plan.blocks):
        if _is_done(store, plan, number):
            if progress:
                progress(block.stop, total)
            continue
        _mark(store, number).unlink(missing_ok=True)
        columns, records = [], []
        for position in range(block.start, block.stop):
            pair = plan.pairs[position]
            columns.append(reader.read(pair) if plan.config.lags else read_pair(pair, *settings))
            records.append(_record(plan, pair, columns[-1], digests))
            if progress:
                progress(position + 1, total)
        _write_block(group, plan, block, columns)
        with replacing(_mark(store, number)) as beside:
            beside.write_text(json.dumps(records), encoding="utf-8")
        written += block.stop - block.start
    return written


def _record(
    plan: _Plan,
    pair: Pair,
    columns: Columns,
    digests: Callable[[Path], str],
) -> dict[str, Any]:
    """Return what is noted of a pair that was read."""
    allowed, time_step_s = plan.config.allow_implausible, plan.config.time_step_s
    return {
        "sizes": _sizes(plan, pair),
        "sha256": " ".join(digests(path) for path in plan.files(pair)),
        "implausible": count_implausible(columns, allowed, time_step_s),
    }


def _is_done(store: Path, plan: _Plan, number: int) -> bool:
    """Say whether a block was written whole, from files that still have the length they had then."""
    mark = _mark(store, number)
    if not mark.exists():
        return False
    return [r["sizes"] for r in json.loads(mark.read_text(encoding="utf-8"))] == [_sizes(plan, p) for p in plan.pairs[plan.blocks[number]]]


def _sizes(plan: _Plan, pair: Pair) -> list[int]:
    return [path.stat().st_size for path in plan.files(pair)]


def _sizes_digest(plan: _Plan) -> str:
    return _digest(json.dumps([_sizes(plan, p) for p in plan.pairs]))


def _check_sizes(store: Path, attributes: dict[str, Any], plan: _Plan) -> None:
    """Raise StoreError if a source file of a complete store has changed its length since."""
    if attributes.get("source_sizes_sha256") != _sizes_digest(plan):
        raise StoreError(
            f"{store} is complete, but its source files have changed since; overwrite it with --overwrite or name another output"
        )


def _write_block(group: zarr.Group, plan: _Plan, block: slice, columns: Sequence[Columns]) -> None:
    """Write one block of every variable; DataError if a value overflows the declared type."""
    for v in plan.variables:
        dtype = plan.config.dtype_of(v)
        with np.errstate(over="ignore"):
            values = np.stack([c[v.name] for c in columns]).astype(dtype)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DataError(f"{plan.pairs[block.start + bad].mli}: {v.name} does not fit {dtype}; declare it float64 in dtypes")
        _array(group, v.name)[block] = values


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{group.store_path}: {name} is not an array: the store is damaged; overwrite it with --overwrite")
    return array


def _mark(store: Path, number: int) -> Path:
    return store / _MARKS / f"block-{number:06d}.json"


def _finish(store: Path, plan: _Plan) -> dict[str, Any]:
    """Record the source digests, declare the store complete in one write, drop the marks.

    Return the attributes that came last.
    """
    marks = [json.loads(_mark(store, number).read_text(encoding="utf-8")) for number in range(len(plan.blocks))]
    records = [record for mark in marks for record in mark]
    digests = [r["sha256"] for r in records]
    allowed = plan.config.allow_implausible
    counts = {name: sum(r["implausible"][name] for r in records) for name in allowed}
    digest = _digest("".join(f"{d}\n" for d in (plan.grid.sha256, *digests)))
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    _array(group, "source_sha256")[...] = np.array(digests, dtype=np.dtypes.StringDType())
    found = {"data_digest": digest, "source_sizes_sha256": _sizes_digest(plan), IMPLAUSIBLE: counts}
    group.update_attributes({"complete": True, **found})
    shutil.rmtree(store / _MARKS)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
