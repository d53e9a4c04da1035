"""Conservation: the embedded model's own budgets, residuals from history fields, and counters of
guards and limiters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.areas import GLOBAL_MEANS, global_mean
from climlink.evaluation.online.blocks import Block, SideBySide
from climlink.evaluation.online.fields import COUNTER_SCALES, COUNTERS, RANGE_COUNTERS, parts
from climlink.evaluation.online.kernels import evaporation_m_s, trapezoid_residual, weighted_mean
from climlink.evaluation.report import Exclusion
from climlink.support import Support
from climlink.wrappers.constants import LATENT_HEAT_FUSION, WATER_DENSITY

Array = NDArray[np.float64]

BUDGET_FILE = "budgets.csv"
BUDGETS = {
    "energy_fixer_W_m2": "heat from the energy fixer, W/m2",
    "emulated_energy_residual_W_m2": "energy that the emulated part made, W/m2",
    "emulated_water_residual_mm_day": "water that the emulated part made, mm/day",
    "transport_water_mm_day": "water that transport made, mm/day",
    "limiter_water_mm_day": "water that the limiter added, mm/day",
    "limited_cells": "cells that the limiter changed, per step",
    "range_heating_W_m2": "heating by relaxation to the training ranges, W/m2",
    "range_mass_share": "share of the mass that is relaxed",
    "range_clipped_values": "values per column that the network sees clipped",
}
"""Columns of budgets.csv that are shown; all but limited_cells are global means of a step."""

_WATER = ("PRECT", "LHFLX")
_ENERGY_FLUXES = ("FSNT", "OLR", "FSNS", "FLNS", "SHFLX", "LHFLX", "PRECSC")


def read_budgets(run: Path, day_zero: float) -> tuple[xr.Dataset, list[Exclusion]]:
    """Return daily means of the embedded model's budgets, budget_NAME (budget_day), days counted
    from ``day_zero``; empty without the file.

    A last row that was cut short is left out and listed. EvaluationError for a file that is no
    table of numbers.
    """
    path = run / BUDGET_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [name.strip() for name in lines.pop(0).split(",")] if lines else []
    if lines and not {"step", "day"} <= set(names):
        raise EvaluationError(
            f"{path} does not begin with the names of its columns (step, day, ...), but with "
            f"{', '.join(names)[:60]}"
        )
    excluded = []
    if lines and lines[-1].count(",") != len(names) - 1:
        excluded.append(Exclusion(f"last row of {BUDGET_FILE}", "it was not written to its end"))
        lines.pop()
    if not lines:
        return xr.Dataset(), excluded
    try:
        table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as error:
        raise EvaluationError(f"{path} is not a table of numbers: {error}") from error
    if table.shape[1] != len(names):
        raise EvaluationError(
            f"{path} has {table.shape[1]} columns where {len(names)} were expected: "
            f"{', '.join(names)}"
        )
    # The row of a step is written at its end; a hair is taken off so that the last step of a day
    # belongs to it.
    day = np.floor(table[:, names.index("day")] - day_zero - 1e-6).astype(np.int64)
    days, where = np.unique(day, return_inverse=True)
    count = np.bincount(where)
    values = {
        f"budget_{name}": (
            "budget_day",
            np.bincount(where, table[:, names.index(name)]) / count,
            {"long_name": BUDGETS[name]},
        )
        for name in BUDGETS
        if name in names
    }
    return xr.Dataset(values, coords={"budget_day": days + 1.0}), excluded


class HistoryBudget:
    """What is left of the changes of global water and energy after their sources, from means over
    time in history, by record.

    Water: d(vapour + cloud)/dt - (E - P). Energy: dE/dt - (FSNT - OLR - FSNS + FLNS + SHFLX + LHFLX
    + Lf snow), E without the surface's height. Each is told where reference and run have its
    fields; what fixers and limiters add is part of it.
    """

    def __init__(self, side: SideBySide) -> None:
        self._members = list(side.streams)
        state = {name for q in ("vapour", "cloud") for name in GLOBAL_MEANS[q]}
        self.water = all(side.shared(n) for n in (*state, *_WATER))
        self.energy = all(side.shared(n) for n in (*GLOBAL_MEANS["energy"], *_ENERGY_FLUXES))
        wanted = (state | set(_WATER) if self.water else set()) | (
            set(GLOBAL_MEANS["energy"]) | set(_ENERGY_FLUXES) if self.energy else set()
        )
        self.names: Sequence[str] = sorted(wanted)
        self._times: list[Array] = []
        self._days: list[Array] = []
        self._rows: dict[str, list[Array]] = {
            key: [] for key in ("water", "water_source", "energy", "energy_source")
        }

    def add(self, block: Block) -> None:
        """Take in a block."""
        self._times.append(block.middle)
        self._days.append(block.day)
        for key, wanted in (("water", self.water), ("energy", self.energy)):
            if not wanted:
                continue
            content, source = (
                np.full((len(self._members), len(block.day)), np.nan) for _ in range(2)
            )
            for row, member in enumerate(self._members):
                needed = (
                    ("Q", "TOTCLD", "PS", *_WATER)
                    if key == "water"
                    else (*GLOBAL_MEANS["energy"], *_ENERGY_FLUXES)
                )
                at = block.all_usable(member, needed)
                if at.any():
                    content[row, at], source[row, at] = (_water if key == "water" else _energy)(
                        block, member, at
                    )
            self._rows[key].append(content)
            self._rows[f"{key}_source"].append(source)

    def result(self) -> xr.Dataset:
        """Return residual_water in mm/day and residual_energy in W/m2 (member, residual_day)."""
        time, days = np.concatenate(self._times), np.concatenate(self._days)
        found = xr.Dataset(coords={"member": self._members, "residual_day": days[1:]})
        for key, scale, units in (("water", SECONDS_PER_DAY, "mm/day"), ("energy", 1.0, "W/m2")):
            if self._rows[key] and len(time) > 1:
                content, source = (
                    np.concatenate(self._rows[k], axis=1) for k in (key, f"{key}_source")
                )
                rows = [
                    trapezoid_residual(c, s, time) * scale
                    for c, s in zip(content, source, strict=True)
                ]
                found[f"residual_{key}"] = (
                    ("member", "residual_day"),
                    np.stack(rows),
                    {"units": units},
                )
        return found


def _water(block: Block, member: str, at: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return water in kg/m2 and evaporation less precipitation in kg/m2/s, global means
    [record].
    """
    content = global_mean(block, member, "vapour", at) + global_mean(block, member, "cloud", at)
    rain, heat = (block.values[member][name][at].astype(np.float64) for name in _WATER)
    return content, WATER_DENSITY * weighted_mean(evaporation_m_s(heat) - rain, block.grid.area)


