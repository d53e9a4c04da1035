"""What a training step gets of some columns, and how it is made from a store: through the fitted
emulator's own fields and normalization.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from climlink.data.store import ColumnStore
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_FLOAT_BYTES = 4
_CACHED_ROWS = 256
"""Rows normalized at once: their float64 steps stay in the processor's cache, which halves the
time.
"""


class Batch(NamedTuple):
    """Columns of one step, float32; the last two are empty [column, 0] where no host output enters
    the loss.
    """

    inputs: Tensor
    """Normalized network inputs [column, n_network]."""
    targets: Tensor
    """Normalized network targets [column, n_network_output]."""
    host_rows: Tensor
    """Host inputs in physical units [column, n_input]."""
    host_targets: Tensor
    """Targets of the chosen host outputs in units of their scale [column, n]."""

    def part(self, first: int, stop: int) -> Batch:
        """Return neighbouring columns, as views."""
        return Batch(*(values[first:stop] for values in self))

    def copied(self) -> Batch:
        """Return the columns in memory of their own."""
        return Batch(*(values.clone() for values in self))

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.inputs.shape[0]

    @property
    def bytes_per_column(self) -> int:
        """Memory of one column."""
        return _FLOAT_BYTES * sum(part.shape[1] for part in self)


def join(parts: list[Batch]) -> Batch:
    """Return the columns of several batches as one."""
    return Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class HostOutputs:
    """Host outputs that enter the loss as the host receives them; ``scale`` is float64 [width],
    physical units.
    """

    variables: VariableSet
    scale: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return self.variables.names


def host_outputs(names: list[str], outputs: VariableSet) -> VariableSet:
    """Return chosen host outputs as a set."""
    return VariableSet("loss", tuple(outputs[n] for n in names), outputs.sizes)


class Truth(Protocol):
    """Gives targets of times."""

    def targets(self, variables: VariableSet, times: NDArray[np.int64], /) -> NDArray[np.float64]:
        """Return target rows, float64 [row, width], physical units."""


class Encoder:
    """Turns times of a store into batches through a fitted emulator's own normalization."""

    def __init__(self, store: ColumnStore, emulator: WrappedEmulator, host: HostOutputs) -> None:
        self.store = store
        self._truth: Truth = store
        self._emulator = _without_network(emulator)
        self._host = host

    def of(self, store: ColumnStore, truth: Truth | None = None) -> Encoder:
        """Return the encoder of another store, with its own targets or those that ``truth``
        gives.
        """
        other = copy.copy(self)
        other.store, other._truth = store, truth or store
        return other

    @property
    def contract(self) -> EmulatorContract:
        """What the emulator reads and writes."""
        return self._emulator.contract

    def encode(self, times: NDArray[np.int64]) -> Batch:
        """Return the columns of some times, in order; targets are formed in float64 and cast
        last.
        """
        contract = self._emulator.contract
        rows = torch.from_numpy(self.store.pack(contract.inputs, times))
        targets = torch.from_numpy(self._truth.targets(contract.network_outputs, times))
        with torch.no_grad():
            parts = [self._emulator.normalized_inputs(part) for part in rows.split(_CACHED_ROWS)]
            inputs = torch.cat(parts)
            normalized = self._emulator.normalization.normalize_outputs(targets)
        if not self._host.names:
            nothing = torch.zeros(rows.shape[0], 0)
            return Batch(inputs, normalized, nothing, nothing)
        chosen = torch.from_numpy(self._truth.targets(self._host.variables, times))
        return Batch(inputs, normalized, rows, (chosen / self._host.scale).to(torch.float32))


def _without_network(emulator: WrappedEmulator) -> WrappedEmulator:
    """Return the emulator's contract, fields and normalization on the CPU: they stay there when the
    network moves, and reach other processes, which may not know the network's class.
    """
    shell = copy.copy(emulator)
    shell._modules = {**emulator._modules, "network": nn.Identity()}
    return copy.deepcopy(shell).cpu()
