"""Golden rows of a foreign graph: those on which ways to run it agree, chosen by what its outputs
do.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from climlink.packages.golden import (
    GOLDEN_COLUMN_COUNT,
    JUMP,
    GoldenSamples,
    choose_columns,
    graph_sensitivity,
    signs,
)
from climlink.packages.golden_sequences import chosen_sequences
from climlink.packages.import_wrapper.carried_state import sequences
from climlink.packages.import_wrapper.foreign_graph import ForeignGraph, GraphError
from climlink.packages.import_wrapper.import_columns import ImportColumns
from climlink.wrappers.difference import scaled_difference

USUAL = 0.9
"""Share of the columns away from thresholds on which ways to run a graph must agree: fewer could be
chosen by luck.
"""


def choose_golden(
    graph: ForeignGraph,
    script: torch.jit.ScriptModule,
    columns: ImportColumns,
    outputs: Tensor,
    scale: Tensor,
    tolerance: float,
) -> GoldenSamples:
    """Return golden rows or sequences that differently compiled graphs agree on, calm if
    possible.
    """
    if columns.values is None:
        judged = _judged(graph, script, columns.rows, outputs, scale, tolerance)
        return choose_columns(columns.rows, *judged)
    generator = torch.Generator().manual_seed(0)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        return _judged(graph, script, rows, graph(rows), scale, tolerance)

    def disturbed(x: Tensor, size: float) -> Tensor:
        return graph(x * (1.0 + size * signs(x, generator)))

    return chosen_sequences(sequences(columns), graph, columns.values, scale, judge, disturbed)


def _judged(
    graph: ForeignGraph,
    script: torch.jit.ScriptModule,
    rows: Tensor,
    outputs: Tensor,
    scale: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Return how far outputs move with inputs, and where differently compiled graphs agree,
    [row].
    """
    spread = _spread_of_routes(graph, script, rows, outputs, scale)
    moved = graph_sensitivity(graph, rows, outputs, scale)
    calm = moved < JUMP
    judged = calm if int(calm.sum()) >= GOLDEN_COLUMN_COUNT else torch.ones_like(calm)
    usual = float(spread[judged].quantile(USUAL))
    if usual > tolerance:
        raise GraphError(
            f"{graph.path}: frozen, unoptimized and differently batched runs differ by {usual:.1e} "
            f"in one column of ten, beyond the tolerance {tolerance:g}: its arithmetic amplifies "
            f"rounding; accept this with --tolerance {2 * usual:.1e}"
        )
    return moved, spread <= tolerance


def _spread_of_routes(
    graph: ForeignGraph,
    script: torch.jit.ScriptModule,
    rows: Tensor,
    outputs: Tensor,
    scale: Tensor,
) -> Tensor:
    """Return for each row the largest difference from ``outputs`` of other ways to run the graph on
    this machine, [row].
    """
    try:
        frozen = replace(graph, module=torch.jit.freeze(script))
    except RuntimeError as error:
        raise GraphError(
            f"{graph.path}: libtorch cannot freeze the graph, as the Runtime does: "
            f"{str(error).strip().splitlines()[-1]}"
        ) from error
    whole = frozen(rows)
    parts = torch.cat([frozen(part) for part in rows.split(GOLDEN_COLUMN_COUNT)])
    with torch.jit.optimized_execution(False):
        plain = graph(rows)
    return torch.stack(
        [scaled_difference(y, outputs, scale).amax(dim=1) for y in (whole, parts, plain)]
    ).amax(dim=0)
