"""What the tendencies and fluxes of a column close to, as the embedded model's physics does: water
that leaves falls as precipitation, and what heats a column comes through its top or its surface.

Named constants enter as default arguments because TorchScript cannot read module globals.
"""

from __future__ import annotations

from torch import Tensor

from climlink.wrappers.constants import (
    GRAVITY,
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_FUSION,
    LATENT_HEAT_VAPORIZATION,
    WATER_DENSITY,
)

TOA_NET = "toa_net"
"""Network output that no host receives: net radiation at the top in W/m2, downward."""

WATER_OUTPUTS = ("ptend_q0001", "ptend_q0002", "ptend_q0003", "cam_out_PRECC")
"""What ``water_residual`` reads."""

ENERGY_OUTPUTS = (
    "ptend_t",
    "ptend_q0001",
    "ptend_q0003",
    "ptend_u",
    "ptend_v",
    "cam_out_NETSW",
    "cam_out_FLWDS",
    "cam_out_PRECSC",
)
"""Outputs that ``implied_toa_net`` reads."""

ENERGY_STATE = ("state_u", "state_v", "cam_in_LWUP")
"""Inputs that ``implied_toa_net`` reads."""


def layer_mass(interfaces: Tensor, gravity: float = GRAVITY) -> Tensor:
    """Return dp/g of every layer [batch, level] in kg/m2 from interface pressure [batch, level+1]
    in Pa.
    """
    return (interfaces[:, 1:] - interfaces[:, :-1]) / gravity


def water_residual(
    outputs: dict[str, Tensor], mass: Tensor, density: float = WATER_DENSITY
) -> Tensor:
    """Return the water [batch, 1] in kg/m2/s that a column makes from nothing: what vapour, liquid
    and ice gain, plus what falls.

    Profiles [batch, level] in kg/kg/s, precipitation [batch, 1] in m/s, ``mass`` in kg/m2.
    """
    gained = outputs["ptend_q0001"] + outputs["ptend_q0002"] + outputs["ptend_q0003"]
    return (mass * gained).sum(dim=1, keepdim=True) + density * outputs["cam_out_PRECC"]


def implied_toa_net(
    state: dict[str, Tensor],
    outputs: dict[str, Tensor],
    mass: Tensor,
    time_step_s: float,
    heat_capacity: float = HEAT_CAPACITY_DRY_AIR,
    vaporization: float = LATENT_HEAT_VAPORIZATION,
    fusion: float = LATENT_HEAT_FUSION,
    density: float = WATER_DENSITY,
) -> Tensor:
    """Return the net radiation at the top [batch, 1] in W/m2, downward, that closes the energy of a
    column: sum m (cp dT + Lv dq1 - Lf dq3 + kinetic) + NETSW + FLWDS - LWUP - Lf snowfall.

    The kinetic energy that a wind tendency gives over a step is du (u + dt du/2), and so for v.
    Surface fluxes of heat and water are the host's and in none of these terms. The budget is that
    of the embedded model (``column_sources`` of its summary).
    """
    du, dv = outputs["ptend_u"], outputs["ptend_v"]
    half = 0.5 * time_step_s
    kinetic = du * (state["state_u"] + half * du) + dv * (state["state_v"] + half * dv)
    latent = vaporization * outputs["ptend_q0001"] - fusion * outputs["ptend_q0003"]
    heating = mass * (heat_capacity * outputs["ptend_t"] + latent + kinetic)
    surface = outputs["cam_out_NETSW"] + outputs["cam_out_FLWDS"] - state["cam_in_LWUP"]
    snow = fusion * density * outputs["cam_out_PRECSC"]
    return heating.sum(dim=1, keepdim=True) + surface - snow
