"""What every physical constraint is given and must declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate


@dataclass(frozen=True)
class ConstraintContext:
    """Where a constraint acts: levels, vertical grid, time step in seconds, how many levels from
    the top are pruned, and what the host sends.
    """

    hybrid: HybridCoordinate | None
    time_step_s: float | None
    pruned_levels: int
    level_count: int
    inputs: VariableSet | None = None

    def require_inputs(self, rule: str) -> VariableSet:
        """Return what the host sends; ContractError names the rule that needs it."""
        if self.inputs is None:
            raise ContractError(
                f"constraint {rule!r} acts on what a host sends: give the input set of the emulator"
            )
        return self.inputs

    def require_hybrid(self, rule: str) -> HybridCoordinate:
        """Return the vertical grid; ContractError names the rule that needs it."""
        if self.hybrid is None:
            raise ContractError(
                f"constraint {rule!r} needs pressure: give the hybrid coefficients of the vertical "
                "grid"
            )
        return self.hybrid

    def require_time_step(self, rule: str) -> float:
        """Return the time step in seconds; ContractError names the rule that needs it."""
        if self.time_step_s is None:
            raise ContractError(
                f"constraint {rule!r} needs the time step that tendencies are meant for: give "
                "time_step_s"
            )
        return self.time_step_s


class NoParameters(Strict):
    """Parameters of a constraint that has none."""


class PhysicalConstraint(nn.Module):
    """A named rule on the physical outputs of a column, out of place.

    ``forward(state, outputs)`` takes fields by name, float64: profiles [batch, level], scalars
    [batch, 1]; it changes neither argument and returns only the outputs that it changes or adds.
    ``requires_state`` and ``requires_outputs`` are checked at construction of the sequence. A rule
    that is not ``by_default`` does what only a user can ask for.

    A rule that needs training ranges keeps them in buffers, which are infinite until
    ``give_ranges``. It may change what the network sees of the host's rows (``seen``), and tells
    how much it was needed (``input_changes``, ``range_use``), all without the network.

    ``enabled`` is the rule's switch in the graph, which the Runtime may turn off for one run;
    ``makes`` names, separated by commas, the outputs that exist through this rule only: such a rule
    has no use for its switch.
    """

    name: ClassVar[str]
    by_default: ClassVar[bool] = True
    parameters_type: ClassVar[type[Strict]] = NoParameters

    def __init__(self) -> None:
        super().__init__()
        self.enabled: bool = True
        self.makes: str = ""
        # Not annotated: TorchScript's checker warns at every annotated list of a module.
        self.requires_state = list[str]()
        self.requires_outputs = list[str]()
        self.produces = list[str]()

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed outputs (see the class)."""
        raise TypeError(f"{type(self).__name__} must define forward(state, outputs)")

    @torch.jit.unused
    def give_ranges(self, ranges: Mapping[str, list[list[float]]]) -> None:
        """Take {host input: [minimum, maximum]} of training, one number or [width] each;
        ContractError where a range that the rule needs is lacking.
        """

    def seen(self, x: Tensor) -> Tensor:
        """Return what the network sees of host rows [batch, n_input], float32."""
        return x

    def input_changes(self, x: Tensor) -> dict[str, Tensor]:
        """Return what the rule adds to what the network sees, {host input: [batch, width]},
        float64, in the input's units.
        """
        changes: dict[str, Tensor] = {}
        return changes

    def range_use(self, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Return the rule's part of ``WrappedEmulator.range_use``, [batch, 3], float64."""
        return torch.zeros(x.shape[0], 3, dtype=torch.float64, device=x.device)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where there is no whole, with gradients that are finite there."""
    there = whole > 0.0
    return torch.where(there, part, torch.zeros_like(part)) / torch.where(
        there, whole, torch.ones_like(whole)
    )
