"""Modes of the coupled waves and of the column alone: growth, speed, structure, and a name that
people understand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import (
    TEMPERATURE,
    Array,
    BaseState,
    Friction,
    divergence,
    wave_matrix,
)
from climlink.wrappers.constants import GRAVITY

Complex = NDArray[np.complex128]

FIELD_LETTERS = {
    TEMPERATURE: "T",
    "state_q0001": "q",
    "state_q0002": "cloud liquid",
    "state_q0003": "cloud ice",
}


def in_hpa(pressure_hpa: float) -> str:
    """Return a pressure for people: whole hPa from 10 up, two digits above that."""
    return f"{pressure_hpa:.0f} hPa" if pressure_hpa >= 10.0 else f"{pressure_hpa:.2g} hPa"


def default_wavelengths(
    shortest_km: float = 300.0, longest_km: float = 40000.0, count: int = 25
) -> Array:
    """Return wavelengths in km, evenly spaced in their logarithm, longest first."""
    if not 0.0 < shortest_km < longest_km or count < 2:
        raise EvaluationError(
            f"wavelengths must go from one above 0 to a longer one in 2 or more; got {shortest_km} "
            f"to {longest_km} km, {count}"
        )
    return np.geomspace(longest_km, shortest_km, count)


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of every wavelength: growth in 1/day, phase speed in m/s (size only: modes come
    in pairs that go east and west), and the kinetic share of the energy, all [wavelength, mode],
    fastest growing first; ``vectors`` [wavelength, state, mode]."""

    base: BaseState
    wavelength_km: Array
    growth: Array
    speed: Array
    kinetic_share: Array
    vectors: Complex

    def mode(self, wavelength: int, number: int) -> Mode:
        """Return one mode with its structure."""
        return Mode(
            base=self.base,
            wavelength_km=float(self.wavelength_km[wavelength]),
            growth=float(self.growth[wavelength, number]),
            speed=float(self.speed[wavelength, number]),
            kinetic_share=float(self.kinetic_share[wavelength, number]),
            vector=self.vectors[wavelength, :, number],
        )

    def fastest(self, *, faster_than: float, kinetic_above: float) -> Mode | None:
        """Return the mode that grows fastest among those with a phase speed and a kinetic share
        above these; None if there is none.
        """
        chosen = (self.speed > faster_than) & (self.kinetic_share > kinetic_above)
        if not chosen.any():
            return None
        place = np.unravel_index(
            np.argmax(np.where(chosen, self.growth, -np.inf)), self.growth.shape
        )
        return self.mode(int(place[0]), int(place[1]))


@dataclass(frozen=True)
class Mode:
    """One mode: growth in 1/day, phase speed in m/s, and its state vector (w at interfaces, then
    the fields).
    """

    base: BaseState
    wavelength_km: float
    growth: float
    speed: float
    kinetic_share: float
    vector: Complex

    @property
    def vertical_velocity(self) -> Complex:
        """w at the interfaces between layers, [level-1]."""
        return self.vector[: self.base.level_count - 1]

    def field(self, name: str) -> Complex:
        """Return a field [level] in its own units, on the scale of the vector."""
        n = self.base.level_count
        start = n - 1 + self.base.fields.index(name) * n
        return self.vector[start : start + n]

    @property
    def peak_hpa(self) -> float:
        """Pressure in hPa where the temperature of the mode is largest."""
        return float(self.base.pressure[np.argmax(np.abs(self.field(TEMPERATURE)))]) / 100.0

    @property
    def name(self) -> str:
        """The mode in words, such as ``growing at 0.4/day, 25 m/s, wavelength 2000 km, peak at 300
        hPa in T``.
        """
        verb = "growing" if self.growth > 0.0 else "decaying"
        return (
            f"{verb} at {abs(self.growth):.2g}/day, {self.speed:.3g} m/s, wavelength "
            f"{self.wavelength_km:.0f} km, peak at {in_hpa(self.peak_hpa)} in T"
        )


