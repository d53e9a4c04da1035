"""One linear map from all inputs to all outputs: the smallest network that exercises every route,
and a baseline.
"""

from __future__ import annotations

from torch import Tensor, nn

from climlink.architectures.configuration import ArchitectureConfiguration
from climlink.architectures.layers import packed, unpacked
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence


class LinearConfiguration(ArchitectureConfiguration):
    """A linear network has nothing to choose."""


@register_architecture("linear", configuration=LinearConfiguration)
class Linear(ColumnEmulator):
    """y = W x + b over all levels and scalars of a column."""

    def __init__(self, shape: ColumnShape, configuration: LinearConfiguration) -> None:
        super().__init__(shape)
        self.profile_outputs: int = shape.profile_outputs
        self.level_count: int = shape.level_count
        inputs = shape.profile_inputs * shape.level_count + shape.scalar_inputs
        self.map = nn.Linear(
            inputs, shape.profile_outputs * shape.level_count + shape.scalar_outputs
        )

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and no confidence."""
        rows = self.map(packed(profiles, scalars))
        out, scalars_out = unpacked(rows, self.profile_outputs, self.level_count)
        return out, scalars_out, no_confidence(profiles)
