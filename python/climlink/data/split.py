"""The split of a data set into train, validation, test and a later window, declared in YAML: by
stamps and date ranges, of tables by files and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from climlink.config import StrictModel, load_config
from climlink.data.errors import DataError, SplitError
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.installation import find_configuration

SPLIT_NAMES = ("unused", "train", "validation", "test", "later")
"""Position is the code stored with each time. Nothing is chosen by ``later``: a window after the
test on which its score is repeated.
"""

_SHOWN = 10


def _is_stamp(text: str) -> str:
    Stamp.parse(text)  # a DataError is a ValueError: pydantic reports it with the key path
    return text


def _is_date_or_stamp(text: str) -> str:
    _bounds(text)
    return text


def _bounds(text: str) -> tuple[Stamp, Stamp]:
    """Return the first and last instant that a date (a whole day) or a stamp (one instant) stands
    for.
    """
    try:
        day = Stamp.parse_date(text)
    except DataError:
        stamp = Stamp.parse(text) if text.count("-") == 3 else None
        if stamp is None:
            raise
        return stamp, stamp
    return day, day.plus(SECONDS_PER_DAY - 1)


class StampRange(StrictModel):
    """Every ``stride``-th step from ``start`` to ``end``, both included; a date means the whole
    day, a stamp one instant.

    Steps are counted from the first instant of ``start`` in units of the split's time step,
    whichever files are present, so a stamp belongs to a range or not independently of what has been
    downloaded.
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
        """Say for each time [time], in seconds as Stamp counts them, whether it belongs to the
        range.
        """
        start, end = _bounds(self.start)[0].seconds, _bounds(self.end)[1].seconds
        inside = (seconds >= start) & (seconds <= end)
        if self.stride == 1:
            return inside
        steps, rest = np.divmod(seconds - start, time_step_s)
        return inside & (rest == 0) & (steps % self.stride == self.offset)


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class RowRange(StrictModel):
    """Consecutive rows of a table: of one file (or of those whose names match a pattern), or of the
    whole, from a fraction to another.
    """

    file: str | None = Field(default=None, description="name of a part, such as val or train_*")
    rows: tuple[Fraction, Fraction] = Field(default=(0.0, 1.0), description="fractions")

    @model_validator(mode="after")
    def _ordered(self) -> RowRange:
        if self.rows[1] <= self.rows[0]:
            problem = f"the rows end ({self.rows[1]:g})"
            raise ValueError(f"{problem} before they start ({self.rows[0]:g})")
        return self

    def selects(self, parts: Sequence[tuple[str, int]]) -> NDArray[np.bool_]:
        """Say for each row of parts (name, rows) in order whether it belongs to the range; of the
        whole table all parts are one.
        """
        if self.file is None:
            return self._within(sum(rows for _, rows in parts))
        pattern = self.file
        chosen = [self._within(rows) & fnmatchcase(name, pattern) for name, rows in parts]
        return np.concatenate(chosen)

    def _within(self, total: int) -> NDArray[np.bool_]:
        first, last = (round(fraction * total) for fraction in self.rows)
        numbers = np.arange(total)
        return (numbers >= first) & (numbers < last)


def _entry_kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set()
    if isinstance(value, RowRange) or not keys.isdisjoint(("file", "rows")):
        return "rows"
    return "range" if isinstance(value, dict | StampRange) else "stamp"


Entry = Annotated[
    Annotated[str, AfterValidator(_is_stamp), Tag("stamp")]
    | Annotated[StampRange, Tag("range")]
    | Annotated[RowRange, Tag("rows")],
    Discriminator(_entry_kind),
]


