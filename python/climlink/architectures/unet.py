"""The one-dimensional U-Net of the ClimSim online study, along the levels of a column.

Published size (preset ``published``): 12,975,373 trainable parameters for 9 profile + 17 scalar
inputs and 5 + 8 outputs. The published network also executes twelve frozen identity 1x1
convolutions on skips (592,384 parameters that never train); an identity needs no convolution, so
they are left out, and ``trainable_parameters`` equals the published count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.layers import by_level, joined, packed
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence

_HALF_POWER = math.sqrt(0.5)  # keeps the variance of a residual sum
_EPSILON = 1e-6
_QKV_SCALE = math.sqrt(0.2)
_PUBLISHED_SMALL = 1e-5


class UNetConfiguration(ColumnConfiguration):
    """Sizes and starting values. ``published`` is the published network; ``small`` trains on a CPU
    within minutes.
    """

    widths: list[int] = Field(
        min_length=1,
        description="channels at each resolution, finest first; each next one has half the levels",
    )
    blocks: int = Field(
        ge=1, description="residual blocks per resolution on the way down; one more on the way up"
    )
    groups: int = Field(ge=1, description="groups of every GroupNorm")
    residual_scale: float = Field(
        gt=0, description="factor on the initial weights that end each block and its attention"
    )
    head_scale: float = Field(
        gt=0, description="factor on the initial weights of the last convolution"
    )
    resample_projection: bool = Field(
        description="1x1 convolution on the skip of every halving and doubling block (published)"
    )
    rectified_scalars: bool = Field(
        description="ReLU on every level before a scalar output is the mean over levels (published)"
    )
    position_channels: int = Field(
        default=0,
        ge=0,
        description="fixed inputs cos(pi n k) of the relative level k, n = 1, 2, 4, ...",
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "widths": [128, 256, 256, 256],
            "blocks": 2,
            "groups": 32,
            "residual_scale": _PUBLISHED_SMALL,
            "head_scale": _PUBLISHED_SMALL,
            "resample_projection": True,
            "rectified_scalars": True,
        },
        "small": {
            "widths": [64, 80, 96, 112],
            "blocks": 1,
            "groups": 8,
            "residual_scale": 1.0,
            "head_scale": 0.1,
            "resample_projection": False,
            "rectified_scalars": False,
            "position_channels": 3,
        },
        "tiny": {
            "widths": [16, 24, 32, 40],
            "blocks": 1,
            "groups": 8,
            "residual_scale": 1.0,
            "head_scale": 0.1,
            "resample_projection": False,
            "rectified_scalars": False,
            "position_channels": 3,
        },
    }

    @model_validator(mode="after")
    def _divisible(self) -> UNetConfiguration:
        bad = [w for w in self.widths if w % self.groups]
        if bad:
            raise ValueError(
                f"every width must be a multiple of groups ({self.groups}); {bad} are not"
            )
        return self


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return a GroupNorm; a joined input's channels are a multiple of ``groups`` because every
    width is.
    """
    return nn.GroupNorm(groups, channels, eps=_EPSILON)


