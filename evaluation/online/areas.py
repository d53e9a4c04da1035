"""Collectors of integrals: global means of energy and water, and mean and spread over areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.online.blocks import Block, SideBySide
from climlink.evaluation.online.kernels import (
    column_integral,
    energy_per_mass,
    mass_shares,
    weighted_mean,
    weighted_std,
)
from climlink.evaluation.online.states import thickness

Array = NDArray[np.float64]

REGIONS = {
    "global": (-90.0, 90.0),
    "30S-30N": (-30.0, 30.0),
    "30N-90N": (30.0, 90.0),
    "30S-90S": (-90.0, -30.0),
}
GLOBAL_MEANS = {
    "temperature": ("T", "PS"),
    "vapour": ("Q", "PS"),
    "cloud": ("TOTCLD", "PS"),
    "energy": ("T", "U", "V", "Q", "CLDICE", "PS"),
}
GLOBAL_UNITS = {"temperature": "K", "vapour": "kg/m2", "cloud": "kg/m2", "energy": "J/m2"}
AREA_QUANTITIES = {
    "surface_temperature": ("T",),
    "precipitable_water": ("Q", "PS"),
    "cloud_path": ("TOTCLD", "PS"),
}
AREA_UNITS = {"surface_temperature": "K", "precipitable_water": "kg/m2", "cloud_path": "kg/m2"}


def global_mean(block: Block, member: str, quantity: str, at: NDArray[np.bool_]) -> Array:
    """Return a global mean [record]: of temperature by mass (K), of vapour, cloud (kg/m2) and
    energy (J/m2) by area.

    dp is the member's own. Energy is the column integral of cp T + K + Lv q - Lf q_ice.
    """
    dp, grid = thickness(block, member)[at], block.grid

    def of(name: str) -> Array:
        return block.values[member][name][at].astype(np.float64)

    if quantity == "temperature":
        return np.asarray((mass_shares(dp, grid.area) * of("T")).sum(axis=(-2, -1)))
    if quantity == "energy":
        return weighted_mean(
            column_integral(energy_per_mass(of("T"), of("U"), of("V"), of("Q"), of("CLDICE")), dp),
            grid.area,
        )
    return weighted_mean(
        column_integral(of("Q" if quantity == "vapour" else "TOTCLD"), dp), grid.area
    )


class GlobalMeans:
    """Global means of every member by record, where drift shows."""

    def __init__(self, side: SideBySide, quantities: Sequence[str]) -> None:
        self._members, self._quantities = list(side.streams), quantities
        self.names = sorted({name for q in quantities for name in GLOBAL_MEANS[q]})
        self._days: list[Array] = []
        self._found: dict[str, list[Array]] = {q: [] for q in quantities}

    def add(self, block: Block) -> None:
        """Take in a block."""
        self._days.append(block.day)
        for quantity in self._quantities:
            rows = np.full((len(self._members), len(block.day)), np.nan)
            for row, member in enumerate(self._members):
                at = block.all_usable(member, GLOBAL_MEANS[quantity])
                if at.any():
                    rows[row, at] = global_mean(block, member, quantity, at)
            self._found[quantity].append(rows)

    def result(self) -> xr.Dataset:
        """Return global_QUANTITY (member, global_day)."""
        values = {
            f"global_{q}": (
                ("member", "global_day"),
                np.concatenate(rows, axis=1),
                {"units": GLOBAL_UNITS[q]},
            )
            for q, rows in self._found.items()
        }
        return xr.Dataset(
            values, coords={"member": self._members, "global_day": np.concatenate(self._days)}
        )


class AreaStatistics:
    """Area mean and spread (area-weighted standard deviation) of surface-level temperature,
    precipitable water and total cloud path.

    By record, for the globe, 30S-30N, 30N-90N and 30S-90S. Water is integrated with the member's
    own dp, over g.
    """

    def __init__(self, side: SideBySide, quantities: Sequence[str]) -> None:
        self._members, self._quantities = list(side.streams), quantities
        self.names = sorted({name for q in quantities for name in AREA_QUANTITIES[q]})
        self._days: list[Array] = []
        self._found: dict[tuple[str, str], list[Array]] = {
            (kind, q): [] for kind in ("mean", "std") for q in quantities
        }

    def add(self, block: Block) -> None:
        """Take in a block."""
        self._days.append(block.day)
        grid = block.grid
        regions = [(grid.lat >= low) & (grid.lat <= high) for low, high in REGIONS.values()]
        for quantity in self._quantities:
            shape = (len(self._members), len(regions), len(block.day))
            mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
            for row, member in enumerate(self._members):
                at = block.all_usable(member, AREA_QUANTITIES[quantity])
                if not at.any():
                    continue
                values = _columns(block, member, quantity, at)
                for number, columns in enumerate(regions):
                    if columns.any():
                        mean[row, number, at] = weighted_mean(
                            values[:, columns], grid.area[columns]
                        )
                        std[row, number, at] = weighted_std(values[:, columns], grid.area[columns])
            self._found["mean", quantity].append(mean)
            self._found["std", quantity].append(std)

    def result(self) -> xr.Dataset:
        """Return area_mean_QUANTITY and area_std_QUANTITY (member, region, area_day)."""
        values = {
            f"area_{kind}_{q}": (
                ("member", "region", "area_day"),
                np.concatenate(rows, axis=2),
                {"units": AREA_UNITS[q]},
            )
            for (kind, q), rows in self._found.items()
        }
        return xr.Dataset(
            values,
            coords={
                "member": self._members,
                "region": list(REGIONS),
                "area_day": np.concatenate(self._days),
            },
        )


def _columns(block: Block, member: str, quantity: str, at: NDArray[np.bool_]) -> Array:
    """Return a quantity of every column, [record, column]."""
    if quantity == "surface_temperature":
        return block.values[member]["T"][at][:, -1].astype(np.float64)
    water = block.values[member]["Q" if quantity == "precipitable_water" else "TOTCLD"][at].astype(
        np.float64
    )
    return column_integral(water, thickness(block, member)[at])
