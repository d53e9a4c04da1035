"""Norms and activations by name, for tensors [batch, width, position]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from climlink.architectures.layers import batch_norm

_MOST_GROUPS = 32

NormName = Literal["none", "layer", "level_layer", "batch", "group", "rms"]
"""layer and rms: over the channels of each position. level_layer: over channels and positions, with
weights for each. group: at most 32 groups of channels, over positions too. batch: over the batch in
training.
"""

ActivationName = Literal["none", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class ChannelsLast(nn.Module):
    """A module on [batch, position, width] for tensors [batch, width, position]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


_NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda width, length: nn.Identity(),
    "layer": lambda width, length: ChannelsLast(nn.LayerNorm(width)),
    "level_layer": lambda width, length: nn.LayerNorm([width, length]),
    "batch": lambda width, length: batch_norm(width),
    "group": lambda width, length: nn.GroupNorm(math.gcd(_MOST_GROUPS, width), width),
    "rms": lambda width, length: ChannelsLast(nn.RMSNorm(width)),
}


def norm(name: NormName, width: int, length: int) -> nn.Module:
    """Return a norm of tensors [batch, width, length]."""
    return _NORMS[name](width, length)


def activation(name: ActivationName) -> nn.Module:
    """Return an activation."""
    return _ACTIVATIONS[name]()


def perceptron(width: int, hidden: list[int], name: ActivationName) -> tuple[nn.Sequential, int]:
    """Return linear layers on the last dimension, an activation after each, and the last width."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), activation(name)]
        width = units
    return nn.Sequential(*layers), width
