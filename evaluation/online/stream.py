"""One history stream on disk (h0, h1, ...): its records in time, what is missing, and its fields as
lazy arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cftime
import dask
import dask.array as da
import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.classic_netcdf import ClassicFormatError, required_bytes
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion

Array = NDArray[np.float64]
Index = NDArray[np.int64]

EPOCH = "days since 0001-01-01 00:00:00"
"""What times of all runs are converted to, in each run's own calendar."""
SAME_TIME_D = 1.0 / SECONDS_PER_DAY
_CADENCES = (("hourly", 0.9 / 24.0, 1.1 / 24.0), ("daily", 0.9, 1.1), ("monthly", 27.5, 31.5))
_FREQUENCIES = {"hour_1": "hourly", "day_1": "daily", "month_1": "monthly"}
_LISTED = 6
_NETCDF_LOCK = threading.Lock()
"""The netCDF and HDF5 libraries crash when two threads of dask are inside them."""


@dataclass(frozen=True)
class Field:
    """A variable of a stream: its dimensions after time (``lev``, ``ncol``), units and how it was
    made over time.
    """

    dims: tuple[str, ...]
    units: str
    averaging: str


@dataclass(frozen=True)
class Stream:
    """The records of one stream in order of time. ``start`` and ``end`` [record] are days of the
    run's calendar since 0001-01-01.

    An instantaneous record has start = end. ``file`` and ``row`` [record] say where each record
    lies.
    """

    name: str
    cadence: str
    calendar: str
    paths: tuple[Path, ...]
    file: Index
    row: Index
    start: Array
    end: Array
    fields: dict[str, Field]
    sizes: dict[str, int]
    excluded: tuple[Exclusion, ...]

    @property
    def middle(self) -> Array:
        """Middle of every record's interval, days [record]."""
        return 0.5 * (self.start + self.end)

    def dataset(
        self, names: Sequence[str], records: Index | None = None, chunk: int = 64
    ) -> xr.Dataset:
        """Return fields of some records (default all) over (time, [lev,] ncol) as dask arrays in
        chunks of time; nothing is read yet.

        A chunk is one task that opens each of its files once. Fill values become NaN. KeyError for
        a field that the stream has not.
        """
        chosen = np.arange(len(self.start)) if records is None else np.asarray(records)
        shapes = {name: tuple(self.sizes[d] for d in self.fields[name].dims) for name in names}
        pieces: dict[str, list[da.Array]] = {name: [] for name in names}
        for first in range(0, len(chosen), chunk):
            part = chosen[first : first + chunk]
            where = [
                (self.paths[number], rows)
                for number, rows in _runs_of_files(self.file[part], self.row[part])
            ]
            values = dask.delayed(_read)(where, shapes, pure=False)
            for name in names:
                pieces[name].append(
                    da.from_delayed(values[name], (len(part), *shapes[name]), dtype=np.float32)
                )
        arrays = {
            name: (("time", *self.fields[name].dims), da.concatenate(parts))
            for name, parts in pieces.items()
        }
        return xr.Dataset(
            arrays,
            coords={
                "time": ("time", self.middle[chosen], {"units": EPOCH, "calendar": self.calendar})
            },
        )

    def load(self, names: Sequence[str], records: Index) -> dict[str, NDArray[np.float32]]:
        """Return fields of some records as arrays."""
        loaded = self.dataset(names, records, max(1, len(records))).load(scheduler="synchronous")
        return {name: loaded[name].values for name in names}

    def where(self, record: int) -> str:
        """Return file and row of a record, for messages."""
        return (
            f"{self.paths[self.file[record]].name}, record {self.row[record] + 1} "
            f"({self.date(float(self.start[record]))})"
        )

    def date(self, day: float) -> str:
        """Return a day of the run's calendar as YYYY-MM-DD."""
        return date_text(day, self.calendar)


def date_text(day: float, calendar: str) -> str:
    """Return days since 0001-01-01 as YYYY-MM-DD in a calendar."""
    return str(cftime.num2date(day, EPOCH, calendar).strftime("%Y-%m-%d")).strip().rjust(10, "0")


def month_of(day: float, calendar: str) -> tuple[int, int, float]:
    """Return year, month and the length of the month in days."""
    when = cftime.num2date(day, EPOCH, calendar)
    return int(when.year), int(when.month), float(when.daysinmonth)


def read_stream(name: str, paths: Sequence[Path]) -> Stream:
    """Return the stream that lies in files sorted by name; one without records, cadence 'empty',
    where no file has any.

    Files that cannot be read (a truncated last file) and records without a time are left out and
    listed; missing months, days and hours are listed. EvaluationError for files of one stream that
    do not fit each other.
    """
    headers, excluded = [], []
    for path in paths:
        try:
            headers.append(_header(path))
        except (OSError, ClassicFormatError, RuntimeError) as error:
            last = (
                " (the last one of its stream: the run may have ended while it wrote)"
                if path == paths[-1]
                else ""
            )
            excluded.append(Exclusion(path.name, f"truncated or damaged file{last}: {error}"))
            continue
        if len(headers[-1].start) == 0:
            excluded.append(Exclusion(path.name, "holds no record"))
            headers.pop()
    if not headers:
        return Stream(name, "empty", "noleap", (), *_nothing(), {}, {}, tuple(excluded))
    _require_alike(name, headers)
    return _joined(name, headers, excluded)


