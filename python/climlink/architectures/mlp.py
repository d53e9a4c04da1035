"""A multilayer perceptron on the packed column: the baseline every architecture is measured
against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import packed, unpacked
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLPConfiguration(ColumnConfiguration):
    """Hidden layers of the perceptron. ``published`` has the widths of ClimSim's own MLP
    baseline.
    """

    hidden: list[int] = Field(min_length=1, description="width of each hidden layer")
    activation: Literal["relu", "leaky_relu", "gelu", "silu"] = Field(
        default="silu", description="after each hidden layer"
    )
    layer_norm: bool = Field(default=True, description="LayerNorm before each activation")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"hidden": [768, 640, 512, 640, 640]},
        "small": {"hidden": [256, 256]},
        "tiny": {"hidden": [128, 128]},
    }


@register_architecture("mlp", configuration=MLPConfiguration)
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
        outputs = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.n_output: int = outputs
        self.has_confidence = configuration.confidence
        layers.append(nn.Linear(width, 2 * outputs if configuration.confidence else outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and confidence [batch,
        0 or packed output].
        """
        rows = self.layers(packed(profiles, scalars))
        out, scalars_out = unpacked(
            rows[:, : self.n_output], self.profile_outputs, self.level_count
        )
        return out, scalars_out, rows[:, self.n_output :]
