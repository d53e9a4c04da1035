"""WrappedEmulator: the one path of a column, physical to physical, offline and online."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator
from climlink.wrappers.constraints import ConstraintContext, ConstraintSequence
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.derived import NetworkFields, StateFields
from climlink.wrappers.errors import ContractError
from climlink.wrappers.normalization import Normalization
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import VariableSet


class Packing(nn.Module):
    """Conversion between rows and the channels of a network: profiles [batch, channel, level] and scalars [batch, channel]."""

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
        profiles = rows.index_select(1, self.profile_positions).reshape(rows.shape[0], self.channels, self.level_count)
        return profiles, rows.index_select(1, self.scalar_positions)

    def join(self, profiles: Tensor, scalars: Tensor) -> Tensor:
        """Return rows [batch, width] of (profiles, scalars): the inverse of split."""
        return torch.cat([profiles.flatten(1), scalars], dim=1).index_select(1, self.row_positions)


class WrappedEmulator(nn.Module):
    """Derived inputs, normalization, network, denormalization and physical constraints in one scriptable module.

    ``forward(x)`` is physical to physical: float32 host rows [batch, n_input] to float32 [batch, n_output]; confidence, where the network
    gives it, follows the outputs. ``normalized_forward(x)`` gives the network's normalized outputs for losses.
    """

    def __init__(self, contract: EmulatorContract, network: ColumnEmulator) -> None:
        """Wrap a network; buffers are neutral until ``fit`` or ``load_state_dict``. ContractError if network and contract disagree."""
        super().__init__()
        if network.shape != contract.network_shape:
            raise ContractError(f"the contract needs a network of {contract.network_shape}, got one of {network.shape}")
        self.contract = contract
        outputs, network_outputs = contract.outputs, contract.network_outputs
        self.n_input: int = contract.inputs.width
        self.n_output: int = outputs.width + (network_outputs.width if network.has_confidence else 0)
        self.fields = NetworkFields(contract.inputs, contract.network_inputs, contract.coordinate)
        self.normalization = Normalization(contract.network_inputs, network_outputs, contract.normalization, contract.pruned_levels)
        self.input_packing = Packing(contract.network_inputs)
        self.output_packing = Packing(network_outputs)
        self.network = network
        context = ConstraintContext(contract.coordinate, contract.time_step_s, contract.pruned_levels)
        self.constraints = ConstraintSequence(contract.constraints, context, network_outputs.names)
        missing = [n for n in outputs.names if n not in self.constraints.produced]
        if missing:
            raise ContractError(
                f"outputs {missing} of {outputs.name!r} come neither from network set {network_outputs.name!r} nor from a constraint"
            )
        self.state = StateFields(self.constraints.state_names, contract.inputs, contract.coordinate)
        self.network_output_names = list(network_outputs.names)
        self.network_output_starts = [network_outputs.slice(n).start for n in network_outputs.names]
        self.network_output_stops = [network_outputs.slice(n).stop for n in network_outputs.names]
        self.output_names = list(outputs.names)

    @torch.jit.unused
    def fit(self, statistics: Statistics) -> WrappedEmulator:
        """Fill the normalization from training statistics; returns self."""
        self.normalization.fit(statistics)
        return self

    @torch.jit.export
    def normalized_inputs(self, x: Tensor) -> Tensor:
        """Return normalized network inputs [batch, n_network], float32, from host rows [batch, n_input]."""
        if x.dim() != 2 or x.shape[1] != self.n_input:
            raise ValueError(f"expected host rows of shape [columns, {self.n_input}], got {list(x.shape)}")
        if x.dtype != torch.float32:
            # TorchScript would show the type that came as a bare number.
            raise ValueError("expected float32 host rows, got another type; cast them with .to(torch.float32)")
        return self.normalization.normalize(self.fields(x))

    @torch.jit.export
    def normalized_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalized network outputs [batch, n_network_output] and confidence [batch, 0 or n_network_output]."""
        return self.network_rows(self.normalized_inputs(x))

    @torch.jit.export
    def network_rows(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's rows and confidence for normalized inputs [batch, n_network]."""
        profiles, scalars = self.input_packing.split(normalized)
        profiles_out, scalars_out, confidence = self.network(profiles, scalars)
        return self.output_packing.join(profiles_out, scalars_out), confidence

    def physical_outputs(self, rows: Tensor) -> dict[str, Tensor]:
        """Return denormalized network outputs by name, float64 [batch, width], before any constraint."""
        physical = self.normalization.denormalize(rows)
        outputs: dict[str, Tensor] = {}
        for i, name in enumerate(self.network_output_names):
            outputs[name] = physical[:, self.network_output_starts[i] : self.network_output_stops[i]]
        return outputs

    @torch.jit.export
    def constraint_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what each constraint adds to each output, {"constraint/output": [batch, width]}, float64, in the output's units."""
        rows, _ = self.normalized_forward(x)
        return self.constraints.changes(self.state(x), self.physical_outputs(rows))

    @torch.jit.export
    def constrain(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return host outputs, float64 [batch, output width], from host rows and the network's normalized rows."""
        outputs = self.constraints(self.state(x), self.physical_outputs(rows))
        return torch.cat([outputs[name] for name in self.output_names], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return physical outputs [batch, n_output], float32, from physical host rows [batch, n_input], float32."""
        rows, confidence = self.normalized_forward(x)
        return torch.cat([self.constrain(x, rows).to(torch.float32), confidence.to(torch.float32)], dim=1)
