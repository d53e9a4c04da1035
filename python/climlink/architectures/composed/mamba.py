"""Selective state spaces along levels (Mamba, Gu and Dao, 2023), in plain torch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.composed.block import BlockConfiguration, Plain, Signal

_SMALLEST_STEP, _LARGEST_STEP = 1e-3, 1e-1
"""Range of the first step sizes, as published."""


def selective_scan(x: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    """Return y [batch, position, channel] with, from a state h = 0 [batch, channel, state],
    h = exp(step decay) h + step x enter and y = sum over states of h leave, position by position.

    x and step [batch, position, channel], decay [channel, state] (negative), enter and leave
    [batch, position, state].
    """
    state = torch.zeros([x.shape[0], x.shape[2], decay.shape[1]], dtype=x.dtype, device=x.device)
    results: list[Tensor] = []
    for k in range(x.shape[1]):
        kept = torch.exp(step[:, k].unsqueeze(2) * decay)
        state = kept * state + (step[:, k] * x[:, k]).unsqueeze(2) * enter[:, k].unsqueeze(1)
        results.append((state * leave[:, k].unsqueeze(1)).sum(dim=2))
    return torch.stack(results, dim=1)


class SelectiveStateSpace(nn.Module):
    """One direction of Mamba, from the first position to the last."""

    def __init__(self, width: int, states: int, expansion: int, kernel: int) -> None:
        super().__init__()
        inner = expansion * width
        rank = math.ceil(width / 16)
        self.sizes: list[int] = [rank, states, states]
        self.past: int = kernel - 1
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.near = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.choose = nn.Linear(inner, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, inner)
        rates = torch.arange(1.0, states + 1.0).repeat(inner, 1)
        self.log_rate = nn.Parameter(torch.log(rates))
        self.direct = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, width, bias=False)
        self._start_steps(inner)

    def _start_steps(self, inner: int) -> None:
        """Let softplus of the bias be log-uniform in the published range."""
        low, high = math.log(_SMALLEST_STEP), math.log(_LARGEST_STEP)
        step = torch.exp(torch.rand(inner) * (high - low) + low)
        with torch.no_grad():
            self.step.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, position, width]."""
        values, gate = self.enter(x).chunk(2, dim=2)
        values = self.near(functional.pad(values.transpose(1, 2), [self.past, 0]))
        values = functional.silu(values).transpose(1, 2)
        coarse, enter, leave = self.choose(values).split(self.sizes, dim=2)
        step = functional.softplus(self.step(coarse))
        result = selective_scan(values, step, -torch.exp(self.log_rate), enter, leave)
        return self.leave((result + values * self.direct) * functional.silu(gate))


class Mamba(nn.Module):
    """Selective state spaces down, up, or in both directions, whose results are added."""

    def __init__(self, down: nn.Module | None, up: nn.Module | None) -> None:
        super().__init__()
        self.goes_down: bool = down is not None
        self.goes_up: bool = up is not None
        self.down = nn.Identity() if down is None else down
        self.up = nn.Identity() if up is None else up

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        rows = x.transpose(1, 2)
        results: list[Tensor] = []
        if self.goes_down:
            results.append(self.down(rows))
        if self.goes_up:
            results.append(self.up(rows.flip(1)).flip(1))
        return torch.stack(results).sum(dim=0).transpose(1, 2)


class MambaBlock(BlockConfiguration):
    """Mamba along levels; put it behind a norm in a residual block."""

    kind: Literal["mamba"] = "mamba"
    states: int = Field(default=16, ge=1, description="of each inner channel")
    expansion: int = Field(default=2, ge=1, description="inner channels per channel")
    kernel: int = Field(default=4, ge=1, description="levels behind and at each that it sees first")
    directions: Literal["both", "down", "up"] = Field(
        default="both", description="down: from the model top to the surface"
    )

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        down, up = (
            SelectiveStateSpace(signal.width, self.states, self.expansion, self.kernel)
            if self.directions in ("both", direction)
            else None
            for direction in ("down", "up")
        )
        return Plain(Mamba(down, up)), signal