@dataclass(frozen=True)
class _Header:
    path: Path
    start: Array
    end: Array
    calendar: str
    frequency: str
    fields: dict[str, Field]
    sizes: dict[str, int]


def _nothing() -> tuple[Index, Index, Array, Array]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0)


def _header(path: Path) -> _Header:
    """Read times and the list of variables of a file; OSError if it is cut short or has no time
    axis.
    """
    needed = required_bytes(path)
    if needed is not None and path.stat().st_size < needed:
        raise OSError(f"{path.stat().st_size} bytes where its header describes {needed}")
    with netCDF4.Dataset(path) as data:
        if "time" not in data.variables or "units" not in data["time"].ncattrs():
            raise EvaluationError(
                f"{path}: no time axis with units; expected the history of E3SM or of the embedded "
                "model"
            )
        time = data["time"]
        calendar = getattr(time, "calendar", "noleap")
        shift = float(cftime.date2num(cftime.num2date(0.0, time.units, calendar), EPOCH, calendar))
        scale = {
            "days": 1.0,
            "hours": 1.0 / 24.0,
            "minutes": 1.0 / 1440.0,
            "seconds": 1.0 / SECONDS_PER_DAY,
        }.get(time.units.split()[0])
        if scale is None:
            raise EvaluationError(
                f"{path}: time is in {time.units!r}; expected days, hours, minutes or seconds "
                "since a date"
            )
        end = np.ma.filled(time[:].astype(np.float64), np.nan) * scale + shift
        bounds = next(
            (
                b
                for b in (getattr(time, "bounds", ""), "time_bnds", "time_bounds")
                if b in data.variables
            ),
            None,
        )
        start = end
        if bounds is not None:
            # E3SM gives a mean the time of its end; what it is the mean over stands in the bounds
            # alone.
            both = np.ma.filled(data[bounds][:].astype(np.float64), np.nan) * scale + shift
            start, end = both[:, 0], both[:, 1]
        columns = {"ncol": "ncol", "lev": "lev", "ilev": "ilev"}
        fields = {
            key: Field(v.dimensions[1:], getattr(v, "units", ""), getattr(v, "cell_methods", ""))
            for key, v in data.variables.items()
            if v.dimensions[:1] == ("time",)
            and "ncol" in v.dimensions
            and all(d in columns for d in v.dimensions[1:])
        }
        sizes = {d: len(data.dimensions[d]) for d in columns if d in data.dimensions}
        return _Header(
            path, start, end, calendar, getattr(data, "time_period_freq", ""), fields, sizes
        )


def _require_alike(name: str, headers: Sequence[_Header]) -> None:
    first = headers[0]
    for other in headers[1:]:
        if (other.calendar, other.sizes) != (first.calendar, first.sizes):
            raise EvaluationError(
                f"{name}: {other.path.name} has calendar {other.calendar} and sizes {other.sizes}, "
                f"{first.path.name} {first.calendar} and {first.sizes}: files of one stream must "
                "be alike"
            )


def _joined(name: str, headers: Sequence[_Header], excluded: list[Exclusion]) -> Stream:
    """Join the records of files in order of time; of a time that stands twice the later file is
    kept.
    """
    file = np.concatenate([np.full(len(h.start), k, dtype=np.int64) for k, h in enumerate(headers)])
    row = np.concatenate([np.arange(len(h.start), dtype=np.int64) for h in headers])
    start, end = (
        np.concatenate([h.start for h in headers]),
        np.concatenate([h.end for h in headers]),
    )
    for bad in np.flatnonzero(~np.isfinite(start + end)):
        excluded.append(
            Exclusion(
                f"{headers[file[bad]].path.name}, record {row[bad] + 1}",
                "has no time: it was not written to its end",
            )
        )
    kept = np.flatnonzero(np.isfinite(start + end))
    order = kept[np.lexsort((-file[kept], end[kept]))]
    twice = np.zeros(len(order), dtype=bool)
    twice[1:] = np.diff(end[order]) < SAME_TIME_D
    if twice.any():
        where = headers[file[order[np.flatnonzero(twice)[0]]]].path.name
        excluded.append(
            Exclusion(
                f"{int(twice.sum())} records of {name}",
                f"stand twice, first in {where}; the later file's are used",
            )
        )
    order = order[~twice]
    fields = {
        key: f for key, f in headers[0].fields.items() if all(key in h.fields for h in headers)
    }
    for key in sorted({k for h in headers for k in h.fields} - set(fields)):
        excluded.append(Exclusion(f"{key} of {name}", "is not in every file of the stream"))
    cadence = _cadence(start[order], end[order], headers[0].frequency)
    paths, first = tuple(h.path for h in headers), headers[0]
    stream = Stream(
        name,
        cadence,
        first.calendar,
        paths,
        file[order],
        row[order],
        start[order],
        end[order],
        fields,
        first.sizes,
        (),
    )
    whole, partial = _whole_months(stream)
    return replace(whole, excluded=(*excluded, *partial, *_gaps(whole)))


