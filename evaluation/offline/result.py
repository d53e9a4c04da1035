"""Everything one pass over a store finds out about a package, before it is put into numbers,
figures and words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.blocks import Misses
from climlink.evaluation.offline.confidence import ConfidenceResult
from climlink.evaluation.offline.constraints import Activity, RangeUse
from climlink.evaluation.offline.deciles import Deciles
from climlink.evaluation.offline.global_water import GlobalWater
from climlink.evaluation.offline.residuals import Residual
from climlink.evaluation.offline.scores import R2Table, table_of, without_variance
from climlink.evaluation.report import Exclusion
from climlink.evaluation.summary import PackageSummary, ScoredTimes, TimeSpan, TimesSummary
from climlink.evaluation.weights import zonal_weights
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where and when: store, split, its times, and the grid. Latitude in degrees and area [column].

    Of a table neither time nor place is known: ``times`` counts its rows, latitude is None, and
    rows weigh the same (``area`` is 1).
    """

    store: str
    digest: str
    split: str
    first: str
    last: str
    times: int
    latitude: Array | None
    area: Array
    hybrid: HybridCoordinate
    target_weights: dict[str, Array] | None = None
    """Weights of the targets in the LEAP score, where the store holds them."""

    @property
    def of_table(self) -> bool:
        """Whether the store was made of a table, whose rows say neither time nor place."""
        return self.latitude is None

    @property
    def over_time(self) -> bool:
        """Whether there are columns that are followed over several times."""
        return not self.of_table and self.times > 1

    @property
    def span(self) -> str:
        """How many times there are, and from when to when; or how many rows."""
        unit = "rows" if self.of_table else "times"
        return f"{self.times} {unit} from {self.first} to {self.last}"

    @property
    def pressure_hpa(self) -> Array:
        """Pressure of the midpoints where the surface is at P0, [level] in hPa."""
        h = self.hybrid
        return np.asarray(h.p0_pa / 100.0 * (np.array(h.hyam) + np.array(h.hybm)))

    def zonal_mean(self, values: Array) -> tuple[Array, Array]:
        """Return the centres [bin] in degrees and the area-weighted means [bin, feature] of values
        [column, feature] in latitude bins.

        NaN where a bin has no column with a value. EvaluationError where no latitude is known.
        """
        if self.latitude is None:
            problem = f"{self.store} was made of a table:"
            raise EvaluationError(f"{problem} no latitude is known, so there are no zonal means")
        centres, weights = zonal_weights(self.latitude, self.area)
        known = np.isfinite(values)
        total = weights @ known
        means = np.divide(
            weights @ np.where(known, values, 0.0),
            total,
            out=np.full_like(total, np.nan),
            where=total > 0.0,
        )
        return centres, means


@dataclass(frozen=True)
class OfflineResult:
    """What the pass found: moments in native units and in W/m2 by column [column, width], over mass
    [1, width], and the rest.

    ``trained_on_store`` tells whether the package records this store's digest as its training data,
    None where it records none. ``training`` are then the store's training times. ``later`` is what
    was found on a later window, where the store has one and its test was scored.
    """

    package: PackageSummary
    outputs: VariableSet
    first_level: int
    place: Place
    plain: PairMoments
    energy: PairMoments
    mass: PairMoments
    residuals: list[Residual]
    global_water: GlobalWater | None
    budgets: PairMoments | None
    deciles: Deciles | None
    confidence: ConfidenceResult | None
    activities: list[Activity] | None
    range_use: RangeUse | None
    misses: Misses
    rows: int
    trained_on_store: bool | None
    excluded: list[Exclusion]
    training: TimeSpan | None
    scored: ScoredTimes | None
    later: OfflineResult | None = None

    @property
    def times(self) -> TimesSummary | None:
        """When the package was trained and scored; None of a table."""
        if self.scored is None:
            return None
        later = None if self.later is None else self.later.scored
        return TimesSummary(training=self.training, scored=self.scored, later=later)

    @property
    def pooled(self) -> PairMoments:
        """Moments [1, width] of all columns and times alike, in native units."""
        return self.plain.over_columns()

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Where pooled truth is without variance, [1, width] (see without_variance)."""
        return without_variance(self.pooled, self.outputs)

    def r2_table(self) -> R2Table:
        """Return the pooled R²."""
        return table_of(self.pooled, self.outputs, first_level=self.first_level, rows=self.rows)

    def column_r2(self) -> Array:
        """Return R² over time of every column, [column, width]; constant truth scores 1 or 0 (see
        PairMoments.r2).
        """
        return self.plain.r2()

    def weighted(self, name: str) -> PairMoments:
        """Return the moments [1, 1] of an output over columns, times and levels, by dp and area (a
        scalar by area).
        """
        return self.mass.select(self.outputs.slice(name)).over_features()
