"""What a network costs for one column, without running it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape

_BATCH = 2
"""BatchNorm in training needs more than one column."""


def multiply_adds(make: Callable[[], ColumnEmulator]) -> int:
    """Return the multiply-adds of a forward for one column: those of matrix products and
    convolutions, zeros beyond the ends of a column counted.

    ``make`` builds the network: on torch's meta device, where nothing is computed and recurrent
    layers fall apart into the products that torch's counter knows (on a CPU it counts none).
    """
    with torch.device("meta"):
        network = make()
        inputs = example(network.shape, _BATCH)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() // 2 // _BATCH


def frozen_and_trainable(network: nn.Module) -> tuple[int, int]:
    """Return how many parameters training leaves, and how many it changes."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, trains in sizes if not trains), sum(n for n, trains in sizes if trains)


def example(shape: ColumnShape, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standard normal profiles and scalars for a network of a shape."""
    profiles = torch.randn(batch, shape.profile_inputs, shape.level_count)
    return profiles, torch.randn(batch, shape.scalar_inputs)
