"""Adapter: a graph that takes one row and gives one, around a foreign one with several tensors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from climlink.packages.import_wrapper.foreign_graph import (
    ForeignGraph,
    GraphError,
    load_graph,
    reason,
)
from climlink.packages.import_wrapper.graph_diagnosis import batches_taken, device_asked
from climlink.packages.import_wrapper.host_arrays import host_arrays
from climlink.packages.import_wrapper.signature import (
    ROW,
    SAMPLE,
    VARIABLE,
    ArgumentEntry,
    PackedRows,
    ResultEntry,
    TensorEntry,
)
from climlink.packages.import_wrapper.tensor_schema import TensorSchema, graph_schema
from climlink.wrappers.layout import START

SHOWN = 20
"""Names of tensors that a message lists."""

MOST_VARIABLES = 128
"""Numbers of variables tried of an argument; published networks have 25 to 42."""


class _Parts(nn.Module):
    """The foreign graph beside the adapter's numbers; methods are defined from source."""

    def __init__(self, foreign: torch.jit.ScriptModule, buffers: dict[str, Tensor]) -> None:
        super().__init__()
        self.foreign = foreign
        for name, values in buffers.items():
            self.register_buffer(name, values)


@dataclass(frozen=True)
class Adapter:
    """A scripted module with ``arguments(rows)``, ``call(tensors)`` and ``forward(rows)``."""

    module: torch.jit.ScriptModule
    rows: PackedRows
    graph: ForeignGraph

    def packed(self, trust_code: bool) -> ForeignGraph:
        """Return the graph that takes rows, as it is read back from its archive."""
        buffer = io.BytesIO()
        torch.jit.save(self.module, buffer)
        content = buffer.getvalue()
        return replace(
            self.graph,
            module=load_graph(self.graph.path, content, trust_code).eval(),
            content=content,
        )

    def sentence(self) -> str:
        """Return what the package does around the foreign graph."""
        taken = ", ".join(f"{a.name} {_axes(a)}" for a in self.rows.signature.arguments)
        given = ", ".join(f"{r.label} {_axes(r)}" for r in self.rows.signature.results)
        return f"rows are unpacked into {taken}, and results packed: {given}"


def adapter(graph: ForeignGraph, rows: PackedRows) -> Adapter:
    """Return the adapter of a graph; GraphError where its schema does not fit the signature."""
    schema = graph_schema(graph, rows.signature)
    arrays = host_arrays(rows)
    buffers, lines = _buffers(graph, rows, arrays), _source(rows, schema, arrays)
    module = torch.jit.script(_Parts(graph.module, buffers).eval())
    module.define("\n".join((*lines, "")))
    return Adapter(module, rows, graph)


