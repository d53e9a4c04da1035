"""Examination of a foreign graph: what it must do before anything is promised about it, and what a
user should know.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from climlink.packages.import_wrapper.foreign_graph import ROW_MULTIPLE, ForeignGraph, GraphError
from climlink.packages.import_wrapper.graph_code import (
    operators_in_training,
    operators_on_cpu,
    prints,
    random_operators,
    written_attributes,
)
from climlink.packages.import_wrapper.graph_diagnosis import batches_taken, shape_hint, why_it_fails
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names

CONFIDENCE_SET = "net308"
"""What the confidence block of the published networks speaks about."""

PROBE_ROWS = 3 * ROW_MULTIPLE
"""Rows on which repetition is tried: no power of two, which a trace may have written down."""

COMPANY_ROWS = 256
"""Rows on which the independence of columns is tried."""


INDEPENDENCE = 1e-3
"""Largest difference |a-b|/(s+|b|) of a column in other company: above what kernels round (5e-7, a
float32 liquid/ice split makes 1e-4 of it), far below a real dependence."""


class NotFiniteError(GraphError):
    """A graph gives NaN or infinity for plausible columns in the declared order."""


@dataclass(frozen=True)
class Examination:
    """What the checks found: outputs of the candidates, whether the graph writes into its argument,
    and what a user should know.
    """

    outputs: Tensor
    has_confidence: bool
    writes_argument: bool
    findings: list[str]


def examine(
    graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor
) -> Examination:
    """Run every check of a graph against its declared sets on rows ``x`` [row, n_input]; GraphError
    for the first that fails.
    """
    y, writes = _check_output(graph, inputs, outputs, x)
    _check_repetition(graph, x)
    _check_mode(graph, x, y)
    _check_reads_all_inputs(graph, inputs, outputs, x)
    _check_finite(graph, outputs, y)
    _check_columns_are_independent(graph, x[:COMPANY_ROWS], y[:COMPANY_ROWS])
    return Examination(
        y, y.shape[1] > outputs.width, writes, _findings(graph, inputs, outputs, x, writes)
    )


def _check_reads_all_inputs(
    graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor
) -> None:
    """Raise GraphError if the graph also takes less than the declared width: it then reads other
    positions than declared.
    """
    if _takes(graph, x, inputs.width - 1, outputs):
        smaller = [
            n
            for n in _fitting_sets(graph, outputs, x)
            if variable_set(n, inputs.level_count).width < inputs.width
        ]
        raise GraphError(
            f"{graph.path}: the graph also takes rows of {inputs.width - 1} values, so it does not "
            f"read all of input set {inputs.name!r} ({inputs.width}) where that set has it; "
            "declare the set it was made for"
            + (f", which may be {' or '.join(smaller)}" if smaller else "")
        )


def _fitting_sets(graph: ForeignGraph, outputs: VariableSet, x: Tensor) -> list[str]:
    """Return the host input sets whose width the graph takes."""
    return [
        n
        for n in variable_set_names("host_input")
        if _takes(graph, x, variable_set(n, outputs.level_count).width, outputs)
    ]


def _takes(graph: ForeignGraph, x: Tensor, width: int, outputs: VariableSet) -> bool:
    """Say whether the graph gives whole output rows for input rows of another width; a slice beyond
    the end is no error in torch.
    """
    rows = x[:ROW_MULTIPLE]
    rows = (
        rows[:, :width]
        if width <= rows.shape[1]
        else torch.cat([rows, rows[:, : width - rows.shape[1]]], dim=1)
    )
    try:
        y = graph(rows.contiguous())
    except GraphError:
        return False
    return y.dim() == 2 and y.shape[1] in _output_widths(outputs)


def _output_widths(outputs: VariableSet) -> tuple[int, int]:
    """Return the widths of an output row without and with confidence."""
    return outputs.width, outputs.width + variable_set(CONFIDENCE_SET, outputs.level_count).width


def _check_output(
    graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor
) -> tuple[Tensor, bool]:
    """Return the outputs, and whether the graph wrote into its argument; GraphError for another
    type or shape.
    """
    argument = x.clone()
    try:
        y = graph.forward(argument)
    except GraphError as error:
        raise GraphError(f"{error}. {_why(graph.fresh(), inputs, outputs, x)}") from error
    widths = _output_widths(outputs)
    if y.dtype != torch.float32:
        raise GraphError(
            f"{graph.path}: the graph gives {y.dtype}; a host reads float32: cast at the end of "
            "forward"
        )
    if y.dim() != 2 or y.shape[0] != x.shape[0] or y.shape[1] not in widths:
        raise GraphError(
            f"{graph.path}: the graph gives {list(y.shape)} for {x.shape[0]} columns; expected "
            f"[{x.shape[0]}, {widths[0]}] for output set {outputs.name!r}, or [{x.shape[0]}, "
            f"{widths[1]}] with {widths[1] - widths[0]} confidence values behind"
            f"{shape_hint(graph.fresh(), x, y, widths)}"
        )
    return y.clone(), not torch.equal(argument, x)


def _why(graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor) -> str:
    """Return why the graph fails on rows of the declared set: their width, or what else can be
    found.
    """
    fitting = _fitting_sets(graph, outputs, x)
    by_width = fitting and inputs.name not in fitting
    reason = "" if by_width else why_it_fails(graph, x, inputs.level_count)
    listed = (
        f"it takes the width of {', '.join(fitting)}"
        if fitting
        else "it takes the width of no host input set"
    )
    return reason or f"That is input set {inputs.name!r} ({inputs.width} values); {listed}"


def _check_repetition(graph: ForeignGraph, x: Tensor) -> None:
    """Raise GraphError for a graph that draws random numbers, or keeps memory between calls, or
    runs on some batches only.

    Copies as they were read, given one seed or another, differ by random numbers alone; a copy that
    has run other rows before, under one seed, by memory alone.
    """
    probe, other = x[:PROBE_ROWS], x[-ROW_MULTIPLE:]
    with torch.random.fork_rng(devices=[]):
        try:
            first, reseeded = (_seeded(graph.fresh(), probe, seed) for seed in (0, 1))
            _seeded(graph.fresh(), other, 0)
        except GraphError as error:
            raise GraphError(f"{error}. {batches_taken(graph.fresh(), probe)}") from error
        if not _same(reseeded, first):
            raise GraphError(
                f"{graph.path}: the graph gives other outputs for the same rows when it runs "
                f"again: {_chance(graph)}"
            )
        used = graph.fresh()
        try:
            _seeded(used, other, 0)
            later = [_seeded(used, probe, 0) for _ in range(2)]
        except GraphError as error:
            raise GraphError(
                f"{_memory(graph)} After {other.shape[0]} other rows it fails ({error})"
            ) from error
    if any(_remembers(graph, y, first) for y in later):
        raise GraphError(f"{_memory(graph)} The same rows gave other outputs after others had run")


def _remembers(graph: ForeignGraph, later: Tensor, first: Tensor) -> bool:
    """Say whether outputs differ by memory: by any bit where forward writes attributes, else by
    more than kernels round.

    TorchScript optimizes a graph when it has run, which may move the last bits.
    """
    if _same(later, first):
        return False
    scale = first.to(torch.float64).nan_to_num().std(dim=0).clamp(min=1e-30)
    moved = float(scaled_difference(later.nan_to_num(), first.nan_to_num(), scale).max())
    return bool(written_attributes(graph.module)) or moved > INDEPENDENCE


def _seeded(graph: ForeignGraph, x: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return graph(x).clone()


def _chance(graph: ForeignGraph) -> str:
    kinds = random_operators(graph.module)
    if not kinds:
        return "it draws random numbers, or reads memory that nothing set (torch.empty)"
    trained = (
        " (traced in training mode: call eval() before tracing)"
        if operators_in_training(graph.module)
        else ""
    )
    return f"it draws random numbers with {', '.join(kinds)}{trained}"


def _memory(graph: ForeignGraph) -> str:
    names = written_attributes(graph.module)
    held = f" (forward sets {', '.join(names)})" if names else ""
    return (
        f"{graph.path}: the graph keeps memory from one call to the next{held}, so a column's "
        "outputs would hang on the host's chunks and restarts; make it start afresh in every "
        "forward."
    )


def _check_mode(graph: ForeignGraph, x: Tensor, y: Tensor) -> None:
    """Raise GraphError if evaluation mode and the mode of the file give different bits."""
    if not graph.was_training:
        return
    as_saved = graph.fresh()  # running in training mode may change it
    as_saved.module.train()
    if not _same(as_saved(x), y):
        raise GraphError(
            f"{graph.path}: the file was saved in training mode and gives other outputs there than "
            "in evaluation mode: it is not clear which were meant; call module.eval() before "
            "scripting and saving"
        )


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


def _check_finite(graph: ForeignGraph, outputs: VariableSet, y: Tensor) -> None:
    bad = torch.nonzero(~torch.isfinite(y))
    if bad.shape[0]:
        position = int(bad[0, 1])
        owner = next(
            (
                v.name
                for v in outputs.variables
                if position in range(*outputs.slice(v.name).indices(y.shape[1]))
            ),
            "confidence",
        )
        raise NotFiniteError(
            f"{graph.path}: {bad[:, 0].unique().numel()} of {y.shape[0]} plausible columns give "
            f"outputs that are not finite, the first in {owner}: the layout of the declared input "
            "set, or the graph, is wrong"
        )


def _check_columns_are_independent(graph: ForeignGraph, x: Tensor, y: Tensor) -> None:
    """Raise GraphError if a column's outputs hang on its place or on the other columns of the
    batch.
    """
    scale = y.to(torch.float64).std(dim=0).clamp(min=1e-30)
    order = torch.arange(x.shape[0] - 1, -1, -1)
    spoiled = x[:ROW_MULTIPLE].clone()
    spoiled[3] = float("nan")
    others = [i for i in range(ROW_MULTIPLE) if i != 3]
    trials = (
        ("in reverse order", graph(x[order])[order], y),
        ("in a smaller batch", graph(x[:ROW_MULTIPLE]), y[:ROW_MULTIPLE]),
        ("beside a column of NaN", graph(spoiled)[others], y[others]),
    )
    for words, got, expected in trials:
        worst = float(scaled_difference(got, expected, scale).max())
        if not worst <= INDEPENDENCE:
            trained = operators_in_training(graph.module)
            cause = (
                f"{', '.join(trained)} traced in training mode: call eval() before tracing"
                if trained
                else "a mean over the batch, for example"
            )
            raise GraphError(
                f"{graph.path}: columns {words} give outputs that differ by {worst:.1e}: the graph "
                f"mixes the columns of a batch ({cause}), so its results would depend on the "
                "number of ranks"
            )


def _findings(
    graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor, writes: bool
) -> list[str]:
    """Return what is legal but worth knowing."""
    found = []
    if writes:
        found.append("the graph writes into its argument; the package gives it a copy")
    if _takes(graph, x, inputs.width + 1, outputs):
        found.append(
            f"the graph takes rows longer than {inputs.width} without complaint; climlink never "
            "sends them, another host may"
        )
    if graph.was_training:
        found.append(
            "the file was saved in training mode; its outputs are the same as in evaluation mode"
        )
    if prints(graph.module):
        found.append("the graph prints at every forward, on every rank")
    names = inputs.of_role("value", "carried").names
    hidden = [n for n in names if _hides_nan(graph, x, inputs.slice(n).stop - 1)]
    if hidden:
        found.append(
            f"NaN in one value of {', '.join(hidden)} gives finite outputs: only a check of the "
            "inputs can see it"
        )
    return [*found, *_single_column(graph, x, outputs), *_on_a_gpu(graph, inputs)]


def _single_column(graph: ForeignGraph, x: Tensor, outputs: VariableSet) -> list[str]:
    """Return what is odd about a batch of one column, which climlink never sends."""
    sent = f"climlink sends a multiple of {ROW_MULTIPLE} rows, another host may not"
    try:
        shape = list(graph(x[:1]).shape)
    except GraphError as error:
        return [f"one column alone fails ({str(error).removeprefix(f'{graph.path}: ')}); {sent}"]
    if len(shape) == 2 and shape[0] == 1 and shape[1] in _output_widths(outputs):
        return []
    return [
        f"one column alone gives {shape}, without its batch dimension (squeeze() drops it); {sent}"
    ]


def _on_a_gpu(graph: ForeignGraph, inputs: VariableSet) -> list[str]:
    """Return which operators tie the graph to the CPU, where it runs well."""
    kinds = operators_on_cpu(graph, inputs.width)
    if not kinds:
        return []
    return [
        f"{', '.join(kinds)} put tensors on the CPU wherever the graph runs (a trace wrote the "
        "device down, or device= was left out): on a GPU it fails or is slow; script it with "
        "device=x.device for a GPU"
    ]


def _hides_nan(graph: ForeignGraph, x: Tensor, position: int) -> bool:
    """Say whether NaN at one input leaves all outputs finite."""
    rows = x[:ROW_MULTIPLE].clone()
    rows[:, position] = float("nan")
    return bool(torch.isfinite(graph(rows)).all())
