"""A multilayer perceptron on the packed column: the baseline every architecture is measured
against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.configuration import ArchitectureConfiguration
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLPConfiguration(ArchitectureConfiguration):
    """Hidden layers of the perceptron. ``standard`` has the widths of ClimSim's own MLP
    baseline.
    """

    hidden: list[int] = Field(min_length=1, description="width of each hidden layer")
    activation: Literal["relu", "leaky_relu", "gelu", "silu"] = Field(
        default="silu", description="after each hidden layer"
    )
    layer_norm: bool = Field(default=True, description="LayerNorm before each activation")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "standard": {"hidden": [768, 640, 512, 640, 640]},
        "small": {"hidden": [256, 256]},
    }


class MLP(ColumnEmulator):
    """Hidden layers of Linear, LayerNorm, activation, then one Linear to all outputs."""

    def __init__(self, shape: ColumnShape, configuration: MLPConfiguration) -> None:
        super().__init__(shape)
        self.profile_outputs: int = shape.profile_outputs
        self.level_count: int = shape.level_count
        width = shape.profile_inputs * shape.level_count + shape.scalar_inputs
        layers: list[nn.Module] = []
        for hidden in configuration.hidden:
            norm = [nn.LayerNorm(hidden)] if configuration.layer_norm else []
            layers += [nn.Linear(width, hidden), *norm, _ACTIVATIONS[configuration.activation]()]
            width = hidden
        layers.append(
            nn.Linear(width, shape.profile_outputs * shape.level_count + shape.scalar_outputs)
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and no confidence."""
        rows = self.layers(torch.cat([profiles.flatten(1), scalars], dim=1))
        split = self.profile_outputs * self.level_count
        out = rows[:, :split].reshape(rows.shape[0], self.profile_outputs, self.level_count)
        return out, rows[:, split:], no_confidence(profiles)
