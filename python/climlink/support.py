"""How much the range policy of its package held a run of the embedded model, and whether it lived
on that support. Nothing else decides it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from climlink.config import StrictModel
from climlink.wrappers.constraints.ranges import SUPPORT_HEATING_W_M2, SUPPORT_MASS

COLUMNS = ("range_heating_W_m2", "range_mass_share", "range_clipped_values")
"""Columns of budgets.csv that tell it, global means of a step."""


class Support(StrictModel):
    """Means over the globe and over all steps of a run (see WrappedEmulator.range_use)."""

    heating_w_m2: float = Field(description="heating by relaxation, without its sign, W/m2")
    mass_share: float = Field(description="share of the mass that is relaxed, 0 to 1")
    clipped_values: float = Field(description="values per column that the network sees clipped")
    on_support: bool = Field(description="heating or mass share is above its limit")

    @classmethod
    def judged(cls, heating_w_m2: float, mass_share: float, clipped_values: float) -> Support:
        """Return the means with the judgement."""
        return cls(
            heating_w_m2=heating_w_m2,
            mass_share=mass_share,
            clipped_values=clipped_values,
            on_support=heating_w_m2 > SUPPORT_HEATING_W_M2 or mass_share > SUPPORT_MASS,
        )

    @property
    def words(self) -> str:
        """The means beside their limits, in words."""
        return (
            f"relaxation toward the training ranges heats by {self.heating_w_m2:.3g} W/m2 (limit "
            f"{SUPPORT_HEATING_W_M2:g}) and touches {100.0 * self.mass_share:.3g} % of the mass "
            f"(limit {100.0 * SUPPORT_MASS:g} %)"
        )


def support_of(budgets: Path) -> Support | None:
    """Return the means over the rows of a run's budgets.csv; None where there is none, or where no
    emulator with a range policy fed back.
    """
    if not budgets.is_file():
        return None
    with budgets.open(encoding="utf-8") as stream:
        names = stream.readline().strip().split(",")
        if not set(COLUMNS) <= set(names):
            return None
        wanted = [names.index(name) for name in COLUMNS]
        rows = np.loadtxt(stream, delimiter=",", usecols=wanted, ndmin=2)
    return Support.judged(*(float(mean) for mean in rows.mean(axis=0))) if len(rows) else None
