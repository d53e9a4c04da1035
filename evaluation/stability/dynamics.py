"""Linear gravity waves in two dimensions (x, z) about a column at rest, coupled to the linear
response of an emulator.

Brenowitz, Beucler, Pritchard and Bretherton (2020, J. Atmos. Sci. 77, 4357-4375) couple linearized
anelastic equations to the response of a parametrization. With density rho(z), temperature T(z),
tracers q(z), pressure perturbation phi = p'/rho, and friction d(z):

    u_t = -phi_x - d u                          (rho u)_x + (rho w)_z = 0
    w_t = -phi_z - d w + b                      b = g T' / T(z)
    T'_t = -w (dT/dz + g/cp) + Q1'              q'_t = -w dq/dz + Q2'
    (Q1', Q2') = J (T', q')                     J: the emulator's Jacobian about the column

b is dry buoyancy, as there; J acts on perturbations of the same column only. For waves exp(ikx),
continuity gives u from w, the equation of u gives phi = -(1/k²) (d/dt + d) D w with D w = (1/rho)
d(rho w)/dz, and the equation of w becomes

    (1 - G D / k²) w_t = -(d - G d D / k²) w + b,       G = d/dz

which is not hydrostatic; for waves much longer than they are deep the 1 on the left does not
matter. With a rigid lid and floor, constant N² = g/T (dT/dz + g/cp), constant rho and J = d = 0, w
= sin(n pi z / H) travels at c = N / sqrt(k² + (n pi / H)²), about N H / (n pi).

On the levels: w at the interfaces between layers, everything else in layers. Layer k has mass M_k =
dp/g per area and thickness dz_k; the interface i between layers i and i+1 has mass mu_i = (M_i +
M_(i+1))/2, spans Dz_i from midpoint to midpoint, and carries rho_i = mu_i/Dz_i:

    (D w)_k = (rho_(k-1) w_(k-1) - rho_k w_k) / M_k         (G phi)_i = (phi_i - phi_(i+1)) / Dz_i
    b_i = (M_i b_i + M_(i+1) b_(i+1)) / (2 mu_i)            advection in layer k takes w = (w_(k-1)
                                                            + w_k) / 2

These pairs are adjoint to each other, so that without J and d the sum over levels of (M u² + mu w²
+ M b²/N²)/2 is conserved to round-off wherever N² > 0: every mode is neutral. Level 0 is at the
top, as in all of climlink.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.errors import EvaluationError
from climlink.wrappers.constants import (
    GAS_CONSTANT_DRY_AIR,
    GRAVITY,
    HEAT_CAPACITY_DRY_AIR,
    VIRTUAL_FACTOR,
)
from climlink.wrappers.vertical import HybridCoordinate

Array = NDArray[np.float64]

TEMPERATURE = "state_t"
HUMIDITY = "state_q0001"


@dataclass(frozen=True)
class BaseState:
    """A column at rest, from the top down: pressure in Pa, mass in kg/m2, thickness in m,
    temperature in K, all [level].

    ``gradients`` holds what rising air carries with it, [level] per field: dT/dz + g/cp in K/m for
    temperature (named first), d/dz of every tracer. EvaluationError for layers without mass or
    thickness and for fields of another length.
    """

    pressure: Array
    mass: Array
    thickness: Array
    temperature: Array
    gradients: Mapping[str, Array]

    def __post_init__(self) -> None:
        if next(iter(self.gradients), None) != TEMPERATURE:
            raise EvaluationError(
                f"the first gradient of a base state must be that of {TEMPERATURE}, got "
                f"{list(self.gradients)}"
            )
        shapes = {
            len(a)
            for a in (
                self.pressure,
                self.mass,
                self.thickness,
                self.temperature,
                *self.gradients.values(),
            )
        }
        if len(shapes) != 1 or min(shapes) < 2:
            raise EvaluationError(
                "a base state needs two levels and fields of one length; the lengths are "
                f"{sorted(shapes)}"
            )
        if not ((self.mass > 0.0).all() and (self.thickness > 0.0).all()):
            raise EvaluationError(
                "every layer of a base state must have mass and thickness above 0"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the perturbed fields, temperature first."""
        return tuple(self.gradients)

    @property
    def level_count(self) -> int:
        """Number of layers."""
        return len(self.mass)

    @property
    def interface_mass(self) -> Array:
        """Mass mu of the interfaces between layers, [level-1] in kg/m2."""
        return 0.5 * (self.mass[1:] + self.mass[:-1])

    @property
    def buoyancy_frequency_squared(self) -> Array:
        """N² = g/T (dT/dz + g/cp), [level] per s2."""
        return GRAVITY / self.temperature * self.gradients[TEMPERATURE]

    @property
    def height(self) -> Array:
        """Height of the midpoints above the surface, [level] in m."""
        below = np.cumsum(self.thickness[::-1])[::-1] - self.thickness
        return np.asarray(below + 0.5 * self.thickness)


def base_state(
    hybrid: HybridCoordinate, surface_pressure: float, profiles: Mapping[str, Array]
) -> BaseState:
    """Return the base state of named profiles [level] (state_t in K first, state_q0001, other
    tracers) on surface pressure in Pa.

    Layers are Rd Tv/g dp/p thick, as in the graph's own heights. Gradients are centred differences
    in height, one-sided at the ends.
    """
    mid = hybrid.p0_pa * np.asarray(hybrid.hyam) + surface_pressure * np.asarray(hybrid.hybm)
    dp = np.diff(
        hybrid.p0_pa * np.asarray(hybrid.hyai) + surface_pressure * np.asarray(hybrid.hybi)
    )
    temperature = np.asarray(profiles[TEMPERATURE], dtype=np.float64)
    humidity = np.asarray(profiles.get(HUMIDITY, np.zeros_like(temperature)), dtype=np.float64)
    thickness = (
        GAS_CONSTANT_DRY_AIR / GRAVITY * temperature * (1.0 + VIRTUAL_FACTOR * humidity) * dp / mid
    )
    height = np.cumsum(thickness[::-1])[::-1] - 0.5 * thickness
    gradients = {
        name: np.gradient(np.asarray(values, dtype=np.float64), height)
        for name, values in profiles.items()
    }
    gradients[TEMPERATURE] = gradients[TEMPERATURE] + GRAVITY / HEAT_CAPACITY_DRY_AIR
    return BaseState(mid, dp / GRAVITY, thickness, temperature, gradients)


