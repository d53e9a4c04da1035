"""Pao, after a network of the ClimSim competition, as the online study has it: profiles and scalars
each embedded, convolution and attention over levels, LSTMs, one head for profiles, one for scalars.

Published size (preset ``published``): 18,876,133 trainable parameters for 9 profile + 17 scalar
inputs, 5 + 8 outputs and 60 levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import (
    Affine,
    SelfAttention,
    batch_norm,
    convolution,
    dense,
    linear,
    packed,
)
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence


class PaoConfiguration(ColumnConfiguration):
    """Sizes; and what the original does otherwise."""

    width: int = Field(
        ge=1, description="channels of embedded profiles, and as many of scalars, on each level"
    )
    blocks: int = Field(ge=1, description="pairs of a convolution block and a transformer layer")
    heads: int = Field(ge=1, description="heads of every attention; they divide twice the width")
    kernel: int = Field(default=5, ge=1, description="levels of each convolution")
    lstm_layers: int = Field(default=2, ge=1, description="bidirectional LSTMs")
    lstm_hidden: int = Field(ge=1, description="state of each LSTM in each direction")
    profile_head: list[int] = Field(description="hidden layers of the head on each level")
    scalar_head: list[int] = Field(description="hidden layers of the head on the whole column")
    profile_head_order: Literal["level", "published"] = Field(
        default="level",
        description="level: each level predicts itself; published: position p of 60 predicts five "
        "levels of output p // 12, as in the original",
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "width": 160,
            "blocks": 4,
            "heads": 8,
            "lstm_hidden": 320,
            "profile_head": [320, 320, 160],
            "scalar_head": [160, 160],
        },
        "small": {
            "width": 48,
            "blocks": 2,
            "heads": 4,
            "lstm_hidden": 64,
            "profile_head": [64, 32],
            "scalar_head": [48, 48],
        },
        "tiny": {
            "width": 20,
            "blocks": 1,
            "heads": 4,
            "lstm_layers": 1,
            "lstm_hidden": 24,
            "profile_head": [32],
            "scalar_head": [16],
        },
    }

    @model_validator(mode="after")
    def _fits(self) -> PaoConfiguration:
        if 2 * self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide twice the width ({2 * self.width})")
        return self


class LinearPerLevel(nn.Module):
    """A Linear of its own for each level, all on the same input."""

    def __init__(self, width: int, level_count: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(width)  # torch's Linear
        self.weight = nn.Parameter(torch.empty(level_count, width, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(level_count, width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width] of [batch, width]."""
        return torch.einsum("bi,loi->blo", x, self.weight) + self.bias


class Embedding(nn.Module):
    """Scaled profiles with a learned position, and scalars with a map of their own to each
    level.
    """

    def __init__(self, shape: ColumnShape, width: int) -> None:
        super().__init__()
        self.scale = Affine(shape.profile_inputs, shape.level_count)
        self.profiles = nn.Linear(shape.profile_inputs, width)
        self.position = nn.Parameter(torch.empty(shape.level_count, width).normal_(std=0.02))
        self.scalars = nn.Sequential(
            linear(shape.scalar_inputs, width),
            batch_norm(width),
            nn.GELU(),
            nn.Linear(width, width),
            batch_norm(width),
            nn.GELU(),
            LinearPerLevel(width, shape.level_count),
        )
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, level, 2 width]."""
        x = self.profiles(self.scale(profiles).transpose(1, 2)) + self.position
        return self.norm(torch.cat([x, self.scalars(scalars)], dim=2))


class Convolutions(nn.Module):
    """Two convolutions over levels, each with BatchNorm and GELU; residual sum."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [convolution(width, width, kernel), batch_norm(width), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width]."""
        return x + self.layers(x.transpose(1, 2)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Self-attention over levels and a layer of as many channels, each with a residual sum and a
    LayerNorm.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.first_norm = nn.LayerNorm(width)
        self.forward_layers = dense([width, width, width], nn.ReLU)
        self.second_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width]."""
        x = self.first_norm(x + self.attention(x))
        return self.second_norm(x + self.forward_layers(x))


class PaoHead(nn.Module):
    """One head for profiles, on each level, and one for scalars, on all levels together."""

    def __init__(self, shape: ColumnShape, c: PaoConfiguration) -> None:
        super().__init__()
        self.profile_outputs = shape.profile_outputs
        self.by_level = c.profile_head_order == "level"
        features = 2 * c.lstm_hidden
        self.profiles = dense([features, *c.profile_head, shape.profile_outputs], nn.GELU)
        self.scalars = dense(
            [features * shape.level_count, *c.scalar_head, shape.scalar_outputs], nn.GELU
        )

    def forward(self, x: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Return (profiles, scalars) of features [batch, level, n] and the same normalized, [batch,
        level n].
        """
        profiles = self.profiles(x)
        if self.by_level:
            profiles = profiles.transpose(1, 2)
        else:
            profiles = profiles.reshape(x.shape[0], self.profile_outputs, x.shape[1])
        return profiles, self.scalars(column)


@register_architecture("pao", configuration=PaoConfiguration)
class Pao(ColumnEmulator):
    """Pao: embedded profiles and scalars, convolution, attention and LSTMs along the levels."""

    def __init__(self, shape: ColumnShape, configuration: PaoConfiguration) -> None:
        super().__init__(shape)
        c, width = configuration, 2 * configuration.width
        self.embedding = Embedding(shape, c.width)
        self.blocks = nn.Sequential(
            *(
                layer
                for _ in range(c.blocks)
                for layer in (Convolutions(width, c.kernel), TransformerLayer(width, c.heads))
            )
        )
        self.lstm = nn.LSTM(
            width, c.lstm_hidden, c.lstm_layers, batch_first=True, bidirectional=True
        )
        self.column_norm = nn.LayerNorm(2 * c.lstm_hidden * shape.level_count)
        self.head = PaoHead(shape, c)
        self.has_confidence = c.confidence
        self.confidence_head = PaoHead(shape, c) if c.confidence else None

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and confidence [batch,
        0 or packed output].
        """
        x = self.lstm(self.blocks(self.embedding(profiles, scalars)))[0]
        column = self.column_norm(x.flatten(1))
        profiles_out, scalars_out = self.head(x, column)
        confidence = no_confidence(profiles)
        if self.confidence_head is not None:
            of_profiles, of_scalars = self.confidence_head(x, column)
            confidence = packed(of_profiles, of_scalars)
        return profiles_out, scalars_out, confidence
