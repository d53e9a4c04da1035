"""Why a foreign graph fails on the rows it was declared for: found by offering it other rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from climlink.packages.import_wrapper.foreign_graph import ROW_MULTIPLE, ForeignGraph, GraphError
from climlink.packages.import_wrapper.graph_code import constant_devices

BATCHES = (*range(1, 33), 48, 64, 96, 100, 128, 256, 384, 512, 1024)
"""Numbers of rows that modules are traced with."""

MOST_CHANNELS = 64
"""Channels tried of a graph that takes profiles as levels and channels; published networks have 25
to 42.
"""


def why_it_fails(graph: ForeignGraph, x: Tensor, level_count: int) -> str:
    """Return what the graph takes instead of float32 ``x`` [row, n_input], as a sentence; empty if
    nothing tried says it.
    """
    return (
        batches_taken(graph, x)
        or _type_taken(graph, x)
        or _shape_taken(graph, x, level_count)
        or device_asked(graph)
    )


def batches_taken(graph: ForeignGraph, x: Tensor) -> str:
    """Return a sentence if the graph runs, on rows of this width, with other numbers of rows than
    ``x`` has.
    """
    taken = [
        n for n in BATCHES if n != x.shape[0] and _runs(graph, x[torch.arange(n) % x.shape[0]])
    ]
    if not taken:
        return ""
    listed = "one row" if taken == [1] else f"{', '.join(map(str, taken))} rows"
    return (
        f"It runs on {listed}, not on {x.shape[0]}: a trace wrote down its batch; script the "
        "module, or trace it without x.shape[0] and view(1, ...) as numbers (x.flatten(1), "
        "x.unsqueeze(1))"
    )


def device_asked(graph: ForeignGraph) -> str:
    """Return a sentence if operators of the graph ask for another device than the CPU."""
    for device, kinds in constant_devices(graph.module).items():
        if device != "cpu":
            return (
                f"{', '.join(kinds)} in it ask for a {device} device whatever the input's: it was "
                "traced or written for that; use device=x.device and script it, or trace it on a "
                "CPU"
            )
    return ""


def _type_taken(graph: ForeignGraph, x: Tensor) -> str:
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64):
        if _runs(graph, x[:ROW_MULTIPLE].to(dtype)):
            name = str(dtype).removeprefix("torch.")
            return (
                f"It runs on {name}, not on float32, which a host sends: cast at the start and the "
                "end of forward, or save the module after float()"
            )
    return ""


def _shape_taken(graph: ForeignGraph, x: Tensor, level_count: int) -> str:
    for shape, offered in _shapes(x[:ROW_MULTIPLE], level_count):
        if _runs(graph, offered):
            return (
                f"It runs on {shape}, not on [column, n_input]: wrap the module so that it takes "
                "rows and reshapes them"
            )
    return ""


def _shapes(x: Tensor, level_count: int) -> Iterator[tuple[str, Tensor]]:
    """Yield shapes other than [column, n_input] in words, and values of plausible size in them."""
    yield "[column, 1, n_input]", x[:, None, :]
    yield "[column, n_input, 1]", x[:, :, None]
    yield "[n_input], one column without a batch", x[0]
    yield "[n_input, column]", x.T.contiguous()
    values = torch.tanh(x.flatten())
    for channels in range(1, MOST_CHANNELS + 1):
        many = values[torch.arange(x.shape[0] * channels * level_count) % len(values)]
        yield f"[column, {channels}, level]", many.reshape(-1, channels, level_count)
        yield f"[column, level, {channels}]", many.reshape(-1, level_count, channels)


def _runs(graph: ForeignGraph, x: Tensor) -> bool:
    try:
        graph(x)
    except GraphError:
        return False
    return True


def shape_hint(graph: ForeignGraph, x: Tensor, y: Tensor, widths: Iterable[int]) -> str:
    """Return why outputs ``y`` have a shape that is not [row, width], as far as one row and their
    number tell it.
    """
    if x.shape[0] > 1 and _runs(graph, x[:1]):
        one = list(graph(x[:1]).shape)
        if one in [[1, width] for width in widths]:
            return (
                f"; for one column it gives {one}: a trace with a batch of one wrote that down; "
                "script the module"
            )
    if y.numel() in [x.shape[0] * width for width in widths]:
        return "; reshape them at the end of forward"
    return ""
