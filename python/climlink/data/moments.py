"""One-pass moments: count, mean, sum of squared deviations, minimum and maximum of blocks, merged
with Chan's formulas.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.wrappers.statistics import CLOUD_LAMBDA_CAP, CLOUD_THRESHOLD, VariableStatistics


class Moments:
    """Running float64 moments of one variable of ``width`` values per row."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.left_out = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)
        self._minimum = np.full(width, np.inf)
        self._maximum = np.full(width, -np.inf)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add a block of rows [row, width]."""
        if rows.shape[0] == 0:
            return
        block = Moments(rows.shape[1])
        block.count = rows.shape[0]
        block._mean = rows.mean(axis=0)
        block._squares = ((rows - block._mean) ** 2).sum(axis=0)
        block._minimum, block._maximum = rows.min(axis=0), rows.max(axis=0)
        self.merge(block)

    def merge(self, other: Moments) -> None:
        """Add what another pass found in other rows."""
        self.left_out += other.left_out
        if other.count == 0:
            return
        added, total = other.count, self.count + other.count
        step = other._mean - self._mean
        self._mean = self._mean + step * (added / total)
        self._squares = self._squares + other._squares + step**2 * (self.count * added / total)
        self._minimum = np.minimum(self._minimum, other._minimum)
        self._maximum = np.maximum(self._maximum, other._maximum)
        self.count = total

    def statistics(self) -> VariableStatistics:
        """Return the result. A constant has exactly its value as mean and no spread; without any
        row all moments are zero.
        """
        if self.count == 0:
            zero = torch.zeros(len(self._mean), dtype=torch.float64)
            return VariableStatistics(zero, zero, zero, zero, 0, self.left_out)
        # Rounding of the mean would leave a constant with a spread of 1e-16 of its value, which a
        # normalization would amplify to noise.
        constant = self._minimum == self._maximum
        centre = np.where(constant, self._minimum, self._mean)
        spread = np.where(constant, 0.0, np.sqrt(self._squares / self.count))
        mean, std, minimum, maximum = (
            torch.tensor(a) for a in (centre, spread, self._minimum, self._maximum)
        )
        return VariableStatistics(mean, std, minimum, maximum, self.count, self.left_out)


class CloudMean:
    """Running mean of a water species where it exceeds the cloud threshold, per level."""

    def __init__(self, level_count: int) -> None:
        self._sum = np.zeros(level_count)
        self._count = np.zeros(level_count, dtype=np.int64)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add a block of rows [row, level] in kg/kg."""
        cloudy = rows > CLOUD_THRESHOLD
        self._sum += np.where(cloudy, rows, 0.0).sum(axis=0)
        self._count += cloudy.sum(axis=0)

    def merge(self, other: CloudMean) -> None:
        """Add what another pass found in other rows."""
        self._sum += other._sum
        self._count += other._count

    def cloud_lambda(self) -> torch.Tensor:
        """Return 1 / in-cloud mean [level], and the published cap where no row is cloudy."""
        value = np.full(len(self._sum), CLOUD_LAMBDA_CAP)
        np.divide(self._count, self._sum, out=value, where=self._count > 0)
        return torch.from_numpy(value)
