"""Heads: each makes some of the outputs, named in its configuration, from what the blocks made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from climlink.architectures.composed.block import Blocks, Signal, chain, require_same_length
from climlink.architectures.composed.named import ActivationName, ChannelsLast, perceptron
from climlink.architectures.errors import ArchitectureError
from climlink.wrappers.column_emulator import ColumnShape
from climlink.wrappers.errors import near_names
from climlink.wrappers.layout import Strict


class HeadConfiguration(Strict):
    """Blocks of its own, a perceptron per level, and a linear map to its profiles; its scalars come
    from all levels together.
    """

    outputs: list[str] | None = Field(
        default=None,
        min_length=1,
        description="names of network outputs; null: all that no other head names",
    )
    blocks: Blocks = Field(default=[], description="before its perceptron")
    hidden: list[int] = Field(default=[], description="layers of the perceptron at each level")
    activation: ActivationName = Field(default="gelu", description="after each hidden layer")
    scalars: Literal["mean", "pooled", "flatten", "token"] = Field(
        default="mean",
        description="from the mean over levels, from mean and maximum, from all levels side by "
        "side, or from the mean over the tokens of scalars",
    )
    scalar_hidden: list[int] = Field(
        default=[], description="layers of the perceptron behind it, for scalars"
    )


@dataclass(frozen=True)
class Share:
    """Which profiles and scalars a head makes: their numbers in the network's outputs."""

    profiles: tuple[int, ...]
    scalars: tuple[int, ...]


def shares(heads: Mapping[str, HeadConfiguration], shape: ColumnShape) -> list[Share]:
    """Return what each head makes. ArchitectureError for names that are no outputs (with the near
    ones) or stand twice, outputs that no head makes, and heads without any.
    """
    count = shape.profile_outputs + shape.scalar_outputs
    names = shape.output_names or tuple(str(number) for number in range(count))
    maker: dict[str, str] = {}
    for head, configuration in heads.items():
        for name in configuration.outputs or ():
            if not shape.output_names:
                raise ArchitectureError(
                    f"head {head!r} names outputs, and this shape of columns has no names for "
                    "them: build it for a contract"
                )
            if name not in names:
                raise ArchitectureError(
                    f"head {head!r}: the network has no output {name!r}{near_names(name, names)}; "
                    f"outputs: {', '.join(names)}"
                )
            if name in maker:
                raise ArchitectureError(
                    f"heads {maker[name]!r} and {head!r} both name output {name!r}"
                )
            maker[name] = head
    rest = next((head for head, c in heads.items() if c.outputs is None), None)
    lacking = [name for name in names if name not in maker]
    if rest is None and lacking:
        raise ArchitectureError(
            f"no head makes {', '.join(lacking)}; a head without `outputs` takes the rest"
        )
    if rest is not None and not lacking:
        raise ArchitectureError(f"no output is left for head {rest!r}; leave it out")
    makers = [maker.get(name, rest) for name in names]
    split = shape.profile_outputs
    return [
        Share(
            tuple(k for k, made in enumerate(makers[:split]) if made == head),
            tuple(k for k, made in enumerate(makers[split:]) if made == head),
        )
        for head in heads
    ]


class Head(nn.Module):
    """Profiles and scalars of one group of outputs, each followed by its confidence, if wanted."""

    def __init__(
        self, signal: Signal, configuration: HeadConfiguration, share: Share, parts: int
    ) -> None:
        super().__init__()
        c, levels = configuration, signal.length - signal.tokens
        self.profiles: int = parts * len(share.profiles)
        self.scalars: int = parts * len(share.scalars)
        self.tokens: int = signal.tokens
        self.reads: str = c.scalars
        if c.scalars == "token" and signal.tokens == 0:
            raise ArchitectureError("scalars: token needs scalars that enter as tokens")
        self.blocks, made = chain(c.blocks, signal)
        require_same_length(signal, made, "its blocks")
        layers, width = perceptron(made.width, c.hidden, c.activation)
        self.hidden = ChannelsLast(layers)
        self.profile_map = nn.Conv1d(width, self.profiles, 1) if self.profiles else nn.Identity()
        read = {"mean": width, "pooled": 2 * width, "flatten": levels * width, "token": width}
        self.scalar_map: nn.Module = nn.Identity()
        if self.scalars:
            layers, last = perceptron(read[c.scalars], c.scalar_hidden, c.activation)
            self.scalar_map = nn.Sequential(layers, nn.Linear(last, self.scalars))

    def forward(self, x: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """Return [batch, profiles, level] and [batch, scalars]."""
        x = self.hidden(self.blocks(x, scalars))
        levels = x[:, :, self.tokens :]
        if self.reads == "flatten":
            read = levels.flatten(1)
        elif self.reads == "pooled":
            read = torch.cat([levels.mean(dim=2), levels.amax(dim=2)], dim=1)
        elif self.reads == "token":
            read = x[:, :, : self.tokens].mean(dim=2)
        else:
            read = levels.mean(dim=2)
        # without outputs of a kind the map is an identity, of which nothing is taken
        columns, values = self.profile_map(levels), self.scalar_map(read)
        return columns[:, : self.profiles], values[:, : self.scalars]