class Split(StrictModel):
    """Which stamps or rows are for training, validation, test and a later window; what no entry
    names goes to ``remainder`` (train unless said).
    """

    train: tuple[Entry, ...] = ()
    validation: tuple[Entry, ...] = ()
    test: tuple[Entry, ...] = ()
    later: tuple[Entry, ...] = Field(
        default=(), description="after the test, which is repeated there; nothing is chosen by it"
    )
    remainder: Literal["train", "validation", "unused"] = "train"
    time_step_s: int = Field(
        default=1200,
        gt=0,
        description="seconds between consecutive files, the unit of stride and offset",
    )

    @property
    def declaration(self) -> str:
        """The declaration as JSON. A later window stands in it where there is one: a preparation
        that was begun before splits could name one goes on.
        """
        return self.model_dump_json(exclude=set() if self.later else {"later"})

    def assign(self, stamps: Sequence[Stamp]) -> NDArray[np.int8]:
        """Return the split code [time] of each stamp (position in SPLIT_NAMES).

        Raises SplitError listing stamps that two splits claim and stamps that an entry names but
        the source does not have, and for a later window that begins before the test has ended.
        """
        hint = "pairs have stamps: name stamps or ranges of dates"
        self._refuse_kind((RowRange,), "files or rows", hint)
        self._refuse_absent(stamps)
        seconds = np.array([s.seconds for s in stamps], dtype=np.int64)
        claims = np.stack([self._claims(name, seconds) for name in SPLIT_NAMES[1:]])
        codes = self._codes(claims, lambda i: str(stamps[i]), "stamp(s)")
        test, later = (seconds[codes == SPLIT_NAMES.index(name)] for name in ("test", "later"))
        if test.size and later.size and later.min() < test.max():
            begins, ended = (Stamp.from_seconds(int(s)) for s in (later.min(), test.max()))
            raise SplitError(f"the later window begins at {begins}, but the test ends at {ended}")
        return codes

    def assign_rows(self, parts: Sequence[tuple[str, int]]) -> NDArray[np.int8]:
        """Return the split code [row] of the rows of a table's parts (name, rows), in order.

        Raises SplitError for stamps, for a file that is not there, and for rows that two splits
        claim.
        """
        hint = "rows of a table have none: name files, {file: NAME}, or rows, {rows: [0, 0.9]}"
        self._refuse_kind((str, StampRange), "stamps or dates", hint)
        names = [name for name, _ in parts]
        claims = np.zeros((len(SPLIT_NAMES) - 1, sum(rows for _, rows in parts)), dtype=bool)
        for claimed, split in zip(claims, SPLIT_NAMES[1:], strict=True):
            for entry in getattr(self, split):
                if entry.file is not None and not any(fnmatchcase(n, entry.file) for n in names):
                    problem = f"no part of the table is named {entry.file!r} ({split});"
                    raise SplitError(f"{problem} there are {_listed(names, len(names))}")
                claimed |= entry.selects(parts)
        return self._codes(claims, lambda i: f"row {i + 1}", "row(s)")

    def _refuse_kind(self, kinds: tuple[type, ...], what: str, hint: str) -> None:
        """Raise SplitError if an entry is of a kind that the source cannot be split by."""
        for split in SPLIT_NAMES[1:]:
            if any(isinstance(entry, kinds) for entry in getattr(self, split)):
                raise SplitError(f"the split names {what} ({split}), but {hint}")

    def _codes(
        self,
        claims: NDArray[np.bool_],
        name: Callable[[int], str],
        unit: str,
    ) -> NDArray[np.int8]:
        """Return the codes from claims [split, record]; SplitError where two splits claim one."""
        twice = np.flatnonzero(claims.sum(axis=0) > 1)
        if twice.size:
            splits = np.array(SPLIT_NAMES[1:])
            some = twice[: _SHOWN + 1]
            listed = [f"{name(int(i))} ({' and '.join(splits[claims[:, i]])})" for i in some]
            problem = f"{twice.size} {unit} stand in two splits:"
            raise SplitError(f"{problem} {_listed(listed, twice.size)}; each may stand in one only")
        codes = np.where(
            claims.any(axis=0), claims.argmax(axis=0) + 1, SPLIT_NAMES.index(self.remainder)
        )
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
        named = [
            (split, entry)
            for split in SPLIT_NAMES[1:]
            for entry in getattr(self, split)
            if isinstance(entry, str)
        ]
        absent = [
            f"{entry} ({split})" for split, entry in named if Stamp.parse(entry) not in present
        ]
        if absent:
            raise SplitError(
                f"{len(absent)} stamp(s) of the split are not in the source: "
                f"{_listed(absent, len(absent))}; fetch them or take them out of the split"
            )


def read_split(path: str | Path) -> Split:
    """Return the split of a YAML file, or a shipped one by its name; ConfigError names file, line
    and key of what does not fit.
    """
    return load_config(find_configuration("splits", path), Split)


def _listed(items: Sequence[str], total: int) -> str:
    more = f" and {total - _SHOWN} more" if total > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
