"""The history of a run: its streams by cadence, its grid, and what two runs must share to be
compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.stream import SAME_TIME_D, Stream, date_text, read_stream
from climlink.evaluation.report import Exclusion
from climlink.evaluation.weights import area_weights

Array = NDArray[np.float64]

_FILE = re.compile(r"(?P<case>.+)\.(?:eam|cam)\.(?P<stream>h\d)\..+\.nc")
CADENCES = ("monthly", "daily", "hourly")
_GRID = ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi", "P0")


@dataclass(frozen=True)
class HistoryGrid:
    """Columns and levels of a history file: degrees, steradian [column]; hybrid coefficients;
    reference pressure in Pa.
    """

    lat: Array
    lon: Array
    area: Array
    hyam: Array
    hybm: Array
    hyai: Array
    hybi: Array
    p0_pa: float

    @property
    def pressure_hpa(self) -> Array:
        """Pressure of the level midpoints over a surface at the reference pressure, hPa [level]."""
        return self.p0_pa * (self.hyam + self.hybm) / 100.0

    @property
    def weights(self) -> Array:
        """Share of the area [column]."""
        return area_weights(self.area)


@dataclass(frozen=True)
class RunHistory:
    """What a run wrote: one stream for each cadence it has, and what was left out of them."""

    folder: Path
    case: str
    streams: Mapping[str, Stream]
    grid: HistoryGrid
    excluded: tuple[Exclusion, ...] = field(default=())

    @property
    def start(self) -> float:
        """Start of the first record of any stream, days since 0001-01-01 of the run's calendar."""
        return min(float(s.start[0]) for s in self.streams.values())

    @property
    def end(self) -> float:
        """End of the last record of any stream."""
        return max(float(s.end[-1]) for s in self.streams.values())

    @property
    def calendar(self) -> str:
        """Calendar of all streams."""
        return next(iter(self.streams.values())).calendar


def history_files(folder: Path) -> dict[str, list[Path]]:
    """Return the history files by stream name (h0, ...).

    They lie in FOLDER/history (embedded model), else in the folder itself (E3SM). EvaluationError
    if they belong to several cases.
    """
    place = folder / "history" if (folder / "history").is_dir() else folder
    found: dict[str, list[Path]] = {}
    cases = set()
    for path in sorted(place.glob("*.nc")):
        match = _FILE.fullmatch(path.name)
        if match:
            cases.add(match["case"])
            found.setdefault(match["stream"], []).append(path)
    if len(cases) > 1:
        raise EvaluationError(
            f"{place} holds history of several cases: {', '.join(sorted(cases))}; give each run a "
            "folder of its own"
        )
    return found


def read_history(folder: Path) -> RunHistory:
    """Return the streams of a run. EvaluationError for a folder without history, and for files that
    do not fit each other.
    """
    files = history_files(folder)
    if not files:
        raise EvaluationError(
            f"{folder} holds no history: expected history/CASE.eam.hN.*.nc of the embedded model "
            "or CASE.eam.hN.*.nc of E3SM"
        )
    streams: dict[str, Stream] = {}
    excluded: list[Exclusion] = []
    for name, paths in files.items():
        stream = read_stream(name, paths)
        excluded += stream.excluded
        if stream.cadence == "empty":
            continue
        if stream.cadence == "other" or len(stream.start) == 0:
            excluded.append(
                Exclusion(
                    f"stream {name}",
                    "is neither monthly, daily nor hourly, or holds no whole month",
                )
            )
        elif stream.cadence in streams:
            excluded.append(
                Exclusion(
                    f"stream {name}",
                    f"is {stream.cadence} as {streams[stream.cadence].name}, which is used",
                )
            )
        else:
            streams[stream.cadence] = stream
    if not streams:
        why = "; ".join(f"{e.what}: {e.why}" for e in excluded)
        raise EvaluationError(f"{folder} holds no record of history that can be used ({why})")
    calendars = {s.calendar for s in streams.values()}
    if len(calendars) > 1:
        raise EvaluationError(
            f"{folder}: streams are in several calendars: {', '.join(sorted(calendars))}"
        )
    ordered = {c: streams[c] for c in CADENCES if c in streams}
    first = next(iter(ordered.values()))
    case = _FILE.fullmatch(first.paths[0].name)
    assert case is not None
    return RunHistory(folder, case["case"], ordered, _read_grid(first.paths[0]), tuple(excluded))


