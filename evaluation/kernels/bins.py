"""Equal parts of a stream without keeping it: sums in narrow logarithmic bins, put together into
parts of about equal size at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogBins:
    """Bins of positive values: bin 0 is all below 10**``first``, the last all from 10**``last`` up,
    ``per_decade`` in a decade between.
    """

    first: int
    last: int
    per_decade: int

    @property
    def count(self) -> int:
        """Number of bins."""
        return (self.last - self.first) * self.per_decade + 2

    @property
    def edges(self) -> Array:
        """Inner edges, [count - 1]."""
        return np.asarray(10.0 ** (self.first + np.arange(self.count - 1) / self.per_decade))

    @property
    def centres(self) -> Array:
        """One value that stands for each bin, [count]: the geometric middle; the edge for the open
        ones.
        """
        edges = self.edges
        return np.concatenate([edges[:1], np.sqrt(edges[1:] * edges[:-1]), edges[-1:]])

    def of(self, values: Array) -> NDArray[np.int64]:
        """Return the bin of every value."""
        return np.digitize(values, self.edges)


def sums_by_bin(index: NDArray[np.int64], count: int, values: Array, weights: Array) -> Array:
    """Return sum of weights times values in every bin, [bin, feature], of values [row, feature]
    with the bins and weights of rows [row].
    """
    rows = len(index)
    table = csr_array((weights, (index, np.arange(rows))), shape=(count, rows))
    return np.asarray(table @ values)


def equal_parts(counts: Array, parts: int) -> NDArray[np.int64]:
    """Return to which of ``parts`` each bin belongs, [bin], ascending, so that all parts hold about
    as many; bins are not cut.
    """
    total = counts.sum()
    if total == 0:
        return np.zeros(len(counts), dtype=np.int64)
    middle = np.cumsum(counts) - 0.5 * counts
    return np.minimum((parts * middle / total).astype(np.int64), parts - 1)


def gather(parts: NDArray[np.int64], count: int, sums: Array) -> Array:
    """Return sums [bin, ...] added up within parts, [part, ...]."""
    result = np.zeros((count, *sums.shape[1:]))
    np.add.at(result, parts, sums)
    return result
