"""Choice of golden sequences for emulators with carried state, and how perturbations grow along
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from climlink.packages.golden import (
    PERTURBATION,
    GoldenSamples,
    choose_columns,
    moved,
    row_unit,
    sensitivity,
)
from climlink.wrappers.carried import CarriedPositions
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import CarriedPair
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

STEP_COUNT = 4
"""Steps of a golden sequence: the state is made, used, and handed on more than once."""

SEQUENCE_COUNT = 8

WARM_UPS = 3
"""Forwards before outputs count: TorchScript optimizes a graph when it has run, which may move last
bits.
"""


class Sequences:
    """Input rows of sequences whose carried inputs are the outputs of the step before."""

    def __init__(
        self,
        inputs: VariableSet,
        outputs: VariableSet,
        carried: Sequence[CarriedPair],
        n_output: int,
    ) -> None:
        self.inputs = inputs
        values = inputs.of_role("value")
        self.n_value: int = values.width
        self._values = _positions([inputs.slice(n) for n in values.names])
        places = CarriedPositions.of(inputs.layout(), outputs.layout(), carried)
        self._start = places.start
        # Carried outputs stand last in the row, behind any confidence, which the set lacks.
        self.given = torch.tensor(places.given) + (n_output - outputs.width)
        self.taken = torch.tensor(places.taken)

    @classmethod
    def of(cls, emulator: WrappedEmulator) -> Sequences:
        """Return the sequences of an emulator with carried state."""
        contract = emulator.contract
        return cls(contract.inputs, contract.outputs, contract.carried, emulator.n_output)

    def first(self, values: Tensor) -> Tensor:
        """Return rows [sequence, n_input] of a first step from its values [sequence, n_value]."""
        rows = torch.zeros([values.shape[0], self.inputs.width], dtype=torch.float32)
        rows[:, self._values] = values
        rows[:, self._start] = 1.0
        return rows

    def later(self, values: Tensor, before: Tensor) -> Tensor:
        """Return rows of a later step from its values and the output rows of the step before."""
        rows = self.first(values)
        rows[:, self._start] = 0.0
        rows[:, self.taken] = before[:, self.given]
        return rows


Judge = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Gives for input rows [row, n_input] how far outputs move, and which may be golden, [row]."""

Disturbed = Callable[[Tensor, float], Tensor]
"""Gives the outputs for input rows when something inside moves by a relative size."""


def choose_sequences(
    emulator: WrappedEmulator, script: torch.jit.ScriptModule, candidates: Tensor, scale: Tensor
) -> GoldenSamples:
    """Return golden sequences of an emulator, made of ``candidates`` [row, n_value].

    Steps are in the order of the rows. ``scale`` is the difference scale of the values. Raises
    ContractError as ``choose_columns`` does.
    """
    generator = torch.Generator().manual_seed(0)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        return sensitivity(emulator, rows, scale), torch.ones(rows.shape[0], dtype=torch.bool)

    def disturbed(x: Tensor, size: float) -> Tensor:
        rows, confidence = emulator.normalized_forward(x)
        unit = row_unit(emulator, rows)
        return emulator.output_rows(x, moved(rows, size * unit, generator), confidence)

    whole = torch.cat([scale, torch.ones(emulator.n_output - len(scale))])
    return chosen_sequences(Sequences.of(emulator), script, candidates, whole, judge, disturbed)


def chosen_sequences(
    layout: Sequences,
    run: Callable[[Tensor], Tensor],
    candidates: Tensor,
    scale: Tensor,
    judge: Judge,
    disturbed: Disturbed,
) -> GoldenSamples:
    """Return golden sequences of any graph (see ``choose_sequences``); ``scale`` is [n_output]."""
    if candidates.ndim != 2 or candidates.shape[1] != layout.n_value:
        raise ContractError(
            f"candidates must have shape [row, {layout.n_value}], got {list(candidates.shape)}"
        )
    count = candidates.shape[0] // STEP_COUNT
    if count < SEQUENCE_COUNT:
        raise ContractError(
            f"{candidates.shape[0]} candidate rows make {count} sequences of {STEP_COUNT} steps; "
            f"need {SEQUENCE_COUNT}: give more"
        )
    values = candidates[: count * STEP_COUNT].reshape(count, STEP_COUNT, -1).transpose(0, 1)
    with torch.no_grad():
        rows = _roll_out(layout, run, values)
        movement, usable = (t.unflatten(0, rows.shape[:2]) for t in judge(rows.flatten(0, 1)))
        numbers = torch.arange(count)[:, None]
        chosen = choose_columns(numbers, movement.amax(dim=0), usable.all(dim=0), SEQUENCE_COUNT)
        kept = values[:, chosen.rows.flatten()]
        # Rolled out again: what stands in the package comes from the batches that its replay has.
        golden = _roll_out(layout, run, kept)
        growth = _growth(layout, disturbed, kept, scale)
    return replace(chosen, rows=golden.flatten(0, 1).clone(), step_count=STEP_COUNT, growth=growth)


def _roll_out(layout: Sequences, run: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Return the input rows [step, sequence, n_input] of sequences with values [step, sequence,
    n_value].

    The outputs that are handed on come from one forward of all rows, as the golden outputs do:
    batches decide on last bits.
    """
    rows = torch.stack([layout.first(v) for v in values])
    for _ in range(WARM_UPS):
        run(rows.flatten(0, 1))
    for step in range(1, len(values)):
        outputs = run(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        for k in range(1, step + 1):
            rows[k] = layout.later(values[k], outputs[k - 1])
    return rows


def check_chain(layout: Sequences, chosen: GoldenSamples, outputs: Tensor) -> None:
    """Raise ContractError unless the carried inputs of every golden step are the outputs of the
    step before, to the bit.
    """
    x, y = (t.unflatten(0, (chosen.step_count, -1)) for t in (chosen.rows, outputs))
    if not torch.equal(x[1:][:, :, layout.taken], y[:-1][:, :, layout.given]):
        raise ContractError(
            "the graph gives other carried state for the same rows when it runs again: it cannot "
            "be replayed"
        )


def _growth(layout: Sequences, disturbed: Disturbed, values: Tensor, scale: Tensor) -> float:
    """Return how many times more chained outputs move than those of a single step, at least 1."""
    single, chained = 0.0, 0.0
    exact = moved_on = None
    for v in values:
        x = layout.first(v) if exact is None else layout.later(v, exact)
        y = x if moved_on is None else layout.later(v, moved_on)
        once, exact, moved_on = (
            disturbed(x, PERTURBATION),
            disturbed(x, 0.0),
            disturbed(y, PERTURBATION),
        )
        single = max(single, float(scaled_difference(once, exact, scale).max()))
        chained = max(chained, float(scaled_difference(moved_on, exact, scale).max()))
    return max(1.0, chained / single) if single > 0.0 else 1.0


def _positions(slices: list[slice]) -> Tensor:
    return torch.cat([torch.arange(s.start, s.stop) for s in slices])
