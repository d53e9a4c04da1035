"""The water of the whole globe at each time, and what a host's global fixer would make of the
precipitation: for references that close in the global mean but not by column, as E3SM-MMF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.blocks import Block
from climlink.evaluation.offline.conservation import BUDGETS
from climlink.evaluation.report import Table
from climlink.wrappers.constants import WATER_DENSITY
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

FACTORS = (0.5, 2.0)
"""Lowest and highest factor of the fixer, as in the adapter for E3SM (mmf_nn_water_fixer)."""
FIXED = ("cam_out_PRECC", "cam_out_PRECSC")
"""What the fixer scales, by one factor."""

_SPHERE_SR = 4.0 * np.pi
_AREA_TOLERANCE = 1e-3
_WATER, _RAIN = BUDGETS.index("column_water"), BUDGETS.index("precipitation")


@dataclass(frozen=True)
class FixedOutput:
    """R² over columns and times and area-weighted bias (mm/day) of an output as the host receives
    it and after the fixer.
    """

    r2: tuple[float, float]
    bias: tuple[float, float]


@dataclass(frozen=True)
class GlobalWater:
    """Mean and root mean square over times of the global water residual (mm/day): ``truth``,
    ``received`` by the host, and ``left`` by the fixer; lowest and highest ``factor`` of the fixer;
    ``outputs`` that it scales; ``times`` that were told.
    """

    truth: tuple[float, float]
    received: tuple[float, float]
    left: tuple[float, float]
    factor: tuple[float, float]
    outputs: dict[str, FixedOutput]
    times: int


def fixer_factor(water: Array, rain: Array) -> Array:
    """Return what precipitation is multiplied by, so that column water tendency and precipitation
    add up to 0 in the global mean.

    Global means of any shape in one unit. Within FACTORS; 1 where there is no precipitation.
    """
    factor = np.divide(-water, rain, out=np.ones_like(water), where=rain > 0.0)
    return np.asarray(np.clip(factor, *FACTORS))


def covers_globe(area: Array) -> bool:
    """Say whether columns with these areas [column] in steradian are the whole sphere."""
    return bool(abs(area.sum() / _SPHERE_SR - 1.0) <= _AREA_TOLERANCE)


class GlobalWaterMoments:
    """Running moments of the water of the globe. A time with a prediction that is not finite is
    left out: its global mean is not known.
    """

    def __init__(self, area: Array) -> None:
        """``area`` [column] in steradian covers the sphere."""
        self._area = area
        self._residuals = PairMoments.empty(1, 3)
        self._fixed = PairMoments.empty(len(area), 2 * len(FIXED))
        self._factor = (np.inf, -np.inf)
        self._times = 0

    def add(self, block: Block, truth: Array, prediction: Array, outputs: VariableSet) -> None:
        """Add a block with its budgets [time, column, budget] (see column_budgets)."""
        whole = block.counted.all(axis=1)
        if not whole.any():
            return
        (water, rain), (true_water, true_rain) = (
            np.moveaxis(np.average(b[whole], axis=1, weights=self._area), 1, 0)[[_WATER, _RAIN]]
            for b in (prediction, truth)
        )
        factor = fixer_factor(water, rain)
        found = np.stack([true_water + true_rain, water + rain, water + factor * rain], axis=1)
        self._residuals.add(np.zeros_like(found)[:, None], found[:, None])
        where = [outputs.offset(n) for n in FIXED]
        y, p = (
            SECONDS_PER_DAY * WATER_DENSITY * v[whole][..., where]
            for v in (block.truth, block.prediction)
        )
        scaled = factor[:, None, None] * p
        self._fixed.add(np.concatenate([y, y], axis=2), np.concatenate([p, scaled], axis=2))
        lowest, highest = self._factor
        self._factor = (min(lowest, float(factor.min())), max(highest, float(factor.max())))
        self._times += len(factor)

    def result(self) -> GlobalWater | None:
        """Return what was found; None where no time could be told."""
        if not self._times:
            return None
        bias, rms = self._residuals.bias()[0], self._residuals.rmse()[0]
        truth, received, left = ((float(b), float(r)) for b, r in zip(bias, rms, strict=True))
        r2 = self._fixed.over_columns().r2()[0]
        bias = self._fixed.over_columns(self._area).bias()[0]
        n = len(FIXED)
        fixed = {
            name: FixedOutput(
                (float(r2[k]), float(r2[n + k])), (float(bias[k]), float(bias[n + k]))
            )
            for k, name in enumerate(FIXED)
        }
        return GlobalWater(truth, received, left, self._factor, fixed, self._times)


def global_water_metrics(water: GlobalWater | None) -> dict[str, float]:
    """Return the numbers of a summary, biases and residuals in mm/day."""
    if water is None:
        return {}
    found: dict[str, float] = {}
    for name in ("received", "truth", "left"):
        which = {"received": "", "truth": "_truth", "left": "_fixed"}[name]
        bias, rms = getattr(water, name)
        found |= {f"global_residual_bias{which}.water": bias}
        found |= {f"global_residual_rms{which}.water": rms}
    found |= {"water_fixer.lowest_factor": water.factor[0]}
    found |= {"water_fixer.highest_factor": water.factor[1]}
    for name, output in water.outputs.items():
        for when, k in (("before", 0), ("after", 1)):
            found[f"water_fixer_r2_{when}.{name}"] = output.r2[k]
            found[f"water_fixer_bias_{when}.{name}"] = output.bias[k]
    return found


def global_water_tables(found: Mapping[str, GlobalWater | None]) -> list[Table]:
    """Return the tables of some packages, by label: global residuals, and the fixer."""
    known = [(label, w) for label, w in found.items() if w is not None]
    if not known:
        return []
    several = len(found) > 1
    rows = [
        (label, text, *values)
        for label, w in known
        for text, values in (
            ("the truth's own", w.truth),
            ("as the host receives it", w.received),
            ("after a global fixer of precipitation", w.left),
        )
    ]
    residuals: dict[str, Any] = {"package": [r[0] for r in rows]} if several else {}
    residuals |= {"global water residual, mm/day": [r[1] for r in rows]}
    residuals |= {"mean": [r[2] for r in rows], "RMS over times": [r[3] for r in rows]}
    outputs = [(label, name, o, w.factor) for label, w in known for name, o in w.outputs.items()]
    fixer: dict[str, Any] = {"package": [o[0] for o in outputs]} if several else {}
    fixer |= {"output": [o[1] for o in outputs]}
    for k, when in enumerate(("before", "after")):
        fixer[f"R² {when}"] = [o[2].r2[k] for o in outputs]
    for k, when in enumerate(("before", "after")):
        fixer[f"bias {when}, mm/day"] = [o[2].bias[k] for o in outputs]
    fixer |= {"lowest factor": [o[3][0] for o in outputs]}
    fixer |= {"highest factor": [o[3][1] for o in outputs]}
    return [
        Table("global_residuals", "Water of the whole globe at each time", residuals),
        Table("water_fixer", "What a global fixer of precipitation would do", fixer),
    ]