def _energy(block: Block, member: str, at: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return energy in J/m2 and what enters the atmosphere in W/m2, global means [record]."""
    fsnt, olr, fsns, flns, sensible, latent, snow = (
        block.values[member][name][at].astype(np.float64) for name in _ENERGY_FLUXES
    )
    entering = (
        fsnt - olr - fsns + flns + sensible + latent + WATER_DENSITY * LATENT_HEAT_FUSION * snow
    )
    return global_mean(block, member, "energy", at), weighted_mean(entering, block.grid.area)


class Counters:
    """Global means of the counters that the adapter for E3SM writes into history, by record, of the
    run alone.
    """

    def __init__(self, side: SideBySide, member: str) -> None:
        self._member = member
        self.names = [
            name for name in COUNTERS if parts(name, side.streams[member].fields) is not None
        ]
        self._days: list[Array] = []
        self._rows: dict[str, list[Array]] = {name: [] for name in self.names}

    def add(self, block: Block) -> None:
        """Take in a block."""
        self._days.append(block.day)
        for name, rows in self._rows.items():
            row = np.full(len(block.day), np.nan)
            at = block.usable[self._member][name]
            row[at] = weighted_mean(
                block.values[self._member][name][at].astype(np.float64), block.grid.area
            )
            rows.append(row * COUNTER_SCALES.get(name, 1.0))

    def result(self) -> xr.Dataset:
        """Return counter_NAME (counter_day)."""
        values = {
            f"counter_{n}": ("counter_day", np.concatenate(r), {"long_name": COUNTERS[n]})
            for n, r in self._rows.items()
        }
        return (
            xr.Dataset(values, coords={"counter_day": np.concatenate(self._days)})
            if values
            else xr.Dataset()
        )


def support_of_counters(numbers: xr.Dataset) -> Support | None:
    """Return how much the range policy held a run of E3SM, as means over the globe and the steps in
    which the emulator ran; None where its history does not tell.
    """
    names = [f"counter_{name}" for name in RANGE_COUNTERS]
    if not all(name in numbers and numbers[name].notnull().any() for name in names):
        return None
    return Support.judged(*(float(numbers[name].mean()) for name in names))
