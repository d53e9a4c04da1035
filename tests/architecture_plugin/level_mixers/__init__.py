"""A network of another project than climlink, with a confidence head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures import (
    ArchitectureConfiguration,
    ColumnEmulator,
    ColumnShape,
    register_architecture,
)


class LevelMixerConfiguration(ArchitectureConfiguration):
    """Width of the one hidden layer."""

    width: int = Field(default=32, ge=1, description="values of the hidden layer")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"published": {}, "small": {"width": 8}}


@register_architecture("level_mixer", configuration=LevelMixerConfiguration)
class LevelMixer(ColumnEmulator):
    """One hidden layer over all levels, and how sure it is of each output."""

    has_confidence = True

    def __init__(self, shape: ColumnShape, configuration: LevelMixerConfiguration) -> None:
        super().__init__(shape)
        self.profile_outputs: int = shape.profile_outputs
        self.level_count: int = shape.level_count
        outputs = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.inner = nn.Linear(
            shape.profile_inputs * shape.level_count + shape.scalar_inputs, configuration.width
        )
        self.outer = nn.Linear(configuration.width, outputs)
        self.sure = nn.Linear(configuration.width, outputs)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and confidence [batch,
        output].
        """
        hidden = torch.nn.functional.gelu(
            self.inner(torch.cat([profiles.flatten(1), scalars], dim=1))
        )
        rows = self.outer(hidden)
        split = self.profile_outputs * self.level_count
        out = rows[:, :split].reshape(rows.shape[0], self.profile_outputs, self.level_count)
        return out, rows[:, split:], torch.sigmoid(self.sure(hidden))
