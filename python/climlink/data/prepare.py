"""Make a column store from a source: in blocks, restartable, and never half-read.

The skeleton (all metadata and coordinates) is built beside the store and renamed, so a store that
exists is well formed. Each block of records is written whole and then marked; the attribute
``complete`` is set last. A second call with the same arguments goes on with the blocks without a
mark; a call with other arguments is refused. A store that is to be overwritten stays until the new
one, beside it, is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr

from climlink.data.blocks import MARKS, array_of, notes_of, write_blocks
from climlink.data.crew import Crew, write_with
from climlink.data.errors import StoreError
from climlink.data.files import followed, refusals, remove_folder, replace_folder
from climlink.data.plan import Plan, make_plan
from climlink.data.skeleton import SOURCE_SHA256, create_skeleton
from climlink.data.source import digest
from climlink.data.split import Split
from climlink.data.store import IMPLAUSIBLE, StoreConfig, open_group, store_version

Progress = Callable[[int, int], None]
"""Called with the records done and the records in all."""


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
    workers: int = 1,
    scheduler: str | None = None,
) -> Prepared:
    """Write the column store of ``source``; resume an interrupted one, leave a complete one alone.

    ``source`` is a folder with mli/mlo pairs at or below it, or tables: CSV or Parquet files,
    ``X_input.npy`` or ``X_input.h5`` with ``X_target`` beside them (or a folder of these).
    ``targets`` is a table of the targets of the same rows, ``weights`` one of the weights of the
    targets. ``workers`` is the number of processes that write, or ``scheduler`` the address of a
    scheduler of dask that has them; the store does not depend on it. With ``overwrite`` an existing
    store is replaced once the new one is complete. Raises DataError (a source file does not fit;
    the finished blocks are kept), SplitError, or StoreError where something else is at ``store`` or
    it was begun with other arguments, unless ``overwrite``; FileError where the system refuses to
    write.
    """
    given, crew = Path(store), Crew(workers, scheduler)
    plan = make_plan(Path(source), split, grid, config or StoreConfig(), targets, weights)
    place = followed(given)
    beside = place.with_name(f".{place.name}.overwriting")
    _end_replacing(beside, place)
    if not (overwrite and place.exists()):
        return _fill(place, given, plan, crew, progress)
    store_version(place)  # of any version, complete or not; StoreError if it is no store
    if beside.exists() and _different(dict(open_group(beside).attrs), plan):
        remove_folder(beside)
    done = _fill(beside, given, plan, crew, progress)
    replace_folder(beside, place)
    return done


def _fill(place: Path, given: Path, plan: Plan, crew: Crew, progress: Progress | None) -> Prepared:
    """Make, resume or find the store at a place; ``given`` is the name that a user knows it by."""
    resumed = place.exists()
    if resumed:
        attributes = _attributes_of_same(place, plan)
        if attributes["complete"]:
            _check_sizes(place, attributes, plan)
            shutil.rmtree(place / MARKS, ignore_errors=True)
            return _prepared(given, "already complete", plan, 0, attributes)
    else:
        create_skeleton(place, plan)
    with refusals(
        given, kept="finished blocks are kept: repeat the command to go on with the others"
    ):
        written = _write(place, plan, crew, progress)
        if resumed:
            _remove_parts(place)
        found = _finish(place, plan)
    return _prepared(given, "resumed" if resumed else "made", plan, written, found)


def _write(place: Path, plan: Plan, crew: Crew, progress: Progress | None) -> int:
    """Write every block that is not done yet and return the number of records written."""

    def done(record: int) -> None:
        if progress:
            progress(record, plan.source.n_record)

    if crew.is_alone:
        return write_blocks(place, plan.source, plan.config, dict(enumerate(plan.blocks)), done)
    return write_with(crew, place, plan, done)


def _remove_parts(place: Path) -> None:
    """Remove the parts of chunks that processes left when they were killed."""
    for part in place.rglob("*.partial"):
        part.unlink(missing_ok=True)


def _end_replacing(beside: Path, place: Path) -> None:
    """Give a complete store its name where a process was killed between two renames."""
    if beside.exists() and not place.exists() and open_group(beside).attrs["complete"]:
        beside.rename(place)


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


def _attributes_of_same(store: Path, plan: Plan) -> dict[str, Any]:
    """Return the attributes of an existing store; StoreError if it was begun with other
    arguments.
    """
    attributes: dict[str, Any] = dict(open_group(store).attrs)
    different = _different(attributes, plan)
    if different:
        raise StoreError(
            f"{store} was prepared with other arguments (different: {', '.join(different)}). Give "
            "the same ones to resume it, name another output, or overwrite it with --overwrite"
        )
    return attributes


def _different(attributes: dict[str, Any], plan: Plan) -> list[str]:
    """Return the arguments that a store was not begun with, by the word a user knows each by."""
    begun, asked = attributes.get("prepared_from", {}), plan.arguments()
    return [word for word in {**asked, **begun} if begun.get(word) != asked.get(word)]


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


def _finish(store: Path, plan: Plan) -> dict[str, Any]:
    """Record the source digests, declare the store complete in one write, drop the marks.

    Return the attributes that came last.
    """
    notes = [note for number in range(len(plan.blocks)) for note in notes_of(store, number)]
    digests = plan.source.conclude(notes)
    allowed = plan.config.allow_implausible
    counts = {name: sum(n["implausible"][name] for n in notes) for name in allowed}
    grid = plan.source.arguments()["grid file"]
    whole = digest("".join(f"{d}\n" for d in (grid, *digests)))
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    if plan.source.stamps is not None:
        array_of(group, SOURCE_SHA256)[...] = np.array(digests, dtype=np.dtypes.StringDType())
    found = {"data_digest": whole, "source_sizes_sha256": _sizes_digest(plan), IMPLAUSIBLE: counts}
    group.update_attributes({"complete": True, **found})
    shutil.rmtree(store / MARKS)
    return found
