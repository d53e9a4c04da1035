"""What the code of a TorchScript graph says by itself, without being run: devices, random numbers,
attributes, training mode.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import torch

from climlink.packages.import_wrapper.foreign_graph import ROW_MULTIPLE, ForeignGraph

_MADE_FROM_NUMBERS = frozenset(("aten::tensor", "aten::scalar_tensor"))
"""Operators that make a tensor of one number: torch mixes such a tensor with any device."""

_VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "select",
        "slice",
        "view",
        "reshape",
        "narrow",
        "unsqueeze",
        "squeeze",
        "transpose",
    )
)
"""Operators whose result shares the memory of their first argument."""

_TRAINING_ARGUMENT = {
    "aten::batch_norm": 5,
    "aten::dropout": 2,
    "aten::feature_dropout": 2,
    "aten::alpha_dropout": 2,
}
"""Position of the argument that says whether an operator runs in training mode."""


def constant_devices(module: torch.jit.ScriptModule) -> dict[str, list[str]]:
    """Return device type -> operators that put a tensor there whatever the device of the input.

    A trace writes down the device it saw as a constant, and a factory without ``device=`` takes the
    CPU.
    """
    found: dict[str, set[str]] = {}
    for node in _nodes(module):
        if not node.kind().startswith("aten::") or _has_number(node):
            continue
        for name, value in _arguments(node).items():
            constant = value.node().kind() == "prim::Constant"
            if name != "device" or not constant:
                continue
            device = value.toIValue()
            if device is not None:
                found.setdefault(torch.device(device).type, set()).add(node.kind())
            elif not any(str(v.type()) == "Tensor" for v in node.inputs()):
                found.setdefault("cpu", set()).add(node.kind())
    return {device: sorted(kinds) for device, kinds in found.items()}


def operators_on_cpu(graph: ForeignGraph, n_input: int) -> list[str]:
    """Return the operators that put tensors on the CPU while the inputs are on another device.

    torch's meta device, which computes shapes only, stands for a GPU: a graph that runs there has
    such operators where they do no harm, or in branches not taken.
    """
    kinds = constant_devices(graph.module).get("cpu", [])
    if not kinds:
        return []
    try:
        elsewhere = torch.jit.load(io.BytesIO(graph.content), map_location="meta").eval()
        with torch.no_grad():
            y = elsewhere(torch.zeros(ROW_MULTIPLE, n_input, device="meta"))
    except (
        Exception
    ):  # of whatever type: mixed devices, or values that the meta device does not have
        return kinds
    return [] if y.device.type == "meta" else kinds


def random_operators(module: torch.jit.ScriptModule) -> list[str]:
    """Return the operators that draw random numbers in evaluation mode."""
    drawn = {
        node.kind()
        for node in _nodes(module)
        if node.isNondeterministic()
        and not (node.kind() in _TRAINING_ARGUMENT and _trains(node) is not True)
    }
    return sorted(drawn)


def operators_in_training(module: torch.jit.ScriptModule) -> list[str]:
    """Return the operators that a trace fixed in training mode, which ``eval()`` cannot undo."""
    return sorted(
        {n.kind() for n in _nodes(module) if n.kind() in _TRAINING_ARGUMENT and _trains(n) is True}
    )


def written_attributes(module: torch.jit.ScriptModule) -> list[str]:
    """Return the names of attributes that forward sets, or writes into."""
    found = set()
    for node in _nodes(module):
        if node.kind() == "prim::SetAttr":
            found.add(node.s("name"))
        elif node.kind().startswith("aten::") and node.kind().endswith("_"):
            owner = next(iter(node.inputs())).node()
            while owner.kind() in _VIEWS:
                owner = next(iter(owner.inputs())).node()
            if owner.kind() == "prim::GetAttr":
                found.add(owner.s("name"))
    return sorted(found)


def prints(module: torch.jit.ScriptModule) -> bool:
    """Say whether forward prints."""
    return any(node.kind() == "prim::Print" for node in _nodes(module))


def _nodes(module: torch.jit.ScriptModule) -> Iterator[Any]:
    """Yield every node of forward, called functions and inner blocks included."""
    graph = module.inlined_graph  # owns its nodes, so it must live as long as they are looked at

    def walk(block: Any) -> Iterator[Any]:
        for node in block.nodes():
            yield node
            for inner in node.blocks():
                yield from walk(inner)

    yield from walk(graph)


def _arguments(node: Any) -> dict[str, Any]:
    """Return a node's arguments by their names in the operator's schema."""
    schema = torch._C.parse_schema(node.schema())
    return {a.name: value for a, value in zip(schema.arguments, node.inputs(), strict=False)}


def _has_number(node: Any) -> bool:
    """Say whether an operator works on one number only, which belongs to every device."""
    first = next(iter(node.inputs()), None)
    if first is None:
        return False
    if node.kind() in _MADE_FROM_NUMBERS and str(first.type()) in ("float", "int", "bool"):
        return True
    value = first.toIValue() if first.node().kind() == "prim::Constant" else None
    return isinstance(value, torch.Tensor) and value.dim() == 0


def _trains(node: Any) -> Any:
    """Return the constant that says whether an operator runs in training mode, None where it is no
    constant.
    """
    value = list(node.inputs())[_TRAINING_ARGUMENT[node.kind()]]
    return value.toIValue() if value.node().kind() == "prim::Constant" else None
