"""Everything that the screen computed, for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.evaluation.report import Exclusion
from climlink.evaluation.stability.free_run import Bounds, FreeRuns
from climlink.evaluation.stability.screen import Rules, StateResult
from climlink.evaluation.stability.semi_online import Replay
from climlink.evaluation.stability.sensitivity import Sensitivity
from climlink.packages.read import EmulatorPackage


@dataclass(frozen=True)
class StabilityFindings:
    """Everything that the screen computed. ``options`` says in words how waves were damped;
    ``replays`` is empty without consecutive steps, ``bounds`` are the training ranges of the state,
    wider by ``range_margin``; ``sun_moves`` in free runs of the emulator alone."""

    package: EmulatorPackage
    store: ColumnStore
    options: str
    rules: Rules
    results: Sequence[StateResult]
    sensitivity: Sensitivity
    above_hpa: float
    replays: dict[str, Replay]
    free_runs: Sequence[FreeRuns]
    bounds: Bounds
    range_margin: float
    sun_moves: bool
    record_stamps: tuple[Stamp, ...]
    record_source: str
    nudging_hours: float
    excluded: Sequence[Exclusion]

    @property
    def time_step_s(self) -> float:
        """Time step of the package."""
        return self.package.manifest.require_time_step()
