"""The matrix file of a comparison: which packages, which runs of each, and what they are held
against.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from climlink.config import ConfigError, StrictModel, load_config
from climlink.installation import configuration_base, find_configuration

_LABEL = r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$"


def _metric_name(text: str) -> str:
    if "." not in text.strip("."):
        raise ValueError(f"expected METRIC.VARIABLE, such as r2.ptend_t or rmse.T, got {text!r}")
    return text


MetricName = Annotated[str, AfterValidator(_metric_name)]


class PackageEntry(StrictModel):
    """One package and the runs that were made with it."""

    package: Path = Field(description="the wrap_model.pt that was run")
    label: str = Field(pattern=_LABEL, description="short name for tables and figures")
    recipe: str | None = Field(
        default=None,
        description="how it was trained, in a word; runs are grouped by it. Default: the package's",
    )
    runs: tuple[Path, ...] = Field(default=(), description="run folders, crashed ones included")


class WindowConfig(StrictModel):
    """Which part of the runs is compared."""

    from_day: float | None = Field(
        default=None,
        ge=0,
        description="first day of the mean state that is compared, counted from the start of the "
        "runs",
    )


class MatrixConfig(StrictModel):
    """Packages by runs, and what they are held against. Paths are relative to the matrix file."""

    store: Path = Field(description="column store of the offline scores")
    split: Literal["train", "validation", "test"] = "test"
    reference: Path = Field(description="run folder of the reference")
    twin: Path | None = Field(
        default=None,
        description="run folder of a second reference, for what weather alone makes of an error",
    )
    window: WindowConfig = WindowConfig()
    offline_metric: MetricName = Field(
        default="r2.ptend_t",
        description="the offline number that is to tell; choose it before looking",
    )
    online_metric: MetricName = Field(
        default="rmse.T", description="the online error that it is to tell"
    )
    packages: tuple[PackageEntry, ...] = Field(min_length=1)


def load_matrix(path: Path) -> MatrixConfig:
    """Return a matrix file, or a shipped one by its name, with absolute paths.

    ConfigError for labels, packages or runs that stand twice, for a member that is the reference or
    its twin, and for a matrix without any run.
    """
    path = find_configuration("comparisons", path)
    matrix = load_config(path, MatrixConfig)
    base = configuration_base(path)

    def absolute(one: Path) -> Path:
        return (base / one).resolve()

    packages = tuple(
        entry.model_copy(
            update={
                "package": absolute(entry.package),
                "runs": tuple(absolute(run) for run in entry.runs),
            }
        )
        for entry in matrix.packages
    )
    matrix = matrix.model_copy(
        update={
            "store": absolute(matrix.store),
            "reference": absolute(matrix.reference),
            "twin": None if matrix.twin is None else absolute(matrix.twin),
            "packages": packages,
        }
    )
    _check(path, matrix)
    return matrix


def _check(path: Path, matrix: MatrixConfig) -> None:
    _require_distinct(path, "label", [entry.label for entry in matrix.packages])
    _require_distinct(path, "package", [str(entry.package) for entry in matrix.packages])
    runs = [run for entry in matrix.packages for run in entry.runs]
    _require_distinct(path, "run", [str(run) for run in runs])
    if not runs:
        raise ConfigError(
            f"{path}: no package has runs, so there is nothing to compare; `climlink evaluate "
            "offline` scores packages alone"
        )
    if matrix.twin == matrix.reference:
        raise ConfigError(
            f"{path}: twin and reference are one folder, {matrix.reference}; a twin is a second "
            "run of the reference"
        )
    for role, folder in (("reference", matrix.reference), ("twin", matrix.twin)):
        if folder in runs:
            raise ConfigError(
                f"{path}: {folder} is the {role} and a member too; take it out of the runs"
            )


def _require_distinct(path: Path, what: str, values: Iterable[str]) -> None:
    listed = list(values)
    twice = sorted({value for value in listed if listed.count(value) > 1})
    if twice:
        raise ConfigError(
            f"{path}: {what} given twice, would be counted twice: {', '.join(twice)}; keep one"
        )
