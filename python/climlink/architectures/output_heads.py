"""Small networks beside an architecture, each of which predicts one value more from its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from climlink.architectures.errors import ArchitectureError
from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.packing import on_rows
from climlink.wrappers.variable_sets import VariableSet

HEADS = "output_heads"
"""Key beside an architecture's own configuration: network output of one value -> widths of the
hidden layers of its head.
"""

Heads = Mapping[str, Sequence[int]]


class OutputHeads(RowNetwork):
    """A network, and a head for each of the values that follow its own, trained together.

    A head reads the normalized row that the network reads and shares no weight with it; where the
    network gives confidence, a head gives that of its value too.
    """

    def __init__(
        self, network: RowNetwork, n_input: int, n_value: int, heads: Sequence[Sequence[int]]
    ) -> None:
        """``n_value`` values of the network stand before those of the heads."""
        super().__init__()
        self.has_confidence: bool = network.has_confidence
        self.n_value: int = n_value
        self.network = network
        n_output = 2 if network.has_confidence else 1
        self.heads = nn.ModuleList(_head(n_input, widths, n_output) for widths in heads)

    def initial_state(self, rows: Tensor, n_carried: int) -> Tensor:
        """Return the carried state that the network begins with."""
        state: Tensor = self.network.initial_state(rows, n_carried)
        return state

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalized rows [batch, n_network_output] and confidence (see RowNetwork)."""
        own, confidence = self.network(rows)
        values, doubts = [own[:, : self.n_value]], [confidence]
        for head in self.heads:
            given = head(rows)
            values.append(given[:, :1])
            doubts.append(given[:, 1:])
        values.append(own[:, self.n_value :])
        return torch.cat(values, dim=1), torch.cat(doubts, dim=1)


def _head(n_input: int, widths: Sequence[int], n_output: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(n_input, width), nn.SiLU()]
        n_input = width
    return nn.Sequential(*layers, nn.Linear(n_input, n_output))


def without_heads(
    contract: EmulatorContract, configuration: Mapping[str, Any]
) -> tuple[EmulatorContract, dict[str, Any], Heads]:
    """Return the contract and the configuration of a network without the heads that the
    configuration asks for, and these; ArchitectureError for a head that does not fit.
    """
    own = dict(configuration)
    heads: Heads = own.pop(HEADS, {})
    if not heads:
        return contract, own, {}
    outputs = contract.network_outputs
    values = outputs.of_role("value")
    last = values.names[len(values.names) - len(heads) :]
    if list(heads) != list(last) or any(outputs.width_of(n) != 1 for n in last):
        raise ArchitectureError(
            f"{HEADS} must be of the last network outputs, one value each, in their order; got "
            f"{', '.join(heads)}, the network's outputs are {', '.join(values.names)}"
        )
    kept = tuple(v for v in outputs.variables if v.name not in heads)
    layout = VariableSet(outputs.name, kept, outputs.sizes).layout()
    return contract.model_copy(update={"network_output_layout": layout}), own, heads


def with_heads(
    network: ColumnEmulator | RowNetwork, own: EmulatorContract, heads: Heads
) -> ColumnEmulator | RowNetwork:
    """Return a network for the contract ``own`` with heads beside it, or as it is where there are
    none.
    """
    if not heads:
        return network
    n_value = own.network_outputs.of_role("value").width
    return OutputHeads(
        on_rows(network, own), own.network_inputs.width, n_value, list(heads.values())
    )
