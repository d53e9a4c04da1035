"""R2 of the network's own outputs on held-out columns, gathered batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from climlink.wrappers.variable_sets import VariableSet


class RunningScores:
    """1 - sum((p - t)^2) / sum((t - mean t)^2) per output, in normalized units, float64."""

    def __init__(self, variables: VariableSet, pruned_levels: int) -> None:
        self._variables = variables
        self._pruned = pruned_levels
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        width = self._variables.width
        self._count = 0
        self._error, self._sum, self._square = (
            torch.zeros(width, dtype=torch.float64) for _ in range(3)
        )

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Take in normalized rows [column, width]."""
        p, t = prediction.detach().cpu().to(torch.float64), target.cpu().to(torch.float64)
        self._count += t.shape[0]
        self._error += (p - t).square().sum(dim=0)
        self._sum += t.sum(dim=0)
        self._square += t.square().sum(dim=0)

    def values(self) -> dict[str, float]:
        """Return ``r2_<output>``, for a profile the median over levels that are not pruned and
        vary; nothing without columns.
        """
        if self._count == 0:
            return {}
        spread = self._square - self._sum.square() / self._count
        r2 = torch.where(
            spread > 0, 1.0 - self._error / spread, torch.full_like(spread, float("nan"))
        )
        values: dict[str, float] = {}
        for v in self._variables.variables:
            levels = r2[self._variables.slice(v.name)][self._pruned if v.is_profile else 0 :]
            values[f"r2_{v.name}"] = (
                float(levels.nanquantile(0.5)) if levels.numel() else float("nan")
            )
        return values

    @staticmethod
    def summary(values: dict[str, float]) -> float | None:
        """Return the mean over outputs, what the best checkpoint is chosen by; None without
        scores.
        """
        scores = [v for k, v in values.items() if k.startswith("r2_") and v == v]
        return sum(scores) / len(scores) if scores else None
