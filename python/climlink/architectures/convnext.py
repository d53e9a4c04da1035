"""ConvNeXt of the ClimSim online study, along the levels of a column and without downsampling.

Published size (preset ``published``): 26,805,429 trainable parameters for 9 profile + 17 scalar
inputs, 5 + 8 outputs and 60 levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import HeadedNetwork, batch_norm, convolution, joined, linear
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnShape

_STEM_KERNEL, _STAGE_KERNEL, _HEAD_KERNEL = 4, 2, 3
_EXPANSION = 4


class ConvNeXtConfiguration(ColumnConfiguration):
    """Sizes and one starting value."""

    widths: list[int] = Field(min_length=1, description="channels of each stage")
    depths: list[int] = Field(min_length=1, description="blocks of each stage")
    kernel: int = Field(default=7, ge=1, description="levels of the depthwise convolution (odd)")
    layer_scale: float = Field(
        default=1e-6, gt=0, description="factor on what each block adds, at first"
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"widths": [96, 192, 384, 768], "depths": [3, 3, 9, 3]},
        # small networks see few batches: what a block adds counts from the start
        "small": {"widths": [64, 80, 96, 128], "depths": [1, 1, 2, 1], "layer_scale": 0.1},
        "tiny": {"widths": [24, 32, 40], "depths": [1, 1, 1], "layer_scale": 0.1},
    }

    @model_validator(mode="after")
    def _fits(self) -> ConvNeXtConfiguration:
        if len(self.widths) != len(self.depths):
            raise ValueError(
                f"widths and depths must be as many, got {len(self.widths)} and {len(self.depths)}"
            )
        if min(*self.widths, *self.depths) < 1:
            raise ValueError("widths and depths must be at least 1")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


class Block(nn.Module):
    """Depthwise convolution, BatchNorm, two Linear layers with GELU between, scaled; residual
    sum.
    """

    def __init__(self, width: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = batch_norm(width)
        self.map = nn.Sequential(
            nn.Linear(width, _EXPANSION * width), nn.GELU(), nn.Linear(_EXPANSION * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, width, level]."""
        change = self.scale * self.map(self.norm(self.depthwise(x)).transpose(1, 2))
        return x + change.transpose(1, 2)


class ConvolutionHead(nn.Module):
    """One convolution to all outputs; a scalar is a Linear of all levels of all scalar channels."""

    def __init__(self, width: int, shape: ColumnShape) -> None:
        super().__init__()
        self.profile_outputs = shape.profile_outputs
        self.map = convolution(width, shape.profile_outputs + shape.scalar_outputs, _HEAD_KERNEL)
        self.scalars = linear(shape.scalar_outputs * shape.level_count, shape.scalar_outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (profiles, scalars) of features [batch, width, level]."""
        y = self.map(x)
        return y[:, : self.profile_outputs], self.scalars(y[:, self.profile_outputs :].flatten(1))


@register_architecture("convnext", configuration=ConvNeXtConfiguration)
class ConvNeXt(HeadedNetwork):
    """ConvNeXt: depthwise convolutions along the levels in stages of growing width."""

    def __init__(self, shape: ColumnShape, configuration: ConvNeXtConfiguration) -> None:
        super().__init__(shape)
        c = configuration
        channels = shape.profile_inputs + shape.scalar_inputs
        width = c.widths[0]
        layers: list[nn.Module] = [
            convolution(channels, width, _STEM_KERNEL),
            batch_norm(width),
        ]
        for stage, (wanted, depth) in enumerate(zip(c.widths, c.depths, strict=True)):
            if stage > 0:
                layers += [batch_norm(width), convolution(width, wanted, _STAGE_KERNEL)]
                width = wanted
            layers += [Block(width, c.kernel, c.layer_scale) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.add_heads(lambda: ConvolutionHead(width, shape), confidence=c.confidence)

    def features(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, last width, level]."""
        return self.layers(joined(profiles, scalars))
