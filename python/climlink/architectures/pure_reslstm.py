"""Pure ResLSTM of the ClimSim online study: bidirectional LSTMs along the levels, with residual
sums.

Published size (preset ``published``): 15,395,341 trainable parameters for 9 profile + 17 scalar
inputs, 5 + 8 outputs and 60 levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import HeadedNetwork, LevelHead, joined
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnShape

_KEPT = 0.3
"""Share of a block's input in the sum that ends the block."""


class PureResLSTMConfiguration(ColumnConfiguration):
    """Sizes."""

    blocks: int = Field(ge=1, description="bidirectional LSTMs, one after another")
    hidden: int = Field(ge=1, description="state of each LSTM in each direction")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"blocks": 10, "hidden": 256},
        "small": {"blocks": 3, "hidden": 96},
        "tiny": {"blocks": 2, "hidden": 40},
    }


class LSTMBlock(nn.Module):
    """A bidirectional LSTM and a LayerNorm over levels and channels."""

    def __init__(self, inputs: int, hidden: int, level_count: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm([level_count, 2 * hidden])
        _initialize(self.lstm)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, level, 2 hidden] of [batch, level, inputs]."""
        return self.norm(self.lstm(x)[0])


def _initialize(lstm: nn.LSTM) -> None:
    """Set the published starting weights: Xavier from inputs, orthogonal from states, forget gates
    open.
    """
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):  # the two biases add up: one of them opens the gate
                nn.init.ones_(parameter[lstm.hidden_size : 2 * lstm.hidden_size])


@register_architecture("pure_reslstm", configuration=PureResLSTMConfiguration)
class PureResLSTM(HeadedNetwork):
    """Pure ResLSTM: bidirectional LSTMs along the levels, with residual sums."""

    def __init__(self, shape: ColumnShape, configuration: PureResLSTMConfiguration) -> None:
        super().__init__(shape)
        c, width = configuration, 2 * configuration.hidden
        channels = shape.profile_inputs + shape.scalar_inputs
        self.first = LSTMBlock(channels, c.hidden, shape.level_count)
        self.others = nn.ModuleList(
            LSTMBlock(width, c.hidden, shape.level_count) for _ in range(c.blocks - 1)
        )
        self.kept: float = _KEPT

        def head() -> nn.Module:
            layer = LevelHead(width, shape)
            nn.init.xavier_uniform_(layer.map.weight)
            return layer

        self.add_heads(head, confidence=c.confidence)

    def features(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, level, 2 hidden]."""
        x = functional.gelu(self.first(joined(profiles, scalars).transpose(1, 2)))
        for block in self.others:
            x = functional.gelu((1.0 - self.kept) * block(x) + self.kept * x)
        return x
