"""WrappedEmulator: the one path of a column, physical to physical, offline and online."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.constraints import ConstraintContext, ConstraintSequence
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.derived import NetworkFields
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import START
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.normalization import Normalization
from climlink.wrappers.packing import on_rows
from climlink.wrappers.recorded_statistics import training_ranges
from climlink.wrappers.statistics import Statistics


class WrappedEmulator(nn.Module):
    """Derived inputs, normalization, network, denormalization and physical constraints in one
    scriptable module.

    ``forward(x)`` is physical to physical: float32 host rows [batch, n_input] to float32 [batch,
    n_output]; confidence, where the network gives it, follows the outputs, then carried state.
    What the network predicts besides (role ``auxiliary``) is for its training and goes no further.
    ``normalized_forward(x)`` gives the network's normalized outputs for losses.
    """

    def __init__(self, contract: EmulatorContract, network: ColumnEmulator | RowNetwork) -> None:
        """Wrap a network; buffers are neutral until ``fit`` or ``load_state_dict``. ContractError
        if network and contract disagree.
        """
        super().__init__()
        self.contract = contract
        inputs, network_inputs, network_outputs = (
            contract.inputs,
            contract.network_inputs,
            contract.network_outputs,
        )
        self.n_input: int = inputs.width
        self.n_carried: int = network_outputs.of_role("carried").width
        self.n_network_value: int = network_outputs.of_role("value").width
        self.network = on_rows(network, contract)
        n_confidence = self.n_network_value if self.network.has_confidence else 0
        self.n_output: int = contract.outputs.width + n_confidence
        self.start_position: int = inputs.offset(START) if START in inputs else 0
        self.fields = NetworkFields(inputs, network_inputs, contract.coordinate)
        self.normalization = Normalization(
            network_inputs,
            network_outputs,
            contract.normalization,
            contract.pruned_levels,
            _dropped_levels(contract),
        )
        values = network_outputs.of_role("value")
        context = ConstraintContext(
            contract.coordinate,
            contract.time_step_s,
            contract.pruned_levels,
            contract.level_count,
            inputs,
        )
        self.constraints = ConstraintSequence(contract.constraints, context, values.names)
        output_names = contract.outputs.of_role("value").names
        missing = [n for n in output_names if n not in self.constraints.produced]
        if missing:
            raise ContractError(
                f"outputs {missing} of {contract.outputs.name!r} come neither from network set "
                f"{network_outputs.name!r} nor from a constraint"
            )
        self.state = self.constraints.state_of(inputs, contract.coordinate)
        self.network_output_names = list(values.names)
        self.network_output_starts = [network_outputs.slice(n).start for n in values.names]
        self.network_output_stops = [network_outputs.slice(n).stop for n in values.names]
        self.output_names = list(output_names)

    @torch.jit.unused
    def fit(self, statistics: Statistics) -> WrappedEmulator:
        """Fill normalization and training ranges from training statistics; returns self."""
        self.normalization.fit(statistics)
        self.constraints.give_ranges(training_ranges(self.contract, statistics))
        return self

    @torch.jit.unused
    def with_constraints(self, entries: list[ConstraintEntry]) -> WrappedEmulator:
        """Return an emulator of the same network and normalization under other constraints, in
        evaluation mode; those that stay as they are keep their training ranges, others have none
        until they are given. ContractError for constraints that cannot act here.
        """
        contract = self.contract.model_copy(update={"constraints": entries})
        changed = WrappedEmulator(contract, self.network)
        changed.normalization.load_state_dict(self.normalization.state_dict())
        before = dict(zip(self.constraints.names, self.constraints.rules, strict=True))
        for entry, rule in zip(entries, changed.constraints.rules, strict=True):
            if entry in self.contract.constraints:
                rule.load_state_dict(before[entry.name].state_dict())
        return changed.eval()

    @torch.jit.export
    def normalized_inputs(self, x: Tensor) -> Tensor:
        """Return normalized network inputs [batch, n_network], float32, from host rows [batch,
        n_input].
        """
        if x.dim() != 2 or x.shape[1] != self.n_input:
            raise ValueError(
                f"expected host rows of shape [columns, {self.n_input}], got {list(x.shape)}"
            )
        if x.dtype != torch.float32:
            # TorchScript would show the type that came as a bare number.
            raise ValueError(
                "expected float32 host rows, got another type; cast them with .to(torch.float32)"
            )
        rows = self.normalization.normalize(self.fields(self.constraints.seen(x)))
        return rows if self.n_carried == 0 else self.begun(x, rows)

    def begun(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return network rows in which samples that begin have the graph's own initial state."""
        values, state = rows[:, : -self.n_carried], rows[:, -self.n_carried :]
        first = torch.cat([values, torch.zeros_like(state)], dim=1)
        begins = x[:, self.start_position : self.start_position + 1] > 0.5
        # where, not a product: what was left over in the state of a sample that begins may be
        # anything.
        return torch.cat(
            [values, torch.where(begins, self.network.initial_state(first, self.n_carried), state)],
            dim=1,
        )

    @torch.jit.export
    def normalized_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalized network outputs [batch, n_network_output] and confidence [batch, 0 or
        n_network_value].
        """
        return self.network(self.normalized_inputs(x))

    @torch.jit.export
    def network_rows(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's rows and confidence for normalized inputs [batch, n_network]."""
        return self.network(normalized)

    def physical_outputs(self, rows: Tensor) -> dict[str, Tensor]:
        """Return denormalized network outputs by name, float64 [batch, width], before any
        constraint.
        """
        physical = self.normalization.denormalize(rows)
        outputs: dict[str, Tensor] = {}
        for i, name in enumerate(self.network_output_names):
            outputs[name] = physical[
                :, self.network_output_starts[i] : self.network_output_stops[i]
            ]
        return outputs

    @torch.jit.export
    def constraint_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what each constraint adds to each output, {"constraint/output": [batch, width]},
        float64, in the output's units.
        """
        rows, _ = self.normalized_forward(x)
        return self.constraints.changes(self.state(x), self.physical_outputs(rows))

    @torch.jit.export
    def input_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what constraints add to what the network sees of the host's rows,
        {"constraint/input": [batch, width]}, float64, in the input's units.
        """
        return self.constraints.input_changes(x)

    @torch.jit.export
    def range_use(self, x: Tensor) -> Tensor:
        """Return how much the range policy holds each column, [batch, 3], float64: values that the
        network sees clipped, heating by relaxation toward the training range (the mass integral of
        |cp dT/dt| in W/m2), and the share of the column's mass that it touches, 0 to 1.

        Runs no network; all zero where the emulator has no such constraint.
        """
        return self.constraints.range_use(x, self.state(x))

    @torch.jit.export
    def constrain(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return host outputs, float64 [batch, n_value], from host rows and the network's
        normalized rows.
        """
        outputs = self.constraints(self.state(x), self.physical_outputs(rows))
        return torch.cat([outputs[name] for name in self.output_names], dim=1)

    @torch.jit.export
    def output_rows(self, x: Tensor, rows: Tensor, confidence: Tensor) -> Tensor:
        """Return output rows, float32 [batch, n_output]: constrained values, confidence, carried
        state.
        """
        parts = [self.constrain(x, rows).to(torch.float32), confidence.to(torch.float32)]
        if self.n_carried > 0:
            parts.append(rows[:, -self.n_carried :].to(torch.float32))
        return torch.cat(parts, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return physical outputs [batch, n_output], float32, from physical host rows [batch,
        n_input], float32.
        """
        rows, confidence = self.normalized_forward(x)
        return self.output_rows(x, rows, confidence)


def _dropped_levels(contract: EmulatorContract) -> int:
    """Return how many levels from the top the network is blind to; ContractError where that needs
    a vertical grid and there is none.
    """
    above = contract.normalization.drop_above_pa
    if above is None:
        return 0
    if contract.coordinate is None:
        raise ContractError(
            "drop_above_pa of the normalization needs pressure: give the hybrid coefficients of "
            "the vertical grid"
        )
    return contract.coordinate.levels_above(above)
