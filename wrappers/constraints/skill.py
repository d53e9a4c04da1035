"""What a network cannot predict is answered with the training mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict
from climlink.wrappers.variables import shipped_variables


class UnskilledToMeanParameters(Strict):
    """Levels (0-based from the top, 0 for a scalar) per network output, and the training mean at
    each of them in the output's units.
    """

    levels: dict[str, list[int]] = Field(default_factory=dict)
    means: dict[str, list[float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_mean_per_level(self) -> UnskilledToMeanParameters:
        lengths = [{n: len(v) for n, v in part.items()} for part in (self.levels, self.means)]
        if lengths[0] != lengths[1]:
            raise ValueError(
                f"expected one mean per level: levels are {lengths[0]}, means {lengths[1]} long"
            )
        for name, levels in self.levels.items():
            if len(set(levels)) != len(levels) or min(levels, default=0) < 0:
                raise ValueError(f"levels of {name} must be different and at least 0, got {levels}")
        return self


class UnskilledToMean(PhysicalConstraint):
    """Replace network outputs by their training mean on named levels: those whose R² on held-out
    data is negative, where the mean is the better answer.

    The competition's winners score so; a coupled model has no use for a constant tendency, so a
    training does not declare it unless told (climlink.packages.unskilled makes the parameters).
    """

    name: ClassVar[str] = "unskilled_to_mean"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = UnskilledToMeanParameters

    def __init__(self, context: ConstraintContext, parameters: UnskilledToMeanParameters) -> None:
        super().__init__()
        for name, levels in parameters.levels.items():
            known = shipped_variables().get(name)
            if known is None:
                continue  # the size of a user's own output is not known here
            count = context.level_count if known.is_profile else 1
            outside = [k for k in levels if k >= count]
            if outside:
                raise ContractError(
                    f"unskilled_to_mean of {name}: levels {outside} are outside 0..{count - 1}"
                )
        self.outputs = list(parameters.levels)
        self.requires_outputs = list(parameters.levels)
        self.replacements = nn.ModuleList(
            Replacement(parameters.levels[n], parameters.means[n]) for n in parameters.levels
        )

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs that it changes [batch, width]."""
        changed: dict[str, Tensor] = {}
        for i, replacement in enumerate(self.replacements):
            name = self.outputs[i]
            changed[name] = replacement(outputs[name])
        return changed


class Replacement(nn.Module):
    """Some values of a row replaced by constants."""

    if TYPE_CHECKING:
        positions: Tensor
        values: Tensor

    def __init__(self, positions: list[int], values: list[float]) -> None:
        super().__init__()
        self.register_buffer("positions", torch.tensor(positions, dtype=torch.int64))
        self.register_buffer("values", torch.tensor(values, dtype=torch.float64))

    def forward(self, value: Tensor) -> Tensor:
        """Return the row [batch, width] with the constants in their places."""
        constants = self.values.unsqueeze(0).expand(value.shape[0], -1)
        return value.index_copy(1, self.positions, constants)
