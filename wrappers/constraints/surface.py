"""Constraints on the eight surface outputs; they act by name, so no other output is ever
touched.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from climlink.wrappers.constraints.base import ConstraintContext, NoParameters, PhysicalConstraint

SHORTWAVE_ALBEDO = {
    "cam_out_SOLS": "cam_in_ASDIR",
    "cam_out_SOLL": "cam_in_ALDIR",
    "cam_out_SOLSD": "cam_in_ASDIF",
    "cam_out_SOLLD": "cam_in_ALDIF",
}
"""The four downward shortwave parts and the albedo that reflects each."""

SURFACE_OUTPUTS = (
    "cam_out_NETSW",
    "cam_out_FLWDS",
    "cam_out_PRECSC",
    "cam_out_PRECC",
    *SHORTWAVE_ALBEDO,
)


class NonNegativeSurface(PhysicalConstraint):
    """No negative flux or precipitation: y = max(y, 0) for all eight surface outputs."""

    name: ClassVar[str] = "non_negative_surface"

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        self.names = list(SURFACE_OUTPUTS)
        self.requires_outputs = list(SURFACE_OUTPUTS)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the clipped surface outputs [batch, 1]."""
        changed: dict[str, Tensor] = {}
        for name in self.names:
            changed[name] = outputs[name].clamp(min=0.0)
        return changed


class SnowWithinPrecipitation(PhysicalConstraint):
    """Snowfall is part of precipitation: PRECC = max(PRECC, PRECSC).

    Precipitation is raised rather than snowfall cut: where it snows, an emulator's error in PRECC
    (scaled by tropical rain) is of the size of the snowfall itself, and cutting by it costs
    snowfall 0.07 of R² on the ClimSim sample, raising costs nothing.
    """

    name: ClassVar[str] = "snow_within_precipitation"

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        self.requires_outputs = ["cam_out_PRECSC", "cam_out_PRECC"]

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the precipitation [batch, 1], at least the snowfall."""
        return {"cam_out_PRECC": torch.maximum(outputs["cam_out_PRECC"], outputs["cam_out_PRECSC"])}


class Night(PhysicalConstraint):
    """No shortwave at the surface where the sun is at or below the horizon (COSZRS <= 0)."""

    name: ClassVar[str] = "night"

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        self.names = ["cam_out_NETSW", *SHORTWAVE_ALBEDO]
        self.requires_outputs = list(self.names)
        self.requires_state = ["pbuf_COSZRS"]

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shortwave outputs [batch, 1], zero at night."""
        dark = state["pbuf_COSZRS"] <= 0.0
        changed: dict[str, Tensor] = {}
        for name in self.names:
            changed[name] = torch.where(dark, torch.zeros_like(outputs[name]), outputs[name])
        return changed


class NetShortwaveClosure(PhysicalConstraint):
    """Net shortwave is the absorbed part of what comes down: NETSW = sum of SOL* (1 - albedo).

    Holds to 5e-13 in ClimSim; replaces the network's own NETSW.
    """

    name: ClassVar[str] = "net_shortwave_closure"

    def __init__(self, context: ConstraintContext, parameters: NoParameters) -> None:
        super().__init__()
        self.fluxes = list(SHORTWAVE_ALBEDO)
        self.albedos = list(SHORTWAVE_ALBEDO.values())
        self.requires_outputs = list(self.fluxes)
        self.requires_state = list(self.albedos)
        self.produces = ["cam_out_NETSW"]

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the closed NETSW [batch, 1] in W/m2."""
        net = torch.zeros_like(outputs[self.fluxes[0]])
        for i, flux in enumerate(self.fluxes):
            net = net + outputs[flux] * (1.0 - state[self.albedos[i]])
        return {"cam_out_NETSW": net}
