"""Insertions at named lines of somebody else's file, refused wherever the file is not the one they
were made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import model_validator

from climlink.config import StrictModel
from climlink.e3sm.errors import E3SMError

MARK = "climlink inserted this"


class Insertion(StrictModel):
    """Lines to put after or before the one line that reads as the anchor; white space and case do
    not matter.
    """

    after: str | None = None
    before: str | None = None
    text: str

    @model_validator(mode="after")
    def _one_anchor(self) -> Insertion:
        if (self.after is None) == (self.before is None):
            raise ValueError("give either after or before")
        return self

    @property
    def anchor(self) -> str:
        """The line to look for."""
        return self.after if self.after is not None else self.before or ""


class FileInsertions(StrictModel):
    """A file of a checkout and what goes into it."""

    file: str
    insertions: tuple[Insertion, ...]


class Hooks(StrictModel):
    """All insertions into a checkout, and the adapter's procedures that they call."""

    procedures: tuple[str, ...]
    files: tuple[FileInsertions, ...]


@dataclass(frozen=True)
class _Place:
    line: int
    text: str


def insert(
    source: str, insertions: tuple[Insertion, ...], origin: str, comment: Literal["!", "#"] = "!"
) -> str:
    """Return ``source`` with all insertions, each marked; ``origin`` is the file in an E3SMError.

    Refused: a file that holds the mark, an anchor that no line or more than one line reads.
    """
    if MARK in source:
        raise E3SMError(
            f"{origin}: already has insertions of climlink; give a checkout as E3SM has it (git "
            f"checkout {origin})"
        )
    lines = source.splitlines(keepends=True)
    places = [_place(lines, i, origin, comment) for i in insertions]
    for place in sorted(places, key=lambda p: p.line, reverse=True):
        lines.insert(place.line, place.text)
    return "".join(lines)


def _place(lines: list[str], insertion: Insertion, origin: str, comment: str) -> _Place:
    anchor = _plain(insertion.anchor)
    found = [n for n, line in enumerate(lines) if _plain(line) == anchor]
    if len(found) != 1:
        where = f"on lines {', '.join(str(n + 1) for n in found)}" if found else "nowhere"
        raise E3SMError(
            f"{origin}: expected the line {insertion.anchor.strip()!r} once, found it {where}: "
            "this is not the file that the call sites were written for. Put them in by hand "
            "(docs/e3sm.md), or use the ClimSim fork, which has them"
        )
    text = f"{comment} {MARK}: begin\n{insertion.text.rstrip()}\n{comment} {MARK}: end\n"
    return _Place(found[0] + (1 if insertion.after is not None else 0), text)


def _plain(line: str) -> str:
    return " ".join(line.split()).lower()