class LevelConvolution(nn.Conv1d):
    """A convolution over the levels of [batch, channel, 1, level] with a Conv1d's parameters.

    As planes of one row a CPU's kernels take whole channels side by side, and a compiler keeps them
    so between layers.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, output channel, 1, level]."""
        weight = self.weight.unsqueeze(2)
        return functional.conv2d(x, weight, self.bias, padding=[0, self.kernel_size[0] // 2])


def _convolution(inputs: int, outputs: int, kernel: int, scale: float = 1.0) -> LevelConvolution:
    """Return a 'same' convolution with Xavier-uniform weights times ``scale`` and zero bias."""
    layer = LevelConvolution(inputs, outputs, kernel)
    nn.init.xavier_uniform_(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(scale)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Halve(nn.Module):
    """Half the levels, by averages of two."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channel, 1, level / 2]."""
        return functional.avg_pool2d(x, [1, 2])


class Double(nn.Module):
    """Twice the levels, each value repeated."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channel, 1, 2 level]."""
        return x.repeat_interleave(2, -1)


class Attention(nn.Module):
    """Self-attention over levels with one head; softmax in float32. Queries, keys and values
    interleave by channel, as published.
    """

    def __init__(self, channels: int, groups: int, scale: float) -> None:
        super().__init__()
        self.norm = _norm(channels, groups)
        self.qkv = _convolution(channels, 3 * channels, 1, _QKV_SCALE)
        self.projection = _convolution(channels, channels, 1, scale)
        self.temperature: float = 1.0 / math.sqrt(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return what attention adds to x [batch, channel, 1, level]."""
        qkv = self.qkv(self.norm(x)).reshape(x.shape[0], x.shape[1], 3, x.shape[3])
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        scores = torch.matmul(query.transpose(1, 2), key) * self.temperature
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
        return self.projection(torch.matmul(value, weights.transpose(1, 2)).unsqueeze(2))


class Block(nn.Module):
    """A residual block: GroupNorm, SiLU, (resampling,) convolution, GroupNorm, convolution; then,
    at the bottom, attention.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        configuration: UNetConfiguration,
        *,
        resample: nn.Module | None = None,
        attention: bool = False,
    ) -> None:
        super().__init__()
        projected = inputs != outputs or (
            resample is not None and configuration.resample_projection
        )
        self.first_norm = _norm(inputs, configuration.groups)
        self.first = _convolution(inputs, outputs, 3)
        self.second_norm = _norm(outputs, configuration.groups)
        self.second = _convolution(outputs, outputs, 3, configuration.residual_scale)
        self.resample = nn.Identity() if resample is None else resample
        self.skip = _convolution(inputs, outputs, 1) if projected else nn.Identity()
        self.has_attention: bool = attention
        self.attention = (
            Attention(outputs, configuration.groups, configuration.residual_scale)
            if attention
            else nn.Identity()
        )
        self.weight: float = _HALF_POWER

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, outputs, 1, level], levels halved or doubled by the resampling."""
        change = self.first(self.resample(functional.silu(self.first_norm(x))))
        change = self.second(self.second_norm(change))
        x = (self.skip(self.resample(x)) + change) * self.weight
        if self.has_attention:
            x = (x + self.attention(x)) * self.weight
        return x


@register_architecture("unet", configuration=UNetConfiguration)
class UNet(ColumnEmulator):
    """U-Net over levels; scalars enter as constant channels and leave as means over levels.

    Zero levels are added at the model top until the level count can be halved once per resolution,
    and dropped at the end.
    """

    if TYPE_CHECKING:
        position: Tensor

    def __init__(self, shape: ColumnShape, configuration: UNetConfiguration) -> None:
        super().__init__(shape)
        widths, factor = configuration.widths, 2 ** (len(configuration.widths) - 1)
        if shape.level_count < factor:
            raise ArchitectureError(
                f"{len(widths)} resolutions need at least {factor} levels, got "
                f"{shape.level_count}; give fewer widths"
            )
        self.padding: int = -shape.level_count % factor
        self.profile_outputs: int = shape.profile_outputs
        self.rectified_scalars: bool = configuration.rectified_scalars
        self.register_buffer(
            "position", _position(configuration.position_channels, shape.level_count)
        )
        inputs = shape.profile_inputs + shape.scalar_inputs + configuration.position_channels
        self.stem = _convolution(inputs, widths[0], 3)
        down, skips = _encoder(configuration)
        self.down = nn.ModuleList(down)
        self.middle = nn.Sequential(
            Block(widths[-1], widths[-1], configuration, attention=True),
            Block(widths[-1], widths[-1], configuration),
        )
        up, takes_skip = _decoder(configuration, skips)
        self.up = nn.ModuleList(up)
        self.takes_skip = takes_skip
        outputs = shape.profile_outputs + shape.scalar_outputs
        self.head_norm = _norm(widths[0], configuration.groups)
        self.head = _convolution(widths[0], outputs, 3, configuration.head_scale)
        self.has_confidence = configuration.confidence
        self.confidence_head = (
            nn.Sequential(
                _norm(widths[0], configuration.groups),
                nn.SiLU(),
                _convolution(widths[0], outputs, 3, configuration.head_scale),
            )
            if configuration.confidence
            else None
        )

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and confidence [batch,
        0 or packed output].
        """
        position = self.position.to(profiles.dtype).expand(profiles.shape[0], -1, -1)
        x = torch.cat([joined(profiles, scalars), position], dim=1).unsqueeze(2)
        x = self.stem(functional.pad(x, [self.padding, 0]))
        skips = [x]
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.middle(x)
        for i, block in enumerate(self.up):
            if self.takes_skip[i]:
                x = torch.cat([x, skips.pop()], dim=1)
            x = block(x)
        y = self.head(functional.silu(self.head_norm(x))).squeeze(2)[:, :, self.padding :]
        profiles_out, scalars_out = by_level(y, self.profile_outputs)
        if self.rectified_scalars:
            scalars_out = functional.relu(y[:, self.profile_outputs :]).mean(dim=2)
        confidence = no_confidence(profiles)
        if self.confidence_head is not None:
            of_profiles, of_scalars = by_level(
                self.confidence_head(x).squeeze(2)[:, :, self.padding :], self.profile_outputs
            )
            confidence = packed(of_profiles, of_scalars)
        return profiles_out, scalars_out, confidence


def _position(channels: int, levels: int) -> Tensor:
    """Return cos(pi 2^i k), k from 0 at the top to 1 at the surface, [1, channels, levels]."""
    k = torch.linspace(0.0, 1.0, levels, dtype=torch.float64)
    waves = [torch.cos(math.pi * 2**i * k) for i in range(channels)]
    return torch.stack(waves).to(torch.float32)[None] if waves else torch.zeros(1, 0, levels)


def _encoder(configuration: UNetConfiguration) -> tuple[list[nn.Module], list[int]]:
    """Return the blocks on the way down and the channels of every skip: the stem's and each
    block's.
    """
    widths = configuration.widths
    blocks: list[nn.Module] = []
    skips, channels = [widths[0]], widths[0]
    for resolution, width in enumerate(widths):
        if resolution > 0:
            blocks.append(Block(channels, channels, configuration, resample=Halve()))
            skips.append(channels)
        for _ in range(configuration.blocks):
            blocks.append(Block(channels, width, configuration))
            channels = width
            skips.append(channels)
    return blocks, skips


def _decoder(
    configuration: UNetConfiguration, skips: list[int]
) -> tuple[list[nn.Module], list[bool]]:
    """Return the blocks on the way up and which of them take a skip (all but the doubling ones)."""
    widths, remaining = configuration.widths, list(skips)
    blocks: list[nn.Module] = []
    takes_skip: list[bool] = []
    channels = widths[-1]
    for resolution in range(len(widths) - 1, -1, -1):
        if resolution < len(widths) - 1:
            blocks.append(Block(channels, channels, configuration, resample=Double()))
            takes_skip.append(False)
        for _ in range(configuration.blocks + 1):
            blocks.append(Block(channels + remaining.pop(), widths[resolution], configuration))
            takes_skip.append(True)
            channels = widths[resolution]
    return blocks, takes_skip
