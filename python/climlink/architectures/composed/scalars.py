"""How scalars enter a composed network, and its stem: what makes the first channels of a column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from climlink.architectures.composed.block import Signal
from climlink.architectures.composed.convolution import convolution
from climlink.architectures.composed.named import ActivationName, NormName, activation, norm
from climlink.architectures.errors import ArchitectureError
from climlink.wrappers.column_emulator import ColumnShape
from climlink.wrappers.layout import Strict

_TABLE_STD = 0.02
_LONGEST_WAVE = 1e4


class ScalarsConfiguration(Strict):
    """How scalar inputs enter; FiLM blocks see them whatever stands in ``ways``."""

    ways: list[Literal["levels", "tokens", "state"]] = Field(
        default=["levels"],
        description="levels: a channel, the same on every level. tokens: each scalar is a position "
        "above the first level. state: recurrent blocks begin from them",
    )
    hidden: list[int] = Field(
        default=[],
        description="perceptron that the scalars pass first, but for tokens; empty: none",
    )
    activation: ActivationName = Field(default="silu", description="after each of these layers")

    @model_validator(mode="after")
    def _different(self) -> ScalarsConfiguration:
        if len(set(self.ways)) != len(self.ways):
            raise ValueError(f"ways must be different, got {self.ways}")
        return self


class StemConfiguration(Strict):
    """What makes the channels that the first block gets: a convolution, with embeddings before and
    after it.
    """

    width: int = Field(default=128, ge=1, description="channels")
    kernel: int = Field(
        default=1, ge=1, description="of the convolution, odd; 1: a linear map of each level"
    )
    feature_width: int = Field(
        default=0,
        ge=0,
        description="channels that each input is spread into by a linear map of its own; 0: none",
    )
    level_width: int = Field(
        default=0, ge=0, description="channels of a learned embedding of the level; 0: none"
    )
    position: Literal["none", "learned", "waves"] = Field(
        default="none",
        description="table added to the channels: learned, or sines and cosines (Vaswani et al., "
        "2017)",
    )
    norm: NormName = Field(default="none", description="after the convolution")
    activation: ActivationName = Field(
        default="none", description="after the norm and, if there are any, the features' maps"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of the channels")

    @model_validator(mode="after")
    def _odd(self) -> StemConfiguration:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, to look up and down alike; got {self.kernel}")
        return self


class Stem(nn.Module):
    """From profiles and scalars to channels on positions: tokens, if any, then levels."""

    if TYPE_CHECKING:
        position: Tensor

    def __init__(
        self, shape: ColumnShape, configuration: StemConfiguration, signal: Signal, on_levels: bool
    ) -> None:
        super().__init__()
        c, levels = configuration, shape.level_count
        inputs = shape.profile_inputs + (signal.scalars if on_levels else 0)
        self.on_levels: bool = on_levels
        self.features = nn.Sequential()
        if c.feature_width:
            spread = nn.Conv1d(inputs, inputs * c.feature_width, 1, groups=inputs)
            self.features = nn.Sequential(spread, activation(c.activation))
            inputs *= c.feature_width
        self.level_embedding = nn.Parameter(torch.randn(1, c.level_width, levels))
        self.channels = nn.Sequential(
            convolution(inputs + c.level_width, c.width, c.kernel, before=c.norm),
            norm(c.norm, c.width, levels),
            activation(c.activation),
        )
        self.token_weight = nn.Parameter(torch.randn(signal.tokens, c.width) * _TABLE_STD)
        self.token_bias = nn.Parameter(torch.randn(signal.tokens, c.width) * _TABLE_STD)
        self.has_tokens: bool = signal.tokens > 0
        self.has_position: bool = c.position != "none"
        table = _position(c, levels + signal.tokens)
        if c.position == "learned":
            self.position = nn.Parameter(table)
        else:
            self.register_buffer("position", table)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, profiles: Tensor, scalars: Tensor, encoded: Tensor) -> Tensor:
        """Return [batch, width, tokens + levels]."""
        batch, levels = profiles.shape[0], profiles.shape[2]
        if self.on_levels:
            repeated = encoded.unsqueeze(2).expand(-1, -1, levels)
            profiles = torch.cat([profiles, repeated], dim=1)
        embedding = self.level_embedding.expand(batch, -1, -1)
        x = self.channels(torch.cat([self.features(profiles), embedding], dim=1))
        if self.has_tokens:
            tokens = scalars.unsqueeze(2) * self.token_weight + self.token_bias
            x = torch.cat([tokens.transpose(1, 2), x], dim=2)
        if self.has_position:
            x = x + self.position
        return self.dropout(x)


def entering_signal(
    shape: ColumnShape, stem: StemConfiguration, scalars: ScalarsConfiguration
) -> Signal:
    """Return what the first block gets; ArchitectureError for tokens or a state of scalars that are
    not there.
    """
    needs = [way for way in scalars.ways if way != "levels"]
    if shape.scalar_inputs == 0 and (needs or scalars.hidden):
        what = f"ways {', '.join(needs)}" if needs else "hidden layers"
        raise ArchitectureError(f"scalars: {what} need scalar inputs, and there are none")
    tokens = shape.scalar_inputs if "tokens" in scalars.ways else 0
    return Signal(
        width=stem.width,
        length=shape.level_count + tokens,
        tokens=tokens,
        scalars=scalars.hidden[-1] if scalars.hidden else shape.scalar_inputs,
        state="state" in scalars.ways,
    )


def _position(configuration: StemConfiguration, length: int) -> Tensor:
    """Return what is added to the channels, [1, width, length], or nothing, [0]."""
    width = configuration.width
    if configuration.position == "none":
        return torch.zeros(0)
    if configuration.position == "learned":
        return torch.randn(1, width, length) * _TABLE_STD
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(_LONGEST_WAVE) / width))
    phase = rate[:, None] * torch.arange(length)
    return torch.stack([torch.sin(phase), torch.cos(phase)], dim=1).flatten(0, 1)[None, :width]
