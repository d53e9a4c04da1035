"""What a report is made of: a paragraph in words, sections of pictures and tables, numbers, and
what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from climlink.evaluation.errors import EvaluationError

Cell = str | int | float | bool | None
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; ``name`` is the file it is also written to, figures/NAME.png."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """Named columns of equal length with their units; written to tables/NAME.csv too."""

    name: str
    title: str
    columns: Mapping[str, Sequence[Cell]]
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise EvaluationError(f"table {self.name}: columns of unequal length: {lengths}")
        unknown = set(self.units) - set(self.columns)
        if unknown:
            raise EvaluationError(
                f"table {self.name}: units of columns that it has not: {sorted(unknown)}"
            )

    def header(self) -> list[str]:
        """Return the column names with units, such as ``RMSE (K)``."""
        return [
            f"{name} ({self.units[name]})" if self.units.get(name) else name
            for name in self.columns
        ]

    def rows(self) -> list[tuple[Cell, ...]]:
        """Return the rows."""
        return list(zip(*self.columns.values(), strict=True))


@dataclass(frozen=True)
class Section:
    """A heading, sentences, pictures and tables."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Exclusion:
    """Something that did not enter the numbers, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Report:
    """A whole report. ``words`` is its first paragraph, ``summary`` what goes to summary.json,
    ``numbers`` what goes to numbers.nc.
    """

    title: str
    words: str
    sections: Sequence[Section]
    summary: Mapping[str, Any]
    numbers: xr.Dataset
    command: str
    sources: Mapping[str, str]
    excluded: Sequence[Exclusion] = ()

    def __post_init__(self) -> None:
        names = [p.name for s in self.sections for p in s.pictures] + [
            t.name for s in self.sections for t in s.tables
        ]
        twice = sorted({name for name in names if names.count(name) > 1})
        odd = [name for name in names if not _NAME.fullmatch(name)]
        if twice or odd:
            raise EvaluationError(
                "names of pictures and tables must be distinct file names of a-z, 0-9 and _: "
                f"{twice or odd}"
            )
