"""Skill on held-out columns: R2 of what the host receives, in physical space after all
constraints.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from climlink.wrappers.variable_sets import VariableSet

SKILL = "skill"
_RESOLVED = 1e-12
"""A spread below this part of the value is rounding: the output does not vary."""


class RunningScores:
    """1 - sum((p - t)^2) / sum((t - mean t)^2) per host output, float64, gathered batch by batch;
    the mean moves with Chan's formula.
    """

    def __init__(
        self, variables: VariableSet, pruned_levels: int, unranked: Collection[str] = ()
    ) -> None:
        """Variables named in ``unranked`` have an R2 but no part in the skill."""
        self._variables = variables
        self._unranked = unranked
        self._pruned = pruned_levels
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.sums = torch.zeros(4, self._variables.width, dtype=torch.float64)
        """Count, sum of squared errors, mean and sum of squared deviations [4, width]."""

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Take in rows [column, width] in physical units."""
        if truth.shape[0] == 0:
            return
        p, t = prediction.detach().to(torch.float64), truth.to(torch.float64)
        mean = t.mean(dim=0)
        parts = [
            torch.full_like(mean, float(t.shape[0])),
            (p - t).square().sum(dim=0),
            mean,
            (t - mean).square().sum(dim=0),
        ]
        self.merge(torch.stack(parts))

    def merge(self, sums: Tensor) -> None:
        """Take in the ``sums`` of other columns, such as those of another process."""
        ours, theirs = self.sums, sums.to(self.sums.device)
        count = (ours[0] + theirs[0]).clamp_min(1.0)
        step = theirs[2] - ours[2]
        self.sums = torch.stack(
            [
                ours[0] + theirs[0],
                ours[1] + theirs[1],
                ours[2] + step * theirs[0] / count,
                ours[3] + theirs[3] + step.square() * ours[0] * theirs[0] / count,
            ]
        )

    def values(self) -> dict[str, float]:
        """Return ``r2_<output>``, for a profile the median over levels that are not pruned and
        vary, and ``skill``, their mean over ranked outputs that vary; nothing without columns.
        """
        count, error, mean, spread = self.sums.cpu()
        if not bool(count.any()):
            return {}
        varies = spread > count * (_RESOLVED * mean).square()
        # Predictions that are not finite are as wrong as can be; what does not vary is not scored.
        r2 = (1.0 - error / spread).nan_to_num(nan=-math.inf)
        r2 = torch.where(varies, r2, torch.full_like(spread, math.nan))
        values: dict[str, float] = {}
        for v in self._variables.variables:
            levels = r2[self._variables.slice(v.name)][self._pruned if v.is_profile else 0 :]
            values[f"r2_{v.name}"] = _median(levels)
        ranked = [r for name, r in values.items() if name[len("r2_") :] not in self._unranked]
        scored = [value for value in ranked if not math.isnan(value)]
        return {**values, SKILL: sum(scored) / len(scored) if scored else math.nan}


def _median(levels: Tensor) -> float:
    """Return the median of those that are not NaN, or NaN where there is none."""
    counted = levels[~levels.isnan()]
    if not counted.numel():
        return math.nan
    median = float(counted.quantile(0.5))
    return -math.inf if math.isnan(median) else median  # between -inf and a number
