"""Collectors of precipitation and outgoing longwave radiation: maps, intensities by surface, the
rain band, time against longitude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.online.blocks import REFERENCE, Block, SideBySide
from climlink.evaluation.online.fields import MM_PER_DAY
from climlink.evaluation.online.kernels import (
    evaporation_m_s,
    intensity_histogram,
    net_rain_width,
    precipitation_centroid,
    weighted_mean,
)
from climlink.evaluation.online.stream import month_of

Array = NDArray[np.float64]

INTENSITY_EDGES = np.arange(-2.0, 178.1, 4.0)
"""Bins of precipitation intensity, mm/day: -2 to 178 in steps of 4, as published."""
EQUATORIAL_DEG = 10.0
LONGITUDE_BINS_DEG = (10.0, 15.0, 20.0, 30.0, 60.0, 360.0)
"""Widths of longitude bins: the first that leaves no bin without a column."""
_LONG_D = 120.0


class RainMap:
    """Mean precipitation of every column over the compared records, mm/day."""

    names = ("PRECT",)

    def __init__(self, side: SideBySide) -> None:
        self._members, self._pairs, self._grid = list(side.streams), side.pairs, side.grid
        self._cadence = side.cadence
        everyone = dict.fromkeys([*self._members, *self._pairs])
        self._sums = {member: np.zeros(len(side.grid.area)) for member in everyone}
        self._counts = dict.fromkeys(everyone, 0)

    def add(self, block: Block) -> None:
        """Take in a block."""
        for member in self._sums:
            at = block.fair("PRECT", member)
            rain = block.values[member]["PRECT"][at].astype(np.float64)
            self._sums[member] += rain.sum(axis=0) * MM_PER_DAY
            self._counts[member] += int(at.sum())

    def result(self) -> xr.Dataset:
        """Return precipitation (member, column) with the columns' latitude, longitude and area, and
        precipitation_bias and precipitation_rmse (pair) over the area.
        """
        mean = {m: total / (self._counts[m] or np.nan) for m, total in self._sums.items()}
        error = np.stack([mean[m] - mean[REFERENCE] for m in self._pairs])
        area = self._grid.area
        units = {"units": "mm/day"}
        coords = {
            "lat": ("ncol", self._grid.lat),
            "lon": ("ncol", self._grid.lon),
            "area": ("ncol", self._grid.area),
        }
        values = {
            "precipitation": (
                ("member", "ncol"),
                np.stack([mean[m] for m in self._members]),
                {**units, "records": self._cadence},
            ),
            "precipitation_bias": ("pair", weighted_mean(error, area), units),
            "precipitation_rmse": ("pair", np.sqrt(weighted_mean(error**2, area)), units),
        }
        return xr.Dataset(values, coords={"member": self._members, "pair": self._pairs, **coords})


class RainIntensity:
    """Distribution of the intensity of precipitation over records and columns, by surface.

    A column counts with its area times the mean fraction of the surface in it. The density is the
    share of the weight in a bin over the bin's width; what lies outside the bins is told.
    """

    names = ("PRECT",)

    def __init__(self, side: SideBySide, surfaces: Mapping[str, Array]) -> None:
        self._members, self._surfaces = list(side.streams), surfaces
        self._cadence = side.cadence
        self._weights = {name: side.grid.area * fraction for name, fraction in surfaces.items()}
        self._sums = np.zeros((len(self._members), len(surfaces), len(INTENSITY_EDGES) + 1))

    def add(self, block: Block) -> None:
        """Take in a block."""
        for row, member in enumerate(self._members):
            at = block.fair("PRECT", member)
            if at.any():
                rain = block.values[member]["PRECT"][at].astype(np.float64) * MM_PER_DAY
                for surface, weights in enumerate(self._weights.values()):
                    self._sums[row, surface] += intensity_histogram(rain, weights, INTENSITY_EDGES)

    def result(self) -> xr.Dataset:
        """Return rain_density (member, surface, bin) per mm/day, and rain_below and rain_above, the
        shares outside the bins.
        """
        total = self._sums.sum(axis=-1, keepdims=True)
        shares = np.divide(
            self._sums, total, out=np.full_like(self._sums, np.nan), where=total > 0.0
        )
        dims = ("member", "surface")
        return xr.Dataset(
            {
                "rain_density": (
                    (*dims, "intensity"),
                    shares[..., 1:-1] / np.diff(INTENSITY_EDGES),
                    {"units": "1/(mm/day)", "records": self._cadence},
                ),
                "rain_below": (dims, shares[..., 0], {"units": "1"}),
                "rain_above": (dims, shares[..., -1], {"units": "1"}),
            },
            coords={
                "member": self._members,
                "surface": list(self._surfaces),
                "intensity": (
                    "intensity",
                    0.5 * (INTENSITY_EDGES[1:] + INTENSITY_EDGES[:-1]),
                    {"units": "mm/day"},
                ),
            },
        )


class Periods:
    """Means over days, or over months where a run is long, of something that records give as arrays
    of one shape, per member.
    """

    def __init__(self, members: Sequence[str], calendar: str, length_d: float) -> None:
        self.monthly = length_d > _LONG_D
        self._members, self._calendar = members, calendar
        self._sums: dict[int, dict[str, Array]] = {}
        self._counts: dict[int, dict[str, int]] = {}
        self._days: dict[int, float] = {}

    def keys(self, block: Block) -> NDArray[np.int64]:
        """Return the number of the day or month of every record."""
        if not self.monthly:
            return np.floor(block.middle).astype(np.int64)
        return np.array(
            [
                12 * year + month
                for year, month, _ in (month_of(float(m), self._calendar) for m in block.middle)
            ]
        )

    def add(
        self,
        member: str,
        keys: NDArray[np.int64],
        days: Array,
        at: NDArray[np.bool_],
        values: Array,
    ) -> None:
        """Take in values [record at, ...] of a member."""
        for key in np.unique(keys):
            self._days[key] = max(self._days.get(key, 0.0), float(days[keys == key].max()))
            mine = values[keys[at] == key]
            if len(mine):
                sums, counts = self._sums.setdefault(key, {}), self._counts.setdefault(key, {})
                sums[member] = sums.get(member, 0.0) + mine.sum(axis=0)
                counts[member] = counts.get(member, 0) + len(mine)

    def days(self) -> Array:
        """Return the last day of every period."""
        return np.array([self._days[key] for key in sorted(self._days)])

    def means(self, member: str, shape: tuple[int, ...]) -> Array:
        """Return the means of a member, [period, ...], NaN where it has none."""
        rows = [
            self._sums[key][member] / self._counts[key][member]
            if member in self._sums.get(key, {})
            else np.full(shape, np.nan)
            for key in sorted(self._days)
        ]
        return np.stack(rows) if rows else np.empty((0, *shape))


class RainBand:
    """Position and width of the tropical rain band of every member by day, or by month of a run
    longer than 120 days.
    """

    def __init__(self, side: SideBySide, length_d: float) -> None:
        self._members, self._grid = list(side.streams), side.grid
        self._net = side.shared("LHFLX")
        self.names = ("PRECT", "LHFLX") if self._net else ("PRECT",)
        calendar = next(iter(side.streams.values())).calendar
        self._rain, self._evaporation = (
            Periods(self._members, calendar, length_d),
            Periods(self._members, calendar, length_d),
        )

    def add(self, block: Block) -> None:
        """Take in a block."""
        keys = self._rain.keys(block)
        for member in self._members:
            at = block.all_usable(member, self.names)
            self._rain.add(
                member, keys, block.day, at, block.values[member]["PRECT"][at].astype(np.float64)
            )
            if self._net:
                flux = block.values[member]["LHFLX"][at].astype(np.float64)
                self._evaporation.add(member, keys, block.day, at, evaporation_m_s(flux))

    def result(self) -> xr.Dataset:
        """Return band_position and band_width (member, band_period) in degrees; the width only
        where evaporation is known.
        """
        grid, days = self._grid, self._rain.days()
        position, width = (
            np.full((len(self._members), len(days)), np.nan),
            np.full((len(self._members), len(days)), np.nan),
        )
        for row, member in enumerate(self._members):
            rain = self._rain.means(member, grid.lat.shape)
            evaporation = self._evaporation.means(member, grid.lat.shape) if self._net else None
            for k in range(len(days)):
                if np.isfinite(rain[k]).all():
                    position[row, k] = precipitation_centroid(rain[k], grid.lat, grid.area)
                    if evaporation is not None:
                        width[row, k] = net_rain_width(
                            rain[k] - evaporation[k], grid.lat, grid.area, position[row, k]
                        )
        dims = ("member", "band_period")
        period = {"period": "month" if self._rain.monthly else "day"}
        values = {"band_position": (dims, position, {"units": "degrees_north", **period})}
        if self._net:
            values["band_width"] = (dims, width, {"units": "degrees", **period})
        return xr.Dataset(values, coords={"member": self._members, "band_period": days})


class Hovmoeller:
    """Means over 10S-10N of a field by longitude and day, of every member; by five days in runs
    longer than a year.
    """

    def __init__(
        self, side: SideBySide, name: str, label: str, units: str, scale: float, length_d: float
    ) -> None:
        self.names = (name,)
        self._members, self._label, self._units, self._scale = (
            list(side.streams),
            label,
            units,
            scale,
        )
        self._width = 5.0 if length_d > 366.0 else 1.0
        self._means = "means of five days" if self._width > 1.0 else "daily means"
        if side.cadence == "monthly":
            self._means = "monthly means"
        grid = side.grid
        near = np.abs(grid.lat) <= EQUATORIAL_DEG
        for width in LONGITUDE_BINS_DEG:
            self._edges = np.arange(0.0, 360.1, width)
            number = np.digitize(np.mod(grid.lon, 360.0), self._edges) - 1
            self._weights = np.where(
                (number == np.arange(len(self._edges) - 1)[:, None]) & near, grid.area, 0.0
            )
            self._total = self._weights.sum(axis=1)
            if (self._total > 0.0).all():
                break
        self._sums: dict[int, Array] = {}
        self._counts: dict[int, Array] = {}

    def add(self, block: Block) -> None:
        """Take in a block."""
        keys = np.floor((block.day - 1e-9) / self._width).astype(np.int64)
        for row, member in enumerate(self._members):
            at = block.usable[member][self.names[0]]
            bands = (
                block.values[member][self.names[0]][at].astype(np.float64)
                @ self._weights.T
                * self._scale
            )
            for key in np.unique(keys):
                sums = self._sums.setdefault(key, np.zeros((len(self._members), len(self._total))))
                counts = self._counts.setdefault(key, np.zeros(len(self._members)))
                mine = bands[keys[at] == key]
                sums[row] += mine.sum(axis=0)
                counts[row] += len(mine)

    def result(self) -> xr.Dataset:
        """Return hovmoeller_LABEL (member, hovmoeller_day, longitude)."""
        keys = sorted(self._sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = [self._sums[k] / self._counts[k][:, None] / self._total for k in keys]
        values = (
            np.stack(rows, axis=1) if rows else np.empty((len(self._members), 0, len(self._total)))
        )
        middle = 0.5 * (self._edges[1:] + self._edges[:-1])
        return xr.Dataset(
            {
                f"hovmoeller_{self._label}": (
                    ("member", "hovmoeller_day", "longitude"),
                    values,
                    {"units": self._units, "means": self._means},
                )
            },
            coords={
                "member": self._members,
                "hovmoeller_day": [(k + 0.5) * self._width for k in keys],
                "longitude": middle,
            },
        )
