"""The training loss: Huber on normalized outputs, optionally also on what the host receives and on
differences between levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.training.data import Batch, HostOutputs
from climlink.training.loss_config import LossConfig
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_PRUNED = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn", "ptend_u", "ptend_v")
"""Tendencies that the constraints make zero on pruned levels."""


def output_weights(variables: VariableSet, config: LossConfig, pruned_levels: int) -> Tensor:
    """Return the weight of every output in the loss [width]: 0 where a constraint zeroes it, else
    as configured.
    """
    weights = torch.ones(variables.width)
    for v in variables.variables:
        where = variables.slice(v.name)
        weights[where] = config.weight_of.get(v.name, 1.0 if v.dims else config.scalar_weight)
        if v.name in _PRUNED:
            weights[where.start : where.start + pruned_levels] = 0.0
    return weights


def output_deltas(variables: VariableSet, config: LossConfig) -> Tensor:
    """Return the Huber delta of every output [width]."""
    deltas = torch.full((variables.width,), config.huber_delta)
    for v in variables.variables:
        deltas[variables.slice(v.name)] = config.huber_delta_of.get(v.name, config.huber_delta)
    return deltas


def huber(error: Tensor, delta: Tensor) -> Tensor:
    """Return e^2/2 where |e| <= delta, delta (|e| - delta/2) beyond."""
    size = error.abs()
    near = torch.minimum(size, delta)
    return near * (size - 0.5 * near)


class ColumnLoss(nn.Module):
    """Loss of a batch (see LossConfig)."""

    weights: Tensor
    deltas: Tensor
    host_weights: Tensor
    host_deltas: Tensor
    host_positions: Tensor
    host_scale: Tensor
    profile_positions: Tensor

    def __init__(self, config: LossConfig, emulator: WrappedEmulator, host: HostOutputs) -> None:
        super().__init__()
        contract = emulator.contract
        prunes = any(c.name in ("prune", "liquid_ice_partition") for c in contract.constraints)
        pruned = contract.pruned_levels if prunes else 0
        self.host_weight = config.host_weight
        self.difference_weight = config.level_difference_weight
        self.output_count = contract.network_outputs.width
        outputs, own = contract.outputs, contract.network_outputs
        positions = [
            k for n in host.names for k in range(outputs.slice(n).start, outputs.slice(n).stop)
        ]
        profiles = [
            k for v in own.profiles for k in range(own.slice(v.name).start, own.slice(v.name).stop)
        ]
        self.register_buffer("weights", output_weights(own, config, pruned), persistent=False)
        self.register_buffer("deltas", output_deltas(own, config), persistent=False)
        self.register_buffer("host_deltas", output_deltas(host.variables, config), persistent=False)
        self.register_buffer(
            "host_weights", output_weights(host.variables, config, pruned), persistent=False
        )
        self.register_buffer(
            "host_positions", torch.tensor(positions, dtype=torch.int64), persistent=False
        )
        self.register_buffer("host_scale", host.scale, persistent=False)
        self.register_buffer(
            "profile_positions", torch.tensor(profiles, dtype=torch.int64), persistent=False
        )
        self.level_count = contract.level_count

    def forward(self, emulator: WrappedEmulator, batch: Batch) -> Tensor:
        """Return the loss, a scalar: the mean over columns."""
        rows, _ = emulator.network_rows(batch.inputs)
        total = (huber(rows - batch.targets, self.deltas) * self.weights).sum()
        if batch.host_targets.shape[1] > 0:
            received = emulator.constrain(batch.host_rows, rows).index_select(
                1, self.host_positions
            )
            scaled = (received / self.host_scale).to(torch.float32)
            total = (
                total
                + self.host_weight
                * (huber(scaled - batch.host_targets, self.host_deltas) * self.host_weights).sum()
            )
        if self.difference_weight > 0.0:
            total = total + self.difference_weight * self._differences(rows - batch.targets)
        return total / (rows.shape[0] * self.output_count)

    def _differences(self, error: Tensor) -> Tensor:
        """Return the summed loss on differences between neighbouring levels, where both levels
        count.
        """
        chosen = [
            part.index_select(-1, self.profile_positions)
            for part in (error, self.deltas, self.weights)
        ]
        by_level, delta, weight = (
            part.reshape(*part.shape[:-1], -1, self.level_count) for part in chosen
        )
        # All levels of an output have one weight, or 0 where pruned.
        both = torch.minimum(weight[:, 1:], weight[:, :-1])
        return (huber(by_level.diff(dim=-1), delta[:, 1:]) * both).sum()
