"""What the stability screen found, as numbers a script reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel
from climlink.evaluation.stability.limits import Call
from climlink.evaluation.summary import Metrics, PackageSummary


class StabilitySummary(StrictModel):
    """Linear stability of one package about the states of one store, its sensitivity, its
    semi-online errors, and its free runs.
    """

    kind: Literal["stability"] = "stability"
    package: PackageSummary
    store: str
    store_digest: str
    split: str
    states: list[str] = Field(description="names of the states that it was linearized about")
    verdict: Literal["unstable", "stable"]
    reasons: list[str] = Field(
        description="what made it unstable, in words; empty where it is stable"
    )
    free_run_call: Call = Field(description="what frozen limits say of the free runs")
    free_run_reasons: list[str] = Field(description="why, in words")
    limits_sha256: str | None = Field(description="of the file of limits, null without one")
    metrics: Metrics
    excluded: list[str] = Field(description="what was left out, and why")
