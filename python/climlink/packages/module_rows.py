"""A user's network as a network on rows: any nn.Module or TorchScript graph that takes rows and
gives rows.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.wrapped_emulator import WrappedEmulator

PROBE_ROWS = (48, 16)
"""Rows of the trials of a module: two sizes, and none a power of two alone, which a trace may have
written down.
"""

SAME_COLUMN = 1e-4
"""Largest difference of a sample's outputs in other company, in units of their spread: kernels
round by 1e-6, a dependence is larger.
"""


class ModuleRows(RowNetwork):
    """A module whose forward takes network rows and gives network rows, with their confidence
    behind where it has one.
    """

    def __init__(self, module: nn.Module, n_output: int, n_confidence: int) -> None:
        super().__init__()
        self.module = module
        self.n_output: int = n_output
        self.has_confidence: bool = n_confidence > 0

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows [batch, n_network_output] and confidence [batch, 0 or n_confidence]."""
        y = self.module(rows)
        return y[:, : self.n_output], y[:, self.n_output :]


class StatefulModuleRows(ModuleRows):
    """A module that makes its own initial state: its method ``initial_state(rows)`` gives [batch,
    n_carried].
    """

    if TYPE_CHECKING:
        module: Any

    def initial_state(self, rows: Tensor, n_carried: int) -> Tensor:
        """Return the module's initial state."""
        state: Tensor = self.module.initial_state(rows)
        return state


def network_of(module: nn.Module, contract: EmulatorContract, *, confidence: bool) -> RowNetwork:
    """Return a copy of a user's module, in evaluation mode on the CPU, as a network on rows.

    A module with ``initial_state(rows)`` makes its own state; otherwise it is zero. In rows the
    outputs come first, then carried state, then confidence.
    """
    outputs = contract.network_outputs
    n_confidence = outputs.of_role("value").width if confidence else 0
    own = copy.deepcopy(module).cpu().eval()
    kind = StatefulModuleRows if hasattr(own, "initial_state") else ModuleRows
    if kind is StatefulModuleRows and not contract.carried:
        raise ContractError(
            f"{type(module).__name__} has initial_state, but nothing is carried: give sets with "
            "variables of role 'carried'"
        )
    return kind(own, outputs.width, n_confidence)


def check_module(emulator: WrappedEmulator, rows: Tensor) -> None:
    """Run a module on host rows [row, n_input] and raise ContractError for what no host could use.

    It must give float32 rows of the declared width, finite, the same again, and each sample's
    whatever its company.
    """
    network = emulator.network
    assert isinstance(network, ModuleRows)
    name = type(network.module).__name__
    width = network.n_output + (emulator.n_network_value if network.has_confidence else 0)
    x = rows.repeat(-(-PROBE_ROWS[0] // rows.shape[0]), 1)[: PROBE_ROWS[0]]
    with torch.no_grad():
        normalized = emulator.normalized_inputs(x)
        y = _run(network.module, normalized, name, width)
        again = _run(network.module, normalized, name, width)
        part = _run(network.module, normalized[: PROBE_ROWS[1]], name, width)
    if not bool(torch.isfinite(y).all()):
        raise ContractError(
            f"{name} gives NaN or infinity for plausible rows: check that it takes "
            f"{'physical' if _physical(emulator) else 'normalized'} inputs in the order of set "
            f"{emulator.contract.network_inputs.name!r}"
        )
    if not torch.equal(y, again):
        raise ContractError(
            f"{name} gives other outputs for the same rows: leave random numbers and memory "
            "between calls out of forward"
        )
    spread = y.std(dim=0, correction=0) + y.abs().mean(dim=0) + torch.finfo(torch.float32).tiny
    if (
        emulator.contract.batch_granule > 1
        and float(((part - y[: PROBE_ROWS[1]]).abs() / spread).max()) > SAME_COLUMN
    ):
        raise ContractError(
            f"{name} gives a sample other outputs in other company: normalize over a batch, or mix "
            "its rows, in training only"
        )


def _physical(emulator: WrappedEmulator) -> bool:
    return emulator.contract.normalization.scheme == "none"


def _run(module: nn.Module, rows: Tensor, name: str, width: int) -> Tensor:
    try:
        y = module(rows)
    except (RuntimeError, TypeError, ValueError, IndexError, torch.jit.Error) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ContractError(
            f"{name} fails on float32 rows {list(rows.shape)}: {line:.300}"
        ) from error
    if not isinstance(y, Tensor):
        raise ContractError(
            f"{name} gives a {type(y).__name__}; expected one tensor [row, {width}]: join its "
            "results with torch.cat(..., dim=1)"
        )
    if y.dtype != torch.float32 or list(y.shape) != [rows.shape[0], width]:
        kind = str(y.dtype).removeprefix("torch.")
        raise ContractError(
            f"{name} gives {kind} {list(y.shape)} for {rows.shape[0]} rows; expected float32 "
            f"[{rows.shape[0]}, {width}]"
        )
    return y
