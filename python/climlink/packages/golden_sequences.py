"""Choice of golden sequences for emulators with carried state, and how perturbations grow along them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from climlink.packages.golden import PERTURBATION, GoldenSamples, choose_columns, moved, row_unit, sensitivity
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import START
from climlink.wrappers.wrapped_emulator import WrappedEmulator

STEP_COUNT = 4
"""Steps of a golden sequence: the state is made, used, and handed on more than once."""

SEQUENCE_COUNT = 8

WARM_UPS = 3
"""Forwards before outputs count: TorchScript optimizes a graph when it has run, which may move last bits."""


class Sequences:
    """Input rows of sequences whose carried inputs are the outputs of the step before."""

    def __init__(self, contract: EmulatorContract, n_output: int) -> None:
        self.inputs, outputs = contract.inputs, contract.outputs
        values = self.inputs.of_role("value")
        self.n_value: int = values.width
        self._values = _positions([self.inputs.slice(n) for n in values.names])
        self._start = self.inputs.offset(START)
        # Carried outputs stand last in the row, behind any confidence, in the order of the set without it.
        shift = n_output - outputs.width
        pairs = [(outputs.slice(p.output), self.inputs.slice(p.input)) for p in contract.carried]
        self.given = _positions([slice(o.start + shift, o.stop + shift) for o, _ in pairs])
        self.taken = _positions([i for _, i in pairs])

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


def choose_sequences(emulator: WrappedEmulator, script: torch.jit.ScriptModule, candidates: Tensor, scale: Tensor) -> GoldenSamples:
    """Return golden sequences made of ``candidates`` [row, n_value], their steps in the order of the rows.

    ``scale`` is the difference scale of the values. Raises ContractError as ``choose_columns`` does.
    """
    layout = Sequences(emulator.contract, emulator.n_output)
    if candidates.ndim != 2 or candidates.shape[1] != layout.n_value:
        raise ContractError(f"candidates must have shape [row, {layout.n_value}], got {list(candidates.shape)}")
    count = candidates.shape[0] // STEP_COUNT
    if count < SEQUENCE_COUNT:
        raise ContractError(
            f"{candidates.shape[0]} candidate rows make {count} sequences of {STEP_COUNT} steps; need {SEQUENCE_COUNT}: give more"
        )
    values = candidates[: count * STEP_COUNT].reshape(count, STEP_COUNT, -1).transpose(0, 1)
    with torch.no_grad():
        rows = _roll_out(layout, script, values)
        calm = torch.stack([sensitivity(emulator, rows[k], scale) for k in range(STEP_COUNT)]).amax(dim=0)
        chosen = choose_columns(torch.arange(count)[:, None], calm, torch.ones(count, dtype=torch.bool), SEQUENCE_COUNT)
        kept = values[:, chosen.rows.flatten()]
        # Rolled out again: what stands in the package comes from the batches that its replay has.
        golden = _roll_out(layout, script, kept)
        growth = _growth(layout, emulator, kept, torch.cat([scale, torch.ones(emulator.n_output - len(scale))]))
    return replace(chosen, rows=golden.flatten(0, 1).clone(), step_count=STEP_COUNT, growth=growth)


def _roll_out(layout: Sequences, script: torch.jit.ScriptModule, values: Tensor) -> Tensor:
    """Return the input rows [step, sequence, n_input] of sequences with values [step, sequence, n_value].

    The outputs that are handed on come from one forward of all rows, as the golden outputs do: batches decide on last bits.
    """
    rows = torch.stack([layout.first(v) for v in values])
    for _ in range(WARM_UPS):
        script(rows.flatten(0, 1))
    for step in range(1, len(values)):
        outputs = script(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        for k in range(1, step + 1):
            rows[k] = layout.later(values[k], outputs[k - 1])
    return rows


def check_chain(contract: EmulatorContract, chosen: GoldenSamples, outputs: Tensor) -> None:
    """Raise ContractError unless the carried inputs of every golden step are the outputs of the step before, to the bit."""
    layout = Sequences(contract, outputs.shape[1]) if contract.carried else None
    if layout is None:
        return
    x, y = (t.unflatten(0, (chosen.step_count, -1)) for t in (chosen.rows, outputs))
    if not torch.equal(x[1:][:, :, layout.taken], y[:-1][:, :, layout.given]):
        raise ContractError("the graph gives other carried state for the same rows when it runs again: it cannot be replayed")


def _growth(layout: Sequences, emulator: WrappedEmulator, values: Tensor, scale: Tensor) -> float:
    """Return how many times more chained outputs move than those of a single step, at least 1."""
    generator = torch.Generator().manual_seed(0)

    def answer(x: Tensor, share: float) -> Tensor:
        rows, confidence = emulator.normalized_forward(x)
        return emulator.output_rows(x, moved(rows, share * row_unit(emulator, rows), generator), confidence)

    single, chained = 0.0, 0.0
    exact = disturbed = None
    for v in values:
        x = layout.first(v) if exact is None else layout.later(v, exact)
        y = x if disturbed is None else layout.later(v, disturbed)
        once, exact, disturbed = answer(x, PERTURBATION), answer(x, 0.0), answer(y, PERTURBATION)
        single = max(single, float(scaled_difference(once, exact, scale).max()))
        chained = max(chained, float(scaled_difference(disturbed, exact, scale).max()))
    return max(1.0, chained / single) if single > 0.0 else 1.0


def _positions(slices: list[slice]) -> Tensor:
    return torch.cat([torch.arange(s.start, s.stop) for s in slices])
