"""Tendencies by precipitation: mean profiles where nothing, a negative amount, or a tenth of the
rainy columns' amounts is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.kernels.bins import LogBins, equal_parts, gather, sums_by_bin

Array = NDArray[np.float64]

DECILES = 10
LABELS = ("below 0", "exactly 0", *(str(n + 1) for n in range(DECILES)))
"""Names of the groups: a negative prediction is in one of its own, and so is none at all."""

_BINS = LogBins(-14, -3, 100)  # m/s: 1e-14 is 1e-6 mm/day; 2.3 % wide


@dataclass(frozen=True)
class Deciles:
    """Groups of columns by predicted precipitation, in the order of LABELS.

    ``rows`` [group] is how many columns; ``upper`` [group] the largest precipitation of a group in
    m/s (NaN for the first two, and to the width of a narrow bin, 2.3 %); ``truth`` and
    ``prediction`` [group, feature] area-weighted means, NaN in a group without columns.
    """

    rows: NDArray[np.int64]
    upper: Array
    truth: Array
    prediction: Array


class PrecipitationGroups:
    """Running sums of features by predicted precipitation, in narrow bins that become tenths at the
    end.
    """

    def __init__(self, width: int) -> None:
        count = _BINS.count + 2
        self._rows = np.zeros(count, dtype=np.int64)
        self._weight = np.zeros(count)
        self._truth = np.zeros((count, width))
        self._prediction = np.zeros((count, width))

    def add(self, precipitation: Array, truth: Array, prediction: Array, weights: Array) -> None:
        """Add rows: predicted precipitation [row] in m/s, features [row, feature], weights [row]; a
        weight of 0 leaves a row out.
        """
        index = np.where(
            precipitation < 0.0, 0, np.where(precipitation == 0.0, 1, 2 + _BINS.of(precipitation))
        )
        count = len(self._rows)
        self._rows += np.bincount(index[weights > 0.0], minlength=count)
        self._weight += np.bincount(index, weights=weights, minlength=count)
        self._truth += sums_by_bin(index, count, truth, weights)
        self._prediction += sums_by_bin(index, count, prediction, weights)

    def deciles(self) -> Deciles:
        """Return the groups; tenths hold about as many columns each, for narrow bins are not
        cut.
        """
        positive = self._rows[2:]
        parts = np.concatenate([[0, 1], 2 + equal_parts(positive.astype(np.float64), DECILES)])
        groups = len(LABELS)
        rows = np.zeros(groups, dtype=np.int64)
        np.add.at(rows, parts, self._rows)
        weight = gather(parts, groups, self._weight)[:, None]
        means = [
            np.divide(s, weight, out=np.full_like(s, np.nan), where=weight > 0.0)
            for s in (gather(parts, groups, self._truth), gather(parts, groups, self._prediction))
        ]
        upper = np.full(groups, np.nan)
        ends = np.append(_BINS.edges, np.inf)
        for group in range(2, groups):
            inside = np.flatnonzero((parts[2:] == group) & (positive > 0))
            if inside.size:
                upper[group] = ends[inside[-1]]
        return Deciles(rows, upper, *means)
