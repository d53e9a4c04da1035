"""Blocks that go through a column level by level."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.composed.block import BlockConfiguration, Signal


class ZeroState(nn.Module):
    """The state of zeros that a recurrent block begins with, [part, run, batch, unit]."""

    def __init__(self, parts: int, runs: int, units: int) -> None:
        super().__init__()
        self.parts: int = parts
        self.runs: int = runs
        self.units: int = units

    def forward(self, scalars: Tensor) -> Tensor:
        """Return the state of as many columns as there are rows of scalars."""
        sizes = [self.parts, self.runs, scalars.shape[0], self.units]
        return torch.zeros(sizes, dtype=scalars.dtype, device=scalars.device)


class ScalarState(nn.Module):
    """The state that a recurrent block begins with, of a linear map of the scalars and tanh, [part,
    run, batch, unit].
    """

    def __init__(self, scalars: int, parts: int, runs: int, units: int) -> None:
        super().__init__()
        self.parts: int = parts
        self.runs: int = runs
        self.units: int = units
        self.map = nn.Linear(scalars, parts * runs * units)

    def forward(self, scalars: Tensor) -> Tensor:
        """Return the state of each row of scalars."""
        state = torch.tanh(self.map(scalars))
        return state.reshape(-1, self.parts, self.runs, self.units).permute(1, 2, 0, 3).contiguous()


class LSTM(nn.Module):
    """An LSTM along positions."""

    def __init__(self, layers: nn.LSTM, start: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.start = start

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, units of all directions, position]."""
        state = self.start(scalars)
        return self.layers(x.transpose(1, 2), (state[0], state[1]))[0].transpose(1, 2)


class GRU(nn.Module):
    """A GRU along positions."""

    def __init__(self, layers: nn.GRU, start: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.start = start

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, units of all directions, position]."""
        return self.layers(x.transpose(1, 2), self.start(scalars)[0])[0].transpose(1, 2)


class Upward(nn.Module):
    """A block that sees the positions in reverse order."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return self.block(x.flip(2), scalars).flip(2)


class _Recurrent(BlockConfiguration):
    """What LSTM and GRU have in common."""

    units: int = Field(default=128, ge=1, description="of each direction; both give twice as many")
    layers: int = Field(default=1, ge=1)
    directions: Literal["both", "down", "up"] = Field(
        default="both", description="down: from the model top to the surface"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="between layers")

    def _arguments(self, inputs: int) -> dict[str, Any]:
        """Return what torch's layers are made with."""
        return {
            "input_size": inputs,
            "hidden_size": self.units,
            "num_layers": self.layers,
            "batch_first": True,
            # torch warns of a dropout that has no layer behind it
            "dropout": self.dropout if self.layers > 1 else 0.0,
            "bidirectional": self.directions == "both",
        }

    def _start(self, signal: Signal, parts: int) -> nn.Module:
        runs = self.layers * self._directions
        if signal.state:
            return ScalarState(signal.scalars, parts, runs, self.units)
        return ZeroState(parts, runs, self.units)

    @property
    def _directions(self) -> int:
        return 2 if self.directions == "both" else 1

    def _placed(self, block: nn.Module, signal: Signal) -> tuple[nn.Module, Signal]:
        turned = Upward(block) if self.directions == "up" else block
        return turned, signal.of_width(self.units * self._directions)


class LSTMBlock(_Recurrent):
    """LSTM along levels."""

    kind: Literal["lstm"] = "lstm"

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        layers = nn.LSTM(**self._arguments(signal.width))
        return self._placed(LSTM(layers, self._start(signal, parts=2)), signal)


class GRUBlock(_Recurrent):
    """GRU along levels."""

    kind: Literal["gru"] = "gru"

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        layers = nn.GRU(**self._arguments(signal.width))
        return self._placed(GRU(layers, self._start(signal, parts=1)), signal)
