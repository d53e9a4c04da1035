"""What the stability screen found, as numbers a script reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel
from climlink.evaluation.summary import Metrics, PackageSummary


class StabilitySummary(StrictModel):
    """Linear stability of one package about the states of one store, its sensitivity, and its
    semi-online errors.
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
    metrics: Metrics
    excluded: list[str] = Field(description="what was left out, and why")
