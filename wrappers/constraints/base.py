"""What every physical constraint is given and must declare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict
from climlink.wrappers.vertical import HybridCoordinate


@dataclass(frozen=True)
class ConstraintContext:
    """Where a constraint acts: levels, vertical grid, time step in seconds, and how many levels
    from the top are pruned.
    """

    hybrid: HybridCoordinate | None
    time_step_s: float | None
    pruned_levels: int
    level_count: int

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
    ``requires_state`` and ``requires_outputs`` are checked at construction of the sequence. Rules
    are applied in the order of ``stage``. A rule that is not ``by_default`` acts on levels that
    only a user can name.

    ``enabled`` is the rule's switch in the graph, which the Runtime may turn off for one run;
    ``makes`` names, separated by commas, the outputs that exist through this rule only: such a rule
    has no use for its switch.
    """

    name: ClassVar[str]
    stage: ClassVar[int]
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
