"""Scores with labels: R² per output variable and level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.kernels import r2
from climlink.wrappers.variable_sets import VariableSet, variable


@dataclass(frozen=True)
class R2Table:
    """R² of every output, [level] for profiles and [1] for scalars, pooled over ``rows`` columns and times.

    Summaries of profiles are medians over the levels from ``first_level`` (0-based, from the top) to the surface.
    """

    values: dict[str, NDArray[np.float64]]
    first_level: int
    rows: int

    def summary(self) -> dict[str, float]:
        """Return one number per output: the median over levels of a profile, the value of a scalar."""
        return {name: float(np.median(v[self.first_level :] if variable(name).is_profile else v)) for name, v in self.values.items()}

    def largest_difference(self, other: R2Table) -> float:
        """Return the largest |a - b| / max(1, |b|) over all outputs and levels from ``first_level`` down.

        Relative where R² is far below 0: on levels whose truth is constant to rounding it can be -1e60.
        """
        if {n: len(v) for n, v in self.values.items()} != {n: len(v) for n, v in other.values.items()}:
            raise EvaluationError(f"two R² tables of different outputs: {sorted(self.values)} and {sorted(other.values)}")
        worst = 0.0
        for name, mine in self.values.items():
            first = self.first_level if variable(name).is_profile else 0
            a, b = mine[first:], other.values[name][first:]
            worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))))
        return worst

    def to_dataset(self) -> xr.Dataset:
        """Return the table as labelled arrays: profiles over ``level``, scalars without dimension."""
        entries = {n: xr.Variable(("level",), v) if variable(n).is_profile else xr.Variable((), v[0]) for n, v in self.values.items()}
        return xr.Dataset(dict(entries), attrs={"score": "R2", "first_level": self.first_level, "rows": self.rows})

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the summary and every level."""
        return {
            "rows": self.rows,
            "first_level": self.first_level,
            "summary": self.summary(),
            "levels": {name: values.tolist() for name, values in self.values.items()},
        }


def r2_table(truth: NDArray[np.floating], prediction: NDArray[np.floating], outputs: VariableSet, *, first_level: int) -> R2Table:
    """Return R² of every output variable from rows [row, width] in physical units; ``first_level`` is usually the pruning depth."""
    for name, rows in (("truth", truth), ("prediction", prediction)):
        if rows.ndim != 2 or rows.shape[1] != outputs.width:
            raise EvaluationError(f"{name} must have shape [row, {outputs.width}] as set {outputs.name!r} says, got {list(rows.shape)}")
    if not 0 <= first_level < outputs.level_count:
        raise EvaluationError(f"first_level must be 0 to {outputs.level_count - 1}, got {first_level}")
    scores = r2(truth, prediction)
    return R2Table({name: scores[outputs.slice(name)] for name in outputs.names}, first_level, truth.shape[0])
