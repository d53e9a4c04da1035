"""Network outputs that predict worse than their mean on held-out times, and the constraint that
answers them with the training mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.moments import Moments
from climlink.data.store import ColumnStore
from climlink.training.column_data import split_times
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.wrappers.constraints import changed_entries
from climlink.wrappers.constraints.skill import UnskilledToMean
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator


def unskilled_entry(
    emulator: WrappedEmulator, store: ColumnStore, validation: ValidationConfig
) -> ConstraintEntry:
    """Return the constraint ``unskilled_to_mean`` for the network outputs and levels whose R² is
    negative on the held-out times of a training, with their means over the times trained on.

    The network is scored by itself, before any constraint; outputs that do not vary are left alone.
    Test times are never read. TrainingError where the training holds no times out.
    """
    trained, held = split_times(store, validation)
    if held.size == 0:
        raise TrainingError(
            "which outputs have no skill is told by held-out times only, and validation source "
            "none holds none out; train with source store or cut"
        )
    outputs = emulator.contract.network_outputs.of_role("value")
    unskilled = _r2(emulator, store, outputs, held) < 0.0
    means = Moments(outputs.width)
    for times in _blocks(store, trained):
        means.add(store.targets(outputs, times))
    found = {n: torch.nonzero(unskilled[outputs.slice(n)]).flatten() for n in outputs.names}
    mean = means.statistics().mean
    return ConstraintEntry(
        name=UnskilledToMean.name,
        parameters={
            "levels": {n: k.tolist() for n, k in found.items() if k.numel()},
            "means": {n: mean[outputs.slice(n)][k].tolist() for n, k in found.items() if k.numel()},
        },
    )


def with_means(emulator: WrappedEmulator, entry: ConstraintEntry) -> WrappedEmulator:
    """Return an emulator of the same network and normalization that has the constraint of
    ``unskilled_entry``, in place of any it had.
    """
    return emulator.with_constraints(changed_entries(emulator.contract.constraints, [entry]))


def _r2(
    emulator: WrappedEmulator, store: ColumnStore, outputs: VariableSet, held: NDArray[np.int64]
) -> Tensor:
    """Return R² of every network output in physical units [width], float64; NaN where the truth
    does not vary.
    """
    truth = Moments(outputs.width)
    error = torch.zeros(outputs.width, dtype=torch.float64)
    for times in _blocks(store, held):
        target = store.targets(outputs, times)
        truth.add(target)
        with torch.no_grad():
            rows, _ = emulator.normalized_forward(
                torch.from_numpy(store.pack(emulator.contract.inputs, times))
            )
            predicted = emulator.physical_outputs(rows)
        values = torch.cat([predicted[n] for n in outputs.names], dim=1)
        error += (values - torch.from_numpy(target)).square().sum(dim=0)
    spread = truth.statistics().std.square() * truth.count
    return torch.where(spread > 0.0, 1.0 - error / spread, torch.full_like(error, float("nan")))


def _blocks(store: ColumnStore, times: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    size = max(1, store.time_chunk)
    yield from (times[i : i + size] for i in range(0, len(times), size))
