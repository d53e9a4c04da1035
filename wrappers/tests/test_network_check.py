"""A network of one's own is tried before it is trusted: what does not fit the contract is told
before anything is trained.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.network_check import check_network
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable
from climlink.wrappers.wrapped_emulator import WrappedEmulator

SIZES = {"level": 4}
INPUTS = VariableSet("i", (Variable("a", "K", dims=("level",)), Variable("b", "Pa")), SIZES)
OUTPUTS = VariableSet("o", (Variable("c", "K/s", dims=("level",)), Variable("d", "1")), SIZES)
CONTRACT = EmulatorContract.of(
    inputs=INPUTS, outputs=OUTPUTS, normalization=NormalizationConfig(scheme="none")
)


class Columns(ColumnEmulator):
    """Gives tensors of chosen shapes."""

    def __init__(self, *sizes: list[int], confidence: bool = False) -> None:
        super().__init__(CONTRACT.network_shape)
        self.sizes = [*sizes]
        self.has_confidence = confidence
        self.drop = nn.Dropout(0.5)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.training:
            raise RuntimeError("must be tried in evaluation mode")
        a, b, c = (torch.zeros(profiles.shape[0], *s) for s in self.sizes)
        return a, b, c


class Rows(RowNetwork):
    """Gives rows of a chosen width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(5, width)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.map(rows), rows[:, :0]


def test_networks_that_fit_keep_their_modes() -> None:
    network = Columns([1, 4], [1], [5], confidence=True).train()
    network.drop.eval()
    check_network(network, CONTRACT)
    assert (network.training, network.drop.training) == (True, False)
    check_network(Rows(5), CONTRACT)
    assert (
        WrappedEmulator(CONTRACT, network).n_output,
        WrappedEmulator(CONTRACT, Rows(5)).n_output,
    ) == (10, 5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Columns([1, 3], [1], [0]),
            "Columns.forward gives profiles of shape [2, 1, 3] for 2 rows, expected [2, 1, 4]",
        ),
        (Columns([1, 4], [2], [0]), "gives scalars of shape [2, 2] for 2 rows, expected [2, 1]"),
        (Columns([1, 4], [1], [5]), "gives confidence of shape [2, 5] for 2 rows, expected [2, 0]"),
        (
            Columns([1, 4], [1], [0], confidence=True),
            "gives confidence of shape [2, 0] for 2 rows, expected [2, 5]",
        ),
        (
            Columns([1, 4], [1]),
            "Columns fails on inputs of shapes [2, 1, 4], [2, 1]: ValueError: not enough values",
        ),
        (Rows(6), "Rows.forward gives rows of shape [2, 6] for 2 rows, expected [2, 5]"),
    ],
)
def test_other_shapes_are_named(network: ColumnEmulator | RowNetwork, message: str) -> None:
    with pytest.raises(ContractError, match=re.escape(message)):
        check_network(network, CONTRACT)


def test_what_forward_raises_is_told_with_its_line() -> None:
    class Wrong(Rows):
        def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
            return self.map(rows[:, 1:]), rows

    with pytest.raises(
        ContractError,
        match=r"Wrong fails on inputs of shapes \[2, 5\]: RuntimeError: mat1 "
        r".*test_network_check.py, line \d+\)",
    ):
        check_network(Wrong(5), CONTRACT)


def test_a_single_result_is_named() -> None:
    class Single(Rows):
        def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
            return self.map(rows)

    with pytest.raises(
        ContractError,
        match=re.escape("Single.forward must return the tensors (rows, confidence), got (Tensor)"),
    ):
        check_network(Single(5), CONTRACT)
