"""Encoder-decoder LSTM of the ClimSim online study: a bottleneck's reconstruction of the column
beside the column itself, then recurrent layers along the levels.

Published size (preset ``published``): 18,582,976 trainable parameters for 9 profile + 17 scalar
inputs, 5 + 8 outputs and 60 levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.layers import HeadedNetwork, dense, joined, unpacked
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnShape


class EncoderDecoderLSTMConfiguration(ColumnConfiguration):
    """Sizes."""

    encoder: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1,
        description="widths of the encoder's layers over the number of input channels; the decoder "
        "goes back",
    )
    lstm_layers: int = Field(ge=1, description="bidirectional LSTMs")
    lstm_hidden: int = Field(ge=1, description="state of each LSTM in each direction")
    lstm_dropout: float = Field(
        default=0.09, ge=0, lt=1, description="dropout between LSTMs, in training"
    )
    gru_hidden: int = Field(ge=1, description="state of the last recurrent layer in each direction")
    dense_hidden: int = Field(ge=1, description="hidden layer of the head on the whole column")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "encoder": [15, 8, 4],
            "lstm_layers": 3,
            "lstm_hidden": 512,
            "gru_hidden": 16,
            "dense_hidden": 960,
        },
        "small": {
            "encoder": [2, 1],
            "lstm_layers": 2,
            "lstm_hidden": 96,
            "gru_hidden": 16,
            "dense_hidden": 128,
        },
        "tiny": {
            "encoder": [1],
            "lstm_layers": 1,
            "lstm_hidden": 40,
            "gru_hidden": 8,
            "dense_hidden": 128,
        },
    }


class DenseHead(nn.Module):
    """One hidden layer between all features of a column and all its outputs."""

    def __init__(self, features: int, hidden: int, shape: ColumnShape) -> None:
        super().__init__()
        self.profile_outputs = shape.profile_outputs
        self.level_count = shape.level_count
        outputs = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.map = _xavier([features, hidden, outputs])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (profiles, scalars) of features [batch, n]."""
        return unpacked(self.map(x), self.profile_outputs, self.level_count)


@register_architecture("encoder_decoder_lstm", configuration=EncoderDecoderLSTMConfiguration)
class EncoderDecoderLSTM(HeadedNetwork):
    """Encoder-decoder LSTM: column and its reconstruction, then recurrent layers along levels."""

    def __init__(self, shape: ColumnShape, configuration: EncoderDecoderLSTMConfiguration) -> None:
        super().__init__(shape)
        c = configuration
        channels = shape.profile_inputs + shape.scalar_inputs
        widths = [max(1, round(share * channels)) for share in c.encoder]
        widths = [shape.level_count * channels, *widths]
        self.encoder = _xavier(widths)
        self.decoder = _xavier(widths[::-1])
        self.lstm = nn.LSTM(
            2 * channels,
            c.lstm_hidden,
            c.lstm_layers,
            batch_first=True,
            bidirectional=True,
            dropout=c.lstm_dropout if c.lstm_layers > 1 else 0.0,
        )
        self.gru = nn.GRU(2 * c.lstm_hidden, c.gru_hidden, batch_first=True, bidirectional=True)
        features = 2 * c.gru_hidden * shape.level_count
        self.add_heads(lambda: DenseHead(features, c.dense_hidden, shape), confidence=c.confidence)

    def features(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, 2 gru_hidden level]."""
        x = joined(profiles, scalars).transpose(1, 2)
        again = self.decoder(self.encoder(x.flatten(1))).reshape(x.shape)
        return self.gru(self.lstm(torch.cat([x, again], dim=2))[0])[0].flatten(1)


def _xavier(widths: list[int]) -> nn.Sequential:
    """Return Linear layers with ReLU between them and Xavier-uniform weights."""
    layers = dense(widths, nn.ReLU)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return layers
