"""The network of an ensemble's graph: all members on the host's rows, their mean before any
constraint, and their spread as confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import RowNetwork


class Mean(nn.Module):
    """Takes the weighted mean of the members as it is."""

    def forward(self, given: Tensor, mean: Tensor) -> Tensor:
        """Return ``mean`` [batch, n]; ``given`` [batch, member, n] are the members' own."""
        return mean


class EnsembleNetwork(RowNetwork):
    """Members as graphs of their own, each from the host's row to its physical network outputs.

    ``forward(rows [batch, n_input])`` returns their combination [batch, n], float64, in units of
    ``scale`` about ``offset`` [n], and the weighted standard deviation between members in units of
    ``scale`` [batch, n]. ``weights`` [member, n] are not negative and sum to 1 over members.
    """

    if TYPE_CHECKING:
        weights: Tensor
        offset: Tensor
        scale: Tensor
        members: Any

    has_confidence = True

    def __init__(
        self,
        members: Sequence[torch.jit.ScriptModule],
        names: Sequence[str],
        weights: Tensor,
        offset: Tensor,
        scale: Tensor,
        combination: nn.Module,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.names = list(names)
        self.combination = combination
        for name, value in (("weights", weights), ("offset", offset), ("scale", scale)):
            self.register_buffer(name, value.to(torch.float64))

    @torch.jit.export
    def member_rows(self, x: Tensor) -> Tensor:
        """Return the members' network outputs [batch, member, n], float64, from host rows."""
        parts: list[Tensor] = []
        for member in self.members:
            rows, _ = member.normalized_forward(x)
            physical = member.physical_outputs(rows)
            row = torch.cat([physical[name] for name in self.names], dim=1)
            parts.append((row - self.offset) / self.scale)
        return torch.stack(parts, dim=1)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the combination of the members and their spread (see the class)."""
        given = self.member_rows(rows)
        mean = (self.weights * given).sum(dim=1)
        spread = (self.weights * (given - mean.unsqueeze(1)).square()).sum(dim=1).sqrt()
        return self.combination(given, mean), spread
