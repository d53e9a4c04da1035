"""The runs of the screen: the replays on a recorded run's dynamics, and the free runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion
from climlink.evaluation.stability.fitted_physics import fit_heating
from climlink.evaluation.stability.free_run import (
    PARTS,
    FreeRuns,
    Part,
    column_parts,
    run_alone,
    run_recorded,
    training_bounds,
)
from climlink.evaluation.stability.options import StabilityOptions
from climlink.evaluation.stability.records import (
    ColumnsOf,
    DatedRecord,
    HeldRecord,
    PairsRecord,
    StoreRecord,
)
from climlink.evaluation.stability.response import LinearizedPackage
from climlink.evaluation.stability.semi_online import (
    Replay,
    no_tendencies,
    package_tendencies,
    replay,
)
from climlink.evaluation.stability.states import Pool, StateGroup, reference_pressure_hpa

VARIANTS = ("emulator", "nudged", "no physics")

Progress = Callable[[], None]


class Runs:
    """What one package is run through, and what had to be left out. ``record`` holds the
    consecutive steps, ``bounds`` the training ranges with their margin.
    """

    def __init__(
        self, store: ColumnStore, linear: LinearizedPackage, options: StabilityOptions
    ) -> None:
        self._store, self._linear, self._options = store, linear, options
        self.record = _record(store, linear, options)
        self.bounds = training_bounds(linear.package.manifest, options.range_margin)
        self._parts = column_parts(reference_pressure_hpa(store), options.fields)
        self._excluded: list[Exclusion] = []

    @property
    def _replayed(self) -> int:
        """Steps of a replay, 0 without two consecutive ones."""
        known = self.record.count - 1
        return max(0, min(known, self._options.steps or known))

    def held(self, pool: Pool, groups: Sequence[StateGroup]) -> HeldRecord | None:
        """Return the columns of the free runs of the emulator alone; None, and an exclusion, where
        there are none.
        """
        options = self._options
        count = 1 + round(options.free_run_days * SECONDS_PER_DAY / self._store.time_step_s)
        if options.free_run_days == 0.0:
            return None
        # Evenly, with both ends: a column of the user's own is the last of its group.
        members = [
            g.members[np.linspace(0, len(g.members) - 1, options.free_run_columns).astype(int)]
            for g in groups
        ]
        places = pool.places[np.unique(np.concatenate(members))]
        try:
            return HeldRecord.of(self._store, places, count=count, sun_moves=options.sun == "clock")
        except EvaluationError as error:
            self._excluded.append(Exclusion("free runs of the emulator alone", str(error)))
            return None

    def steps_to_take(self, held: HeldRecord | None) -> int:
        """Return how often ``progress`` will be called, at most."""
        steps = len(VARIANTS) * self._replayed
        if self._options.free_run_days > 0.0:
            steps += len(self._parts) * self._replayed
        if held is not None:
            steps += (len(self._parts) + 1) * (held.count - 1)
        return steps

    def replays(self, progress: Progress) -> dict[str, Replay]:
        """Return the replays by variant; none without two consecutive steps."""
        if self._replayed == 0:
            return {}
        emulator = package_tendencies(self._linear, self.record.hybrid)
        nudging_s = 3600.0 * self._options.nudging_hours
        sources = zip(
            VARIANTS,
            ((emulator, None), (emulator, nudging_s), (no_tendencies, None)),
            strict=True,
        )
        return {
            name: replay(
                self.record,
                source,
                self._linear.inputs,
                steps=self._options.steps,
                nudging_s=nudging,
                progress=progress,
            )
            for name, (source, nudging) in sources
        }

    def free_runs(self, pool: Pool, held: HeldRecord | None, progress: Progress) -> list[FreeRuns]:
        """Return the free runs of every part, alone and with recorded dynamics, as far as the store
        and the record allow them.
        """
        found: list[FreeRuns] = []
        if held is not None:
            found += [self._alone(part, pool, held, progress) for part in self._parts]
        if self._options.free_run_days > 0.0 and self._replayed > 0:
            some = ColumnsOf(self.record, self._some_columns())
            emulator = package_tendencies(self._linear, some.hybrid)
            found += [
                run_recorded(
                    some,
                    part,
                    self.bounds,
                    emulator,
                    self._linear.inputs,
                    self._options.steps,
                    progress,
                )
                for part in self._parts
            ]
        return found

    def _alone(self, part: Part, pool: Pool, held: HeldRecord, progress: Progress) -> FreeRuns:
        reference = None
        if part.name == PARTS[0]:
            reference = fit_heating(self._store, pool.places, part.levels)
        return run_alone(
            held,
            part,
            self.bounds,
            package_tendencies(self._linear, held.hybrid),
            self._linear.inputs,
            reference,
            progress,
        )

    def _some_columns(self) -> np.ndarray:
        """Return as many columns of the record as a free run takes of all states, drawn at
        random.
        """
        total = len(self.record.area)
        wanted = min(total, 7 * self._options.free_run_columns)
        return np.sort(np.random.default_rng(0).permutation(total)[:wanted])

    def excluded(self) -> list[Exclusion]:
        """Return what was left out of the runs, and why."""
        found = list(self._excluded)
        if self._replayed == 0:
            source = self._options.pairs or "the store"
            why = (
                f"{source} holds no two steps that follow each other; give consecutive pairs with "
                "--pairs"
            )
            found.append(Exclusion("semi-online replay", why))
        if self._options.free_run_days > 0.0 and not self.bounds:
            why = f"{self._linear.package.path} records none"
            found.append(Exclusion("training ranges of the state", why))
        return found


def _record(
    store: ColumnStore, linear: LinearizedPackage, options: StabilityOptions
) -> DatedRecord:
    if options.pairs is None:
        return StoreRecord.of(store)
    return PairsRecord(
        options.pairs, linear.inputs, options.grid, linear.package.manifest.require_time_step()
    )
