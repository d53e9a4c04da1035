"""What an evaluation found, as numbers a script reads: the summary.json beside every report, and
what comparison takes in.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from climlink.config import StrictModel
from climlink.data.files import replacing
from climlink.evaluation.errors import EvaluationError
from climlink.packages.read import EmulatorPackage
from climlink.support import Support

SUMMARY_FILE = "summary.json"

Metrics = dict[str, float | None]
"""Metric name to value; null where it cannot be told (no variance, no day). Names are
METRIC.VARIABLE, such as r2.ptend_t or rmse.T.
"""

Model = TypeVar("Model", bound=StrictModel)


class PackageSummary(StrictModel):
    """Which package was evaluated; what an imported graph does not say is null."""

    name: str
    sha256: str
    architecture: str | None
    parameters: int | None
    seed: int | None
    recipe: str | None = Field(
        description="name of the training configuration's recipe: normalization scheme, sets and "
        "loss in short"
    )

    @classmethod
    def of(cls, package: EmulatorPackage) -> PackageSummary:
        """Return the summary of a package."""
        m = package.manifest
        network = m.architecture
        sets = None if m.network_inputs is None else m.network_inputs.set
        recipe = (
            None
            if sets is None
            else ", ".join([sets, *(["confidence"] if m.has_confidence else [])])
        )
        return cls(
            name=m.name,
            sha256=package.digest,
            architecture=None if network is None else network.name,
            parameters=None if network is None else network.trainable_parameters,
            seed=m.provenance.seed,
            recipe=recipe,
        )


class TimeSpan(StrictModel):
    """First and last stamp of some times, their number, and the days between first and last."""

    first: str
    last: str
    times: int
    days: float


class ScoredTimes(TimeSpan):
    """Times that were scored."""

    gap_days: float | None = Field(
        default=None,
        description="days between the nearest scored and training times; null where the package "
        "was not trained on this store",
    )
    relation: Literal["after", "before", "among"] | None = Field(
        default=None, description="where they lie from all training times"
    )


class TimesSummary(StrictModel):
    """When a package was trained and scored."""

    training: TimeSpan | None = Field(
        description="the store's training times; null where the package was not trained on them"
    )
    scored: ScoredTimes
    later: ScoredTimes | None = Field(
        description="the later window on which the test is repeated; null without one"
    )


class OfflineSummary(StrictModel):
    """Skill of one package on one store."""

    kind: Literal["offline"] = "offline"
    package: PackageSummary
    store: str
    store_digest: str | None
    split: str
    rows: int
    times: TimesSummary | None = Field(default=None, description="null of a table")
    metrics: Metrics


class OnlineSummary(StrictModel):
    """What one run did beside its reference."""

    kind: Literal["online"] = "online"
    run: str = Field(description="folder of the run")
    name: str
    host: str = Field(description="aquaplanet or e3sm")
    package: PackageSummary | None = Field(description="null where the run does not record one")
    package_sha256: str | None
    reference: str
    survived: bool
    planned_days: float | None = Field(
        description="length that the run was to have, null where nothing says"
    )
    days: float = Field(description="length that it has, in days from its first to its last record")
    ended: str | None = Field(description="why it ended early, in words")
    support: Support | None = Field(
        default=None,
        description="how much the range policy of its package held it, by the run's own record; "
        "null where that says nothing",
    )
    compared_days: float = Field(description="days that run and reference both have")
    years_per_day: float | None = Field(description="simulated years per day of wall-clock time")
    metrics: Metrics
    excluded: list[str] = Field(description="what was left out, and why")

    @property
    def lived_on_support(self) -> bool:
        """Whether it reached its end, but held by the range policy of its package."""
        return self.survived and self.support is not None and self.support.on_support


def finite_or_none(value: float) -> float | None:
    """Return a number for JSON: null where it is not finite."""
    return float(value) if math.isfinite(value) else None


def write_json(value: Any, path: Path) -> None:
    """Write JSON beside and then under its name; ValueError for a number that is not finite."""
    text = json.dumps(value, indent=1, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path, model: type[Model]) -> Model:
    """Return the summary in a folder that an evaluation wrote; EvaluationError if there is none of
    that kind.
    """
    path = folder / SUMMARY_FILE
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(
            f"{path} is not a summary of the kind {model.__name__}: {error}"
        ) from error
