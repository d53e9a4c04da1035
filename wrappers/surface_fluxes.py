"""Surface heat fluxes divided by what drives them: inputs whose distribution hardly changes with
climate.

Source: Beucler et al. (2024), Climate-invariant machine learning, Science Advances 10, eadj7250:
LHF / (Lv max(eps, q_sat(Ts) - q)) with eps = 1e-3 kg/kg, and in the same code SHF / (cp max(eps,
Ts - T)) with eps = 1 K, T and q of the lowest level. By the bulk formulas both are an exchange
coefficient times density and wind speed. ClimSim has no surface temperature: Ts here is that of a
black body which emits the upward longwave flux.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.wrappers.constants import (
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_VAPORIZATION,
    STEFAN_BOLTZMANN,
)
from climlink.wrappers.thermodynamics import specific_humidity
from climlink.wrappers.vertical import HybridCoordinate, PressureLevels

LEAST_DEFICIT = 1e-3
"""kg/kg: smallest saturation deficit that a latent heat flux is divided by (published)."""

LEAST_CONTRAST = 1.0
"""K: smallest temperature contrast that a sensible heat flux is divided by (published)."""


def surface_temperature(upward_longwave: Tensor, constant: float = STEFAN_BOLTZMANN) -> Tensor:
    """Return the temperature in K of a black body that emits a flux in W/m2."""
    return (upward_longwave / constant) ** 0.25


class NormalizedLatentHeat(nn.Module):
    """Latent heat flux over Lv and the saturation deficit of the lowest level against the
    surface.
    """

    def __init__(
        self,
        flux: nn.Module,
        upward_longwave: nn.Module,
        humidity: nn.Module,
        surface_pressure: nn.Module,
        hybrid: HybridCoordinate,
    ) -> None:
        super().__init__()
        self.flux = flux
        self.upward_longwave = upward_longwave
        self.humidity = humidity
        self.surface_pressure = surface_pressure
        self.levels = PressureLevels(hybrid)
        self.latent_heat: float = LATENT_HEAT_VAPORIZATION
        self.least: float = LEAST_DEFICIT

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized flux [batch, 1] in kg/m2/s."""
        skin = surface_temperature(self.upward_longwave(x))
        pressure = self.levels.midpoints(self.surface_pressure(x))[:, -1:]
        saturated = specific_humidity(skin, torch.ones_like(skin), pressure)
        deficit = (saturated - self.humidity(x)[:, -1:]).clamp(min=self.least)
        return self.flux(x) / (self.latent_heat * deficit)


class NormalizedSensibleHeat(nn.Module):
    """Sensible heat flux over cp and the temperature contrast between surface and lowest level."""

    def __init__(self, flux: nn.Module, upward_longwave: nn.Module, temperature: nn.Module) -> None:
        super().__init__()
        self.flux = flux
        self.upward_longwave = upward_longwave
        self.temperature = temperature
        self.heat_capacity: float = HEAT_CAPACITY_DRY_AIR
        self.least: float = LEAST_CONTRAST

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized flux [batch, 1] in kg/m2/s."""
        contrast = surface_temperature(self.upward_longwave(x)) - self.temperature(x)[:, -1:]
        return self.flux(x) / (self.heat_capacity * contrast.clamp(min=self.least))
