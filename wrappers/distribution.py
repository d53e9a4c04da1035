"""How the values of training are distributed: quantile sketches of every variable and the
covariance of the inputs. Parts of a data set, merged, give what the whole gives.

The sketch is DDSketch (Masson, Rim and Lee 2019, PVLDB 12, 2195) of t = (x - center) / unit: counts
of buckets whose bounds grow by a constant factor. Counts add, so the order of parts does not matter
and nothing is random; a quantile of x is wrong by at most ACCURACY times its distance from the
center, or by SMALLEST units near it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from climlink.wrappers.errors import ContractError, near_names

ACCURACY = 0.02
"""Largest error of a quantile, relative to its distance from the center."""
SMALLEST, LARGEST = 1e-3, 1e6
"""Distances from the center, in units, that are told apart."""
LOG_FACTOR = math.log((1.0 + ACCURACY) / (1.0 - ACCURACY))
SIDE = math.ceil(math.log(LARGEST / SMALLEST) / LOG_FACTOR)
"""Buckets on each side of the middle one."""


@dataclass(frozen=True)
class Distribution:
    """Sketches and covariance of one split of one data set.

    ``center`` and ``unit``, float64 [value], are those of the sketches, in physical units;
    ``counts`` is int64 [value, bucket]. ``mean`` [n] and ``comoment`` [n, n], float64, are of the
    values of ``inputs`` in the units of the sketches, the sum of products about the mean; a fill
    value counts there as the center.
    """

    widths: dict[str, int]
    """Values of each variable, in their order."""
    center: Tensor
    unit: Tensor
    counts: Tensor
    inputs: tuple[str, ...]
    count: int
    mean: Tensor
    comoment: Tensor

    def places(self, names: Iterable[str]) -> Tensor:
        """Return where the values of variables stand; ContractError for one that has none."""
        starts, at = {}, 0
        for name, width in self.widths.items():
            starts[name] = torch.arange(at, at + width)
            at += width
        wanted = tuple(names)
        for name in wanted:
            if name not in starts:
                near = near_names(name, starts)
                raise ContractError(f"the distribution does not hold {name!r}{near}")
        return torch.cat([starts[n] for n in wanted]) if wanted else torch.arange(0)

    def quantiles(self, name: str, probabilities: Sequence[float]) -> Tensor:
        """Return quantiles [width, probability], float64, physical units; NaN without values."""
        places = self.places([name])
        below = self.counts[places].cumsum(dim=1)
        total = below[:, -1:]
        rank = torch.tensor(probabilities, dtype=torch.float64) * (total - 1).to(torch.float64)
        bucket = torch.searchsorted(below, rank.floor().to(torch.int64) + 1)
        distance = _middle(bucket.clamp(max=2 * SIDE) - SIDE)
        values = self.center[places, None] + self.unit[places, None] * distance
        return torch.where(total > 0, values, torch.full_like(values, float("nan")))

    def standardized_covariance(self, names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and standard deviation [n], physical units, and correlations [n, n] of the
        inputs ``names``; those of a constant are zero.
        """
        for name in names:
            if name not in self.inputs:
                near = near_names(name, self.inputs)
                raise ContractError(f"the covariance does not hold {name!r}{near}")
        of_inputs, at = {}, 0
        for name in self.inputs:
            of_inputs[name] = torch.arange(at, at + self.widths[name])
            at += self.widths[name]
        chosen = torch.cat([of_inputs[n] for n in names])
        places = self.places(names)
        covariance = self.comoment[chosen][:, chosen] / max(1, self.count)
        spread = covariance.diagonal().clamp(min=0.0).sqrt()
        gain = torch.where(spread > 0, 1.0 / spread, torch.zeros_like(spread))
        mean = self.center[places] + self.unit[places] * self.mean[chosen]
        return mean, spread * self.unit[places], gain[:, None] * covariance * gain


def _middle(bucket: Tensor) -> Tensor:
    """Return the value that stands for a bucket, counted from the middle one, in units: off by
    ACCURACY at both bounds.
    """
    size = bucket.abs().to(torch.float64)
    middle = SMALLEST * torch.exp(size * LOG_FACTOR) * (1.0 - ACCURACY)
    return torch.where(bucket == 0, torch.zeros_like(size), torch.sign(bucket) * middle)
