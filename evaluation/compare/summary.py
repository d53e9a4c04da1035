"""What a comparison found, as numbers that a script reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel
from climlink.evaluation.summary import PackageSummary


class ComparedMember(StrictModel):
    """One run of a package. ``error`` is over the days that it lived; ``rank`` is its place among
    all members, 1 the best.
    """

    run: str
    survived: bool
    on_support: bool = Field(
        default=False, description="it survived, but held by the range policy of its package"
    )
    days: float
    ended: str | None
    error: float | None
    relative_error: float | None = Field(
        description="error of the compared variable on the last day over climatology's: below 1 "
        "the days lived were worth something"
    )
    compared_days: float
    rank: float | None
    years_per_day: float | None


class RegionSummary(StrictModel):
    """A latitude band and the error of the mean state in it, the median over members."""

    south: float
    north: float
    error: float


class ComparedPackage(StrictModel):
    """One package with its offline number, its members and what they did. What cannot be told is
    null.
    """

    label: str
    package: PackageSummary
    recipe: str | None
    offline: float | None
    offline_place: float | None = Field(
        description="place by the offline number among compared packages, 1 the best"
    )
    online_place: float | None = Field(
        description="place by the mean rank of its members, 1 the best"
    )
    members: list[ComparedMember]
    survived: int
    on_support: int = Field(default=0, description="of those that survived")
    survival_low: float | None = Field(
        description="exact 95 % interval of the probability to survive"
    )
    survival_high: float | None
    mean_rank: float | None
    error: float | None = Field(
        description="median over members of the error over the days that each lived"
    )
    error_is_partial: bool = Field(
        description="a member of it crashed, so the error is not over the whole window"
    )
    years_per_day: float | None = Field(description="median over members")
    best_region: RegionSummary | None
    worst_region: RegionSummary | None


class AgreementSummary(StrictModel):
    """How far an offline metric and an online outcome order packages alike; 1 is perfect, -1
    reversed. Null where it cannot be told.
    """

    offline_metric: str
    online_outcome: str
    packages: int
    spearman: float | None
    kendall: float | None
    low: float | None
    high: float | None
    p_value: float | None
    smallest_p: float = Field(description="the smallest p-value that so many packages can give")


class SurvivalSummary(StrictModel):
    """Survival of the runs of one group: an architecture, a recipe or a package."""

    by: Literal["package", "architecture", "recipe"]
    group: str
    packages: int
    members: int
    survived: int
    low: float
    high: float
    median_days: float | None = Field(
        description="day by which half are gone (Kaplan and Meier); null where more than half live "
        "on"
    )


class CompareSummary(StrictModel):
    """What a comparison of packages found."""

    kind: Literal["compare"] = "compare"
    store: str
    reference: str
    twin: str | None
    offline_metric: str
    online_metric: str
    verdict: Literal["told", "misled", "not_shown", "too_few"] = Field(
        description="whether the offline number told the online outcome"
    )
    words: str
    statements: list[str] = Field(description="what so few members or packages cannot say")
    twin_error: float | None = Field(
        description="the online metric of the twin: what weather alone makes of it"
    )
    packages: list[ComparedPackage]
    agreements: list[AgreementSummary]
    survival: list[SurvivalSummary]
    excluded: list[str]
