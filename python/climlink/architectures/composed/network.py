"""A network composed in its configuration: stem, blocks, heads (docs/composed-networks.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from climlink.architectures.composed.block import Blocks, Signal, chain, parsed, require_same_length
from climlink.architectures.composed.heads import Head, HeadConfiguration, Share, shares
from climlink.architectures.composed.named import perceptron
from climlink.architectures.composed.pointwise import FiLM
from climlink.architectures.composed.recurrent import ScalarState
from climlink.architectures.composed.scalars import (
    ScalarsConfiguration,
    Stem,
    StemConfiguration,
    entering_signal,
)
from climlink.architectures.configuration import ColumnConfiguration
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.registry import register_architecture
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence


def _heads(raw: Any) -> Any:
    if not isinstance(raw, Mapping):
        raise ValueError(f"expected heads by name, got {raw!r:.60}")
    return {name: parsed(HeadConfiguration, head, f"head {name!r}") for name, head in raw.items()}


class ComposedConfiguration(ColumnConfiguration):
    """Stem, blocks and heads in order, and how scalars enter. What is left out has its default: no
    blocks and one head are a linear map at each level.
    """

    stem: Annotated[
        StemConfiguration, BeforeValidator(lambda raw: parsed(StemConfiguration, raw))
    ] = Field(default=StemConfiguration(), description="what makes the first channels")
    scalars: Annotated[
        ScalarsConfiguration,
        BeforeValidator(lambda raw: parsed(ScalarsConfiguration, raw)),
    ] = Field(default=ScalarsConfiguration(), description="how scalar inputs enter")
    blocks: Blocks = Field(default=[], description="in order, each with its `kind`")
    heads: Annotated[dict[str, HeadConfiguration], BeforeValidator(_heads)] = Field(
        default={"all": HeadConfiguration()}, min_length=1, description="heads by name"
    )

    @model_validator(mode="after")
    def _one_rest(self) -> ComposedConfiguration:
        rest = [name for name, head in self.heads.items() if head.outputs is None]
        if len(rest) > 1:
            raise ValueError(
                f"heads {', '.join(rest)} have no `outputs`: only one can take the rest"
            )
        return self


@register_architecture("composed", configuration=ComposedConfiguration)
class Composed(ColumnEmulator):
    """A network as its configuration composes it."""

    if TYPE_CHECKING:
        profile_order: Tensor
        scalar_order: Tensor

    def __init__(self, shape: ColumnShape, configuration: ComposedConfiguration) -> None:
        super().__init__(shape)
        c = configuration
        signal = entering_signal(shape, c.stem, c.scalars)
        self.encoder, _ = perceptron(shape.scalar_inputs, c.scalars.hidden, c.scalars.activation)
        on_levels = "levels" in c.scalars.ways and shape.scalar_inputs > 0
        self.stem = Stem(shape, c.stem, signal, on_levels)
        self.blocks, made = chain(c.blocks, signal)
        require_same_length(signal, made, "all blocks together")
        self.has_confidence: bool = c.confidence
        groups = shares(c.heads, shape)
        self.heads = nn.ModuleList(_made_heads(c, groups, made))
        self.register_buffer("profile_order", _order([k for g in groups for k in g.profiles]))
        self.register_buffer("scalar_order", _order([k for g in groups for k in g.scalars]))
        _require_read_scalars(self, c.scalars, shape)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles [batch, channel, level], scalars [batch, channel] and, where every head
        makes it, confidence [batch, all values]: profiles, then scalars.
        """
        encoded = self.encoder(scalars)
        x = self.blocks(self.stem(profiles, scalars, encoded), encoded)
        of_profiles: list[Tensor] = []
        of_scalars: list[Tensor] = []
        sure_profiles: list[Tensor] = []
        sure_scalars: list[Tensor] = []
        for head in self.heads:
            columns, values = head(x, encoded)
            if self.has_confidence:
                n, m = columns.shape[1] // 2, values.shape[1] // 2
                sure_profiles.append(columns[:, n:])
                sure_scalars.append(values[:, m:])
                columns, values = columns[:, :n], values[:, :m]
            of_profiles.append(columns)
            of_scalars.append(values)
        confidence = no_confidence(profiles)
        if self.has_confidence:
            columns = torch.cat(sure_profiles, dim=1).index_select(1, self.profile_order)
            values = torch.cat(sure_scalars, dim=1).index_select(1, self.scalar_order)
            confidence = torch.cat([columns.flatten(1), values], dim=1)
        return (
            torch.cat(of_profiles, dim=1).index_select(1, self.profile_order),
            torch.cat(of_scalars, dim=1).index_select(1, self.scalar_order),
            confidence,
        )


def _made_heads(c: ComposedConfiguration, groups: list[Share], signal: Signal) -> list[Head]:
    heads = []
    for (name, head), group in zip(c.heads.items(), groups, strict=True):
        try:
            heads.append(Head(signal, head, group, 2 if c.confidence else 1))
        except ArchitectureError as error:
            raise ArchitectureError(f"head {name!r}: {error}") from error
    return heads


def _order(made: list[int]) -> Tensor:
    """Return where each output stands among those that the heads make."""
    return torch.tensor([made.index(k) for k in range(len(made))], dtype=torch.int64)


def _require_read_scalars(
    network: nn.Module, scalars: ScalarsConfiguration, shape: ColumnShape
) -> None:
    """Raise ArchitectureError if scalars, a way in, or their perceptron have no use in the
    network.
    """
    begun = any(isinstance(m, ScalarState) for m in network.modules())
    conditioned = any(isinstance(m, FiLM) for m in network.modules())
    if "state" in scalars.ways and not begun:
        raise ArchitectureError("scalars: way `state` needs an lstm or gru block; there is none")
    encoded = begun or conditioned or "levels" in scalars.ways
    if shape.scalar_inputs and not encoded and "tokens" not in scalars.ways:
        raise ArchitectureError(
            "scalars: no way in (levels, tokens, state) and no film block: they would not be read"
        )
    if scalars.hidden and not encoded:
        raise ArchitectureError(
            "scalars: hidden layers that nothing reads; tokens do not pass them"
        )
