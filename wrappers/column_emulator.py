"""The interfaces of networks: on columns (channels and levels), and on whole rows of any
variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from climlink.wrappers.errors import ContractError
from climlink.wrappers.variable_sets import VariableSet


@dataclass(frozen=True)
class ColumnShape:
    """How many channels a network reads and writes, and on how many levels; ``output_names``, where
    known, are those of the profiles, then of the scalars.
    """

    profile_inputs: int
    scalar_inputs: int
    profile_outputs: int
    scalar_outputs: int
    level_count: int
    output_names: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class RowShape:
    """What a network on whole rows reads and writes: variables in order, with their positions and
    sizes.
    """

    inputs: VariableSet
    outputs: VariableSet

    @property
    def n_input(self) -> int:
        """Length of a row that the network reads."""
        return self.inputs.width

    @property
    def n_output(self) -> int:
        """Length of a row that the network writes."""
        return self.outputs.width


class ColumnEmulator(nn.Module):
    """A network on normalized columns; subclasses implement ``forward`` and script with
    ``torch.jit.script``.

    ``forward(profiles [batch, channel, level], scalars [batch, channel])`` returns ``(profiles,
    scalars, confidence)`` of shapes ``[batch, profile_outputs, level]``, ``[batch,
    scalar_outputs]`` and ``[batch, n]``: the confidence of all profiles, level by level, then of
    all scalars, for a network that has one, and n = 0 for one without. Columns are independent: a
    column's result may not depend on its batch.
    """

    # Without an annotation: TorchScript cannot read the annotations of a class whose module
    # postpones them.
    has_confidence = False

    def __init__(self, shape: ColumnShape) -> None:
        super().__init__()
        if (
            min(shape.profile_inputs, shape.profile_outputs, shape.level_count) < 1
            or min(shape.scalar_inputs, shape.scalar_outputs) < 0
        ):
            raise ContractError(
                f"a column network needs at least one profile and one level, got {shape}"
            )
        self.shape = shape

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return normalized profiles, scalars and confidence (see the class)."""
        raise TypeError(f"{type(self).__name__} must define forward(profiles, scalars)")


class RowNetwork(nn.Module):
    """A network on normalized rows; subclasses implement ``forward`` and script with
    ``torch.jit.script``.

    ``forward(rows [batch, n_network_input])`` returns ``(rows [batch, n_network_output],
    confidence)``: one confidence per value in the order of the row, or none. Carried state stands
    last in both rows, with scale 1.
    """

    has_confidence = False

    def initial_state(self, rows: Tensor, n_carried: int) -> Tensor:
        """Return the carried state of samples that begin [batch, n_carried], from their rows, in
        which it is zero: zeros.
        """
        return torch.zeros([rows.shape[0], n_carried], dtype=rows.dtype, device=rows.device)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalized rows and confidence (see the class)."""
        raise TypeError(f"{type(self).__name__} must define forward(rows)")


def trainable_parameters(network: nn.Module) -> int:
    """Return the number of parameters that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def no_confidence(profiles: Tensor) -> Tensor:
    """Return the empty confidence ``[batch, 0]`` of a network without a confidence head."""
    return torch.zeros([profiles.shape[0], 0], dtype=profiles.dtype, device=profiles.device)
