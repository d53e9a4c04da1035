"""YAML as climlink reads it: one bounded document of plain values, however strange the file is."""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError

MAX_BYTES = 16 << 20
"""Longest document; explicit stamps of eight years are 5 MB."""

MAX_DEPTH = 64
"""Deepest nesting, as in a manifest; aliases count as what they stand for."""

MAX_REPEATED = 10_000
"""Most values that aliases may repeat: nine lists of nine aliases each stand for 3e8 values."""

_MAX_NUMBER = 64
"""Longest text of a number: 64-bit integers and floats with every digit are shorter."""

_TAG = "tag:yaml.org,2002:"


def read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the node tree of a document (it knows the lines) and its plain values; yaml.YAMLError
    names what does not fit, and where.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Safe YAML with bounds. It refuses a key given twice, reads 1e-4 as a number and leaves dates
    and times as text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open = 0
        self._repeated = 0
        self._extents: dict[int, tuple[int, int]] = {}  # of each finished node: values, depth

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node; ConstructorError where the document is too deep, or an alias leads
        to itself or repeats too much.
        """
        event = self.peek_event()
        self._open += 1
        self._check_depth(self._open, event)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._open -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._extents:
                raise _refused(f"the alias *{event.anchor} stands inside what it names", event)
            size, depth = self._extents[id(node)]
            self._check_depth(self._open + depth, event)
            self._repeated += size
            if self._repeated > MAX_REPEATED:
                raise _refused(
                    f"aliases repeat more than {MAX_REPEATED} values; write them out, or use fewer",
                    event,
                )
        elif node is not None:
            below = [self._extents[id(child)] for child in _children(node)]
            self._extents[id(node)] = (
                1 + sum(s for s, _ in below),
                1 + max((d for _, d in below), default=0),
            )
        return node

    def _check_depth(self, depth: int, event: yaml.Event) -> None:
        if depth > MAX_DEPTH:
            raise _refused(f"nested more than {MAX_DEPTH} levels deep", event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; ConstructorError, with its line, for one that is not what its
        tag says.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            shown, kind = repr(node.value)[:40], str(node.tag).removeprefix(_TAG)
            raise _refused(f"{shown} is not of type {kind}", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node; a ConstructorError names a key that is none or stands
        twice, and its line.
        """
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == f"{_TAG}merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused(
                    "a key must be a name or a number, not a list or a mapping", key_node
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _refused(f"the key {key!r} stands twice; keep one", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_str(self, node: yaml.Node) -> str:
        """Return text without NUL, which no path can hold."""
        value: str = super().construct_yaml_str(node)
        if "\0" in value:
            raise _refused("text must not hold the character NUL", node)
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return an integer of at most 64 bits."""
        _check_length(node)
        value: int = super().construct_yaml_int(node)
        if not -(2**63) <= value < 2**63:
            raise _refused(f"the integer {node.value} does not fit 64 bits", node)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Return a number; one that is not zero but too small for all its digits is refused, as its
        inverse would be infinite.
        """
        _check_length(node)
        value: float = super().construct_yaml_float(node)
        written_zero = not re.search("[1-9]", re.split("[eE]", str(node.value))[0])
        if abs(value) < sys.float_info.min and not written_zero:
            raise _refused(
                f"the number {node.value} is too small for 64 bits; write 0 if zero is meant", node
            )
        return value


def _refused(problem: str, where: Any) -> ConstructorError:
    """Return the error about a node or an event."""
    return ConstructorError(None, None, problem, where.start_mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes directly below a node."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_length(node: yaml.Node) -> None:
    if len(node.value) > _MAX_NUMBER:
        raise _refused(
            f"a number of {len(node.value)} characters; at most {_MAX_NUMBER} are read", node
        )


_NUMBERS = {
    "int": re.compile(r"^[-+]?(?:0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    "float": re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
}
# YAML 1.1 turns 0008-01-14 into a Gregorian date (the data's calendar is no-leap) and 24:00:00 into
# 86400, and leaves 1e-4 a string.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.removeprefix(_TAG) not in ("timestamp", *_NUMBERS)
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, list("-+0123456789."))
_Loader.add_constructor(f"{_TAG}str", _Loader.construct_yaml_str)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)
