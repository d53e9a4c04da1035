"""What several networks are made of: how scalars enter and leave a column, heads, attention, gated
layers.

Layers take [batch, level, channel] where matrices act on channels, [batch, channel, level] where
convolutions act on levels. The convention stands in each docstring.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence


def joined(profiles: Tensor, scalars: Tensor) -> Tensor:
    """Return [batch, profile and scalar channels, level], every scalar the same on all levels."""
    return torch.cat([profiles, scalars.unsqueeze(2).expand(-1, -1, profiles.shape[2])], dim=1)


def by_level(x: Tensor, profile_outputs: int) -> tuple[Tensor, Tensor]:
    """Return (profiles, scalars) of [batch, output, level]: a scalar is the mean over levels."""
    return x[:, :profile_outputs], x[:, profile_outputs:].mean(dim=2)


def unpacked(rows: Tensor, profile_outputs: int, level_count: int) -> tuple[Tensor, Tensor]:
    """Return (profiles [batch, channel, level], scalars [batch, channel]) of packed rows."""
    split = profile_outputs * level_count
    profiles = rows[:, :split].reshape(rows.shape[0], profile_outputs, level_count)
    return profiles, rows[:, split:]


def packed(profiles: Tensor, scalars: Tensor) -> Tensor:
    """Return rows [batch, n], profiles first: the layout of a confidence."""
    return torch.cat([profiles.flatten(1), scalars], dim=1)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Return torch's Linear, without its warning where a column has no scalars to read or write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(inputs, outputs, bias=bias)


def dense(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Return Linear layers between neighbouring widths, with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Return a convolution over levels with zeros beyond both ends, as many levels out as in; an
    even kernel reads one level more below than above.
    """
    ends = ((kernel - 1) // 2, kernel // 2)
    return nn.Sequential(nn.ConstantPad1d(ends, 0.0), nn.Conv1d(inputs, outputs, kernel))


def batch_norm(width: int, *, momentum: float = 0.1) -> nn.Sequential:
    """Return a BatchNorm1d that stays a layer of its own where a host freezes the graph."""
    return nn.Sequential(Unfolded(), nn.BatchNorm1d(width, momentum=momentum))


class Unfolded(nn.Module):
    """Keeps TorchScript's freezing from folding a BatchNorm into the layer before it.

    Folded weights round otherwise than the layers in Python do, by more than ``climlink verify``
    allows in a deep network.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x, which is copied only where it is a view of other strides."""
        return x.contiguous()


class Affine(nn.Module):
    """A learned factor (1 at first) and addend (0) for the last dimensions of a tensor."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*shape))
        self.bias = nn.Parameter(torch.zeros(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return x of any shape, scaled and moved."""
        return x * self.weight + self.bias


class GatedMLP(nn.Module):
    """Linear to ``hidden``, whose one half is the other's gate (times its SiLU), and Linear
    back.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, width] of the same shape."""
        return self.contract(gated(self.expand(x)))


def gated(x: Tensor) -> Tensor:
    """Return the first half of the last dimension times the SiLU of its second half."""
    value, gate = x.chunk(2, -1)
    return value * functional.silu(gate)


class SelfAttention(nn.Module):
    """Multi-head self-attention over levels, with the starting weights of torch's
    MultiheadAttention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.projection.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return what attention makes of x [batch, level, width], same shape."""
        batch, levels, width = x.shape
        qkv = self.qkv(x).reshape(batch, levels, 3, self.heads, width // self.heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.projection(y.transpose(1, 2).reshape(batch, levels, width))


class LevelHead(nn.Module):
    """One Linear for all levels; a scalar output is its mean over levels."""

    def __init__(self, width: int, shape: ColumnShape) -> None:
        super().__init__()
        self.profile_outputs = shape.profile_outputs
        self.map = nn.Linear(width, shape.profile_outputs + shape.scalar_outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (profiles, scalars) of features [batch, level, width]."""
        return by_level(self.map(x).transpose(1, 2), self.profile_outputs)


class HeadedNetwork(ColumnEmulator):
    """Features of a column, a head that makes outputs of them and, where asked for, a second one
    for confidence.

    Subclasses call ``add_heads`` at the end of ``__init__`` and define ``features``.
    """

    def add_heads(self, head: Callable[[], nn.Module], *, confidence: bool) -> None:
        """Make the heads; ``head`` returns a module from features to (profiles, scalars)."""
        self.head = head()
        self.has_confidence = confidence
        self.confidence_head = head() if confidence else None

    def features(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return what the heads read; of any shape [batch, ...]."""
        raise TypeError(f"{type(self).__name__} must define features(profiles, scalars)")

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and confidence [batch,
        0 or packed output].
        """
        x = self.features(profiles, scalars)
        profiles_out, scalars_out = self.head(x)
        confidence = no_confidence(profiles)
        if self.confidence_head is not None:
            of_profiles, of_scalars = self.confidence_head(x)
            confidence = packed(of_profiles, of_scalars)
        return profiles_out, scalars_out, confidence
