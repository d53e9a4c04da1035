"""Choice of golden columns: real columns whose outputs do not hang on a threshold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ContractError
from climlink.wrappers.wrapped_emulator import WrappedEmulator

GOLDEN_COLUMN_COUNT = 16
PERTURBATION = 1e-6
"""Relative size of the trial perturbations of the network's rows: what another machine's kernels may differ by, with a margin."""

JUMP = 1e-3
"""A column whose outputs move by more than this under the trial perturbation sits on a threshold (a night, a tropopause)."""

INPUT_PERTURBATION = 1e-7
"""About one float32 rounding of the inputs."""


def sensitivity(emulator: WrappedEmulator, x: Tensor, scale: Tensor, seed: int = 0) -> Tensor:
    """Return the largest change of each column's outputs under small perturbations, [column], in the difference formula.

    Host rows move by one float32 rounding, the network's rows by PERTURBATION; either uncovers a column on a threshold.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, _ = emulator.normalized_forward(x)
    reference = emulator.constrain(x, rows)
    worst = torch.zeros(x.shape[0], dtype=torch.float64)
    for _ in range(4):
        moved_rows = rows + PERTURBATION * (1.0 + rows.abs()) * _signs(rows, generator)
        moved_x = x * (1.0 + INPUT_PERTURBATION * _signs(x, generator))
        for candidate in (emulator.constrain(x, moved_rows), emulator.constrain(moved_x, rows)):
            worst = torch.maximum(worst, scaled_difference(candidate, reference, scale).amax(dim=1))
    return worst


def choose_golden(emulator: WrappedEmulator, candidates: Tensor, scale: Tensor, count: int = GOLDEN_COLUMN_COUNT) -> Tensor:
    """Return ``count`` rows of ``candidates`` [row, n_input] that are away from thresholds, spread evenly over the candidates.

    ``scale`` is the difference scale of the outputs without confidence. Raises ContractError if fewer candidates qualify.
    """
    with torch.no_grad():
        return spread_calm(candidates, sensitivity(emulator, candidates, scale) < JUMP, count)


def spread_calm(candidates: Tensor, calm: Tensor, count: int = GOLDEN_COLUMN_COUNT) -> Tensor:
    """Return ``count`` of the rows of ``candidates`` where ``calm`` [row] is true, spread evenly; ContractError if there are fewer."""
    rows = torch.nonzero(calm).flatten()
    if rows.numel() < count:
        raise ContractError(
            f"only {rows.numel()} of {candidates.shape[0]} candidate columns are away from thresholds; need {count}: give more columns"
        )
    spread = torch.linspace(0, rows.numel() - 1, count).round().to(torch.int64)
    return candidates[rows[spread]].clone()


def graph_sensitivity(forward: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, seed: int = 0) -> Tensor:
    """Return the largest change of each column's outputs [column] for a graph of which only inputs can be moved.

    Inputs move by one float32 rounding and by PERTURBATION, which stands for the kernels of another machine.
    """
    generator = torch.Generator().manual_seed(seed)
    reference = forward(x)
    worst = torch.zeros(x.shape[0], dtype=torch.float64)
    for size in (INPUT_PERTURBATION, PERTURBATION) * 2:
        moved = forward(x * (1.0 + size * _signs(x, generator)))
        worst = torch.maximum(worst, scaled_difference(moved, reference, scale).amax(dim=1))
    return worst


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like.dtype)
