"""What is compared: the fields of online evaluation, what they are made of where a tape lacks them,
and the units they are shown in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from climlink.data.stamp import SECONDS_PER_DAY

MM_PER_DAY = 1000.0 * SECONDS_PER_DAY
"""Millimetres a day of 1 m/s."""


@dataclass(frozen=True)
class Shown:
    """How a field is shown: label, units, and the factor from the units of the files; ``water``
    chooses the colours of differences.
    """

    label: str
    units: str
    scale: float = 1.0
    water: bool = False
    file_units: str = ""


STATE = {
    "T": Shown("temperature", "K", file_units="K"),
    "Q": Shown("specific humidity", "g/kg", 1e3, True, "kg/kg"),
    "U": Shown("zonal wind", "m/s", file_units="m/s"),
    "V": Shown("meridional wind", "m/s", file_units="m/s"),
    "CLDLIQ": Shown("cloud liquid", "mg/kg", 1e6, True, "kg/kg"),
    "CLDICE": Shown("cloud ice", "mg/kg", 1e6, True, "kg/kg"),
    "TOTCLD": Shown("total cloud", "mg/kg", 1e6, True, "kg/kg"),
}
TENDENCIES = {
    "DTPHYS": Shown("heating", "K/day", SECONDS_PER_DAY, file_units="K/s"),
    "DQ1PHYS": Shown("moistening", "g/kg/day", 1e3 * SECONDS_PER_DAY, True, "kg/kg/s"),
    "DQ2PHYS": Shown("liquid tendency", "mg/kg/day", 1e6 * SECONDS_PER_DAY, True, "kg/kg/s"),
    "DQ3PHYS": Shown("ice tendency", "mg/kg/day", 1e6 * SECONDS_PER_DAY, True, "kg/kg/s"),
    "DQnPHYS": Shown("cloud tendency", "mg/kg/day", 1e6 * SECONDS_PER_DAY, True, "kg/kg/s"),
    "DUPHYS": Shown("zonal acceleration", "m/s/day", SECONDS_PER_DAY, file_units="m/s2"),
    "DVPHYS": Shown("meridional acceleration", "m/s/day", SECONDS_PER_DAY, file_units="m/s2"),
}
PROFILES = {**STATE, **TENDENCIES}

SUMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "PRECT": (("PRECT",), ("PRECC", "PRECL"), ("PRECC",)),
    "TOTCLD": (("TOTCLD",), ("CLDLIQ", "CLDICE")),
    "DQnPHYS": (("DQnPHYS",), ("DQ2PHYS", "DQ3PHYS")),
    "OLR": (("FLUT",), ("FLNT",)),
}
"""Fields that are sums of others, in the order in which they are looked for.

PRECC alone is all precipitation in E3SM-MMF, whose embedded models make no other; evaluation says
so where it takes it. FLNT is the net longwave at the top of the model, which is all upward.
"""

COUNTERS = {
    "NN_CLIPPED": "surface fields cut at zero, per column",
    "NN_LIMITED": "levels that the limiter changed, per column",
    "NN_LIMITER_HEAT": "heat that the limiter added, W/m2",
    "NN_LIMITER_WATER": "water that the limiter added, mm/day",
    "NN_RANGE_HEAT": "heating by relaxation toward the training range, W/m2",
    "NN_RANGE_MASS": "share of the mass relaxed",
    "NN_RANGE_CLIPPED": "values that the network sees clipped, per column",
    "NN_FIXER_WATER": "precipitation that the global water fixer added, mm/day",
    "NN_WEIGHT": "weight of the emulator",
}
"""History fields of the adapter for E3SM (docs/e3sm-adapter.md)."""
RANGE_COUNTERS = ("NN_RANGE_HEAT", "NN_RANGE_MASS", "NN_RANGE_CLIPPED")
"""Those that tell how much the range policy of the package held the run."""
COUNTER_SCALES = {"NN_LIMITER_WATER": SECONDS_PER_DAY, "NN_FIXER_WATER": SECONDS_PER_DAY}


def parts(name: str, available: Collection[str]) -> tuple[str, ...] | None:
    """Return the fields of the files whose sum is ``name``; None where they are not available."""
    for choice in SUMS.get(name, ((name,),)):
        if all(part in available for part in choice):
            return choice
    return None
