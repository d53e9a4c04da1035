"""Saturation, relative humidity and the liquid fraction of cloud, with the published polynomials
and thresholds.

All functions compute in float64 whatever the type they are given: in float32 the eighth-order
polynomials are wrong by up to 28 % at 185 K. Source: the emulator coupling of E3SM-MMF and
ClimSim's data utilities (Flatau, Walko and Cotton 1992 polynomials). Specific humidity is used
where a mixing ratio is meant, as both sources do.

Named constants enter as default arguments because TorchScript cannot read module globals.
"""

from __future__ import annotations

import torch
from torch import Tensor

GAS_CONSTANT_DRY = 287.0  # J/kg/K, the rounded value of the published relative humidity
GAS_CONSTANT_VAPOR = 461.0  # J/kg/K, idem
MIXED_PHASE_COLD = 253.16  # K, all cloud is ice below
MIXED_PHASE_SPAN = 20.0  # K, all cloud is liquid above MIXED_PHASE_COLD + MIXED_PHASE_SPAN


def _polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Return sum of coefficients[i] * x**i by Horner's rule."""
    total = torch.zeros_like(x)
    for i in range(len(coefficients)):
        total = total * x + coefficients[len(coefficients) - 1 - i]
    return total


def liquid_fraction(
    temperature: Tensor, cold: float = MIXED_PHASE_COLD, span: float = MIXED_PHASE_SPAN
) -> Tensor:
    """Return the liquid fraction of cloud water, clip((T - 253.16) / 20, 0, 1), float64;
    temperature in K.
    """
    return ((temperature.to(torch.float64) - cold) / span).clamp(0.0, 1.0)


def saturation_pressure_liquid(temperature: Tensor) -> Tensor:
    """Return saturation vapour pressure over liquid in Pa, float64; temperature in K, held at
    193.16 K below that.
    """
    # fmt: off
    hpa = [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5, 0.206739458e-7,
           0.640689451e-10, -0.952447341e-13, -0.976195544e-15]
    # fmt: on
    return 100.0 * _polynomial((temperature.to(torch.float64) - 273.16).clamp(min=-80.0), hpa)


def saturation_pressure_ice(temperature: Tensor) -> Tensor:
    """Return saturation vapour pressure over ice in Pa, float64; over liquid above 273.15 K, a
    quadratic up to 185 K.
    """
    # fmt: off
    hpa = [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5, 0.602588177e-7,
           0.385852041e-9, 0.146898966e-11, 0.252751365e-14]
    # fmt: on
    cold_hpa = [0.00763685, 0.000151069, 7.48215e-7]
    t = temperature.to(torch.float64)
    d = t - 273.16
    below_freezing = torch.where(
        t > 185.0, _polynomial(d, hpa), _polynomial(d.clamp(min=-100.0), cold_hpa)
    )
    return torch.where(t > 273.15, saturation_pressure_liquid(t), 100.0 * below_freezing)


def saturation_pressure(temperature: Tensor) -> Tensor:
    """Return saturation vapour pressure in Pa over the mixed phase (liquid weighted by
    liquid_fraction), float64.
    """
    w = liquid_fraction(temperature)
    return w * saturation_pressure_liquid(temperature) + (1.0 - w) * saturation_pressure_ice(
        temperature
    )


def relative_humidity(
    temperature: Tensor,
    specific_humidity: Tensor,
    pressure: Tensor,
    dry: float = GAS_CONSTANT_DRY,
    vapor: float = GAS_CONSTANT_VAPOR,
) -> Tensor:
    """Return RH = Rv p q / (Rd es(T)), dimensionless float64, from K, kg/kg and Pa (all of one
    shape).
    """
    return (
        vapor
        * pressure.to(torch.float64)
        * specific_humidity.to(torch.float64)
        / (dry * saturation_pressure(temperature))
    )


def specific_humidity(
    temperature: Tensor,
    relative_humidity: Tensor,
    pressure: Tensor,
    dry: float = GAS_CONSTANT_DRY,
    vapor: float = GAS_CONSTANT_VAPOR,
) -> Tensor:
    """Return q = Rd es(T) rh / (Rv p) in kg/kg, float64: the inverse of relative_humidity."""
    return (
        dry
        * saturation_pressure(temperature)
        * relative_humidity.to(torch.float64)
        / (vapor * pressure.to(torch.float64))
    )
