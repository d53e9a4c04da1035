"""Choice of golden columns: real columns whose outputs do not hang on a threshold, or the least
sensitive ones, said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ContractError
from climlink.wrappers.wrapped_emulator import WrappedEmulator

GOLDEN_COLUMN_COUNT = 16
PERTURBATION = 1e-6
"""Relative size of the trial perturbations of the network's rows: what another machine's kernels
may differ by, with a margin.
"""

TRIALS = 4
"""Perturbations tried of every column."""

JUMP = 1e-3
"""A column whose outputs move by more than this under the trial perturbation sits on a threshold (a
night, a tropopause).
"""

INPUT_PERTURBATION = 1e-7
"""About one float32 rounding of the inputs."""

MOST_SENSITIVITY = 1e-2
"""Golden columns whose outputs move by more than this, a hundredth of their spread, would prove
nothing on another machine.
"""


@dataclass(frozen=True)
class GoldenSamples:
    """Golden rows [row, n_input], and the largest change of their outputs under the trial
    perturbations where that is beyond JUMP.

    Such columns are taken where too few are calm; the replay on another machine must then tolerate
    as much. None: all are calm. With carried state the rows are sequences of ``step_count`` steps,
    [step][sequence], and ``growth`` is how many times more their outputs move under the same
    perturbations when every step starts from the outputs of the step before.
    """

    rows: Tensor
    sensitivity: float | None
    step_count: int = 1
    growth: float = 1.0

    def chained_tolerance(self, single: float) -> float | None:
        """Return the tolerance of a chained replay where that of single steps is ``single``; None
        for single samples.
        """
        return single * self.growth if self.step_count > 1 else None


def sensitivity(emulator: WrappedEmulator, x: Tensor, scale: Tensor, seed: int = 0) -> Tensor:
    """Return the largest change of each column's outputs under small perturbations, [column], in
    the difference formula.

    Host rows move by one float32 rounding, the network's rows by PERTURBATION; either uncovers a
    column on a threshold.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, _ = emulator.normalized_forward(x)
    unit = row_unit(emulator, rows)
    reference = emulator.constrain(x, rows)
    worst = torch.zeros(x.shape[0], dtype=torch.float64)
    for _ in range(TRIALS):
        moved_rows = moved(rows, PERTURBATION * unit, generator)
        moved_x = x * (1.0 + INPUT_PERTURBATION * signs(x, generator))
        for candidate in (emulator.constrain(x, moved_rows), emulator.constrain(moved_x, rows)):
            worst = torch.maximum(worst, scaled_difference(candidate, reference, scale).amax(dim=1))
    return worst


def choose_golden(
    emulator: WrappedEmulator, candidates: Tensor, scale: Tensor, count: int = GOLDEN_COLUMN_COUNT
) -> GoldenSamples:
    """Return ``count`` of ``candidates`` [row, n_input]; ContractError as ``choose_columns``.

    ``scale`` is the difference scale of the outputs without confidence.
    """
    with torch.no_grad():
        every = torch.ones(candidates.shape[0], dtype=torch.bool)
        return choose_columns(candidates, sensitivity(emulator, candidates, scale), every, count)


def choose_columns(
    candidates: Tensor, moved: Tensor, usable: Tensor, count: int = GOLDEN_COLUMN_COUNT
) -> GoldenSamples:
    """Return ``count`` of the ``usable`` rows of ``candidates`` [row, n_input] whose outputs move
    by ``moved`` [row].

    They are spread evenly over those below JUMP, away from thresholds; where these are too few, the
    rows that move least are taken. Raises ContractError if too few are usable, or if those that
    move least move by more than MOST_SENSITIVITY.
    """
    possible = torch.nonzero(usable).flatten()
    if possible.numel() < count:
        raise ContractError(
            f"only {possible.numel()} of {candidates.shape[0]} candidate columns can be golden; "
            f"need {count}: give more columns"
        )
    calm = possible[moved[possible] < JUMP]
    if calm.numel() >= count:
        spread = torch.linspace(0, calm.numel() - 1, count).round().to(torch.int64)
        return GoldenSamples(candidates[calm[spread]].clone(), None)
    least = possible[moved[possible].argsort(stable=True)[:count]].sort().values
    largest = float(moved[least].max())
    if not largest <= MOST_SENSITIVITY:
        raise ContractError(
            f"only {calm.numel()} of {candidates.shape[0]} candidate columns are away from "
            f"thresholds; need {count}, and the outputs of the {count} that move least move by up "
            f"to {largest:.1e} of their spread under perturbations of {PERTURBATION:g}, beyond "
            f"{MOST_SENSITIVITY:g}: they could not tell a fault from another machine's rounding; "
            "give more columns"
        )
    return GoldenSamples(candidates[least].clone(), largest)


def graph_sensitivity(
    forward: Callable[[Tensor], Tensor], x: Tensor, reference: Tensor, scale: Tensor, seed: int = 0
) -> Tensor:
    """Return the largest change of each column's outputs [column] for a graph of which only inputs
    can be moved.

    ``reference`` [column, n_output] are the outputs for ``x`` [column, n_input]. Inputs move by one
    float32 rounding and by PERTURBATION, which stands for the kernels of another machine.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = torch.zeros(x.shape[0], dtype=torch.float64)
    for size in (INPUT_PERTURBATION, PERTURBATION) * 2:
        other = forward(x * (1.0 + size * signs(x, generator)))
        worst = torch.maximum(worst, scaled_difference(other, reference, scale).amax(dim=1))
    return worst


def row_unit(emulator: WrappedEmulator, rows: Tensor) -> Tensor:
    """Return the size of a network's outputs, [n_network_output]: 1 where climlink normalizes, else
    their spread over ``rows``.
    """
    if emulator.contract.normalization.scheme in ("range", "moments"):
        return torch.ones_like(rows[0])
    return rows.std(dim=0, correction=0)


def moved(rows: Tensor, size: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows moved up or down by ``size`` [width] and by a share of themselves,
    PERTURBATION.
    """
    return rows + (size + PERTURBATION * rows.abs() * (size > 0)) * signs(rows, generator)


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return plus and minus ones at random, of the shape and type of ``like``."""
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like.dtype)