@dataclass(frozen=True)
class Friction:
    """Rayleigh friction of the wind: ``rate_per_day`` everywhere (1/5 in the paper), and a sponge
    below the lid.

    The sponge grows as sin² in log-pressure from 0 at ``sponge_hpa`` to ``sponge_per_day`` at the
    top level, so that waves do not come back from a lid that the atmosphere has not; 0 leaves it
    out.
    """

    rate_per_day: float = 0.2
    sponge_hpa: float = 10.0
    sponge_per_day: float = 4.0

    def __post_init__(self) -> None:
        if min(self.rate_per_day, self.sponge_per_day) < 0.0 or self.sponge_hpa <= 0.0:
            raise EvaluationError(
                "friction and sponge must not be negative, and the sponge must begin at a pressure "
                "above 0 hPa"
            )

    def rates(self, pressure: Array) -> Array:
        """Return d per second at pressures in Pa, [level]."""
        top = float(pressure.min())
        depth = np.log(100.0 * self.sponge_hpa / top)
        if depth <= 0.0:
            return np.full_like(pressure, self.rate_per_day / SECONDS_PER_DAY)
        part = np.clip(np.log(100.0 * self.sponge_hpa / pressure) / depth, 0.0, 1.0)
        return np.asarray(
            (self.rate_per_day + self.sponge_per_day * np.sin(0.5 * np.pi * part) ** 2)
            / SECONDS_PER_DAY
        )


def divergence(base: BaseState) -> Array:
    """Return D, [level, level-1] per m: (1/rho) d(rho w)/dz of w at interfaces; it is -ik u."""
    n = base.level_count
    spacing = 0.5 * (base.thickness[1:] + base.thickness[:-1])
    density = base.interface_mass / spacing
    matrix = np.zeros((n, n - 1))
    interfaces = np.arange(n - 1)
    matrix[interfaces, interfaces] = -density / base.mass[:-1]
    matrix[interfaces + 1, interfaces] = density / base.mass[1:]
    return matrix


def gradient(base: BaseState) -> Array:
    """Return G, [level-1, level] per m: d/dz at interfaces of values in layers."""
    n = base.level_count
    spacing = 0.5 * (base.thickness[1:] + base.thickness[:-1])
    interfaces = np.arange(n - 1)
    matrix = np.zeros((n - 1, n))
    matrix[interfaces, interfaces] = 1.0 / spacing
    matrix[interfaces, interfaces + 1] = -1.0 / spacing
    return matrix


def to_layers(base: BaseState) -> Array:
    """Return the matrix [level, level-1] of the mean of w at a layer's two interfaces; w is 0 at
    lid and floor.
    """
    n = base.level_count
    interfaces = np.arange(n - 1)
    matrix = np.zeros((n, n - 1))
    matrix[interfaces, interfaces] = matrix[interfaces + 1, interfaces] = 0.5
    return matrix


def to_interfaces(base: BaseState) -> Array:
    """Return the matrix [level-1, level] of mass-weighted means of neighbouring layers, the adjoint
    of ``to_layers``.
    """
    return np.asarray(to_layers(base).T * base.mass / base.interface_mass[:, None])


def wave_matrix(base: BaseState, response: Array, wavenumber: float, friction: Friction) -> Array:
    """Return A of d/dt (w, fields) = A (w, fields) for one wavenumber in rad/m; w [level-1] in m/s
    comes first, then the fields in turn.

    ``response`` is the Jacobian [field*level, field*level] of tendencies per second in the fields'
    own units.
    """
    n, count = base.level_count, len(base.fields)
    if response.shape != (n * count, n * count):
        raise EvaluationError(
            f"the response must be [{n * count}, {n * count}] for {', '.join(base.fields)}, got "
            f"{list(response.shape)}"
        )
    if not np.isfinite(response).all():
        raise EvaluationError(
            "the response has values that are not finite: the emulator has no derivative at this "
            "state"
        )
    if wavenumber <= 0.0:
        raise EvaluationError(f"the wavenumber must be above 0, got {wavenumber}")
    d, k2 = friction.rates(base.pressure), wavenumber**2
    div, grad, lift = divergence(base), gradient(base), to_interfaces(base)
    inertia = np.eye(n - 1) - grad @ div / k2
    at_interfaces = np.diag(0.5 * (d[1:] + d[:-1]))
    drag = at_interfaces - grad @ (d[:, None] * div) / k2
    buoyancy = lift * (GRAVITY / base.temperature)
    matrix = np.zeros((n - 1 + n * count, n - 1 + n * count))
    matrix[: n - 1, : 2 * n - 1] = np.linalg.solve(inertia, np.hstack([-drag, buoyancy]))
    for number, name in enumerate(base.fields):
        rows = slice(n - 1 + number * n, n - 1 + (number + 1) * n)
        matrix[rows, : n - 1] = -base.gradients[name][:, None] * to_layers(base)
    matrix[n - 1 :, n - 1 :] += response
    return matrix
