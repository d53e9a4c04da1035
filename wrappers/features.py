"""Network inputs made inside the graph from other fields, in physical units, float64: logarithms,
differences between levels, moist energies.

A representation ``name@log10`` and its kin wrap the module that gives ``name``; their statistics
are those of the feature itself. (The representations ``variable``, ``log`` and ``exponential`` are
arithmetic of the normalization and never come here.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from climlink.wrappers.constants import GRAVITY, HEAT_CAPACITY_DRY_AIR, LATENT_HEAT_VAPORIZATION
from climlink.wrappers.errors import ContractError
from climlink.wrappers.statistics import FILL_THRESHOLD
from climlink.wrappers.thermodynamics import specific_humidity
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate, MidpointHeight

LOG_FLOORS = {"kg/kg": 1e-9, "m": 1e-4}
"""What is added before a logarithm, by units: below it a water species or a snow depth does
nothing.
"""

GAS_LOG_FLOOR = 1e-12
"""kg/kg: the same for trace gases, a hundredth of the least methane of eight years of ClimSim
(1.8e-10).
"""

TRACE_GASES = ("pbuf_ozone", "pbuf_CH4", "pbuf_N2O")

SATURATED_HUMIDITY_LIMIT = 0.05
"""kg/kg: upper limit of saturated humidity; aloft, where p < es, the formula has no meaning."""

BUOYANCY_LIMIT = 8e4
"""J/kg: parcel buoyancy is clipped to plus and minus this; in the stratosphere it grows without
telling the network more.
"""


class Log10(nn.Module):
    """log10 of a non-negative field plus a floor."""

    def __init__(self, field: nn.Module, floor: float) -> None:
        super().__init__()
        self.field = field
        self.floor: float = floor

    def forward(self, x: Tensor) -> Tensor:
        """Return log10(max(field, 0) + floor) [batch, width]; NaN stays NaN."""
        return torch.log10(self.field(x).clamp(min=0.0) + self.floor)


class Step(nn.Module):
    """Difference between a level and one above it; zero where there is none."""

    def __init__(self, field: nn.Module, levels: int = 1) -> None:
        super().__init__()
        self.field = field
        self.levels: int = levels

    def forward(self, x: Tensor) -> Tensor:
        """Return field[k] - field[k-levels] [batch, level]."""
        value, n = self.field(x), self.levels
        return torch.cat([torch.zeros_like(value[:, :n]), value[:, n:] - value[:, :-n]], dim=1)


class SecondStep(nn.Module):
    """Difference between a level's step and that of the level above; zero on the two top levels."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, x: Tensor) -> Tensor:
        """Return field[k] - 2 field[k-1] + field[k-2] [batch, level]."""
        value = self.field(x)
        second = value[:, 2:] - 2.0 * value[:, 1:-1] + value[:, :-2]
        return torch.cat([torch.zeros_like(value[:, :2]), second], dim=1)


class NotPositive(nn.Module):
    """Where a field is zero or below: night for the cosine of the solar zenith angle."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 where field <= 0, else 0 (NaN stays NaN) [batch, width]."""
        value = self.field(x)
        return torch.where(torch.isnan(value), value, (value <= 0.0).to(torch.float64))


class Unfilled(nn.Module):
    """A field with zero in place of its fill value."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.threshold: float = FILL_THRESHOLD

    def forward(self, x: Tensor) -> Tensor:
        """Return field, 0 where it is at or above the fill threshold [batch, width]."""
        value = self.field(x)
        return torch.where(value >= self.threshold, torch.zeros_like(value), value)


class StaticEnergy(nn.Module):
    """Moist static energy h = cp T + g z + Lv q, compared with that of the lowest level.

    ``saturated`` gives the parcel buoyancy h(surface) - h_sat(k), clipped: positive where surface
    air, lifted without mixing, is lighter than its surroundings. Otherwise h(k) - h(surface).
    """

    def __init__(
        self,
        temperature: nn.Module,
        humidity: nn.Module,
        surface_pressure: nn.Module,
        hybrid: HybridCoordinate,
        *,
        saturated: bool,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.humidity = humidity
        self.surface_pressure = surface_pressure
        self.height = MidpointHeight(hybrid)
        self.saturated: bool = saturated
        self.humidity_limit: float = SATURATED_HUMIDITY_LIMIT
        self.buoyancy_limit: float = BUOYANCY_LIMIT
        self.heat_capacity: float = HEAT_CAPACITY_DRY_AIR
        self.gravity: float = GRAVITY
        self.latent_heat: float = LATENT_HEAT_VAPORIZATION

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy difference [batch, level] in J/kg."""
        t, q, ps = self.temperature(x), self.humidity(x), self.surface_pressure(x)
        dry = self.heat_capacity * t + self.gravity * self.height(t, q, ps)
        moist = dry + self.latent_heat * q
        surface = moist[:, -1:]
        if not self.saturated:
            return moist - surface
        saturated = specific_humidity(
            t, torch.ones_like(t), self.height.levels.midpoints(ps)
        ).clamp(max=self.humidity_limit)
        return (surface - dry - self.latent_heat * saturated).clamp(
            -self.buoyancy_limit, self.buoyancy_limit
        )


def represent(variable: Variable, units: str, field: nn.Module) -> nn.Module:
    """Return the module of a derived representation of a field that is in ``units``; ContractError
    if it has no meaning there.
    """
    if variable.representation == "log10":
        floor = GAS_LOG_FLOOR if variable.base_name in TRACE_GASES else LOG_FLOORS.get(units)
        if floor is None:
            raise ContractError(
                f"{variable.name}: log10 needs a variable in {' or '.join(LOG_FLOORS)}, not in "
                f"{units}"
            )
        return Log10(field, floor)
    if variable.representation in ("step", "step2", "second_step"):
        if not variable.is_profile:
            raise ContractError(f"{variable.name}: a scalar has no step between levels")
        if variable.representation == "second_step":
            return SecondStep(field)
        return Step(field, 2 if variable.representation == "step2" else 1)
    if variable.representation == "not_positive":
        return NotPositive(field)
    if variable.representation == "unfilled":
        return Unfilled(field)
    raise ContractError(
        f"{variable.name}: {variable.representation!r} is not a derived representation"
    )
