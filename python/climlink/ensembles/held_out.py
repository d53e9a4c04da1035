"""Times that no member has been trained on: what weights, stacks and second stages are fitted to.

Test times are never among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.members import ENSEMBLE
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.errors import ClimlinkError

Part = Literal["validation", "cut"]
"""``validation`` is the store's split; ``cut`` what the members' trainings held out of its training
split.
"""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class HeldOut:
    """Times of a store that no member was trained on; ``notes`` say what could not be found out."""

    store: ColumnStore
    part: Part
    times: NDArray[np.int64]
    notes: tuple[str, ...]

    def folds(self, count: int) -> NDArray[np.int64]:
        """Return the fold of each time [time]: neighbouring times, which are alike, share one.

        EnsembleError for fewer than two folds or fewer times than folds.
        """
        if not 2 <= count <= len(self.times):
            raise EnsembleError(
                f"{count} folds of {len(self.times)} held-out times: give --folds 2 to "
                f"{len(self.times)}"
            )
        return np.arange(len(self.times)) * count // len(self.times)

    def record(self) -> dict[str, Any]:
        """Return which times these are, for a file."""
        return time_record(self.store, self.part, self.times)


def time_record(store: ColumnStore, part: str, times: NDArray[np.int64]) -> dict[str, Any]:
    """Return which times of a store these are: digests, number, first and last."""
    names = [store.name_of(int(i)) for i in times]
    return {
        "store_digest": store.digest,
        "part": part,
        "count": len(names),
        "first": names[0],
        "last": names[-1],
        "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }


def held_out(
    store: ColumnStore, packages: Sequence[EmulatorPackage], part: Part | None = None
) -> HeldOut:
    """Return times of a store that no package was trained on; None: its validation split, or the
    cut where it has none.

    What a package was trained on is read from its record and the store that this names, where that
    is still there. EnsembleError where validation times were trained on, or nothing is held out.
    """
    if part is None:
        part = "validation" if store.indices("validation").size else "cut"
    times = store.indices("validation" if part == "validation" else "train")
    if times.size == 0:
        raise EnsembleError(f"{store.path} has no times of its split for {part}")
    notes: list[str] = []
    for record in (r for p in packages for r in _trainings(p)):
        seen, told = _seen(record, store)
        notes += told
        if seen is None and part == "cut":
            raise EnsembleError(f"{told[0]}, so nothing is known to be held out; {_WAY_OUT}")
        used = times[np.zeros(len(times), dtype=bool) if seen is None else seen[times]]
        if used.size and part == "validation":
            raise EnsembleError(
                f"{record.name} was trained on {used.size} of the {times.size} validation times of "
                f"{store.path}, {store.name_of(int(used[0]))} first: weights fitted there would "
                "favour it; give a store whose validation split it has not seen"
            )
        times = np.setdiff1d(times, used)
        if times.size == 0:
            raise EnsembleError(
                f"{record.name} was trained on every training time of {store.path} that the "
                f"others were not: nothing is held out; {_WAY_OUT}"
            )
    return HeldOut(store, part, times, tuple(notes))


_WAY_OUT = (
    "give a store with a validation split, or train members with `validation: {source: cut}`, all "
    "with the same cut"
)


@dataclass(frozen=True)
class _Training:
    """What a package records of a training: of its own, or of a member's."""

    name: str
    data_digest: str | None
    store: str | None
    validation: Mapping[str, Any] | None
    further: Sequence[str] = ()
    """Paths of stores that columns were mixed in from."""


def training_record(package: EmulatorPackage) -> dict[str, Any]:
    """Return what an ensemble's manifest must say of a member's training data."""
    p = package.manifest.provenance
    return {
        "data_digest": p.data_digest,
        "store": p.training.get("store"),
        "validation": p.training.get("validation"),
        "further": [str(s["store"]) for s in (p.training.get("stores") or {}).values()],
    }


def _trainings(package: EmulatorPackage) -> Iterator[_Training]:
    made = package.manifest.provenance.training.get(ENSEMBLE)
    if made is None:
        yield _Training(package.manifest.name, **training_record(package))
        return
    for m in made["members"]:
        yield _Training(m["name"], m["data_digest"], m["store"], m["validation"], m["further"])


def _seen(record: _Training, store: ColumnStore) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Return which times of a store [time] were trained on, None where that is unknown, and notes
    on what had to be assumed.
    """
    if record.data_digest is None or record.validation is None:
        return None, [f"{record.name} does not record what it was trained on"]
    own = _store_of(record)
    if own is None and record.data_digest != store.digest:
        return None, [f"{record.name} was trained on another store, which is not there any more"]
    times, notes = _trained_times(own or store, record), list[str]()
    if record.data_digest == store.digest:
        seen = np.isin(np.arange(store.n_time), times)
        if own is None:
            notes.append(f"{record.name} is taken to have been trained with this store's split")
    else:
        assert own is not None
        known = _same_files(store, own, times)
        if known is None:
            return None, [f"{record.name} was trained on another store, of rows without stamps"]
        seen = known
    for path in record.further:
        mixed = _further(store, path)
        if mixed is None:
            notes.append(f"{record.name} was also trained on {path}, which cannot be compared")
        else:
            seen |= mixed
    return seen, notes


def _same_files(
    store: ColumnStore, other: ColumnStore, times: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Return which times of a store [time] are made of the files of some times of another; None
    where one of them was not made of pairs.
    """
    if not (store.has_stamps and other.has_stamps):
        return None
    return np.isin(store.source_digests, other.source_digests[times])


def _further(store: ColumnStore, path: str) -> NDArray[np.bool_] | None:
    try:
        other = ColumnStore.open(path)
    except ClimlinkError:
        return None
    return _same_files(store, other, other.indices("train"))


def _store_of(record: _Training) -> ColumnStore | None:
    """Return the store that a training names, None where it is gone or another stands there."""
    try:
        found = ColumnStore.open(str(record.store))
    except ClimlinkError:
        return None
    return found if found.digest == record.data_digest else None


def _trained_times(store: ColumnStore, record: _Training) -> NDArray[np.int64]:
    from climlink.training.column_data import split_times
    from climlink.training.data_config import ValidationConfig

    return split_times(store, ValidationConfig.model_validate(record.validation))[0]