def wave_spectrum(
    base: BaseState,
    response: Array,
    wavelengths_km: Array,
    friction: Friction,
    progress: Callable[[], None] | None = None,
) -> Spectrum:
    """Return all modes of the waves about a base state, with the emulator's response [field*level,
    field*level] per second.

    The matrix is real, so modes come in pairs with opposite phase speeds; both are kept, and differ
    in their sign only.
    """
    parts = []
    for length in wavelengths_km:
        wavenumber = 2.0e-3 * np.pi / length
        values, vectors = scipy.linalg.eig(wave_matrix(base, response, wavenumber, friction))
        order = np.argsort(-values.real, kind="stable")
        values, vectors = values[order], vectors[:, order]
        shares = kinetic_shares(base, vectors, wavenumber)
        parts.append(
            (SECONDS_PER_DAY * values.real, np.abs(values.imag) / wavenumber, shares, vectors)
        )
        if progress is not None:
            progress()
    growth, speed, share, structure = (np.stack(items) for items in zip(*parts, strict=True))
    return Spectrum(
        base, np.asarray(wavelengths_km, dtype=np.float64), growth, speed, share, structure
    )


def kinetic_shares(base: BaseState, vectors: Complex, wavenumber: float) -> Array:
    """Return the kinetic part of the energy of state vectors [state, mode], 0 to 1.

    Kinetic energy is M |u|² + mu |w|² with u = i D w / k, potential energy M (g T'/T)² / N². A free
    gravity wave has 1/2; a mode of the column in which no air moves has 0. Where N² is not above
    1e-6 per s2, that floor takes its place.
    """
    n = base.level_count
    w, temperature = vectors[: n - 1], vectors[n - 1 : 2 * n - 1]
    u = divergence(base) @ w / wavenumber
    kinetic = base.mass @ np.abs(u) ** 2 + base.interface_mass @ np.abs(w) ** 2
    stability = np.maximum(base.buoyancy_frequency_squared, 1e-6)
    potential = (base.mass * (GRAVITY / base.temperature) ** 2 / stability) @ np.abs(
        temperature
    ) ** 2
    return np.asarray(kinetic / np.maximum(kinetic + potential, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class ColumnModes:
    """Modes of the column without motion, fastest growing first: eigenvalues per day [mode] and
    vectors [field*level, mode].
    """

    base: BaseState
    values: Complex
    vectors: Complex

    @property
    def growth_max(self) -> float:
        """Largest growth rate in 1/day of the continuous equations."""
        return float(self.values.real.max())

    def amplification_max(self, time_step_s: float) -> float:
        """Return the largest factor |1 + dt lambda| of one explicit step: above 1 also where
        damping is too fast for the step.
        """
        return float(np.abs(1.0 + time_step_s / SECONDS_PER_DAY * self.values).max())

    def peak(self, number: int = 0) -> tuple[str, float]:
        """Return the field and the pressure in hPa at which a mode is largest, fields weighed by
        energy: K against Lv/cp kg/kg.
        """
        n = self.base.level_count
        scale = np.concatenate(
            [np.full(n, 1.0 if name == TEMPERATURE else 2500.0) for name in self.base.fields]
        )
        place = int(np.argmax(np.abs(self.vectors[:, number]) * scale))
        return FIELD_LETTERS[self.base.fields[place // n]], float(
            self.base.pressure[place % n]
        ) / 100.0

    @property
    def name(self) -> str:
        """The fastest growing mode in words."""
        letter, pressure = self.peak()
        verb = "growing" if self.growth_max > 0.0 else "decaying"
        return f"{verb} at {abs(self.growth_max):.2g}/day, peak at {in_hpa(pressure)} in {letter}"


def column_modes(base: BaseState, response: Array) -> ColumnModes:
    """Return the modes of d/dt x = J x, the column's own response without motion."""
    values, vectors = scipy.linalg.eig(response)
    order = np.argsort(-values.real, kind="stable")
    return ColumnModes(base, SECONDS_PER_DAY * values[order], vectors[:, order])
