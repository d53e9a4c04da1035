"""How a run ended: from the record of the embedded model, or from what an E3SM run folder says."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climlink.data.files import read_json
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.history import RunHistory
from climlink.evaluation.online.stream import month_of
from climlink.evaluation.summary import PackageSummary
from climlink.namelists import decoded, parse_namelist
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import LOG_FILE, RECORD_FILE, job_runs
from climlink.support import Support
from climlink.wrappers.errors import ClimlinkError

_CASE_RECORD = "climlink_case.json"
_SPEED = re.compile(r"simulated_years_per_day\s+([\d.]+)")
_E3SM_SPEED = re.compile(r"Model Throughput:\s*([\d.]+)\s*simulated_years/day")
_E3SM_ERROR = re.compile(r"(ENDRUN|ERROR[: ]|SIGSEGV|SIGFPE|Abort)")
_TAIL_BYTES = 200_000
_SHORT_BY_D = 0.5
"""A run that lacks no more than this of its length has ended as planned."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``planned_days`` is null where nothing says; ``ended`` says why it ended
    early, null where it did not.

    ``first_day`` is the day, from the start of the case, on which the run began: a branch begins
    later than its case.
    """

    name: str
    host: str
    planned_days: float | None
    days: float
    ended: str | None
    years_per_day: float | None
    package: PackageSummary | None
    package_sha256: str | None
    note: str | None = None
    first_day: float = 0.0
    support: Support | None = None

    @property
    def survived(self) -> bool:
        """Whether the run reached the end that it was to reach."""
        return self.ended is None


def read_outcome(
    folder: Path,
    history: RunHistory | None,
    *,
    planned_days: float | None,
    fallback_days: float | None,
) -> Outcome:
    """Return how a run ended. ``planned_days`` overrides what the folder says; ``fallback_days``,
    the length of the reference, is the plan where neither says. EvaluationError for a run that is
    still going on, and for a folder that is no run."""
    record = _read_json(folder / RECORD_FILE)
    if record is not None and record.get("case", {}).get("host") == "aquaplanet":
        return _aquaplanet(folder, record, history, planned_days)
    if history is None:
        raise EvaluationError(
            f"{folder} holds neither a record of the embedded model ({RECORD_FILE}) nor history: "
            "it is no run folder"
        )
    return _e3sm(folder, history, planned_days, fallback_days)


def _aquaplanet(
    folder: Path, record: dict[str, Any], history: RunHistory | None, planned_days: float | None
) -> Outcome:
    case, status = record["case"], record.get("status")
    if status == "running" and job_runs(folder):
        raise EvaluationError(f"{folder}: the run is still going on; wait for its end")
    days = 0.0 if history is None else history.end - history.start
    first = _first_day(folder, case["start"], history)
    planned = planned_days if planned_days is not None else float(case["days"]) - first
    ended = {
        "finished": None,
        "interrupted": f"interrupted: {record.get('error')}",
        "running": f"{RECORD_FILE} still says 'running' although no job runs: it was killed",
    }.get(str(status), record.get("message") or f"status {status}")
    if ended is None and planned_days is not None and days < planned - _SHORT_BY_D:
        ended = f"it was asked for {float(case['days']) - first:g} days"
    package = record.get("package") or {}
    path = (case.get("emulator") or {}).get("package")
    return Outcome(
        case["name"],
        "aquaplanet",
        planned,
        days,
        ended,
        _last_speed(_tail(folder / LOG_FILE), _SPEED),
        _package(path, package.get("sha256")),
        package.get("sha256"),
        first_day=first,
        support=_support(folder, record),
    )


def _support(folder: Path, record: dict[str, Any]) -> Support | None:
    if "support" not in record:
        return None
    try:
        return Support.model_validate(record["support"])
    except ValueError as error:
        raise EvaluationError(f"{folder / RECORD_FILE}: support: {error}") from error


def _first_day(folder: Path, start: str, history: RunHistory | None) -> float:
    """Return the day since the start of the case on which this run began: a branch begins later."""
    try:
        with (folder / "budgets.csv").open(encoding="utf-8") as stream:
            lines = [stream.readline() for _ in range(3)]
        rows = [line.split(",") for line in lines if line.strip() and not line.startswith("step")]
        step, day = float(rows[0][0]), float(rows[0][1])
        return day * (step - 1.0) / step
    except (OSError, IndexError, ValueError):
        if history is None:
            return 0.0
        year, month, day_of_month = (int(part) for part in start.split("-")[:3])
        case_start = float(_day_number(year, month, day_of_month))
        return max(0.0, history.start - case_start)


def _day_number(year: int, month: int, day: int) -> float:

    return Stamp(year, month, day).since(Stamp(1, 1, 1)) / SECONDS_PER_DAY


def _e3sm(
    folder: Path, history: RunHistory, planned_days: float | None, fallback_days: float | None
) -> Outcome:
    days = history.end - history.start
    planned, source = _e3sm_plan(folder, history)
    if planned_days is not None:
        planned, source = planned_days, "as given"
    if planned is None and fallback_days is not None:
        planned, source = fallback_days, "the length of the reference"
    ended = None
    if planned is not None and days < planned - _SHORT_BY_D:
        said = _e3sm_message(folder)
        ended = f"its last record is day {days:g} of {planned:g} ({source})" + (
            f"; the log says: {said}" if said else "; no log says why"
        )
    path, pinned = _e3sm_package(folder)
    package = _package(path, pinned)
    speeds = [_last_speed(_text(p), _E3SM_SPEED) for p in _timing_files(folder)]
    return Outcome(
        history.case,
        "e3sm",
        planned,
        days,
        ended,
        next((s for s in speeds if s is not None), None),
        package,
        package.sha256 if package is not None else pinned,
        "nothing in the folder says it: the length of the reference is taken"
        if source == "the length of the reference"
        else None,
    )


def _e3sm_plan(folder: Path, history: RunHistory) -> tuple[float | None, str]:
    """Return the planned days by the record of `climlink e3sm case`, in the run folder or beside
    it; else None.
    """
    for place in (folder, folder.parent):
        record = _read_json(place / _CASE_RECORD)
        case = {} if record is None else record.get("case", {})
        length = case.get("length", {})
        count = int(length.get("n", 0)) * (1 + int(case.get("resubmit", 0)))
        if length.get("option") == "ndays":
            return float(count), f"by {_CASE_RECORD}"
        if length.get("option") in ("nmonths", "nyears"):
            day = history.start
            for _ in range(count * (12 if length["option"] == "nyears" else 1)):
                day += month_of(day, history.calendar)[2]
            return day - history.start, f"by {_CASE_RECORD}"
    return None, ""


def _e3sm_message(folder: Path) -> str | None:
    """Return the last line of the newest log that tells of an error."""
    logs = sorted(
        [*folder.glob("e3sm.log*"), *folder.glob("atm.log*"), *folder.glob("cpl.log*")],
        key=lambda p: p.stat().st_mtime,
    )
    for path in reversed(logs):
        lines = [line.strip() for line in _text(path).splitlines() if _E3SM_ERROR.search(line)]
        if lines:
            return lines[-1][:300]
    return None


def _e3sm_package(folder: Path) -> tuple[str | None, str | None]:
    """Return package path and pinned digest as EAM's namelist names them."""
    try:
        groups = parse_namelist(decoded((folder / "atm_in").read_bytes()))
    except (OSError, ValueError):
        return None, None
    entries = groups.get("mmf_nn_emulator_nl") or {}
    path = (
        str(entries.get("climlink_package") or "").strip()
        or str(entries.get("cb_torch_model") or "").strip()
    )
    digest = str(entries.get("climlink_package_digest") or "").strip()
    return path or None, digest or None


def _timing_files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "timing", folder.parent / "timing"):
        yield from sorted(place.glob("e3sm_timing.*"), reverse=True)


def _package(path: str | None, digest: str | None) -> PackageSummary | None:
    """Return what the package says of itself; None where it is gone, or is another file by now."""
    if not path or not Path(path).is_file():
        return None
    try:
        return PackageSummary.of(EmulatorPackage.read(Path(path), digest))
    except ClimlinkError:
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read as JSON: {error}") from error


def _tail(path: Path) -> str:
    return _text(path)[-_TAIL_BYTES:] if path.is_file() else ""


def _text(path: Path) -> str:
    """Return a log, also a compressed one; nothing of one that cannot be read."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError):
        return ""
    return raw.decode("utf-8", errors="replace")


def _last_speed(text: str, pattern: re.Pattern[str]) -> float | None:
    found = pattern.findall(text)
    return float(found[-1]) if found else None
