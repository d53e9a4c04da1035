"""Between rows and the channels of a column network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.variable_sets import VariableSet


class Packing(nn.Module):
    """Conversion between rows and the channels of a network: profiles [batch, channel, level] and
    scalars [batch, channel].
    """

    if TYPE_CHECKING:
        profile_positions: Tensor
        scalar_positions: Tensor
        row_positions: Tensor

    def __init__(self, variables: VariableSet) -> None:
        super().__init__()
        self.level_count: int = variables.level_count
        self.channels: int = len(variables.profiles)
        starts = [variables.offset(v.name) for v in variables.profiles]
        profiles = [k for start in starts for k in range(start, start + variables.level_count)]
        scalars = [variables.offset(v.name) for v in variables.scalars]
        self.register_buffer("profile_positions", torch.tensor(profiles, dtype=torch.int64))
        self.register_buffer("scalar_positions", torch.tensor(scalars, dtype=torch.int64))
        order = torch.tensor(profiles + scalars, dtype=torch.int64)
        self.register_buffer("row_positions", torch.argsort(order))

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return (profiles, scalars) of rows [batch, width]."""
        profiles = rows.index_select(1, self.profile_positions).reshape(
            rows.shape[0], self.channels, self.level_count
        )
        return profiles, rows.index_select(1, self.scalar_positions)

    def join(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return rows [batch, width] of (profiles, scalars): the inverse of split."""
        return self.ordered(torch.cat([profiles.flatten(1), scalars], dim=1))

    def ordered(self, packed: Tensor) -> Tensor:
        """Return [batch, width] in the order of rows, from profiles that stand before scalars."""
        return packed.index_select(1, self.row_positions)


class ColumnRows(RowNetwork):
    """A column network that takes and gives rows."""

    def __init__(self, network: ColumnEmulator, inputs: VariableSet, outputs: VariableSet) -> None:
        super().__init__()
        self.has_confidence: bool = network.has_confidence
        self.n_confidence: int = outputs.of_role("value").width if network.has_confidence else 0
        self.input_packing = Packing(inputs)
        self.output_packing = Packing(outputs)
        self.network = network

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalized rows [batch, n_network_output] and confidence [batch, 0 or n_value]."""
        profiles, scalars = self.input_packing.split(rows)
        profiles_out, scalars_out, confidence = self.network(profiles, scalars)
        rows = self.output_packing.join(profiles_out, scalars_out)
        if self.n_confidence > 0:
            # values stand first in a row: the confidence of carried state has no reader
            confidence = self.output_packing.ordered(confidence)[:, : self.n_confidence]
        return rows, confidence


def on_rows(network: ColumnEmulator | RowNetwork, contract: EmulatorContract) -> RowNetwork:
    """Return the network as one on rows; ContractError if its channels are not those of the
    contract.
    """
    if isinstance(network, RowNetwork):
        return network
    shape = contract.network_shape
    if network.shape != shape:
        raise ContractError(f"the contract needs a network of {shape}, got one of {network.shape}")
    return ColumnRows(network, contract.network_inputs, contract.network_outputs)
