"""The split of a data set into train, validation and test, declared in YAML by stamps and date ranges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from climlink.config import StrictModel, load_config
from climlink.data.errors import DataError, SplitError
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.installation import find_configuration

SPLIT_NAMES = ("unused", "train", "validation", "test")
"""Position is the code stored with each time."""

_SHOWN = 10


def _is_stamp(text: str) -> str:
    Stamp.parse(text)  # a DataError is a ValueError: pydantic reports it with the key path
    return text


def _is_date_or_stamp(text: str) -> str:
    _bounds(text)
    return text


def _bounds(text: str) -> tuple[Stamp, Stamp]:
    """Return the first and last instant that a date (a whole day) or a stamp (one instant) stands for."""
    try:
        day = Stamp.parse_date(text)
    except DataError:
        stamp = Stamp.parse(text) if text.count("-") == 3 else None
        if stamp is None:
            raise
        return stamp, stamp
    return day, day.plus(SECONDS_PER_DAY - 1)


class StampRange(StrictModel):
    """Every ``stride``-th step from ``start`` to ``end``, both included; a date means the whole day, a stamp one instant.

    Steps are counted from the first instant of ``start`` in units of the split's time step, whichever files are present, so a stamp
    belongs to a range or not independently of what has been downloaded.
    """

    start: Annotated[str, AfterValidator(_is_date_or_stamp)]
    end: Annotated[str, AfterValidator(_is_date_or_stamp)]
    stride: int = Field(default=1, ge=1)
    offset: int = Field(default=0, ge=0, description="first step taken, below the stride")

    @model_validator(mode="after")
    def _ordered(self) -> StampRange:
        if _bounds(self.end)[1] < _bounds(self.start)[0]:
            raise ValueError(f"the range ends ({self.end}) before it starts ({self.start})")
        if self.offset >= self.stride:
            raise ValueError(f"offset {self.offset} must be below stride {self.stride}")
        return self

    def selects(self, seconds: NDArray[np.int64], time_step_s: int) -> NDArray[np.bool_]:
        """Say for each time [time], in seconds as Stamp counts them, whether it belongs to the range."""
        start, end = _bounds(self.start)[0].seconds, _bounds(self.end)[1].seconds
        inside = (seconds >= start) & (seconds <= end)
        if self.stride == 1:
            return inside
        steps, rest = np.divmod(seconds - start, time_step_s)
        return inside & (rest == 0) & (steps % self.stride == self.offset)


def _entry_kind(value: Any) -> str:
    return "range" if isinstance(value, dict | StampRange) else "stamp"


Entry = Annotated[
    Annotated[str, AfterValidator(_is_stamp), Tag("stamp")] | Annotated[StampRange, Tag("range")],
    Discriminator(_entry_kind),
]


class Split(StrictModel):
    """Which stamps are for training, validation and test; what no entry names goes to ``remainder`` (train unless said otherwise)."""

    train: tuple[Entry, ...] = ()
    validation: tuple[Entry, ...] = ()
    test: tuple[Entry, ...] = ()
    remainder: Literal["train", "validation", "unused"] = "train"
    time_step_s: int = Field(default=1200, gt=0, description="seconds between consecutive files, the unit of stride and offset")

    def assign(self, stamps: Sequence[Stamp]) -> NDArray[np.int8]:
        """Return the split code [time] of each stamp (position in SPLIT_NAMES).

        Raises SplitError listing stamps that two splits claim and stamps that an entry names but the source does not have.
        """
        self._refuse_absent(stamps)
        seconds = np.array([s.seconds for s in stamps], dtype=np.int64)
        claims = np.stack([self._claims(name, seconds) for name in SPLIT_NAMES[1:]])
        twice = np.flatnonzero(claims.sum(axis=0) > 1)
        if twice.size:
            listed = [f"{stamps[i]} ({' and '.join(np.array(SPLIT_NAMES[1:])[claims[:, i]])})" for i in twice[: _SHOWN + 1]]
            raise SplitError(f"{twice.size} stamp(s) stand in two splits: {_listed(listed, twice.size)}; each may stand in one only")
        codes = np.where(claims.any(axis=0), claims.argmax(axis=0) + 1, SPLIT_NAMES.index(self.remainder))
        return codes.astype(np.int8)

    def _claims(self, name: str, seconds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say for each time whether an entry of one split names it."""
        entries = getattr(self, name)
        claimed = np.isin(seconds, [Stamp.parse(e).seconds for e in entries if isinstance(e, str)])
        for entry in entries:
            if isinstance(entry, StampRange):
                claimed |= entry.selects(seconds, self.time_step_s)
        return claimed

    def _refuse_absent(self, stamps: Sequence[Stamp]) -> None:
        present = set(stamps)
        named = [(split, entry) for split in SPLIT_NAMES[1:] for entry in getattr(self, split) if isinstance(entry, str)]
        absent = [f"{entry} ({split})" for split, entry in named if Stamp.parse(entry) not in present]
        if absent:
            raise SplitError(
                f"{len(absent)} stamp(s) of the split are not in the source: {_listed(absent, len(absent))}; "
                "fetch them or take them out of the split"
            )


def read_split(path: str | Path) -> Split:
    """Return the split of a YAML file, or a shipped one by its name; ConfigError names file, line and key of what does not fit."""
    return load_config(find_configuration("splits", path), Split)


def _listed(items: Sequence[str], total: int) -> str:
    more = f" and {total - _SHOWN} more" if total > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
