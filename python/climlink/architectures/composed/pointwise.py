"""Blocks that treat each level by itself, or a column by its means: perceptrons, norms, FiLM,
pooling.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.composed.block import BlockConfiguration, Plain, Signal
from climlink.architectures.composed.named import (
    ActivationName,
    ChannelsLast,
    NormName,
    activation,
    norm,
    perceptron,
)
from climlink.architectures.errors import ArchitectureError


class GatedLinear(nn.Module):
    """Two linear maps on the last dimension, one of which, activated, is a gate for the other."""

    def __init__(self, width: int, hidden: int, name: ActivationName) -> None:
        super().__init__()
        self.both = nn.Linear(width, 2 * hidden)
        self.activation = activation(name)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., hidden]."""
        gate, value = self.both(x).chunk(2, dim=-1)
        return self.activation(gate) * value


def feed_forward(
    width: int, hidden: int, outputs: int, name: ActivationName, gated: bool, dropout: float
) -> nn.Module:
    """Return two linear layers for each position of [batch, width, position]."""
    first: list[nn.Module] = (
        [GatedLinear(width, hidden, name)]
        if gated
        else [nn.Linear(width, hidden), activation(name)]
    )
    return ChannelsLast(*first, nn.Dropout(dropout), nn.Linear(hidden, outputs))


class MLPBlock(BlockConfiguration):
    """Two linear layers for each level; gated with silu it is SwiGLU (Shazeer, 2020)."""

    kind: Literal["mlp"] = "mlp"
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")
    hidden: int | None = Field(default=None, ge=1, description="null: four times what comes in")
    activation: ActivationName = Field(default="gelu", description="of the hidden units")
    gated: bool = Field(default=False, description="a second hidden layer times the activated one")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of hidden units")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width, hidden = self.width or signal.width, self.hidden or 4 * signal.width
        module = feed_forward(
            signal.width, hidden, width, self.activation, self.gated, self.dropout
        )
        return Plain(module), signal.of_width(width)


class NormBlock(BlockConfiguration):
    """A norm."""

    kind: Literal["norm"] = "norm"
    name: NormName = "layer"

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        return Plain(norm(self.name, signal.width, signal.length)), signal


class ActivationBlock(BlockConfiguration):
    """An activation."""

    kind: Literal["activation"] = "activation"
    name: ActivationName = "gelu"

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        return Plain(activation(self.name)), signal


class DropoutBlock(BlockConfiguration):
    """Dropout."""

    kind: Literal["dropout"] = "dropout"
    chance: float = Field(default=0.1, ge=0, lt=1)

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        return Plain(nn.Dropout(self.chance)), signal


class FiLM(nn.Module):
    """x (1 + a) + b, with a and b of each channel from the scalars."""

    def __init__(self, scalars: int, hidden: list[int], width: int, name: ActivationName) -> None:
        super().__init__()
        layers, last = perceptron(scalars, hidden, name)
        self.map = nn.Sequential(layers, nn.Linear(last, 2 * width))

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        scale, shift = self.map(scalars).unsqueeze(2).chunk(2, dim=1)
        return x * (1.0 + scale) + shift


class FiLMBlock(BlockConfiguration):
    """Each channel scaled and shifted as the scalars say (FiLM, Perez et al., 2018)."""

    kind: Literal["film"] = "film"
    hidden: list[int] = Field(default=[64], description="hidden layers between scalars and scales")
    activation: ActivationName = Field(default="silu", description="of the hidden layers")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        if signal.scalars == 0:
            raise ArchitectureError("needs scalar inputs, and there are none; leave it out")
        return FiLM(signal.scalars, self.hidden, signal.width, self.activation), signal


class Pooling(nn.Module):
    """Mean and maximum over positions beside every position, through a linear map."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.map = nn.Conv1d(3 * inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        whole = torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1).unsqueeze(2)
        return self.map(torch.cat([x, whole.expand(-1, -1, x.shape[2])], dim=1))


class PoolingBlock(BlockConfiguration):
    """Each level also sees the mean and the maximum over levels of every channel."""

    kind: Literal["pooling"] = "pooling"
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")
    activation: ActivationName = Field(default="gelu", description="after the linear map")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width = self.width or signal.width
        module = Plain(Pooling(signal.width, width), activation(self.activation))
        return module, signal.of_width(width)
