"""The order of inputs: a graph does not say it, so every set of its width is tried on data and
scored against the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.errors import DataError, StoreError
from climlink.evaluation.kernels.rows import row_moments
from climlink.evaluation.offline.scores import without_variance
from climlink.packages.import_wrapper.foreign_graph import ForeignGraph, GraphError
from climlink.packages.import_wrapper.import_columns import ImportColumns
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names

Array = NDArray[np.float64]

RESAMPLES = 1000
"""Paired bootstrap of the columns: another order is better beyond doubt where it is better in every
resample (p < 0.001).
"""

LOWEST_TOLD = -100.0
"""Medians of R² below are not told in figures."""

SKILL = 0.025
"""Share of variance explained, averaged over outputs with those below zero as zero, above which an
order has skill.

On real columns random weights reach 0.005 in any order, and 0.017 behind the published wrappers'
liquid/ice split, which has skill of its own; a regression held back until its median R² was 0.04
has 0.07 in its own order."""


@dataclass(frozen=True)
class OrderScore:
    """How well the data are predicted from inputs in the order of one set.

    ``median`` is the median R² over outputs that vary; ``skill`` the mean of R² with negative ones
    as zero, and ``resampled`` [RESAMPLES] the same in every resample. An order that gives NaN or
    infinity has no skill: minus infinity and zeros.
    """

    name: str
    median: float
    skill: float
    resampled: Array

    def __str__(self) -> str:
        if not np.isfinite(self.median):
            return f"{self.name} not finite"
        median = f"{self.median:.2f}" if self.median > LOWEST_TOLD else f"below {LOWEST_TOLD:g}"
        return f"{self.name} {median} (skill {self.skill:.2f})"

    def clearly_better_than(self, other: OrderScore) -> bool:
        """Say whether this order has skill, and more of it than the other, in every resample, and
        no lower median R².
        """
        in_every_resample = bool((self.resampled > np.maximum(other.resampled, SKILL)).all())
        return in_every_resample and self.median >= other.median


def other_orders(columns: ImportColumns) -> list[VariableSet]:
    """Return the host input sets of the declared one's width; none for a user's own order."""
    if columns.inputs.name not in variable_set_names("host_input"):
        return []
    sets = [variable_set(n, columns.inputs.level_count) for n in variable_set_names("host_input")]
    return [s for s in sets if s.width == columns.inputs.width and s.name != columns.inputs.name]


def order_finding(graph: ForeignGraph, columns: ImportColumns, predicted: Tensor) -> str:
    """Return what the data say about the declared order of inputs, ``predicted`` [row, n_output]
    being its outputs.

    GraphError if another set of the same width fits better beyond doubt: in every resample of a
    paired bootstrap.
    """
    if columns.targets is None:
        return (
            f"nothing checks that the graph was made for the order of {columns.inputs.name}: give "
            "data to have it scored"
        )
    truth, weights = columns.targets.numpy(), _resamples(columns.snapshots)
    varies = ~without_variance(row_moments(truth, truth), columns.outputs.of_role("value"))[0]
    declared = _score(columns.inputs.name, truth, varies, predicted, weights)
    tried = ((other.name, _outputs(graph, columns, other)) for other in other_orders(columns))
    others = [_score(name, truth, varies, y, weights) for name, y in tried if y is not None]
    scores = [declared, *others]
    listed = ", ".join(map(str, scores))
    better = [s for s in others if s.clearly_better_than(declared)]
    if better:
        best = max(better, key=lambda s: s.skill)
        raise GraphError(
            f"{graph.path}: on the data given, median R² is {listed}: the graph was made for "
            f"{best.name}, not for {declared.name}; import it with --input-set {best.name} "
            f"({best.name} is better in all of {RESAMPLES} resamples of the columns)"
        )
    if not any((s.resampled > SKILL).all() for s in scores):
        listed += "; no order has skill there, so nothing checks that the declared one is right"
    return f"median R² on the data given: {listed}"


def finite_orders(graph: ForeignGraph, columns: ImportColumns) -> list[str]:
    """Return the other sets of the same width in whose order all outputs are finite."""
    tried = ((s.name, _outputs(graph, columns, s)) for s in other_orders(columns))
    return [name for name, y in tried if y is not None and bool(torch.isfinite(y).all())]


def _outputs(graph: ForeignGraph, columns: ImportColumns, other: VariableSet) -> Tensor | None:
    """Return the outputs in another order, NaN where the graph fails on it; None if the data do not
    have its inputs.
    """
    try:
        rows = columns.rows_of(other)
    except (DataError, StoreError):
        return None
    try:
        return graph(rows)
    except GraphError:
        return torch.full((rows.shape[0], columns.outputs.width), float("nan"))


def _resamples(snapshots: NDArray[np.int64]) -> Array:
    """Return how often every row is in a resample, [RESAMPLES, row]: snapshots are drawn first,
    then columns within them.

    Columns of one snapshot are alike; drawing both with replacement keeps that in the spread.
    """
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(snapshots == s) for s in np.unique(snapshots)]
    drawn = rng.multinomial(len(groups), np.full(len(groups), 1.0 / len(groups)), size=RESAMPLES)
    weights = np.zeros((RESAMPLES, len(snapshots)))
    for rows, times in zip(groups, drawn.T, strict=True):
        weights[:, rows] = rng.multinomial(times * rows.size, np.full(rows.size, 1.0 / rows.size))
    return weights


def _score(
    name: str, truth: Array, varies: NDArray[np.bool_], predicted: Tensor, weights: Array
) -> OrderScore:
    prediction = predicted[:, : truth.shape[1]].to(torch.float64).numpy()
    if not np.isfinite(prediction).all():
        return OrderScore(name, -np.inf, 0.0, np.zeros(RESAMPLES))
    spread = truth[:, varies].std(axis=0)
    y = (truth[:, varies] - truth[:, varies].mean(axis=0)) / spread
    error = ((prediction - truth)[:, varies] / spread) ** 2
    whole = _r2(np.ones((1, len(y))), y, error)
    median = float(np.median(whole)) if whole.size else 0.0
    return OrderScore(name, median, float(_floored(whole)[0]), _floored(_r2(weights, y, error)))


def _r2(weights: Array, y: Array, squared_error: Array) -> Array:
    """Return R² [resample, output] of standardized targets ``y`` [row, output]; zero where a
    resample has no variance.
    """
    total = weights.sum(axis=1, keepdims=True)
    variance = weights @ (y * y) - (weights @ y) ** 2 / total
    varies = variance > 1e-9 * total  # of a spread of one: below is rounding
    unexplained = np.divide(
        weights @ squared_error, variance, out=np.ones_like(variance), where=varies
    )
    return 1.0 - unexplained


def _floored(r2: Array) -> Array:
    """Return the mean over outputs of R², one without skill counting as its mean: zero."""
    return np.clip(r2, 0.0, None).mean(axis=1) if r2.shape[1] else np.zeros(len(r2))
