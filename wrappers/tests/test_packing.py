"""Confidence follows the outputs it belongs to into the order of the row."""

from __future__ import annotations

import torch
from torch import Tensor

from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.packing import ColumnRows
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable

LEVELS = 3


class SureOfEverything(ColumnEmulator):
    """Says of every output the number that it predicts."""

    has_confidence = True

    def __init__(self, shape: ColumnShape) -> None:
        super().__init__(shape)
        self.n_profile: int = shape.profile_outputs * shape.level_count
        self.n_output: int = self.n_profile + shape.scalar_outputs
        self.profile_outputs: int = shape.profile_outputs

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return 0, 1, 2, ... as packed outputs and as their confidence."""
        rows = torch.arange(self.n_output, dtype=torch.float32).repeat(profiles.shape[0], 1)
        out = rows[:, : self.n_profile].reshape(rows.shape[0], self.profile_outputs, -1)
        return out, rows[:, self.n_profile :], rows


def _rows(*outputs: Variable) -> tuple[Tensor, Tensor]:
    """Return rows and confidence through TorchScript, for two columns."""
    inputs = VariableSet("in", (Variable("t", "K", dims=(LEVEL,)),), {LEVEL: LEVELS})
    written = VariableSet("out", outputs, {LEVEL: LEVELS})
    shape = ColumnShape(1, 0, len(written.profiles), len(written.scalars), LEVELS)
    rows, confidence = torch.jit.script(ColumnRows(SureOfEverything(shape), inputs, written))(
        torch.zeros(2, LEVELS)
    )
    return rows, confidence


def test_confidence_stands_as_the_outputs_where_a_scalar_comes_first() -> None:
    rows, confidence = _rows(
        Variable("rain", "m/s"), Variable("dt", "K/s", dims=(LEVEL,)), Variable("snow", "m/s")
    )
    assert rows[0].tolist() == [3, 0, 1, 2, 4]  # the one profile was packed before both scalars
    assert torch.equal(confidence, rows)


def test_carried_state_has_no_confidence() -> None:
    rows, confidence = _rows(
        Variable("rain", "m/s"),
        Variable("dt", "K/s", dims=(LEVEL,)),
        Variable("memory", "1", dims=(LEVEL,), role="carried"),
    )
    assert rows[0].tolist() == [6, 0, 1, 2, 3, 4, 5]
    assert torch.equal(confidence, rows[:, :4])
