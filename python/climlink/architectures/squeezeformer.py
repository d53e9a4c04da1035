"""Squeezeformer of the ClimSim online study: convolution and attention over levels in turn.

Published size (preset ``published``): 44,785,225 trainable parameters for 9 profile + 17 scalar
inputs and 5 + 8 outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import (
    Affine,
    GatedMLP,
    HeadedNetwork,
    LevelHead,
    SelfAttention,
    batch_norm,
    gated,
    joined,
)
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnShape

_EPSILON = 1e-6
_GATE_KERNEL = 5


class SqueezeformerConfiguration(ColumnConfiguration):
    """Sizes; and what the original does otherwise."""

    width: int = Field(ge=1, description="channels between blocks")
    blocks: int = Field(ge=1, description="pairs of a convolution and an attention block")
    heads: int = Field(ge=1, description="heads of every attention; they divide the width")
    hidden: int = Field(
        ge=2, multiple_of=2, description="width inside each gated layer, before its half is a gate"
    )
    kernel: int = Field(default=15, ge=1, description="levels of the depthwise convolution (odd)")
    head_width: int = Field(ge=1, description="channels of the head")
    batch_norm_momentum: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="share of the newest batch in the running statistics; the original has 0.95",
    )
    gate_by: Literal["level", "channel"] = Field(
        default="level",
        description="what the attention of a convolution block weighs (published: level)",
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"width": 384, "blocks": 12, "heads": 4, "hidden": 1536, "head_width": 2048},
        "small": {"width": 96, "blocks": 2, "heads": 4, "hidden": 192, "head_width": 192},
        "tiny": {"width": 32, "blocks": 1, "heads": 4, "hidden": 128, "head_width": 64},
    }

    @model_validator(mode="after")
    def _fits(self) -> SqueezeformerConfiguration:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide the width ({self.width})")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


class ChannelAttention(nn.Module):
    """Efficient channel attention (ECA): a gate from means over channels, or levels, and a short
    convolution along the other.
    """

    def __init__(self, *, by_level: bool) -> None:
        super().__init__()
        self.by_level = by_level
        self.map = nn.Conv1d(1, 1, _GATE_KERNEL, padding=_GATE_KERNEL // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [batch, channel, level] times its gates."""
        dim = 1 if self.by_level else 2
        return x * self.map(x.mean(dim).unsqueeze(1)).sigmoid().squeeze(1).unsqueeze(dim)


class FeedForward(nn.Module):
    """A gated layer with its residual sum and LayerNorm."""

    def __init__(self, c: SqueezeformerConfiguration) -> None:
        super().__init__()
        self.map = GatedMLP(c.width, c.hidden)
        self.scale = Affine(c.width)
        self.norm = nn.LayerNorm(c.width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width]."""
        return self.norm(x + self.scale(self.map(x)))


class Convolution(nn.Module):
    """Gated Linear, depthwise convolution, BatchNorm, SiLU, attention to levels, Linear; residual
    sum.
    """

    def __init__(self, c: SqueezeformerConfiguration) -> None:
        super().__init__()
        inner = c.hidden // 2
        self.expand = nn.Linear(c.width, c.hidden)
        self.depthwise = nn.Conv1d(
            inner, inner, c.kernel, padding=c.kernel // 2, groups=inner, bias=False
        )
        self.norm = batch_norm(inner, momentum=c.batch_norm_momentum)
        self.attention = ChannelAttention(by_level=c.gate_by == "level")
        self.contract = nn.Linear(inner, c.width)
        self.scale = Affine(c.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width]."""
        y = self.depthwise(gated(self.expand(x)).transpose(1, 2))
        y = self.attention(functional.silu(self.norm(y)))
        return x + self.scale(self.contract(y.transpose(1, 2)))


class Transformer(nn.Module):
    """Self-attention over levels; residual sum, then LayerNorm."""

    def __init__(self, c: SqueezeformerConfiguration) -> None:
        super().__init__()
        self.attention = SelfAttention(c.width, c.heads)
        self.scale = Affine(c.width)
        self.norm = nn.LayerNorm(c.width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width]."""
        return self.norm(x + self.scale(self.attention(x)))


@register_architecture("squeezeformer", configuration=SqueezeformerConfiguration)
class Squeezeformer(HeadedNetwork):
    """Squeezeformer: blocks of convolution and attention over levels, each with a gated layer."""

    def __init__(self, shape: ColumnShape, configuration: SqueezeformerConfiguration) -> None:
        super().__init__(shape)
        c = configuration
        channels = shape.profile_inputs + shape.scalar_inputs
        self.stem = nn.Sequential(
            nn.Linear(channels, c.width, bias=False), nn.LayerNorm(c.width, eps=_EPSILON)
        )
        self.blocks = nn.Sequential(
            *(
                layer(c)
                for _ in range(c.blocks)
                for layer in (Convolution, FeedForward, Transformer, FeedForward)
            )
        )
        self.widen = nn.Sequential(
            nn.Linear(c.width, c.head_width), nn.SiLU(), GatedMLP(c.head_width, c.hidden)
        )
        self.add_heads(lambda: LevelHead(c.head_width, shape), confidence=c.confidence)

    def features(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, level, head_width]."""
        return self.widen(self.blocks(self.stem(joined(profiles, scalars).transpose(1, 2))))
