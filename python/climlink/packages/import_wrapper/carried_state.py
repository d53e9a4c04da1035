"""Carried state of a foreign graph: rows to examine it on, whether it matters, whether it grows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from climlink.packages.golden_sequences import (
    SEQUENCE_COUNT,
    STEP_COUNT,
    WARM_UPS,
    Sequences,
)
from climlink.packages.import_wrapper.foreign_graph import ROW_MULTIPLE, ForeignGraph
from climlink.packages.import_wrapper.import_columns import ImportColumns
from climlink.packages.import_wrapper.signature import PackedRows
from climlink.wrappers.difference import scaled_difference

MATTERS = 1e-2
"""State that moves no output by more of its scale when it is zeroed is said not to matter."""

LONG = 256
"""Chained steps over which state must stay bounded."""

GROWS = 1.25
"""Growth of the largest state from a quarter of the steps to half, and again to all, that is told.

A random walk grows by 1.41; state that forgets within 90 steps grows by less."""

BEGINS_EVERY = 8
"""One examined row in so many is a first step."""


def with_state(graph: ForeignGraph, rows: PackedRows, columns: ImportColumns) -> ImportColumns:
    """Return columns with whole rows: with the state that one step leaves, some of first steps."""
    if not rows.carried:
        return replace(columns, inputs=rows.inputs, outputs=rows.outputs)
    layout = sequences(rows)
    first = layout.first(columns.rows)
    whole = layout.later(columns.rows, graph.fresh()(first))
    whole[::BEGINS_EVERY] = first[::BEGINS_EVERY]
    return replace(
        columns,
        rows=whole,
        inputs=rows.inputs,
        outputs=rows.outputs,
        carried=rows.carried,
        values=columns.rows,
    )


def first_rows(rows: PackedRows, values: Tensor) -> Tensor:
    """Return rows [row, n_input] of first steps, from the values of their quantities."""
    return sequences(rows).first(values) if rows.carried else values


def sequences(columns: PackedRows | ImportColumns) -> Sequences:
    """Return the sequences of rows with carried state."""
    return Sequences(columns.inputs, columns.outputs, columns.carried, columns.outputs.width)


def forwards_of_state(columns: ImportColumns) -> int:
    """Return about how many rows run more for carried state than for a graph without."""
    count = columns.rows.shape[0]
    rolled_out = WARM_UPS + STEP_COUNT - 1
    candidates = count * (2 + rolled_out)  # and once for state to begin with, once to judge
    golden = SEQUENCE_COUNT * STEP_COUNT * (rolled_out + 3)
    zeroed = ROW_MULTIPLE * STEP_COUNT * (2 + len(columns.carried))
    return candidates + golden + zeroed + ROW_MULTIPLE * LONG


def state_findings(graph: ForeignGraph, columns: ImportColumns, scale: Tensor) -> list[str]:
    """Return what a user should know of the state: that some does not matter, or grows."""
    assert columns.values is not None
    layout, values = sequences(columns), columns.values[:ROW_MULTIPLE]
    return [
        *_without_effect(graph, layout, columns, values, scale),
        *_without_bound(graph, layout, columns, values),
    ]


def _without_effect(
    graph: ForeignGraph,
    layout: Sequences,
    columns: ImportColumns,
    values: Tensor,
    scale: Tensor,
) -> list[str]:
    """Zero each state by itself after a few steps, and compare outputs of the steps that follow."""
    before = _chain(graph, layout, values, graph(layout.first(values)), STEP_COUNT)[-1]
    predicted = slice(0, columns.outputs.of_role("value").width)
    undisturbed = _chain(graph, layout, values, before, STEP_COUNT)
    found = []
    for pair in columns.carried:
        zeroed = before.clone()
        zeroed[:, columns.outputs.slice(pair.output)] = 0.0
        after = _chain(graph, layout, values, zeroed, STEP_COUNT)
        both = zip(after, undisturbed, strict=True)
        moved = max(float(scaled_difference(a, b, scale)[:, predicted].max()) for a, b in both)
        if not moved > MATTERS:
            found.append(
                f"carried state {pair.input} never changes the outputs: zeroing it moves them by "
                f"{moved:.1e} of their scale at most, over {STEP_COUNT} steps"
            )
    return found


def _without_bound(
    graph: ForeignGraph,
    layout: Sequences,
    columns: ImportColumns,
    values: Tensor,
) -> list[str]:
    """Chain steps on unchanging inputs; compare the state after a quarter, half and all of them."""
    chain = _chain(graph, layout, values, graph(layout.first(values)), LONG - 1)
    bad = next((k for k, y in enumerate(chain) if not bool(torch.isfinite(y).all())), None)
    if bad is not None:
        steps = f"{bad + 2} chained steps on unchanging inputs"
        return [f"outputs or state are not finite after {steps}"]
    found = []
    for pair in columns.carried:
        where = columns.outputs.slice(pair.output)
        sizes = [float(chain[LONG // part - 2][:, where].abs().max()) for part in (4, 2, 1)]
        if all(later > GROWS * earlier for earlier, later in pairwise(sizes)):
            told = zip(sizes, (4, 2, 1), strict=True)
            steps = ", ".join(f"{size:.3g} after {LONG // part}" for size, part in told)
            found.append(f"carried state {pair.input} grows on unchanging inputs: to {steps} steps")
    return found


def _chain(
    graph: ForeignGraph,
    layout: Sequences,
    values: Tensor,
    before: Tensor,
    count: int,
) -> list[Tensor]:
    """Return the outputs of ``count`` steps on the same values, each after the one before."""
    outputs = []
    for _ in range(count):
        before = graph(layout.later(values, before))
        outputs.append(before)
    return outputs
