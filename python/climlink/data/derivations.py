"""What is computed from named columns: derived inputs and outputs, auxiliary targets, which a
network may learn to predict besides its outputs (docs/losses.md), and the net radiation at the top
that closes a column's energy (docs/closure.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.grid import midpoint_pressure
from climlink.data.stamp import DAYS_PER_YEAR, SECONDS_PER_DAY
from climlink.wrappers import thermodynamics
from climlink.wrappers.auxiliary import STATE_CLASS, STATE_CLASSES
from climlink.wrappers.column_budgets import (
    ENERGY_OUTPUTS,
    ENERGY_STATE,
    TOA_NET,
    implied_toa_net,
    layer_mass,
)
from climlink.wrappers.vertical import HybridCoordinate, PressureLevels

Columns = dict[str, NDArray[np.float64]]
"""Named columns: profiles [row, level], scalars [row]."""

CLOUDY = 1e-5
"""kg/kg: a column with more cloud liquid or ice than this on some level is cloudy."""

RAINY = 1e-3 / SECONDS_PER_DAY
"""m/s: a column with more precipitation than this, 1 mm per day, is precipitating."""


class PlaceAndTime(Protocol):
    """Time step in s, and place and time of rows: degrees north and east, seconds since
    0000-01-01-00000 in the no-leap calendar, each [row]. DataError for what is not known.
    """

    @property
    def time_step_s(self) -> float: ...
    @property
    def latitude(self) -> NDArray[np.float64]: ...
    @property
    def longitude(self) -> NDArray[np.float64]: ...
    @property
    def seconds(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Given:
    """What a formula may use."""

    columns: Columns
    hybrid: HybridCoordinate | None
    where: PlaceAndTime | None

    def pressure(self, name: str) -> NDArray[np.float64]:
        """Return the pressure of the levels [row, level] in Pa; DataError says what needs it."""
        return midpoint_pressure(self._grid(name), self.columns["state_ps"])

    def mass(self, name: str) -> torch.Tensor:
        """Return dp/g of the layers [row, level] in kg/m2; DataError says what needs it."""
        levels = PressureLevels(self._grid(name))
        return layer_mass(levels.interfaces(torch.from_numpy(self.columns["state_ps"])))

    def _grid(self, name: str) -> HybridCoordinate:
        if self.hybrid is None:
            raise DataError(
                f"{name} needs the pressure of the levels, and no vertical grid is known: "
                "prepare the table again with --grid GRID, the grid file of these data"
            )
        return self.hybrid

    def place_and_time(self, name: str) -> PlaceAndTime:
        """Return time step, place and time; DataError where the source does not say them."""
        if self.where is None:
            raise DataError(f"{name} needs place, time and time step of every column: give a store")
        return self.where


@dataclass(frozen=True)
class Derivation:
    """Stored variables that a derived one needs, and its float64 formula, [row, level] or [row]."""

    needs: tuple[str, ...]
    formula: Callable[[Given], NDArray[np.float64]]
    needs_pressure: bool = False


def _humidity(
    t: NDArray[np.float64], q: NDArray[np.float64], p: NDArray[np.float64]
) -> NDArray[np.float64]:
    temperature, humidity, pressure = (torch.from_numpy(a) for a in (t, q, p))
    return thermodynamics.relative_humidity(temperature, humidity, pressure).numpy()


def _relative_humidity(given: Given) -> NDArray[np.float64]:
    c, pressure = given.columns, given.pressure("state_rh")
    return _humidity(c["state_t"], c["state_q0001"], pressure)


def _humidity_tendency(given: Given) -> NDArray[np.float64]:
    """Return (RH after - RH before) / time step in 1/s: the physics leaves surface pressure."""
    c, pressure = given.columns, given.pressure("ptend_rh")
    step = given.place_and_time("ptend_rh").time_step_s
    before = _humidity(c["state_t"], c["state_q0001"], pressure)
    t, q = (c[f"state_{n}"] + step * c[f"ptend_{n}"] for n in ("t", "q0001"))
    return (_humidity(t, q, pressure) - before) / step


def _toa_net(given: Given) -> NDArray[np.float64]:
    """Return the net radiation at the top [row] in W/m2 that closes the energy of the columns."""
    step, rows = given.place_and_time(TOA_NET).time_step_s, len(given.columns["state_ps"])
    fields = {n: torch.from_numpy(c).reshape(rows, -1) for n, c in given.columns.items()}
    return implied_toa_net(fields, fields, given.mass(TOA_NET), step)[:, 0].numpy()


def _sum(first: str, second: str) -> Derivation:
    return Derivation((first, second), lambda g: g.columns[first] + g.columns[second])


DERIVED: dict[str, Derivation] = {
    "state_rh": Derivation(("state_t", "state_q0001", "state_ps"), _relative_humidity, True),
    "state_qn": _sum("state_q0002", "state_q0003"),
    "liq_partition": Derivation(
        ("state_t",),
        lambda g: thermodynamics.liquid_fraction(torch.from_numpy(g.columns["state_t"])).numpy(),
    ),
    "state_qn_prvphy": _sum("state_q0002_prvphy", "state_q0003_prvphy"),
    "tm_state_qn_prvphy": _sum("tm_state_q0002_prvphy", "tm_state_q0003_prvphy"),
    "ptend_qn": _sum("ptend_q0002", "ptend_q0003"),
}
"""Inputs and outputs that are not in the files, by name."""


def state_class(columns: Columns) -> NDArray[np.int64]:
    """Return the class of every column, 1 to 5 [row], the last that fits: cloud is that before the
    physics, precipitation that after it.
    """
    liquid, ice = (
        (columns[n] > CLOUDY).any(axis=1).astype(np.int64) for n in ("state_q0002", "state_q0003")
    )
    rainy = columns["cam_out_PRECC"] > RAINY
    return np.where(rainy, len(STATE_CLASSES), 1 + liquid + 2 * ice)


def _in_class(number: int) -> Derivation:
    return Derivation(
        ("state_q0002", "state_q0003", "cam_out_PRECC"),
        lambda g: (state_class(g.columns) == number).astype(np.float64),
    )


Angle = Callable[[PlaceAndTime], NDArray[np.float64]]
"""Angle in radian [row]."""


def _latitude(where: PlaceAndTime) -> NDArray[np.float64]:
    return np.deg2rad(where.latitude)


def _longitude(where: PlaceAndTime) -> NDArray[np.float64]:
    return np.deg2rad(where.longitude)


def _phase(period_s: int) -> Angle:
    """Return the angle of a time in its period."""
    return lambda where: 2.0 * math.pi * (where.seconds % period_s) / period_s


_year, _day = _phase(DAYS_PER_YEAR * SECONDS_PER_DAY), _phase(SECONDS_PER_DAY)


def _sine(name: str, angle: Angle) -> Derivation:
    return Derivation((), lambda g: np.sin(angle(g.place_and_time(name))))


def _cosine(name: str, angle: Angle) -> Derivation:
    return Derivation((), lambda g: np.cos(angle(g.place_and_time(name))))


ON_REQUEST: dict[str, Derivation] = {
    TOA_NET: Derivation((*ENERGY_OUTPUTS, *ENERGY_STATE, "state_ps"), _toa_net, True),
    "aux_slat": _sine("aux_slat", _latitude),
    "aux_clat": _cosine("aux_clat", _latitude),
    "aux_slon": _sine("aux_slon", _longitude),
    "aux_clon": _cosine("aux_clon", _longitude),
    "aux_sin_year": _sine("aux_sin_year", _year),
    "aux_cos_year": _cosine("aux_cos_year", _year),
    "aux_sin_day": _sine("aux_sin_day", _day),
    "aux_cos_day": _cosine("aux_cos_day", _day),
    "ptend_rh": Derivation(
        ("state_t", "state_q0001", "state_ps", "ptend_t", "ptend_q0001"), _humidity_tendency, True
    ),
    **{f"{STATE_CLASS}_{k}": _in_class(k) for k in range(1, len(STATE_CLASSES) + 1)},
}
"""What is computed only where it is asked for, by name: variables of auxiliary targets, and the net
radiation at the top.
"""
