"""The training loss of a batch of columns: elementwise on normalized outputs, optionally also on
what the host receives, on differences between levels, on confidence and on auxiliary targets
(docs/losses.md has the formulas).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from climlink.data.competition import Weights, counted
from climlink.training.auxiliary import AuxiliaryLoss
from climlink.training.blame import blame
from climlink.training.data import Batch, HostOutputs
from climlink.training.errors import TrainingError
from climlink.training.loss_config import LossConfig
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_PRUNED = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn", "ptend_u", "ptend_v")
"""Tendencies that the constraints make zero on pruned levels."""

CONFIDENCE_DELTA = 1.0
"""Huber delta of the confidence against the loss that it predicts (published)."""


def _huber(error: Tensor, delta: Tensor) -> Tensor:
    # torch takes one delta for all values; that of a value scales out.
    scaled = error / delta
    return delta.square() * functional.huber_loss(
        scaled, torch.zeros_like(scaled), reduction="none"
    )


def _smooth_l1(error: Tensor, delta: Tensor) -> Tensor:
    scaled = error / delta
    return delta * functional.smooth_l1_loss(scaled, torch.zeros_like(scaled), reduction="none")


def _mse(error: Tensor, delta: Tensor) -> Tensor:
    return functional.mse_loss(error, torch.zeros_like(error), reduction="none")


def _mae(error: Tensor, delta: Tensor) -> Tensor:
    return functional.l1_loss(error, torch.zeros_like(error), reduction="none")


_ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "huber": _huber,
    "smooth_l1": _smooth_l1,
    "mse": _mse,
    "mae": _mae,
    "mse_mae": lambda error, delta: _mse(error, delta) + _mae(error, delta),
    # What has no confidence of its own: level differences, host outputs, auxiliary targets.
    "gaussian_nll": _mse,
}


def elementwise(kind: str, error: Tensor, delta: Tensor) -> Tensor:
    """Return the loss of every value of ``error`` (prediction - target), of its shape; ``delta``
    broadcasts to it.

    huber: e^2/2 where |e| <= delta, delta (|e| - delta/2) beyond. smooth_l1: huber / delta. mse:
    e^2. mae: |e|. mse_mae: their sum. gaussian_nll: e^2, of what has no confidence.
    """
    return _ELEMENTWISE[kind](error, delta)


def output_weights(
    variables: VariableSet,
    config: LossConfig,
    pruned_levels: int,
    score_weights: Weights | None = None,
) -> Tensor:
    """Return the weight of every output in the loss [width]: 0 where it is masked or is none of
    ``outputs``, else as configured. DataError where the competition's score knows no such outputs.
    """
    weights = torch.ones(variables.width)
    for v in variables.variables:
        where = variables.slice(v.name)
        weights[where] = config.weight_of.get(v.name, 1.0 if v.dims else config.scalar_weight)
        if config.outputs and v.name not in config.outputs:
            weights[where] = 0.0
        if v.name in _PRUNED and config.masked != "none":
            weights[where.start : where.start + pruned_levels] = 0.0
    if config.masked == "score" and variables.variables:
        weights *= torch.from_numpy(counted(variables, score_weights)).to(weights.dtype)
    return weights


def output_deltas(variables: VariableSet, config: LossConfig) -> Tensor:
    """Return the delta of every output [width]."""
    deltas = torch.full((variables.width,), config.delta)
    for v in variables.variables:
        deltas[variables.slice(v.name)] = config.delta_of.get(v.name, config.delta)
    return deltas


class ColumnLoss(nn.Module):
    """Loss of a batch (see LossConfig): what training minimizes, ``loss(emulator, batch)``."""

    weights: Tensor
    deltas: Tensor
    host_weights: Tensor
    host_deltas: Tensor
    host_positions: Tensor
    host_columns: Tensor
    host_scale: Tensor
    profile_positions: Tensor

    def __init__(
        self,
        config: LossConfig,
        emulator: WrappedEmulator,
        host: HostOutputs,
        score_weights: Weights | None = None,
    ) -> None:
        """``host`` is what batches carry of the host's outputs, those of the loss and perhaps more;
        ``score_weights`` are the store's target weights.

        TrainingError for a confidence that the network does not give, host outputs that batches do
        not carry, and where no output counts; DataError where ``masked: score`` meets other outputs
        than the competition's.
        """
        super().__init__()
        self._config, self._batches = config, host
        self._check(emulator, host)
        contract = emulator.contract
        own, values = contract.network_outputs, contract.network_outputs.of_role("value")
        chosen = tuple(host.variables[n] for n in config.host_outputs)
        received = VariableSet("loss", chosen, host.variables.sizes)
        columns = _positions(host.variables, received.names)
        prunes = any(c.name in ("prune", "liquid_ice_partition") for c in contract.constraints)
        pruned = contract.pruned_levels if prunes else 0
        for name, value in {
            "weights": output_weights(values, config, pruned, score_weights),
            "deltas": output_deltas(own, config),
            "host_weights": output_weights(received, config, pruned, score_weights),
            "host_deltas": output_deltas(received, config),
            "host_positions": _positions(contract.outputs, received.names),
            "host_columns": columns,
            "host_scale": host.scale[columns],
            "profile_positions": _positions(values, [v.name for v in values.profiles]),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.value_count, self.level_count = values.width, contract.level_count
        self.has_host = bool((self.host_weights > 0.0).any())
        self.auxiliary = AuxiliaryLoss(config, own)
        if not (self.has_host or self.auxiliary.counts or bool((self.weights > 0.0).any())):
            raise TrainingError(
                f"loss: nothing counts: of {', '.join(config.outputs) or 'all outputs'}, masked "
                f"{config.masked}, the network gives none, and none is among host_outputs"
            )

    def _check(self, emulator: WrappedEmulator, host: HostOutputs) -> None:
        config, levels = self._config, emulator.contract.level_count
        if config.needs_confidence and not emulator.network.has_confidence:
            asks = "confidence_weight" if config.confidence_weight > 0 else "kind gaussian_nll"
            raise TrainingError(
                f"loss: {asks} needs a network that gives confidence, and this one gives none; set "
                "architecture.configuration.confidence: true"
            )
        absent = [n for n in config.host_outputs if n not in host.variables]
        if absent:
            raise TrainingError(
                f"loss: host_outputs {', '.join(absent)} are not in the batches, which carry "
                f"{', '.join(host.names) or 'none'}"
            )
        profiles = emulator.contract.network_outputs.of_role("value").profiles
        far = [lag for lag in config.level_differences if lag >= levels or not profiles]
        if far:
            raise TrainingError(
                f"loss: level_differences over {far[0]} level(s) need profiles of more levels; the "
                f"network gives {len(profiles)} profile(s) of {levels} level(s)"
            )

    def forward(self, emulator: WrappedEmulator, batch: Batch) -> Tensor:
        """Return the loss, a scalar, of an emulator for a batch of columns."""
        rows, confidence = emulator.network_rows(batch.inputs)
        return self.of_rows(emulator, rows, confidence, batch)

    def blame(self, emulator: WrappedEmulator, batch: Batch) -> str:
        """Return, for people, why the loss of a batch is not finite."""
        return blame(emulator, batch, self._batches)

    def of_rows(
        self, emulator: WrappedEmulator, rows: Tensor, confidence: Tensor, batch: Batch
    ) -> Tensor:
        """Return the loss, a scalar, for the network's normalized rows [column, n_network_output]
        and confidence [column, n_network_value or 0].
        """
        config, error = self._config, rows - batch.targets
        losses = elementwise(config.kind, error, self.deltas)
        total = self._values(losses, error, confidence)
        total = total + self.auxiliary(rows, batch.targets, losses)
        if self.has_host:
            total = total + config.host_weight * self._host(emulator, rows, batch)
        total = total / self.value_count
        for lag, weight in config.level_differences.items():
            total = total + weight * self._differences(error, lag)
        return total / rows.shape[0]

    def _values(self, losses: Tensor, error: Tensor, confidence: Tensor) -> Tensor:
        """Return the summed loss of the network's own outputs and of their confidence."""
        config, own = self._config, losses[:, : self.value_count]
        if config.kind == "gaussian_nll":
            values = error[:, : self.value_count]
            own = functional.gaussian_nll_loss(
                values, torch.zeros_like(values), confidence.to(own.dtype).exp(), reduction="none"
            )
        if config.confidence_weight > 0.0:
            own = own + config.confidence_weight * functional.huber_loss(
                confidence.to(own.dtype), own.detach(), delta=CONFIDENCE_DELTA, reduction="none"
            )
        return (own * self.weights).sum()

    def _host(self, emulator: WrappedEmulator, rows: Tensor, batch: Batch) -> Tensor:
        """Return the summed loss of the host outputs as the host receives them."""
        received = emulator.constrain(batch.host_rows, rows).index_select(1, self.host_positions)
        scaled = (received / self.host_scale).to(torch.float32)
        error = scaled - batch.host_targets.index_select(1, self.host_columns)
        return (elementwise(self._config.kind, error, self.host_deltas) * self.host_weights).sum()

    def _differences(self, error: Tensor, lag: int) -> Tensor:
        """Return the loss on differences between levels, summed over columns, as a mean over the
        differences; those of which a level does not count are zero.
        """
        by_level, delta, weight = (
            part.index_select(-1, self.profile_positions).unflatten(-1, (-1, self.level_count))
            for part in (error, self.deltas, self.weights)
        )
        # All levels of an output have one weight, or 0 where masked.
        both = torch.minimum(weight[:, lag:], weight[:, :-lag])
        apart = by_level[..., lag:] - by_level[..., :-lag]
        losses = elementwise(self._config.kind, apart, delta[:, lag:])
        return (losses * both).sum() / both.numel()


def _positions(variables: VariableSet, names: Sequence[str]) -> Tensor:
    """Return the positions of some variables in a row, in the order of the names."""
    where = [variables.slice(n) for n in names]
    return torch.tensor([k for s in where for k in range(s.start, s.stop)], dtype=torch.int64)
