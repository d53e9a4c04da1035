"""Blocks made of blocks: repetition, residual sums, and the U shape with its changes of
resolution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.composed.block import (
    BlockConfiguration,
    Blocks,
    Chain,
    Plain,
    Signal,
    chain,
    require_same_length,
)
from climlink.architectures.composed.named import ActivationName, NormName, activation, norm
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.layers import Unfolded


class RepeatBlock(BlockConfiguration):
    """Blocks several times over, each time with weights of their own."""

    kind: Literal["repeat"] = "repeat"
    times: int = Field(ge=1)
    blocks: Blocks = Field(min_length=1)

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        rounds = []
        for _ in range(self.times):
            module, signal = chain(self.blocks, signal)
            rounds.append(module)
        return Chain(rounds), signal


class Residual(nn.Module):
    """weight blocks(x) + skip_weight x, then norm and activation."""

    def __init__(
        self, blocks: Chain, skip: nn.Module, weights: tuple[float, float], last: nn.Module
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.skip = skip
        self.weight: float = weights[0]
        self.skip_weight: float = weights[1]
        self.last = last
        self.unfolded = Unfolded()

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        change = self.unfolded(self.blocks(x, scalars)) * self.weight
        return self.last(change + self.unfolded(self.skip(x)) * self.skip_weight)


class ResidualBlock(BlockConfiguration):
    """Blocks whose result is added to what came in (through a 1x1 convolution where the widths
    differ), then norm and activation.
    """

    kind: Literal["residual"] = "residual"
    blocks: Blocks = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, description="factor on what the blocks make")
    skip_weight: float = Field(default=1.0, gt=0, description="factor on what came in")
    norm: NormName = Field(default="none", description="after the sum")
    activation: ActivationName = Field(default="none", description="after the norm")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        blocks, result = chain(self.blocks, signal)
        require_same_length(signal, result, "the blocks inside")
        same = result.width == signal.width
        skip = nn.Identity() if same else nn.Conv1d(signal.width, result.width, 1)
        last = nn.Sequential(
            norm(self.norm, result.width, result.length), activation(self.activation)
        )
        return Residual(blocks, skip, (self.weight, self.skip_weight), last), result


class ShuffleDown(nn.Module):
    """A channel for each of ``factor`` neighbouring positions: [batch, width, position] to [batch,
    factor width, position / factor].
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor: int = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return channel-major: channel c of neighbour j is channel factor c + j."""
        apart = x.reshape(x.shape[0], x.shape[1], x.shape[2] // self.factor, self.factor)
        return apart.transpose(2, 3).flatten(1, 2)


class ShuffleUp(nn.Module):
    """The inverse of ShuffleDown."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor: int = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width / factor, factor position]."""
        apart = x.reshape(x.shape[0], x.shape[1] // self.factor, self.factor, x.shape[2])
        return apart.transpose(2, 3).flatten(2, 3)


class PixelShuffleBlock(BlockConfiguration):
    """Levels into channels (down) or channels into levels (up), and a 1x1 convolution on the side
    with fewer levels (Shi et al., 2016).
    """

    kind: Literal["pixel_shuffle"] = "pixel_shuffle"
    direction: Literal["down", "up"]
    factor: int = Field(default=2, ge=2)
    width: int | None = Field(default=None, ge=1, description="channels; null: as they come in")

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        width, factor = self.width or signal.width, self.factor
        if signal.tokens:
            raise ArchitectureError(
                "tokens of scalars are no levels; give the scalars another way in"
            )
        if self.direction == "up":
            layers = [nn.Conv1d(signal.width, factor * width, 1), ShuffleUp(factor)]
            return Plain(*layers), replace(signal, width=width, length=factor * signal.length)
        if signal.length % factor:
            raise ArchitectureError(
                f"{signal.length} levels are no multiple of {factor}; a u_shape adds levels"
            )
        layers = [ShuffleDown(factor), nn.Conv1d(factor * signal.width, width, 1)]
        return Plain(*layers), replace(signal, width=width, length=signal.length // factor)


class UShape(nn.Module):
    """Blocks, the same at half the resolution, and blocks again on both; the innermost has no
    inside.
    """

    def __init__(
        self, before: Chain, down: nn.Module, inside: nn.Module, up: nn.Module, after: Chain
    ) -> None:
        super().__init__()
        self.before = before
        self.down = down
        self.inside = inside
        self.up = up
        self.after = after

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        x = self.before(x, scalars)
        coarse = self.inside(self.down(x), scalars)
        return self.after(torch.cat([x, self.up(coarse)], dim=1), scalars)


class Padded(nn.Module):
    """A block on zero levels above the top and what comes in, of which they are dropped again."""

    def __init__(self, block: nn.Module, padding: int) -> None:
        super().__init__()
        self.block = block
        self.padding: int = padding

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return self.block(functional.pad(x, [self.padding, 0]), scalars)[:, :, self.padding :]


class UShapeBlock(BlockConfiguration):
    """A U-Net's body: at each resolution a 1x1 convolution to its width and the blocks, on the way
    down and, with the skip joined, on the way up.

    Zero levels above the top make the number of levels a multiple of every halving.
    """

    kind: Literal["u_shape"] = "u_shape"
    widths: list[int] = Field(
        min_length=2,
        description="channels at each resolution, finest first; each halves the levels",
    )
    blocks: Blocks = Field(min_length=1, description="at each resolution, down and up")
    middle: Blocks = Field(default=[], description="once more at the coarsest; empty: `blocks`")
    resample: Literal["average", "stride", "shuffle"] = Field(
        default="average",
        description="halving by means, a convolution of stride 2, or levels into channels",
    )

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and its signal."""
        if signal.tokens:
            raise ArchitectureError(
                "tokens of scalars are no levels; give the scalars another way in"
            )
        padding = -signal.length % 2 ** (len(self.widths) - 1)
        module, result = self._from(0, replace(signal, length=signal.length + padding))
        return Padded(module, padding), replace(result, length=signal.length)

    def _from(self, resolution: int, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the part from one resolution on, coarser ones inside."""
        before, here = self._at(self.widths[resolution], signal)
        if resolution == len(self.widths) - 1:
            middle, here = chain(self.middle or self.blocks, here)
            return Chain([before, middle]), here
        down = self._halve(here.width)
        coarse = replace(here, length=here.length // 2)
        inside, coarse = self._from(resolution + 1, coarse)
        require_same_length(replace(here, length=here.length // 2), coarse, "blocks and middle")
        up = self._double(coarse.width)
        joined = here.of_width(here.width + coarse.width)
        after, result = self._at(self.widths[resolution], joined)
        return UShape(before, down, inside, up, after), result

    def _at(self, width: int, signal: Signal) -> tuple[Chain, Signal]:
        entry = Plain(nn.Conv1d(signal.width, width, 1))
        blocks, result = chain(self.blocks, signal.of_width(width))
        require_same_length(signal, result, "the blocks inside")
        return Chain([entry, blocks]), result

    def _halve(self, width: int) -> nn.Module:
        if self.resample == "average":
            return nn.AvgPool1d(2)
        if self.resample == "stride":
            return nn.Conv1d(width, width, 2, stride=2)
        return nn.Sequential(ShuffleDown(2), nn.Conv1d(2 * width, width, 1))

    def _double(self, width: int) -> nn.Module:
        if self.resample == "average":
            return nn.Upsample(scale_factor=2.0, mode="nearest")
        if self.resample == "stride":
            return nn.ConvTranspose1d(width, width, 2, stride=2)
        return nn.Sequential(nn.Conv1d(width, 2 * width, 1), ShuffleUp(2))