def _buffers(graph: ForeignGraph, rows: PackedRows, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    taken = [rows.taken(a).ravel() for a in rows.signature.arguments]
    given = np.concatenate([rows.given(r).ravel() for r in rows.signature.results])
    states = [(i, a) for i, a in enumerate(rows.signature.arguments) if a.carried is not None]
    initial = {f"initial_{i}": _initial(graph, rows, a) for i, a in states}
    positions = {f"positions_{i}": torch.from_numpy(p.copy()) for i, p in enumerate(taken)}
    return positions | initial | {"order": torch.from_numpy(np.argsort(given))} | arrays


def _initial(graph: ForeignGraph, rows: PackedRows, entry: ArgumentEntry) -> Tensor:
    """Return the state that carried state begins with, [1, width], in the order of its row."""
    shape = rows.taken(entry).shape
    if entry.initial is None:
        return torch.zeros([1, int(np.prod(shape))])
    known = dict(graph.module.named_parameters()) | dict(graph.module.named_buffers())
    values = known.get(entry.initial)
    if values is None:
        wanted = f"no tensor {entry.initial!r} for {entry.name} to begin with"
        raise GraphError(f"{graph.path}: the graph has {wanted}; it has {_listed(known)}")
    with_sample = list(shape)
    with_sample.insert(entry.sample_axis, 1)
    if values.dtype != torch.float32 or list(values.shape) not in (list(shape), with_sample):
        raise GraphError(
            f"{graph.path}: {entry.initial} is {_kind(values)} {list(values.shape)}; "
            f"{entry.name} begins with float32 {list(shape)} or {with_sample}"
        )
    return values.detach().reshape(1, -1).clone()


def _source(rows: PackedRows, schema: TensorSchema, arrays: dict[str, Tensor]) -> list[str]:
    """Return the TorchScript of the adapter's methods."""
    signature, width = rows.signature, rows.inputs.width
    unpacked = [_unpack(rows, a, i, arrays) for i, a in enumerate(signature.arguments)]
    packed = [_pack(rows, r, i, arrays) for i, r in enumerate(signature.results)]
    return [
        "def arguments(self, x):",
        f'    assert x.dim() == 2 and x.size(1) == {width}, "expected rows [sample, {width}]"',
        "    n = x.size(0)",
        *unpacked,
        f"    return [{', '.join(f'a{i}' for i in range(len(signature.arguments)))}]",
        "",
        "def call(self, a: List[Tensor]) -> List[Tensor]:",
        f"    r = self.foreign({schema.arguments})",
        f"    return [{', '.join(schema.results)}]",
        "",
        "def forward(self, x):",
        "    n = x.size(0)",
        "    r = self.call(self.arguments(x))",
        f"    return torch.cat([{', '.join(packed)}], 1).index_select(1, self.order)",
    ]


def _unpack(rows: PackedRows, entry: ArgumentEntry, i: int, arrays: dict[str, Tensor]) -> str:
    """Return the line that makes argument ``i`` of rows x [n, n_input]."""
    value = f"x.index_select(1, self.positions_{i})"
    if entry.carried is not None:
        start = rows.inputs.offset(START)
        # where, not a product: what was left over in a sample that begins may be anything.
        value = f"torch.where(x[:, {start}:{start + 1}] > 0.5, self.initial_{i}, {value})"
    if f"subtract_{i}" in arrays:
        value = f"({value} - self.subtract_{i})"
    if f"gain_{i}" in arrays:
        value = f"{value} * self.gain_{i}"
    shape = ", ".join(map(str, ("n", *rows.taken(entry).shape)))
    moved = f".movedim(0, {entry.sample_axis}).contiguous()" if entry.sample_axis else ""
    return f"    a{i} = ({value}).reshape([{shape}]){moved}"


def _pack(rows: PackedRows, entry: ResultEntry, i: int, arrays: dict[str, Tensor]) -> str:
    """Return the expression of result ``i`` as rows [n, width]."""
    moved = f".movedim({entry.sample_axis}, 0)" if entry.sample_axis else ""
    value = f"r[{i}]{moved}.reshape([n, {rows.given(entry).size}])"
    return f"{value} * self.scale_{i}" if f"scale_{i}" in arrays else value


def check_tensors(made: Adapter, x: Tensor) -> None:
    """Run the foreign graph on input rows ``x`` [row, n_input].

    GraphError where it takes or gives other tensors than the signature says.
    """
    arguments, path = made.module.arguments(x), made.graph.path
    try:
        results = _called(made, arguments)
    except GraphError as error:
        entries = made.rows.signature.arguments
        both = zip(entries, arguments, strict=True)
        offered = ", ".join(f"{a.name} {list(t.shape)} {_axes(a)}" for a, t in both)
        told = ". ".join(filter(None, (str(error), _why(made, x, arguments))))
        raise GraphError(f"{path}: the graph fails on float32 {offered}: {told}") from error
    for i, (entry, got, expected) in enumerate(_beside_declared(made, results, x.shape[0])):
        where = f"{path}: result {i + 1} ({entry.label})"
        if got.dtype != torch.float32:
            raise GraphError(f"{where} is {_kind(got)}; a host reads float32: cast it in forward")
        if list(got.shape) != expected:
            shape = f"{list(got.shape)} for {x.shape[0]} samples"
            raise GraphError(f"{where} is {shape}; {_axes(entry)} is {expected}")


def _called(made: Adapter, arguments: list[Tensor]) -> list[Tensor]:
    try:
        with torch.no_grad():
            return list(made.module.call(arguments))
    except Exception as error:  # torch.jit.Error of a `raise` in the graph is no RuntimeError
        raise GraphError(reason(error)) from error


def _beside_declared(
    made: Adapter,
    results: list[Tensor],
    sample_count: int,
) -> Iterator[tuple[ResultEntry, Tensor, list[int]]]:
    """Yield every result's entry, the tensor, and the shape that it should have."""
    for entry, got in zip(made.rows.signature.results, results, strict=True):
        expected = list(made.rows.given(entry).shape)
        expected.insert(entry.sample_axis, sample_count)
        yield entry, got, expected


def _why(made: Adapter, x: Tensor, arguments: list[Tensor]) -> str:
    """Return what the graph takes instead: other numbers of rows, another form of an argument."""
    batches = batches_taken(made.packed(trust_code=True), x)
    if batches:
        return batches
    for i, entry in enumerate(made.rows.signature.arguments):
        for words, other in _others(entry, arguments[i]):
            try:
                results = _called(made, [*arguments[:i], other, *arguments[i + 1 :]])
            except GraphError:
                continue
            declared = _beside_declared(made, results, x.shape[0])
            if all(list(got.shape) == expected for _, got, expected in declared):
                return f"It runs with {entry.name} {words}"
    return device_asked(made.graph)


def _others(entry: TensorEntry, values: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield what an argument could be instead, in words and as a tensor."""
    axes = _axes(entry)[1:-1].split(", ")
    for order in permutations(range(values.dim())):
        if order != tuple(range(values.dim())):
            yield f"as [{', '.join(axes[k] for k in order)}]", values.permute(order).contiguous()
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64):
        yield f"as {str(dtype).removeprefix('torch.')}", values.to(dtype)
    for name in (VARIABLE, ROW):
        if name in axes:
            k = axes.index(name)
            for size in (
                *range(2, MOST_VARIABLES + 1),
                1,
            ):  # one is repeated along any number: tried last
                if size != values.shape[k]:
                    chosen = torch.arange(size) % values.shape[k]
                    yield (
                        f"of size {size} along {name}, not {values.shape[k]}",
                        values.index_select(k, chosen),
                    )


def _axes(entry: TensorEntry) -> str:
    axes = list(entry.own_axes)
    axes.insert(entry.sample_axis, SAMPLE)
    return f"[{', '.join(axes)}]"


def _kind(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _listed(known: dict[str, Any]) -> str:
    names = sorted(known)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "none"
