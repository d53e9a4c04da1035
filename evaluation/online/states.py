"""Collectors of the three-dimensional state: growth of error, means over time, the tropopause, and
the first days level by level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.online.blocks import FORECASTS, REFERENCE, Block
from climlink.evaluation.online.fields import PROFILES
from climlink.evaluation.online.history import HistoryGrid
from climlink.evaluation.online.kernels import mass_shares, weighted_rmse
from climlink.evaluation.online.stream import month_of
from climlink.evaluation.report import Exclusion
from climlink.evaluation.weights import layer_thickness, zonal_weights
from climlink.wrappers.constraints import ConstraintContext, build_constraint
from climlink.wrappers.constraints.water import StratosphericWater
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.vertical import HybridCoordinate

Array = NDArray[np.float64]

FIRST_DAYS = 31.0
TROPICS_DEG = 30.0
BANDS = ("inside 30S-30N", "outside 30S-30N")


def thickness(block: Block, member: str) -> Array:
    """Return dp of a member's layers from its own surface pressure, [record, level, column] in
    Pa.
    """
    grid = block.grid
    return layer_thickness(grid.hyai, grid.hybi, grid.p0_pa, block.double(member, "PS"))


def _error(block: Block, member: str, name: str, at: NDArray[np.bool_]) -> Array:
    return block.values[member][name][at].astype(np.float64) - block.values[REFERENCE][name][
        at
    ].astype(np.float64)


class Growth:
    """RMSE of every record over the whole mass of air, sqrt(sum(w d²)) with w = dp area of the
    reference: the study's growth of error.
    """

    def __init__(self, profiles: Sequence[str], pairs: Sequence[str], prefix: str) -> None:
        self.names = (*profiles, "PS")
        self._profiles, self._pairs, self._prefix = profiles, pairs, prefix
        self._days: list[Array] = []
        self._rmse: dict[str, list[Array]] = {name: [] for name in profiles}

    def add(self, block: Block) -> None:
        """Take in a block."""
        self._days.append(block.day)
        shares = mass_shares(thickness(block, REFERENCE), block.grid.area)
        for name in self._profiles:
            found = np.full((len(self._pairs), len(block.day)), np.nan)
            for row, member in enumerate(self._pairs):
                at = block.usable[member][name] & block.all_usable(REFERENCE, (name, "PS"))
                if at.any():
                    found[row, at] = weighted_rmse(_error(block, member, name, at), shares[at])
            self._rmse[name].append(found)

    def result(self) -> xr.Dataset:
        """Return PREFIX_rmse_NAME (pair, PREFIX_day) in the units of the files."""
        day = f"{self._prefix}_day"
        values = {
            f"{self._prefix}_rmse_{name}": (
                ("pair", day),
                np.concatenate(rows, axis=1),
                {"units": PROFILES[name].file_units},
            )
            for name, rows in self._rmse.items()
        }
        return xr.Dataset(
            values, coords={"pair": list(self._pairs), day: np.concatenate(self._days)}
        )


class MonthlyGrowth:
    """RMSE of monthly means, as Growth, made of daily or hourly records where there is no monthly
    stream. Only whole months count.
    """

    def __init__(
        self, profiles: Sequence[str], pairs: Sequence[str], calendar: str, records_per_day: float
    ) -> None:
        self.names = (*profiles, "PS")
        self._profiles, self._pairs, self._calendar, self._per_day = (
            profiles,
            pairs,
            calendar,
            records_per_day,
        )
        self._open: _Month | None = None
        self._closed: list[tuple[float, dict[tuple[str, str], float]]] = []
        self.excluded: list[Exclusion] = []

    def add(self, block: Block) -> None:
        """Take in a block; a new month closes the one before."""
        months = [month_of(float(m), self._calendar) for m in block.middle]
        for label in dict.fromkeys(months):
            at = np.array([month == label for month in months])
            if self._open is None or self._open.label != label:
                self._close()
                self._open = _Month(label, block.grid)
            self._open.add(block, at, self._profiles, self._pairs)

    def _close(self) -> None:
        if self._open is None:
            return
        year, month, length = self._open.label
        wanted = round(length * self._per_day)
        for member in (REFERENCE, *(m for m in self._pairs if m not in FORECASTS)):
            count = max(
                self._open.counts.get((member, name), 0) for name in (*self._profiles, "PS")
            )
            if 0 < count < wanted:
                what = f"month {year:04d}-{month:02d} of the {member}"
                self.excluded.append(
                    Exclusion(
                        what,
                        f"{count} of {wanted} records are there: it is not among the monthly means",
                    )
                )
        rmse = self._open.rmse(wanted)
        if rmse:
            self._closed.append((self._open.day, rmse))
        self._open = None

    def result(self) -> xr.Dataset:
        """Return monthly_rmse_NAME (pair, monthly_day) in the units of the files; a month's day is
        its last.
        """
        self._close()
        values = {
            f"monthly_rmse_{name}": (
                ("pair", "monthly_day"),
                np.array(
                    [
                        [rmse.get((member, name), np.nan) for _, rmse in self._closed]
                        for member in self._pairs
                    ]
                ),
                {"units": PROFILES[name].file_units},
            )
            for name in self._profiles
        }
        return xr.Dataset(
            values,
            coords={"pair": list(self._pairs), "monthly_day": [day for day, _ in self._closed]},
        )


class _Month:
    """Sums over the records of one month."""

    def __init__(self, label: tuple[int, int, float], grid: HistoryGrid) -> None:
        self.label, self.day, self._grid = label, 0.0, grid
        self.sums: dict[tuple[str, str], Array] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def add(
        self, block: Block, at: NDArray[np.bool_], profiles: Sequence[str], pairs: Sequence[str]
    ) -> None:
        self.day = float(block.day[at][-1])
        self._sum(
            (REFERENCE, "PS"),
            block.values[REFERENCE]["PS"][at & block.usable[REFERENCE]["PS"]].astype(np.float64),
        )
        for name in profiles:
            for member in pairs:
                both = at & block.usable[REFERENCE][name] & block.usable[member][name]
                self._sum((member, name), _error(block, member, name, both))

    def _sum(self, key: tuple[str, str], values: Array) -> None:
        if len(values):
            total = values.sum(axis=0)
            self.sums[key] = self.sums[key] + total if key in self.sums else total
            self.counts[key] = self.counts.get(key, 0) + len(values)

    def rmse(self, wanted: int) -> dict[tuple[str, str], float]:
        """Return the error of the whole month's means by member and field, of those whose records
        are all there.
        """
        pressure = (REFERENCE, "PS")
        if self.counts.get(pressure, 0) < wanted:
            return {}
        g = self._grid
        shares = mass_shares(
            layer_thickness(g.hyai, g.hybi, g.p0_pa, self.sums[pressure] / self.counts[pressure]),
            g.area,
        )
        return {
            key: float(weighted_rmse(self.sums[key] / count, shares))
            for key, count in self.counts.items()
            if key != pressure and count == wanted
        }


class MeanState:
    """Error of the mean over the compared days: the mean difference of every cell, and what follows
    from it by level, by latitude and in one number. Weights are the reference's mean dp times area.
    """

    def __init__(self, profiles: Sequence[str], pairs: Sequence[str], grid: HistoryGrid) -> None:
        self.names = (*profiles, "PS")
        self._profiles, self._pairs, self._grid = profiles, pairs, grid
        cells, columns = (len(grid.hyam), len(grid.area)), len(grid.area)
        self._difference = {
            (member, name): np.zeros(cells) for member in pairs for name in profiles
        }
        self._reference = {name: np.zeros(cells) for name in profiles}
        self._pressure = np.zeros(columns)
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, block: Block) -> None:
        """Take in a block."""
        at = block.compared & block.usable[REFERENCE]["PS"]
        self._pressure += block.values[REFERENCE]["PS"][at].astype(np.float64).sum(axis=0)
        self._count((REFERENCE, "PS"), at)
        for name in self._profiles:
            here = block.compared & block.usable[REFERENCE][name]
            self._reference[name] += (
                block.values[REFERENCE][name][here].astype(np.float64).sum(axis=0)
            )
            self._count((REFERENCE, name), here)
            for member in self._pairs:
                both = here & block.usable[member][name]
                self._difference[member, name] += _error(block, member, name, both).sum(axis=0)
                self._count((member, name), both)

    def _count(self, key: tuple[str, str], at: NDArray[np.bool_]) -> None:
        self._counts[key] = self._counts.get(key, 0) + int(at.sum())

    def result(self) -> xr.Dataset:
        """Return mean_rmse_NAME (pair), profile_rmse_NAME (pair, level), zonal_NAME (latitude bin)
        of the reference and zonal_bias_NAME.
        """
        grid, found = self._grid, xr.Dataset()
        records = self._counts[REFERENCE, "PS"]
        dp = layer_thickness(grid.hyai, grid.hybi, grid.p0_pa, self._pressure / max(1, records))
        shares = mass_shares(dp, grid.area)
        mass = dp * grid.area
        by_level = mass / np.where(records > 0, mass.sum(axis=1, keepdims=True), np.nan)
        centres, zonal = zonal_weights(grid.lat, grid.area)
        empty = zonal.sum(axis=1) == 0.0
        found = found.assign_coords(
            pair=list(self._pairs), level_hpa=("lev", grid.pressure_hpa), zonal_lat=centres
        )
        for name in self._profiles:
            units = {"units": PROFILES[name].file_units}
            mean = self._reference[name] / max(1, self._counts[REFERENCE, name])
            means = {
                m: self._difference[m, name] / (self._counts[m, name] or np.nan)
                for m in self._pairs
            }
            found[f"zonal_{name}"] = (
                ("lev", "zonal_lat"),
                np.where(empty, np.nan, mean @ zonal.T),
                units,
            )
            bias = [np.where(empty, np.nan, means[m] @ zonal.T) for m in self._pairs]
            found[f"zonal_bias_{name}"] = (("pair", "lev", "zonal_lat"), np.stack(bias), units)
            found[f"mean_rmse_{name}"] = (
                ("pair",),
                np.array([weighted_rmse(means[m], shares) for m in self._pairs]),
                units,
            )
            profile = [np.sqrt((by_level * means[m] ** 2).sum(axis=1)) for m in self._pairs]
            found[f"profile_rmse_{name}"] = (("pair", "lev"), np.stack(profile), units)
        found["compared_records"] = ((), records)
        return found


class Tropopause:
    """Pressure of the reference's tropopause, mean over the compared records and the columns of a
    latitude bin.

    The rule is the one of the emulator's constraint (the lowest level with p <= 400 hPa and
    dtheta/dz > 10 K/km).
    """

    names = ("T", "Q", "PS")

    def __init__(self, grid: HistoryGrid) -> None:
        hybrid = HybridCoordinate(
            grid.p0_pa,
            *(
                tuple(float(v) for v in values)
                for values in (grid.hyam, grid.hybm, grid.hyai, grid.hybi)
            ),
        )
        rule = build_constraint(
            ConstraintEntry(name="stratospheric_water"),
            ConstraintContext(hybrid, 1200.0, 0, hybrid.level_count),
        )
        assert isinstance(rule, StratosphericWater)
        self._rule, self._grid = rule, grid
        self._sum, self._count = np.zeros(len(grid.area)), 0

    def add(self, block: Block) -> None:
        """Take in a block."""
        at = block.compared & block.all_usable(REFERENCE, self.names)
        if not at.any():
            return
        t, q = (
            torch.from_numpy(
                np.moveaxis(block.double(REFERENCE, n)[at], 1, 2).reshape(-1, len(self._grid.hyam))
            )
            for n in ("T", "Q")
        )
        ps = torch.from_numpy(block.double(REFERENCE, "PS")[at].reshape(-1))
        above = self._rule.stratosphere({"state_t": t, "state_q0001": q, "state_ps": ps})
        lowest = above.sum(dim=1) - 1
        pressure = self._rule.levels.midpoints(ps).gather(1, lowest[:, None])[:, 0].numpy()
        self._sum += pressure.reshape(int(at.sum()), -1).sum(axis=0)
        self._count += int(at.sum())

    def result(self) -> xr.Dataset:
        """Return tropopause_hpa (latitude bin)."""
        centres, zonal = zonal_weights(self._grid.lat, self._grid.area)
        mean = zonal @ (self._sum / (self._count or np.nan)) / 100.0
        line = np.where(zonal.sum(axis=1) == 0.0, np.nan, mean)
        return xr.Dataset(
            {"tropopause_hpa": ("zonal_lat", line, {"units": "hPa"})}, coords={"zonal_lat": centres}
        )


class FirstPeriod:
    """Mean error and RMSE of every record of the first days by level, inside and outside of
    30S-30N: where an error begins.
    """

    def __init__(
        self, profiles: Sequence[str], pairs: Sequence[str], days: float = FIRST_DAYS
    ) -> None:
        self.names = (*profiles, "PS")
        self._profiles, self._pairs, self._limit = profiles, pairs, days
        self._days: list[Array] = []
        self._found: dict[tuple[str, str], list[Array]] = {
            (kind, name): [] for kind in ("bias", "rmse") for name in profiles
        }
        self._levels: Array = np.empty(0)

    def add(self, block: Block) -> None:
        """Take in a block; records after the first days are passed over."""
        self._levels = block.grid.pressure_hpa
        early = block.day <= self._limit + 1e-6
        if not early.any():
            return
        self._days.append(block.day[early])
        inside = np.abs(block.grid.lat) <= TROPICS_DEG
        weights = thickness(block, REFERENCE)[early] * block.grid.area
        for name in self._profiles:
            shape = (len(self._pairs), len(BANDS), int(early.sum()), len(self._levels))
            bias, rmse = np.full(shape, np.nan), np.full(shape, np.nan)
            for row, member in enumerate(self._pairs):
                at = (
                    block.usable[member][name][early]
                    & block.all_usable(REFERENCE, (name, "PS"))[early]
                )
                error = _error(block, member, name, early)[at]
                for band, columns in enumerate((inside, ~inside)):
                    w = weights[at][..., columns]
                    total = w.sum(axis=-1)
                    bias[row, band, at] = (w * error[..., columns]).sum(axis=-1) / total
                    rmse[row, band, at] = np.sqrt(
                        (w * error[..., columns] ** 2).sum(axis=-1) / total
                    )
            self._found["bias", name].append(bias)
            self._found["rmse", name].append(rmse)

    def result(self) -> xr.Dataset:
        """Return first_bias_NAME and first_rmse_NAME (pair, band, first_day, level) in the units of
        the files.
        """
        values = {
            f"first_{kind}_{name}": (
                ("pair", "band", "first_day", "lev"),
                np.concatenate(rows, axis=2),
                {"units": PROFILES[name].file_units},
            )
            for (kind, name), rows in self._found.items()
            if rows
        }
        coords = {
            "pair": list(self._pairs),
            "band": list(BANDS),
            "level_hpa": ("lev", self._levels),
        }
        return xr.Dataset(
            values, coords={**coords, "first_day": np.concatenate(self._days)} if self._days else {}
        )
