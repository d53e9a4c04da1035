"""What every block is: a strict configuration that builds a module, and how lists of blocks are
read and chained.

A built block maps (x [batch, width, position], scalars [batch, n]) to [batch, width, position];
positions are levels from the top down, behind the tokens if there are any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from torch import Tensor, nn

from climlink.architectures.errors import ArchitectureError
from climlink.wrappers.errors import near_names
from climlink.wrappers.layout import Strict
from climlink.wrappers.yaml_file import fault

Part = TypeVar("Part", bound=Strict)

BLOCKS: dict[str, type[BlockConfiguration]] = {}
"""Every kind of block by the name that stands behind ``kind``."""


@dataclass(frozen=True)
class Signal:
    """What a block is given: channels, positions (tokens, then levels), and the scalars beside
    them.
    """

    width: int
    length: int
    tokens: int = 0
    scalars: int = 0
    """Length of the vector of scalars that every block gets; 0 where the columns have none."""
    state: bool = False
    """Recurrent blocks begin from the scalars instead of zeros."""

    def of_width(self, width: int) -> Signal:
        """Return the same signal with another number of channels."""
        return replace(self, width=width)


class BlockConfiguration(Strict):
    """Base of the blocks' configurations; a subclass with a default ``kind`` is known by it."""

    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter the subclass in ``BLOCKS``."""
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            BLOCKS[kind] = cls

    def build(self, signal: Signal) -> tuple[nn.Module, Signal]:
        """Return the module and what comes out of it; ArchitectureError if it does not fit what
        goes in.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")


def parsed(model: type[Part], raw: Any, place: str = "") -> Part:
    """Return a part of a configuration; ValueError says where, which key does not fit and the near
    ones.
    """
    if isinstance(raw, model):
        return raw
    where = f"{place}: " if place else ""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}expected keys and values, got {raw!r:.60}")
    unknown = [key for key in raw if key not in model.model_fields]
    if unknown:
        known = list(model.model_fields)
        near = near_names(str(unknown[0]), known)
        raise ValueError(f"{where}unknown key {unknown[0]!r}{near}; known keys: {', '.join(known)}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{where}{fault(error)}") from error


def _block(raw: Any, number: int) -> BlockConfiguration:
    if isinstance(raw, BlockConfiguration):
        return raw
    if isinstance(raw, str):
        raw = {"kind": raw}
    kind = raw.get("kind") if isinstance(raw, Mapping) else None
    if kind not in BLOCKS:
        given = f"{raw!r:.60} has no `kind`" if kind is None else f"unknown kind {kind!r}"
        near = near_names(str(kind), BLOCKS) if kind is not None else ""
        raise ValueError(f"block {number}: {given}{near}; known kinds: {', '.join(BLOCKS)}")
    return parsed(BLOCKS[kind], raw, f"block {number} ({kind})")


def _blocks(raw: Any) -> Any:
    if not isinstance(raw, list | tuple):
        raise ValueError(f"expected a list of blocks, got {raw!r:.60}")
    return [_block(block, number) for number, block in enumerate(raw, start=1)]


Blocks = Annotated[list[SerializeAsAny[BlockConfiguration]], BeforeValidator(_blocks)]
"""Blocks in order, each a mapping with its ``kind`` (the bare kind where defaults do). Errors
count them from 1.
"""


class Chain(nn.Module):
    """Blocks one after the other."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return the last block's result."""
        for block in self.blocks:
            x = block(x, scalars)
        return x


class Plain(nn.Module):
    """A module of one argument as a block: the scalars pass it by."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """Return [batch, width, position]."""
        return self.layers(x)


def chain(blocks: Sequence[BlockConfiguration], signal: Signal) -> tuple[Chain, Signal]:
    """Return blocks as one module and what comes out of the last; ArchitectureError counts from 1
    the block that does not fit.
    """
    modules = []
    for number, block in enumerate(blocks, start=1):
        try:
            module, signal = block.build(signal)
        except ArchitectureError as error:
            raise ArchitectureError(f"block {number} ({block.kind}): {error}") from error
        modules.append(module)
    return Chain(modules), signal


def require_same_length(before: Signal, after: Signal, what: str) -> None:
    """Raise ArchitectureError if blocks changed the number of positions where they must not."""
    if after.length != before.length:
        raise ArchitectureError(
            f"{what} must keep the number of levels ({before.length}), they make {after.length}; "
            "shuffle up what was shuffled down"
        )
