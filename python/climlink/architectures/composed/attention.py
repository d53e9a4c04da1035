"""Attention between levels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.composed.block import BlockConfiguration, Plain, Signal
from climlink.architectures.composed.named import ActivationName, NormName, norm
from climlink.architectures.composed.pointwise import feed_forward
from climlink.architectures.errors import ArchitectureError


class SelfAttention(nn.Module):
    """Multi-head attention between all positions; weights by softmax, or tanh of the scores over
    the square root of the number of positions.
    """

    def __init__(self, width: int, heads: int, dropout: float, tanh: bool) -> None:
        super().__init__()
        self.heads: int = heads
        self.dropout: float = dropout
        self.tanh: bool = tanh
        self.query_key_value = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        batch, width, length = x.shape[0], x.shape[1], x.shape[2]
        parts = self.query_key_value(x.transpose(1, 2))
        parts = parts.reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        chance = self.dropout if self.training else 0.0
        if self.tanh:
            scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(width // self.heads)
            weights = functional.dropout(torch.tanh(scores) / math.sqrt(length), chance)
            mixed = torch.matmul(weights, value)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=chance)
        return self.join(mixed.transpose(1, 2).reshape(batch, length, width)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention and feed-forward layers, each with a skip, norms before or after them."""

    def __init__(self, layers: list[nn.Module], norms: list[nn.Module], norm_first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norms)
        self.norm_first: bool = norm_first

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        for layer, normed in zip(self.layers, self.norms, strict=True):
            x = x + layer(normed(x)) if self.norm_first else normed(x + layer(x))
        return x


class AttentionBlock(BlockConfiguration):
    """A Transformer encoder layer: attention between levels, then a feed-forward layer per level,
    both with skip and norm.
    """

    kind: Literal["attention"] = "attention"
    heads: int = Field(default=4, ge=1, description="must divide the width")
    weights: Literal["softmax", "tanh"] = Field(
        default="softmax", description="how scores become weights; tanh: of either sign"
    )
    feedforward: int = Field(
        default=4, ge=0, description="hidden units per channel; 0: attention alone"
    )
    activation: ActivationName = Field(default="gelu", description="of the feed-forward layer")
    gated: bool = Field(default=False, description="feed-forward with a gate (silu: SwiGLU)")
    norm: NormName = Field(default="layer", description="of both layers")
    norm_first: bool = Field(default=True, description="norm before each layer, not after its sum")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of weights and hidden units")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width = signal.width
        if width % self.heads:
            raise ArchitectureError(f"heads ({self.heads}) must divide the width, {width}")
        layers: list[nn.Module] = [
            SelfAttention(width, self.heads, self.dropout, self.weights == "tanh")
        ]
        if self.feedforward:
            hidden = self.feedforward * width
            layers.append(
                feed_forward(width, hidden, width, self.activation, self.gated, self.dropout)
            )
        norms = [norm(self.norm, width, signal.length) for _ in layers]
        return Plain(EncoderLayer(layers, norms, self.norm_first)), signal
