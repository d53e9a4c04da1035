"""In which units and under which names outputs are shown to people; files keep SI units."""

from __future__ import annotations

from dataclasses import dataclass

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.wrappers.variables import shipped_variables

_GRAM = 1e3
_MILLIGRAM = 1e6
_MILLIMETRE = 1e3


@dataclass(frozen=True)
class Shown:
    """Label, unit, and the factor from the catalogue's unit to it."""

    label: str
    unit: str
    factor: float


_SHOWN = {
    "ptend_t": Shown("heating", "K/day", SECONDS_PER_DAY),
    "ptend_q0001": Shown("moistening", "g/kg/day", _GRAM * SECONDS_PER_DAY),
    "ptend_q0002": Shown("cloud liquid tendency", "mg/kg/day", _MILLIGRAM * SECONDS_PER_DAY),
    "ptend_q0003": Shown("cloud ice tendency", "mg/kg/day", _MILLIGRAM * SECONDS_PER_DAY),
    "ptend_u": Shown("zonal wind tendency", "m/s/day", SECONDS_PER_DAY),
    "ptend_v": Shown("meridional wind tendency", "m/s/day", SECONDS_PER_DAY),
    "cam_out_PRECC": Shown("precipitation", "mm/day", _MILLIMETRE * SECONDS_PER_DAY),
    "cam_out_PRECSC": Shown("snowfall", "mm/day", _MILLIMETRE * SECONDS_PER_DAY),
}


def shown_as(name: str) -> Shown:
    """Return how an output is shown; as the catalogue has it where nothing else is said.

    One of a user's own has its own unit, which only its package knows.
    """
    known = shipped_variables().get(name)
    unit = "its own unit" if known is None else known.units
    return _SHOWN.get(name, Shown(name.removeprefix("cam_out_"), unit, 1.0))