def require_one_grid(run: RunHistory, reference: RunHistory) -> None:
    """Raise EvaluationError, with what differs, unless two runs have one grid and one calendar."""
    for name in ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi"):
        ours, theirs = getattr(run.grid, name), getattr(reference.grid, name)
        if ours.shape != theirs.shape:
            raise EvaluationError(
                f"{run.folder} and {reference.folder} are not on one grid: {name} has {len(ours)} "
                f"values and {len(theirs)}"
            )
        worst = float(np.abs(ours - theirs).max())
        if worst > 1e-6 * max(1.0, float(np.abs(theirs).max())):
            raise EvaluationError(
                f"{run.folder} and {reference.folder} are not on one grid: {name} differs by up to "
                f"{worst:.3g}"
            )
    if abs(run.grid.p0_pa - reference.grid.p0_pa) > 1e-6 * reference.grid.p0_pa:
        raise EvaluationError(
            f"{run.folder} and {reference.folder} have P0 {run.grid.p0_pa} and "
            f"{reference.grid.p0_pa} Pa"
        )
    if run.calendar != reference.calendar:
        raise EvaluationError(
            f"{run.folder} is in the calendar {run.calendar}, {reference.folder} in "
            f"{reference.calendar}: their times cannot be compared"
        )


def require_comparable(run: RunHistory, reference: RunHistory) -> None:
    """Raise EvaluationError, with what differs, unless two runs have one grid, one calendar,
    streams and times in common.
    """
    require_one_grid(run, reference)
    shared = [c for c in run.streams if c in reference.streams]
    if not shared:
        raise EvaluationError(
            f"{run.folder} has {', '.join(run.streams)} history, {reference.folder} "
            f"{', '.join(reference.streams)}: none in common"
        )
    if not any(len(common_records(run.streams[c], reference.streams[c])[0]) for c in shared):
        raise EvaluationError(_no_overlap(run, reference, shared))


def _no_overlap(run: RunHistory, reference: RunHistory, shared: list[str]) -> str:
    spans = [
        f"{h.folder} from {date_text(h.start, h.calendar)} to {date_text(h.end, h.calendar)}"
        for h in (run, reference)
    ]
    text = f"{spans[0]}, {spans[1]}: no record of one time in common"
    if run.start < reference.end and reference.start < run.end:
        offset = [float(h.streams[shared[0]].middle[0] % 1.0) for h in (run, reference)]
        text += (
            f", although they overlap: their {shared[0]} records lie at {offset[0]:.4f} and "
            f"{offset[1]:.4f} of a day"
        )
    return text


def common_records(one: Stream, other: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the records of two streams whose intervals are the same, to a second."""
    ends = [np.round(s.end / SAME_TIME_D).astype(np.int64) for s in (one, other)]
    _, first, second = np.intersect1d(ends[0], ends[1], return_indices=True)
    same = np.abs(one.start[first] - other.start[second]) < SAME_TIME_D
    return first[same], second[same]


def shared_fields(run: Stream, reference: Stream) -> tuple[list[str], list[Exclusion]]:
    """Return the fields that two streams both have, and those they do not. EvaluationError for one
    in other units or dimensions.
    """
    excluded = []
    for name in sorted(set(run.fields) ^ set(reference.fields)):
        lacks = "the reference" if name in run.fields else "the run"
        excluded.append(Exclusion(f"{name} ({run.cadence})", f"{lacks} has not written it"))
    both = sorted(set(run.fields) & set(reference.fields))
    for name in both:
        ours, theirs = run.fields[name], reference.fields[name]
        if ours.dims != theirs.dims:
            raise EvaluationError(
                f"{name} ({run.cadence}) lies over {ours.dims} in the run and {theirs.dims} in the "
                "reference"
            )
        if ours.units != theirs.units:
            raise EvaluationError(
                f"{name} ({run.cadence}) is in {ours.units!r} in the run and in {theirs.units!r} "
                "in the reference"
            )
    return both, excluded


def _read_grid(path: Path) -> HistoryGrid:
    with netCDF4.Dataset(path) as data:
        absent = [name for name in _GRID if name not in data.variables]
        if absent:
            raise EvaluationError(
                f"{path}: {', '.join(absent)} missing; expected the grid and hybrid coefficients "
                "that EAM writes"
            )
        values = {
            name: np.asarray(np.ma.filled(data[name][...].astype(np.float64), np.nan))
            for name in _GRID
        }
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise EvaluationError(f"{path}: {name} has values that are not finite")
    # E3SM writes lat and area once per file, some tools once per record.
    flat = {
        name: value[0] if value.ndim == 2 else value
        for name, value in values.items()
        if name != "P0"
    }
    return HistoryGrid(**flat, p0_pa=float(values["P0"]))
