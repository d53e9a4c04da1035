"""Scores with labels: R² per output variable and level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.kernels.rows import row_moments
from climlink.wrappers.input_scaling import ZERO_VARIANCE
from climlink.wrappers.normalization import output_floor
from climlink.wrappers.variable_sets import VariableSet


@dataclass(frozen=True)
class R2Table:
    """R² of every output, [level] for profiles and [1] for scalars, pooled over ``rows`` columns
    and times.

    Summaries of profiles are medians over the levels from ``first_level`` (0-based, from the top)
    to the surface, without the levels of ``constant`` truth (see without_variance), where R² says
    nothing.
    """

    values: dict[str, NDArray[np.float64]]
    first_level: int
    rows: int
    constant: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    profiles: frozenset[str] | None = None
    """Outputs with a value per level; None: all with several values."""

    def is_profile(self, name: str) -> bool:
        """Say whether an output has a value per level."""
        return len(self.values[name]) > 1 if self.profiles is None else name in self.profiles

    def summary(self) -> dict[str, float]:
        """Return one number per output: the median over levels of a profile, the value of a scalar;
        NaN where all of it is constant.
        """
        return {name: self._summary(name) for name in self.values}

    def _summary(self, name: str) -> float:
        first = self.first_level if self.is_profile(name) else 0
        values = self.values[name]
        varies = values[first:][~self.constant.get(name, np.zeros(len(values), dtype=bool))[first:]]
        return float(np.median(varies)) if varies.size else float("nan")

    def constant_levels(self) -> dict[str, list[int]]:
        """Return the levels from ``first_level`` down (0 for a scalar) on which the truth of an
        output is constant, where there are any.
        """
        first = {name: self.first_level if self.is_profile(name) else 0 for name in self.constant}
        found = {
            name: [k for k in range(first[name], len(mask)) if mask[k]]
            for name, mask in self.constant.items()
        }
        return {name: levels for name, levels in found.items() if levels}

    def largest_difference(self, other: R2Table) -> float:
        """Return the largest |a - b| / max(1, |b|) over all outputs and levels from ``first_level``
        down.

        Relative where R² is far below 0: on levels whose truth is constant to rounding it can be
        -1e60.
        """
        if {n: len(v) for n, v in self.values.items()} != {
            n: len(v) for n, v in other.values.items()
        }:
            raise EvaluationError(
                f"two R² tables of different outputs: {sorted(self.values)} and "
                f"{sorted(other.values)}"
            )
        worst = 0.0
        for name, mine in self.values.items():
            first = self.first_level if self.is_profile(name) else 0
            a, b = mine[first:], other.values[name][first:]
            worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))))
        return worst

    def to_dataset(self) -> xr.Dataset:
        """Return the table as labelled arrays: profiles over ``level``, scalars without
        dimension.
        """
        entries = {}
        for name, values in self.values.items():
            along = "level" if self.is_profile(name) else f"{name}_value"
            single = len(values) == 1 and not self.is_profile(name)
            entries[name] = xr.Variable((), values[0]) if single else xr.Variable((along,), values)
        return xr.Dataset(
            entries, attrs={"score": "R2", "first_level": self.first_level, "rows": self.rows}
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the summary and every level."""
        return {
            "rows": self.rows,
            "first_level": self.first_level,
            "summary": self.summary(),
            "levels": {name: values.tolist() for name, values in self.values.items()},
        }


def r2_table(
    truth: NDArray[np.floating],
    prediction: NDArray[np.floating],
    outputs: VariableSet,
    *,
    first_level: int,
) -> R2Table:
    """Return R² of every output variable from rows [row, width] in physical units; ``first_level``
    is usually the pruning depth.
    """
    for name, rows in (("truth", truth), ("prediction", prediction)):
        if rows.ndim != 2 or rows.shape[1] != outputs.width:
            raise EvaluationError(
                f"{name} must have shape [row, {outputs.width}] as set {outputs.name!r} says, got "
                f"{list(rows.shape)}"
            )
    if not 0 <= first_level < outputs.level_count:
        raise EvaluationError(
            f"first_level must be 0 to {outputs.level_count - 1}, got {first_level}"
        )
    return table_of(
        row_moments(truth, prediction), outputs, first_level=first_level, rows=truth.shape[0]
    )


def table_of(moments: PairMoments, outputs: VariableSet, *, first_level: int, rows: int) -> R2Table:
    """Return R² of every output variable from moments [1, width] of all rows together."""
    scores, constant = moments.r2()[0], without_variance(moments, outputs)[0]
    by_name = [
        {name: values[outputs.slice(name)] for name in outputs.names}
        for values in (scores, constant)
    ]
    profiles = frozenset(v.name for v in outputs.profiles)
    return R2Table(by_name[0], first_level, rows, by_name[1], profiles)


def without_variance(moments: PairMoments, outputs: VariableSet) -> NDArray[np.bool_]:
    """Return where R² says nothing, [column, width]: truth that is constant, or varies too little
    for a package to say.

    Too little is a standard deviation below ZERO_VARIANCE of the smallest output scale: what a
    float32 network rounds away. Cloud of 1e-40 kg/kg/s at the tropopause is such truth, and gives
    an R² of -1e88.
    """
    floors = np.concatenate(
        [np.full(outputs.width_of(v.name), output_floor(v)) for v in outputs.variables]
    )
    return moments.constant | (moments.truth_std() < ZERO_VARIANCE * floors)
