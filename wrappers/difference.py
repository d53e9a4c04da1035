"""How two routes are compared: |a - b| / (s + |b|), b the reference and s the floored output
scale.
"""

from __future__ import annotations

import torch
from torch import Tensor

SAME_KERNELS_TOLERANCE = 1e-6
"""Same library and kernels: a few float32 roundings (6e-8) times the depth of a network."""

CPU_TOLERANCE = 2e-5
"""Another CPU type or compiled float32: other summation orders, measured up to 1.2e-6 per network,
times a margin.
"""

CUDA_TOLERANCE = 1e-4
"""CUDA float32 with TF32 off."""


def scaled_difference(value: Tensor, reference: Tensor, scale: Tensor) -> Tensor:
    """Return |value - reference| / (scale + |reference|), float64 [batch, n_output]; scale
    [n_output] positive.

    A value that is not finite where the reference is counts as an infinite difference.
    """
    a, b = value.to(torch.float64), reference.to(torch.float64)
    d = (a - b).abs() / (scale.to(torch.float64) + b.abs())
    return torch.where(torch.isfinite(d), d, torch.full_like(d, float("inf")))
