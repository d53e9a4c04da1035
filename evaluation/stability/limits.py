"""Frozen limits of free runs: calibrated once on packages whose hybrids were run, kept in
a committed file, and then applied to packages that had no part in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from climlink.config import StrictModel, load_config
from climlink.evaluation.stability.free_run import METRIC_NAMES
from climlink.evaluation.summary import Metrics
from climlink.wrappers.errors import near_names
from climlink.wrappers.manifest import Manifest

Call = Literal["not calibrated", "within limits", "outside limits", "unknown"]

_RANGE_POLICY = {"input_clip", "range_relaxation"}


class Limit(StrictModel):
    """A number breaks its limit above or below a value; of the two one is given."""

    above: float | None = Field(default=None, description="broken by what is larger")
    below: float | None = Field(default=None, description="broken by what is smaller")

    @model_validator(mode="after")
    def _one(self) -> Limit:
        if (self.above is None) == (self.below is None):
            raise ValueError("a limit has either above or below")
        return self

    def broken_by(self, value: float) -> str | None:
        """Return in words how a value breaks the limit, None where it does not."""
        if self.above is not None:
            return f"{value:.4g} is above {self.above:g}" if value > self.above else None
        assert self.below is not None, "one of the two is there"
        return f"{value:.4g} is below {self.below:g}" if value < self.below else None


class FrozenLimits(StrictModel):
    """Limits by the name of a free run's metric in summary.json, apart for packages with and
    without a range policy (input_clip or range_relaxation among their constraints).
    """

    name: str
    calibrated_on: list[str] = Field(min_length=1, description="SHA-256 of the packages")
    without_range_policy: dict[str, Limit] = Field(default_factory=dict)
    with_range_policy: dict[str, Limit] = Field(default_factory=dict)

    @field_validator("without_range_policy", "with_range_policy")
    @classmethod
    def _known(cls, limits: dict[str, Limit]) -> dict[str, Limit]:
        for name in limits:
            if name not in METRIC_NAMES:
                raise ValueError(
                    f"{name!r} is no metric of a free run{near_names(name, METRIC_NAMES)}"
                )
        return limits

    def of(self, manifest: Manifest) -> tuple[str, dict[str, Limit]]:
        """Return the policy of a package in words, and its limits."""
        if has_range_policy(manifest):
            return "with a range policy", self.with_range_policy
        return "without a range policy", self.without_range_policy


@dataclass(frozen=True)
class LimitsFile:
    """Frozen limits and the SHA-256 of their file."""

    limits: FrozenLimits
    digest: str

    @classmethod
    def read(cls, path: Path) -> LimitsFile:
        """Return the limits in a file; ConfigError for one that does not fit."""
        return cls(load_config(path, FrozenLimits), hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass(frozen=True)
class Judgement:
    """What frozen limits say of a package: the call, and in words why."""

    call: Call
    reasons: list[str]


def has_range_policy(manifest: Manifest) -> bool:
    """Say whether a package clips its inputs to the training ranges or relaxes the state to
    them.
    """
    return any(entry.name in _RANGE_POLICY for entry in manifest.constraints or ())


def judge(
    limits: FrozenLimits | None, manifest: Manifest, digest: str, metrics: Metrics
) -> Judgement:
    """Return what limits say of the metrics of a package with this manifest and SHA-256.

    Not calibrated without limits, or without any for the package's range policy; unknown where none
    is broken and one cannot be told.
    """
    if limits is None:
        return Judgement("not calibrated", ["no file of limits was given"])
    policy, chosen = limits.of(manifest)
    if not chosen:
        return Judgement("not calibrated", [f"{limits.name} has no limits for packages {policy}"])
    broken, untold = [], []
    for name, limit in chosen.items():
        value = metrics.get(name)
        text = None if value is None else limit.broken_by(value)
        if value is None:
            untold.append(f"{name} cannot be told here")
        elif text is not None:
            broken.append(f"{name}: {text}")
    call: Call = "outside limits" if broken else "unknown" if untold else "within limits"
    if digest in limits.calibrated_on:
        untold.append(f"{limits.name} was calibrated on this very package")
    return Judgement(call, broken + untold)
