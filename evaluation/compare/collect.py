"""The summaries that a comparison works on: evaluated where they are not there, kept where they
still hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from climlink.config import StrictModel
from climlink.data.files import FileError, read_json, replacing
from climlink.data.store import ColumnStore
from climlink.evaluation.compare.matrix import MatrixConfig, PackageEntry
from climlink.evaluation.compare.results import Array, Bands, MemberResult, PackageResult
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.offline.evaluate import evaluate_offline
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.report import Exclusion, Report, write_report
from climlink.evaluation.report.write import NUMBERS_FILE, REPORT_FILE
from climlink.evaluation.summary import (
    SUMMARY_FILE,
    OfflineSummary,
    OnlineSummary,
    PackageSummary,
    read_summary,
)
from climlink.evaluation.weights import ZONAL_BIN_DEG
from climlink.packages.read import EmulatorPackage
from climlink.provenance import climlink_version, git_revision
from climlink.wrappers.errors import ClimlinkError

KEY_FILE = "key.json"
Progress = Callable[[int, int, str], None]
Model = TypeVar("Model", bound=StrictModel)

_FAILURES = (ClimlinkError, OSError, RuntimeError, ValueError)
"""What one package or run may fail with and leave the others standing; torch and netCDF4 raise
RuntimeError.
"""


def collect_results(
    matrix: MatrixConfig, folder: Path, progress: Progress | None = None
) -> tuple[list[PackageResult], list[Exclusion]]:
    """Return what every package and run of a matrix scored, and those that could not be evaluated,
    with the reason.

    Each evaluation is written into a folder of its own below ``folder`` with a key of everything it
    depends on; one whose key still holds is read instead of made again. StoreError for a store that
    cannot be read, PackageError or ManifestError for a package that is none.
    """
    digest = ColumnStore.open(matrix.store).digest
    packages = [EmulatorPackage.read(entry.package) for entry in matrix.packages]
    steps = len(packages) + sum(len(entry.runs) for entry in matrix.packages)
    results: list[PackageResult] = []
    excluded: list[Exclusion] = []
    done = 0

    def show(note: str) -> None:
        if progress is not None:
            progress(done, steps, note)

    for entry, package in zip(matrix.packages, packages, strict=True):
        show(f"{entry.label} offline")
        offline = None
        try:
            offline = _offline(matrix, entry, package, digest, folder)
        except FileError:  # what cannot be written is no fault of the package
            raise
        except _FAILURES as error:
            excluded.append(Exclusion(f"offline score of {entry.label}", _one_line(error)))
        done += 1
        members = []
        for run in entry.runs:
            show(f"{entry.label}: {run.name}")
            try:
                members.append(_online(matrix, run, folder))
            except FileError:
                raise
            except _FAILURES as error:
                excluded.append(Exclusion(f"run {run} of {entry.label}", _one_line(error)))
            done += 1
        results.append(
            PackageResult(
                entry.label, PackageSummary.of(package), entry.recipe, offline, tuple(members)
            )
        )
    show("")
    return results, excluded


def _offline(
    matrix: MatrixConfig,
    entry: PackageEntry,
    package: EmulatorPackage,
    store_digest: str,
    folder: Path,
) -> OfflineSummary:
    key = {"package": package.digest, "store": store_digest, "split": matrix.split, **_versions()}
    place = folder / "offline" / f"{_slug(entry.label)}_{package.digest[:12]}"
    if not _holds(place, key):
        _keep(place, key, evaluate_offline(entry.package, matrix.store, split=matrix.split).report)
    return read_summary(place, OfflineSummary)


def _online(matrix: MatrixConfig, run: Path, folder: Path) -> MemberResult:
    others = {
        "reference": matrix.reference,
        **({} if matrix.twin is None else {"twin": matrix.twin}),
    }
    key = {
        "run": run_identity(run),
        **{role: run_identity(path) for role, path in others.items()},
        "from_day": matrix.window.from_day,
        **_versions(),
    }
    place = (
        folder
        / "online"
        / f"{_slug(run.name)}_{hashlib.sha256(str(run).encode()).hexdigest()[:12]}"
    )
    if not _holds(place, key):
        found = evaluate_online(
            run, matrix.reference, twin=matrix.twin, from_day=matrix.window.from_day
        )
        _keep(place, key, found.report)
    with xr.open_dataset(place / NUMBERS_FILE) as numbers:
        return MemberResult(
            read_summary(place, OnlineSummary),
            error_bands(numbers, matrix.online_metric.split(".", 1)[1]),
        )


def run_identity(run: Path) -> dict[str, Any]:
    """Return what changes whenever a run does: its folder, and every file in it by size and time of
    last change.

    EvaluationError if there is no such folder.
    """
    if not run.is_dir():
        raise EvaluationError(f"there is no run folder {run}")
    files = sorted(p for p in (*run.glob("*"), *run.glob("history/*")) if p.is_file())
    listed = [[str(p.relative_to(run)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return {"folder": str(run), "files": hashlib.sha256(json.dumps(listed).encode()).hexdigest()}


def error_bands(numbers: xr.Dataset, variable: str) -> Bands | None:
    """Return the error of the zonal mean state by latitude band from the numbers of an online
    evaluation; None where they do not hold it.

    The root mean square over levels of the zonal-mean bias, levels weighted by the pressure between
    the middles to their neighbours.
    """
    name = f"zonal_bias_{variable}"
    if name not in numbers:
        return None
    bias = numbers[name].isel(pair=0).transpose("zonal_lat", "lev").values.astype(np.float64)
    weights = np.gradient(numbers["level_hpa"].values.astype(np.float64))
    error = np.sqrt((bias**2 * weights).sum(axis=1) / weights.sum())
    centres: Array = numbers["zonal_lat"].values.astype(np.float64)
    half = 0.5 * ZONAL_BIN_DEG
    return Bands(np.concatenate([[centres[0] - half], centres + half]), error)


def _versions() -> dict[str, str | None]:
    """Return the software that an evaluation depends on."""
    return {"climlink": climlink_version(), "revision": git_revision()}


def _holds(place: Path, key: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds a whole evaluation with this key."""
    try:
        kept = read_json(place / KEY_FILE)
    except (OSError, ValueError):
        return False
    return bool(kept == json.loads(json.dumps(key))) and all(
        (place / name).is_file() for name in (SUMMARY_FILE, NUMBERS_FILE, REPORT_FILE)
    )


def _keep(place: Path, key: Mapping[str, Any], report: Report) -> None:
    """Write an evaluation, and its key last: an interrupted one has none."""
    (place / KEY_FILE).unlink(missing_ok=True)
    write_report(report, place)
    with replacing(place / KEY_FILE) as beside:
        beside.write_text(json.dumps(key, indent=1), encoding="utf-8")


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
