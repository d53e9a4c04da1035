"""Schema of a graph with several tensors: which it takes and gives, and how it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from climlink.packages.import_wrapper.foreign_graph import ForeignGraph, GraphError
from climlink.packages.import_wrapper.signature import Signature

_CURES = {
    "DictType": 'names have no order: make the module give a tuple (return y["a"], y["b"])',
    "ListType": "a list has no fixed length: make the module take and give a tuple",
}


@dataclass(frozen=True)
class TensorSchema:
    """How to call forward with tensors ``a[i]``, and where its results are in ``r``."""

    arguments: str
    results: tuple[str, ...]


def graph_schema(graph: ForeignGraph, signature: Signature) -> TensorSchema:
    """Return how the graph is called; GraphError where that is not what the signature says."""
    schema = graph.module._c._get_method("forward").schema
    listed = {a.name: i for i, a in enumerate(signature.arguments)}
    named = [a for a in schema.arguments[1:] if not a.has_default_value() or _uses(a, listed)]
    taken = [leaf for a in named for leaf in _leaves(graph, a.type, a.name)]
    given = list(_leaves(graph, schema.returns[0].type, "r", result=True))
    if [n for n, _ in taken if n not in listed] or len(taken) != len(listed):
        rows = list(_beside([f"{n}: {t}" for n, t in taken], [n for n, _ in taken], list(listed)))
        table = _table("forward takes", rows)
        raise GraphError(f"{graph.path}: forward and the signature have other arguments:\n{table}")
    if len(given) != len(signature.results):
        labels = [r.label for r in signature.results]
        rows = list(zip_longest((t for _, t in given), labels, fillvalue="-"))
        table = _table("forward gives", rows)
        counts = f"forward gives {len(given)} tensors, the signature {len(labels)}"
        raise GraphError(f"{graph.path}: {counts}:\n{table}")
    call = _call(schema.arguments[1:], named, listed)
    return TensorSchema(call, tuple(_place(n) for n, _ in given))


def _uses(argument: Any, listed: dict[str, int]) -> bool:
    return any(n == argument.name or n.startswith(f"{argument.name}.") for n in listed)


def _leaves(
    graph: ForeignGraph,
    kind: Any,
    name: str,
    *,
    result: bool = False,
) -> Iterator[tuple[str, str]]:
    """Yield name and type of every tensor of an argument or result; of a tuple h they are h.0,
    h.1.
    """
    if kind.kind() == "TupleType":
        for i, inner in enumerate(kind.elements()):
            yield from _leaves(graph, inner, f"{name}.{i}", result=result)
    elif kind.kind() == "TensorType" or (str(kind) == "Optional[Tensor]" and not result):
        yield name, str(kind)
    else:
        does = "gives" if result else f"takes {name}:"
        cure = _CURES.get(kind.kind(), "wrap the module so that it takes and gives tensors only")
        raise GraphError(f"{graph.path}: forward {does} {kind}; {cure}")


def _call(every: list[Any], named: list[Any], listed: dict[str, int]) -> str:
    """Return the arguments of the call, by name after one that is left out."""
    texts = []
    for place, argument in enumerate(named):
        text = _filled(argument.type, argument.name, listed)
        texts.append(text if every[place].name == argument.name else f"{argument.name}={text}")
    return ", ".join(texts)


def _filled(kind: Any, name: str, listed: dict[str, int]) -> str:
    if kind.kind() != "TupleType":
        return f"a[{listed[name]}]"
    inner = [_filled(k, f"{name}.{i}", listed) for i, k in enumerate(kind.elements())]
    return f"({', '.join(inner)},)"


def _place(name: str) -> str:
    """Return the expression of a result: r.1.0 stands at r[1][0]."""
    head, *places = name.split(".")
    return head + "".join(f"[{p}]" for p in places)


def _beside(texts: list[str], names: list[str], listed: list[str]) -> Iterator[tuple[str, str]]:
    for text, name in zip(texts, names, strict=True):
        yield text, name if name in listed else "-"
    for name in listed:
        if name not in names:
            yield "-", name


def _table(heading: str, rows: list[tuple[str, str]]) -> str:
    rows = [(heading, "signature"), *rows]
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)
