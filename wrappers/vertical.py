"""The hybrid vertical coordinate p = P0*a(k) + ps*b(k) of ClimSim and E3SM, from the model top
(level 0) to the surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from climlink.wrappers.constants import GAS_CONSTANT_DRY_AIR, GRAVITY, VIRTUAL_FACTOR
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import HybridCoefficients

REFERENCE_SURFACE_PRESSURE_PA = 1e5
"""Surface pressure at which levels are told by their pressure."""


@dataclass(frozen=True)
class HybridCoordinate:
    """Hybrid coefficients at midpoints [level] and interfaces [level+1], dimensionless; reference
    pressure in Pa.
    """

    p0_pa: float
    hyam: tuple[float, ...]
    hybm: tuple[float, ...]
    hyai: tuple[float, ...]
    hybi: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.hyam)
        if (len(self.hybm), len(self.hyai), len(self.hybi)) != (n, n + 1, n + 1):
            raise ContractError(
                f"hyam has {n} levels, so hybm, hyai and hybi need {(n, n + 1, n + 1)} values; "
                f"they have {(len(self.hybm), len(self.hyai), len(self.hybi))}"
            )

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self.hyam)

    def levels_above(self, pressure_pa: float) -> int:
        """Return how many levels, from the top, have their midpoint above a pressure in Pa where
        the surface is at 1e5 Pa.
        """
        midpoints = [
            self.p0_pa * a + REFERENCE_SURFACE_PRESSURE_PA * b
            for a, b in zip(self.hyam, self.hybm, strict=True)
        ]
        return sum(p < pressure_pa for p in midpoints)

    @classmethod
    def from_manifest(cls, entry: HybridCoefficients) -> HybridCoordinate:
        """Return the coordinate that a manifest records."""
        return cls(
            entry.p0_pa, tuple(entry.hyam), tuple(entry.hybm), tuple(entry.hyai), tuple(entry.hybi)
        )

    def entry(self) -> HybridCoefficients:
        """Return the manifest's record of the coordinate."""
        return HybridCoefficients(
            p0_pa=self.p0_pa,
            hyam=list(self.hyam),
            hybm=list(self.hybm),
            hyai=list(self.hyai),
            hybi=list(self.hybi),
        )


class PressureLevels(nn.Module):
    """Pressure at midpoints and interfaces, float64, from surface pressure."""

    # For type checkers only: TorchScript cannot read the annotations of a class whose module
    # postpones them.
    if TYPE_CHECKING:
        hyam: Tensor
        hybm: Tensor
        hyai: Tensor
        hybi: Tensor

    def __init__(self, hybrid: HybridCoordinate) -> None:
        super().__init__()
        for name in ("hyam", "hybm", "hyai", "hybi"):
            # Persistent, because TorchScript keeps no other kind: the state of a script must load
            # into the plain module.
            self.register_buffer(name, torch.tensor(getattr(hybrid, name), dtype=torch.float64))
        self.p0_pa = hybrid.p0_pa

    def midpoints(self, surface_pressure: Tensor) -> Tensor:
        """Return midpoint pressure [batch, level] in Pa from surface pressure [batch] or [batch, 1]
        in Pa.
        """
        ps = surface_pressure.to(torch.float64).reshape(-1, 1)
        return self.p0_pa * self.hyam + ps * self.hybm

    def interfaces(self, surface_pressure: Tensor) -> Tensor:
        """Return interface pressure [batch, level+1] in Pa from surface pressure [batch] or [batch,
        1] in Pa.
        """
        ps = surface_pressure.to(torch.float64).reshape(-1, 1)
        return self.p0_pa * self.hyai + ps * self.hybi

    def forward(self, surface_pressure: Tensor) -> Tensor:
        """Return midpoint pressure [batch, level] in Pa."""
        return self.midpoints(surface_pressure)


class MidpointHeight(nn.Module):
    """Height above the surface from temperature and humidity, as E3SM's geopotential_t for its
    spectral element core.

    A layer is Rd Tv/g dp/p thick and its midpoint lies halfway up.
    """

    def __init__(self, hybrid: HybridCoordinate) -> None:
        super().__init__()
        self.levels = PressureLevels(hybrid)
        self.gas_constant: float = GAS_CONSTANT_DRY_AIR
        self.gravity: float = GRAVITY
        self.virtual: float = VIRTUAL_FACTOR

    def forward(self, temperature: Tensor, humidity: Tensor, surface_pressure: Tensor) -> Tensor:
        """Return height of level midpoints [batch, level] in m, float64, from K, kg/kg [batch,
        level] and Pa [batch] or [batch, 1].
        """
        interfaces = self.levels.interfaces(surface_pressure)
        thickness = (interfaces[:, 1:] - interfaces[:, :-1]) / self.levels.midpoints(
            surface_pressure
        )
        full = (
            self.gas_constant
            / self.gravity
            * temperature
            * (1.0 + self.virtual * humidity)
            * thickness
        )
        below = full.flip(1).cumsum(1).flip(1) - full
        return below + 0.5 * full
