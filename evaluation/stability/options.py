"""What the stability screen can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import Friction
from climlink.evaluation.stability.modes import default_wavelengths
from climlink.evaluation.stability.response import CLOUD, PROGNOSTIC
from climlink.evaluation.stability.screen import Rules

Sun = Literal["clock", "recorded"]


@dataclass(frozen=True)
class StabilityOptions:
    """What ``climlink evaluate stability`` can be told.

    ``ensemble`` columns are averaged about every state; ``columns`` (STAMP:COLUMN of the store)
    replace the states by latitude and moisture; ``cloud`` perturbs cloud liquid and ice too; growth
    in 1/day up to ``growth_limit`` is let pass; ``above_hpa`` parts upper from lower levels in the
    sensitivity; ``pairs`` is a folder of consecutive mli/mlo pairs for the replay (default: the
    store), of at most ``steps`` steps.

    Free runs take ``free_run_columns`` of every state for ``free_run_days`` (0: none), with the sun
    as ``sun`` says; a value is outside where it leaves the training range by more than
    ``range_margin`` of its width. ``limits`` is a file of frozen limits.
    """

    split: str = "test"
    ensemble: int = 48
    columns: tuple[str, ...] = ()
    cloud: bool = False
    friction: Friction = field(default_factory=Friction)
    shortest_km: float = 300.0
    longest_km: float = 40000.0
    wavelengths: int = 25
    growth_limit: float = 0.1
    above_hpa: float = 200.0
    sensitivity_columns: int = 24
    pairs: Path | None = None
    grid: Path | None = None
    steps: int | None = None
    nudging_hours: float = 6.0
    free_run_days: float = 30.0
    free_run_columns: int = 8
    sun: Sun = "clock"
    range_margin: float = 0.1
    limits: Path | None = None

    def __post_init__(self) -> None:
        least = {
            "ensemble": self.ensemble,
            "sensitivity_columns": self.sensitivity_columns,
            "free_run_columns": self.free_run_columns,
            "steps": 1 if self.steps is None else self.steps,
        }
        for name, value in least.items():
            if value < 1:
                raise EvaluationError(f"{name} must be 1 or more, got {value}")
        if self.nudging_hours <= 0.0 or self.above_hpa <= 0.0:
            raise EvaluationError(
                f"nudging_hours and above_hpa must be above 0, got {self.nudging_hours} and "
                f"{self.above_hpa}"
            )
        if not (0.0 <= self.free_run_days <= 3650.0 and 0.0 <= self.range_margin < 1e3):
            raise EvaluationError(
                "free_run_days must lie between 0 (none) and 3650 and range_margin must not be "
                f"negative, got {self.free_run_days} and {self.range_margin}"
            )
        if self.sun not in get_args(Sun):
            raise EvaluationError(f"sun must be {' or '.join(get_args(Sun))}, got {self.sun!r}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The state variables that are perturbed, and that move in free runs of the troposphere."""
        return PROGNOSTIC + (CLOUD if self.cloud else ())

    def rules(self) -> Rules:
        """Return the rules of the screen."""
        return Rules(
            self.fields,
            self.friction,
            default_wavelengths(self.shortest_km, self.longest_km, self.wavelengths),
            self.growth_limit,
        )

    def damping(self) -> str:
        """Return in words how waves are damped."""
        f = self.friction
        sponge = (
            f", a sponge of {f.sponge_per_day:g}/day at the lid that begins at {f.sponge_hpa:g} hPa"
            if f.sponge_per_day > 0.0
            else ""
        )
        return f"friction {f.rate_per_day:g}/day{sponge}, rigid lid and floor, no rotation"

    def command(self, package: Path, store: Path) -> str:
        """Return the command that screens a package so."""
        words = [
            f"climlink evaluate stability {package} --data {store} --split {self.split} --ensemble "
            f"{self.ensemble} --free-run-days {self.free_run_days:g} --free-run-columns "
            f"{self.free_run_columns} --free-run-sun {self.sun} --range-margin "
            f"{self.range_margin:g}"
        ]
        words += [f"--column {c}" for c in self.columns]
        words += ["--cloud"] if self.cloud else []
        if self.pairs:
            words.append(f"--pairs {self.pairs} --nudging-hours {self.nudging_hours:g}")
        if self.steps is not None:
            words.append(f"--steps {self.steps}")
        if self.limits:
            words.append(f"--limits {self.limits}")
        return " ".join(words)
