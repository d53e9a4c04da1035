"""Named physical fields from packed host rows, derived inside the graph.

A field is either one of the host's variables or follows from them: pressure from surface pressure
and the hybrid coefficients, relative humidity from T, q and p (or the reverse, where the host sends
RH), total cloud as liquid plus ice, the liquid fraction from T, and so on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from climlink.wrappers.errors import ContractError
from climlink.wrappers.features import StaticEnergy, represent
from climlink.wrappers.surface_fluxes import NormalizedLatentHeat, NormalizedSensibleHeat
from climlink.wrappers.thermodynamics import (
    liquid_fraction,
    relative_humidity,
    saturation_pressure,
    specific_humidity,
)
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable, variable
from climlink.wrappers.vertical import HybridCoordinate, PressureLevels

_SUMS = {
    "state_qn": ("state_q0002", "state_q0003"),
    "state_qn_prvphy": ("state_q0002_prvphy", "state_q0003_prvphy"),
    "tm_state_qn_prvphy": ("tm_state_q0002_prvphy", "tm_state_q0003_prvphy"),
}
"""Total-cloud fields and their liquid and ice parts."""

_PRESSURE_FIELDS = (
    "state_pmid",
    "state_rh",
    "state_q0001",
    "moist_static_energy_excess",
    "parcel_buoyancy",
    "normalized_LHFLX",
)
"""Fields that are made with the pressure at midpoints or interfaces."""

_STATIC_ENERGIES = {"moist_static_energy_excess": False, "parcel_buoyancy": True}
"""Moist static energy fields, and whether they compare with saturated air."""


class HostField(nn.Module):
    """A variable that the host sends."""

    def __init__(self, host: VariableSet, name: str) -> None:
        super().__init__()
        positions = host.slice(name)
        self.start: int = positions.start
        self.stop: int = positions.stop

    def forward(self, x: Tensor) -> Tensor:
        """Return the field [batch, width], float64, from host rows [batch, n_input]."""
        return x[:, self.start : self.stop].to(torch.float64)


class CloudSum(nn.Module):
    """Total cloud as the sum of liquid and ice."""

    def __init__(self, host: VariableSet, liquid: str, ice: str) -> None:
        super().__init__()
        self.liquid = HostField(host, liquid)
        self.ice = HostField(host, ice)

    def forward(self, x: Tensor) -> Tensor:
        """Return liquid + ice [batch, level]."""
        return self.liquid(x) + self.ice(x)


class LiquidFraction(nn.Module):
    """Liquid fraction of cloud diagnosed from temperature."""

    def __init__(self, host: VariableSet) -> None:
        super().__init__()
        self.temperature = HostField(host, "state_t")

    def forward(self, x: Tensor) -> Tensor:
        """Return the fraction [batch, level], 0 to 1."""
        return liquid_fraction(self.temperature(x))


class SaturationPressure(nn.Module):
    """Saturation vapour pressure from temperature."""

    def __init__(self, host: VariableSet) -> None:
        super().__init__()
        self.temperature = HostField(host, "state_t")

    def forward(self, x: Tensor) -> Tensor:
        """Return saturation vapour pressure [batch, level] in Pa."""
        return saturation_pressure(self.temperature(x))


class IceFraction(nn.Module):
    """Ice fraction of the cloud that is there; where there is none, that of new cloud at this
    temperature.
    """

    def __init__(self, host: VariableSet) -> None:
        super().__init__()
        self.temperature = HostField(host, "state_t")
        self.liquid = HostField(host, "state_q0002")
        self.ice = HostField(host, "state_q0003")

    def forward(self, x: Tensor) -> Tensor:
        """Return the fraction [batch, level], 0 to 1."""
        ice = self.ice(x).clamp(min=0.0)
        cloud = ice + self.liquid(x).clamp(min=0.0)
        clear = cloud <= 0.0
        fraction = ice / torch.where(clear, torch.ones_like(cloud), cloud)
        return torch.where(clear, 1.0 - liquid_fraction(self.temperature(x)), fraction)


class WindSpeed(nn.Module):
    """Horizontal wind speed."""

    def __init__(self, host: VariableSet) -> None:
        super().__init__()
        self.zonal = HostField(host, "state_u")
        self.meridional = HostField(host, "state_v")

    def forward(self, x: Tensor) -> Tensor:
        """Return sqrt(u^2 + v^2) [batch, level] in m/s."""
        return torch.hypot(self.zonal(x), self.meridional(x))


class Pressure(nn.Module):
    """Midpoint pressure from surface pressure."""

    def __init__(self, host: VariableSet, hybrid: HybridCoordinate) -> None:
        super().__init__()
        self.surface_pressure = HostField(host, "state_ps")
        self.levels = PressureLevels(hybrid)

    def forward(self, x: Tensor) -> Tensor:
        """Return pressure [batch, level] in Pa."""
        return self.levels(self.surface_pressure(x))


class RelativeHumidity(nn.Module):
    """Relative humidity from temperature, specific humidity and pressure."""

    def __init__(self, host: VariableSet, hybrid: HybridCoordinate) -> None:
        super().__init__()
        self.temperature = HostField(host, "state_t")
        self.humidity = HostField(host, "state_q0001")
        self.pressure = Pressure(host, hybrid)

    def forward(self, x: Tensor) -> Tensor:
        """Return RH [batch, level]."""
        return relative_humidity(self.temperature(x), self.humidity(x), self.pressure(x))


class SpecificHumidity(nn.Module):
    """Specific humidity from a host that sends relative humidity."""

    def __init__(self, host: VariableSet, hybrid: HybridCoordinate) -> None:
        super().__init__()
        self.temperature = HostField(host, "state_t")
        self.humidity = HostField(host, "state_rh")
        self.pressure = Pressure(host, hybrid)

    def forward(self, x: Tensor) -> Tensor:
        """Return q [batch, level] in kg/kg."""
        return specific_humidity(self.temperature(x), self.humidity(x), self.pressure(x))


_OF_HOST: dict[str, Callable[[VariableSet], nn.Module]] = {
    "liq_partition": LiquidFraction,
    "saturation_pressure": SaturationPressure,
    "ice_fraction": IceFraction,
    "wind_speed": WindSpeed,
}
"""Fields that follow from what the host sends and need no pressure."""


def field_module(wanted: Variable, host: VariableSet, hybrid: HybridCoordinate | None) -> nn.Module:
    """Return the module that gives one field from host rows; ContractError if the set cannot supply
    it.
    """
    name = wanted.name
    if name in host:
        return HostField(host, name)
    if wanted.representation:
        base = _base_of(wanted, host)
        return represent(wanted, base.units, field_module(base, host, hybrid))
    if name in _SUMS:
        return CloudSum(host, *_SUMS[name])
    if name in _OF_HOST:
        return _OF_HOST[name](host)
    if name == "normalized_SHFLX":
        return NormalizedSensibleHeat(*_parts(host, hybrid, "pbuf_SHFLX", "cam_in_LWUP", "state_t"))
    if name in _PRESSURE_FIELDS:
        return _of_pressure(name, host, hybrid)
    raise ContractError(
        f"input set {host.name!r} neither holds {name!r} nor what it is derived from"
    )


def _of_pressure(name: str, host: VariableSet, hybrid: HybridCoordinate | None) -> nn.Module:
    """Return the module of a field that needs pressure."""
    if hybrid is None:
        raise ContractError(
            f"{name} is derived from pressure: give the hybrid coefficients of the vertical grid"
        )
    if name == "state_pmid":
        return Pressure(host, hybrid)
    if name == "state_rh" and "state_q0001" in host:
        return RelativeHumidity(host, hybrid)
    if name == "state_q0001" and "state_rh" in host:
        return SpecificHumidity(host, hybrid)
    if name in _STATIC_ENERGIES:
        temperature, humidity, pressure = _parts(host, hybrid, "state_t", "state_q0001", "state_ps")
        return StaticEnergy(
            temperature, humidity, pressure, hybrid, saturated=_STATIC_ENERGIES[name]
        )
    if name == "normalized_LHFLX":
        flux, longwave, humidity, pressure = _parts(
            host, hybrid, "pbuf_LHFLX", "cam_in_LWUP", "state_q0001", "state_ps"
        )
        return NormalizedLatentHeat(flux, longwave, humidity, pressure, hybrid)
    raise ContractError(
        f"input set {host.name!r} neither holds {name!r} nor what it is derived from"
    )


def _parts(host: VariableSet, hybrid: HybridCoordinate | None, *names: str) -> list[nn.Module]:
    """Return the modules of the fields that another is made from."""
    return [field_module(variable(name), host, hybrid) for name in names]


def _check_levels(host: VariableSet, hybrid: HybridCoordinate | None) -> None:
    if hybrid is not None and host.level_count != hybrid.level_count:
        raise ContractError(
            f"input set {host.name!r} has {host.level_count} levels, the hybrid coefficients have "
            f"{hybrid.level_count}"
        )


class NetworkFields(nn.Module):
    """The network's inputs in physical units, packed in the order of the network-side set."""

    def __init__(
        self, host: VariableSet, network: VariableSet, hybrid: HybridCoordinate | None
    ) -> None:
        super().__init__()
        _check_levels(host, hybrid)
        self.n_input = host.width
        # Encodings of one quantity share its field; the normalization makes them.
        names = list(dict.fromkeys(v.field_name for v in network.variables))
        fields = {
            v.field_name: v if v.name == v.field_name else _base_of(v, host)
            for v in network.variables
        }
        self.fields = nn.ModuleList(field_module(fields[name], host, hybrid) for name in names)
        self.order = [names.index(v.field_name) for v in network.variables]

    def forward(self, x: Tensor) -> Tensor:
        """Return rows [batch, n_network], float64, physical units, from host rows [batch,
        n_input].
        """
        values: list[Tensor] = []
        for module in self.fields:
            values.append(module(x))
        return torch.cat([values[i] for i in self.order], dim=1)


def _base_of(v: Variable, host: VariableSet) -> Variable:
    return host[v.base_name] if v.base_name in host else variable(v.base_name)


class StateFields(nn.Module):
    """The host state by name, for the physical constraints."""

    def __init__(
        self, names: list[str], host: VariableSet, hybrid: HybridCoordinate | None
    ) -> None:
        super().__init__()
        _check_levels(host, hybrid)
        self.names = list(names)
        self.fields = nn.ModuleList(
            field_module(variable(name), host, hybrid) for name in self.names
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return {name: [batch, width]}, float64, physical units, from host rows [batch,
        n_input].
        """
        state: dict[str, Tensor] = {}
        for i, module in enumerate(self.fields):
            state[self.names[i]] = module(x)
        return state
