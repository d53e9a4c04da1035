"""What a manifest records of the training statistics: ranges and distribution of inputs, spreads of
outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.distribution import Distribution
from climlink.wrappers.manifest import CovarianceEntry, TrainingDistribution
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.statistics import Statistics

PROBABILITIES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""Quantiles that a manifest records."""
RANK = 12
"""Factors of the covariance that a manifest records: with 1525 inputs it stays below 1 MiB."""
_DIGITS = 6


def training_ranges(
    contract: EmulatorContract, statistics: Statistics
) -> dict[str, list[list[float]]]:
    """Return {host input: [minimum [width], maximum [width]]} for the inputs whose range the
    statistics know.
    """
    known = [n for n in contract.inputs.of_role("value").names if n in statistics.variables]
    entries = {
        n: statistics[n]
        for n in known
        if statistics[n].has("minimum") and statistics[n].has("maximum")
    }
    return {n: [e.minimum.tolist(), e.maximum.tolist()] for n, e in entries.items()}


def difference_scale(contract: EmulatorContract, statistics: Statistics) -> dict[str, list[float]]:
    """Return {host output: floored standard deviation [width]}: the s of the difference formula, in
    the output's units.
    """
    outputs = contract.outputs.of_role("value")
    scale = output_scale(outputs, statistics)
    return {n: scale[outputs.slice(n)].tolist() for n in outputs.names}


def training_distribution(
    contract: EmulatorContract, statistics: Statistics
) -> TrainingDistribution | None:
    """Return quantiles and covariance of the host inputs that the statistics know, None where they
    know none.
    """
    distribution = statistics.distribution
    if distribution is None:
        return None
    names = [n for n in contract.inputs.of_role("value").names if n in distribution.inputs]
    if not names:
        return None
    known = {n: distribution.quantiles(n, PROBABILITIES) for n in names if statistics[n].count}
    ranges = {n: (statistics[n].minimum[:, None], statistics[n].maximum[:, None]) for n in known}
    return TrainingDistribution(
        probabilities=list(PROBABILITIES),
        quantiles={n: _rounded(q.clamp(*ranges[n])) for n, q in known.items()},
        covariance=_covariance(distribution, names),
    )


def _covariance(distribution: Distribution, names: list[str]) -> CovarianceEntry:
    """Return the leading factors of the correlations, and what they leave of every variance."""
    mean, scale, correlation = distribution.standardized_covariance(names)
    strength, directions = torch.linalg.eigh(correlation)
    factors = (directions * strength.clamp(min=0.0).sqrt())[:, -RANK:].flip(1)
    # An eigenvector has no sign of its own: its largest entry is made positive.
    largest = factors.gather(0, factors.abs().argmax(dim=0, keepdim=True))
    factors = factors * torch.where(largest < 0, -1.0, 1.0)
    left = (correlation.diagonal() - factors.square().sum(dim=1)).clamp(min=0.0)
    parts = {"mean": mean, "scale": scale, "factors": factors, "residual_variance": left}
    numbers = {name: _rounded(values) for name, values in parts.items()}
    return CovarianceEntry(count=distribution.count, inputs=names, **numbers)


def _rounded(values: Tensor) -> Any:
    """Return numbers as lists, to six digits: a manifest is text."""
    if values.dim() > 0:
        return [_rounded(v) for v in values]
    return float(f"{float(values):.{_DIGITS - 1}e}")
