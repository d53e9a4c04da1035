"""Reversal of winds: the same column seen in a mirror."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.training.errors import TrainingError
from climlink.wrappers.variable_sets import VariableSet

_ODD = {
    "state_u": 0, "state_u_dyn": 0, "state_u_prvphy": 0, "tm_state_u_dyn": 0,
    "tm_state_u_prvphy": 0, "pbuf_TAUX": 0, "ptend_u": 0, "state_v": 1, "pbuf_TAUY": 1,
    "ptend_v": 1,
}  # fmt: skip
"""Variables that change sign with the zonal (0) or the meridional (1) wind."""


class Mirror(nn.Module):
    """Reverses winds in rows of a variable set, normalized or not: x becomes -x about the value
    that stands for zero wind.
    """

    axis: Tensor
    zero: Tensor

    def __init__(self, variables: VariableSet, zero: Tensor) -> None:
        """``zero`` [width] is what a physical zero is in these rows."""
        super().__init__()
        axis = torch.full((variables.width,), 2)
        for v in variables.variables:
            if v.base_name in _ODD and v.representation == "log":
                raise TrainingError(
                    f"mirror_winds cannot reverse {v.name}: a signed logarithm has no mirror; "
                    "leave mirror_winds out"
                )
            axis[variables.slice(v.name)] = _ODD.get(v.base_name, 2)
        zero = zero.detach().cpu().to(torch.float32)
        self.register_buffer("axis", axis, persistent=False)
        self.register_buffer(
            "zero", torch.where(axis < 2, zero, torch.zeros(variables.width)), persistent=False
        )

    @classmethod
    def nothing(cls) -> Mirror:
        """Return the mirror of empty rows."""
        return cls(VariableSet("nothing", ()), torch.zeros(0))

    def forward(self, rows: Tensor, signs: Tensor) -> Tensor:
        """Return rows [column, width] with winds times ``signs`` [column, 2] (zonal, meridional),
        each 1 or -1.
        """
        if self.axis.numel() == 0:
            return rows
        factor = torch.cat([signs, torch.ones_like(signs[:, :1])], dim=1).index_select(1, self.axis)
        return factor * (rows - self.zero) + self.zero
