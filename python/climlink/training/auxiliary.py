"""Auxiliary targets: what a network predicts besides its outputs, for its training's sake only."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from climlink.data.derivations import ON_REQUEST
from climlink.data.errors import DataError, StoreError
from climlink.data.moments import Moments
from climlink.data.store import ColumnStore
from climlink.training.errors import TrainingError
from climlink.training.loss_config import LossConfig
from climlink.wrappers.auxiliary import STATE_CLASS, target_of
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import VariableSet


def require_auxiliary(store: ColumnStore, contract: EmulatorContract) -> None:
    """Raise TrainingError naming the first auxiliary target that a store cannot give, and why."""
    for name in contract.network_outputs.of_role("auxiliary").names:
        try:
            store.read([name], store.indices("train")[:1])
        except (DataError, StoreError) as error:
            raise TrainingError(f"auxiliary target {name}: {error}") from error


def with_auxiliary(
    statistics: Statistics, store: ColumnStore, contract: EmulatorContract
) -> Statistics:
    """Return statistics that cover the network outputs that have a scale and are computed on
    request only, measured on the training split.
    """
    wanted = [
        v
        for v in contract.network_outputs.of_role("value", "auxiliary").variables
        if v.name in ON_REQUEST and v.units != "1" and v.name not in statistics.variables
    ]
    if not wanted:
        return statistics
    moments = {v.name: Moments(contract.network_outputs.width_of(v.name)) for v in wanted}
    times, size = store.indices("train"), max(store.time_chunk, store.read_together)
    for first in range(0, len(times), size):
        for name, values in store.read(moments, times[first : first + size]).items():
            moments[name].add(values.astype(np.float64).reshape(len(values), -1))
    added = {name: moment.statistics() for name, moment in moments.items()}
    return dataclasses.replace(statistics, variables={**statistics.variables, **added})


class AuxiliaryLoss(nn.Module):
    """Summed loss of the auxiliary outputs: cross entropy of state classes, whose rows are logits,
    and the run's own loss of one value for all others.
    """

    positions: Tensor
    weights: Tensor
    classes: Tensor

    def __init__(self, config: LossConfig, outputs: VariableSet) -> None:
        super().__init__()
        where: list[int] = []
        weights: list[float] = []
        classes: list[int] = []
        self.class_weight = 0.0
        for v in outputs.of_role("auxiliary").variables:
            name = target_of(v)
            counts = not config.outputs or name in config.outputs
            weight = config.auxiliary_weight_of.get(name, 1.0) if counts else 0.0
            own = range(outputs.slice(v.name).start, outputs.slice(v.name).stop)
            if name == STATE_CLASS:
                self.class_weight = weight
                classes += own
            else:
                where += own
                weights += [weight] * len(own)
        for name, values in (
            ("positions", torch.tensor(where, dtype=torch.int64)),
            ("weights", torch.tensor(weights)),
            ("classes", torch.tensor(classes, dtype=torch.int64)),
        ):
            self.register_buffer(name, values, persistent=False)

    @property
    def counts(self) -> bool:
        """Whether any auxiliary output enters the loss."""
        return self.class_weight > 0.0 or bool((self.weights > 0.0).any())

    def forward(self, rows: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        """Return the weighted sum over the columns of ``rows``, ``targets`` and the elementwise
        ``losses`` of a value, each [column, n_network_output].
        """
        total = (losses.index_select(1, self.positions) * self.weights).sum()
        if self.class_weight > 0.0:
            logits, truth = (part.index_select(1, self.classes) for part in (rows, targets))
            entropy = functional.cross_entropy(logits.float(), truth, reduction="sum")
            total = total + self.class_weight * entropy
        return total