def _cadence(start: Array, end: Array, frequency: str) -> str:
    """Name how often records come, by the attribute of the file, else by their intervals or
    spacing; 'other' for anything else.
    """
    if frequency in _FREQUENCIES:
        return _FREQUENCIES[frequency]
    widths = end - start
    width = (
        float(np.median(widths))
        if (widths > 0).all()
        else float(np.median(np.diff(end)))
        if len(end) > 1
        else 0.0
    )
    return next((name for name, low, high in _CADENCES if low <= width <= high), "other")


def _whole_months(stream: Stream) -> tuple[Stream, list[Exclusion]]:
    """Leave out monthly means that do not cover their month, as the first or last of a run may
    be.
    """
    if stream.cadence != "monthly" or not (stream.end > stream.start).all():
        return stream, []
    lengths = np.array([month_of(float(m), stream.calendar)[2] for m in stream.middle])
    whole = np.abs(stream.end - stream.start - lengths) < 0.01
    left_out = [
        Exclusion(
            f"month {stream.date(float(stream.middle[k]))[:7]} of {stream.name}",
            f"its mean covers {stream.end[k] - stream.start[k]:g} days",
        )
        for k in np.flatnonzero(~whole)
    ]
    return selected(stream, np.flatnonzero(whole)), left_out


def _gaps(stream: Stream) -> list[Exclusion]:
    """List the months, days or hours between the first and the last record that are missing."""
    if len(stream.end) < 2 or stream.cadence == "other":
        return []
    spacing = {"hourly": 1.0 / 24.0, "daily": 1.0, "monthly": 31.0}[stream.cadence]
    before = stream.end[:-1]
    after = stream.start[1:] if (stream.end > stream.start).all() else stream.end[1:] - spacing
    holes = np.flatnonzero(after - before > 0.5 * spacing)
    texts = [_gap_text(stream, float(before[k]), float(after[k])) for k in holes]
    more = (
        [Exclusion(f"{len(texts) - _LISTED} more gaps of {stream.name}", "records are missing")]
        if len(texts) > _LISTED
        else []
    )
    return [
        Exclusion(text, f"missing in {stream.name}: no file holds it") for text in texts[:_LISTED]
    ] + more


def _gap_text(stream: Stream, first: float, last: float) -> str:
    if stream.cadence == "monthly":
        months, day = [], first + 0.5
        while day < last:
            months.append(stream.date(day)[:7])
            day += 0.5 * month_of(day, stream.calendar)[2]
        return "month " + ", ".join(dict.fromkeys(months))
    if stream.cadence == "daily":
        days = round(last - first)
        return (
            f"day {stream.date(first)}"
            if days == 1
            else f"days {stream.date(first)} to {stream.date(last - 0.5)}"
        )
    return f"{round(24.0 * (last - first))} hours from {stream.date(first)} on"


def selected(stream: Stream, records: Index) -> Stream:
    """Return a stream of some of the records."""
    return replace(
        stream,
        file=stream.file[records],
        row=stream.row[records],
        start=stream.start[records],
        end=stream.end[records],
    )


def _runs_of_files(file: Index, row: Index) -> list[tuple[int, Index]]:
    """Split records into stretches of one file each, in order."""
    if len(file) == 0:
        return []
    cuts = np.flatnonzero(np.diff(file)) + 1
    return [
        (int(part[0]), rows)
        for part, rows in zip(np.split(file, cuts), np.split(row, cuts), strict=True)
    ]


def _read(
    where: Sequence[tuple[Path, Index]], shapes: dict[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Read rows of some fields from files, one after the other in time, NaN for fill values."""
    count = sum(len(rows) for _, rows in where)
    found = {name: np.empty((count, *shape), dtype=np.float32) for name, shape in shapes.items()}
    first = 0
    for path, rows in where:
        consecutive = len(rows) == int(rows[-1]) - int(rows[0]) + 1
        selection = slice(int(rows[0]), int(rows[-1]) + 1) if consecutive else rows
        try:
            with _NETCDF_LOCK, netCDF4.Dataset(path) as data:
                for name, values in found.items():
                    values[first : first + len(rows)] = np.ma.filled(
                        data[name][selection].astype(np.float32), np.float32(np.nan)
                    )
        except (OSError, RuntimeError) as error:
            raise EvaluationError(
                f"{path} opened before and cannot be read now ({error}); was it changed or is it "
                "damaged?"
            ) from error
        first += len(rows)
    return found
