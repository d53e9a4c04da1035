"""Figures of precipitation in online runs: maps, distribution of intensities, rain band, time
against longitude.
"""

from __future__ import annotations

from textwrap import fill

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from climlink.evaluation.figures.online import (
    LINES,
    legend_above,
    logarithmic,
    panels,
    series_figure,
)
from climlink.evaluation.figures.style import BIAS_COLOURS_WATER, symmetric_limit
from climlink.evaluation.online.blocks import REFERENCE, RUN, TWIN

Array = NDArray[np.float64]

_MAP_STEP_DEG = 1.0
_RAIN_COLOURS = "YlGnBu"


def map_figure(numbers: xr.Dataset) -> Figure:
    """Draw mean precipitation of reference and run, and the bias with dots where the twin differs
    as much. Every point of the map takes the nearest column."""
    rain = numbers["precipitation"]
    reference, run = (rain.sel(member=m).values for m in (REFERENCE, RUN))
    figure, grid = panels(3, 1, 2.7)
    longitude, latitude, nearest = _nearest(numbers["lon"].values, numbers["lat"].values)
    top = float(np.nanquantile(np.concatenate([reference, run]), 0.99)) or 1.0
    for axes, values, title in ((grid[0], reference, "reference"), (grid[1], run, "run")):
        mesh = axes.pcolormesh(
            longitude,
            latitude,
            values[nearest],
            cmap=_RAIN_COLOURS,
            vmin=0.0,
            vmax=top,
            rasterized=True,
        )
        figure.colorbar(mesh, ax=axes, label="mm/day", extend="max")
        _map_panel(axes, title)
    bias = run - reference
    limit = symmetric_limit(bias)
    mesh = grid[2].pcolormesh(
        longitude,
        latitude,
        bias[nearest],
        cmap=BIAS_COLOURS_WATER,
        vmin=-limit,
        vmax=limit,
        rasterized=True,
    )
    if TWIN in rain["member"].values:
        small = np.abs(bias) <= np.abs(rain.sel(member=TWIN).values - reference)
        at = np.mod(numbers["lon"].values, 360.0)[small], numbers["lat"].values[small]
        grid[2].plot(*at, linestyle="none", marker=".", markersize=2.5, color="0.25")
    figure.colorbar(mesh, ax=grid[2], label="mm/day", extend="both")
    _map_panel(grid[2], "run less reference")
    return figure


def _nearest(lon: Array, lat: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return longitudes, latitudes and the nearest column on the sphere [latitude, longitude] of a
    regular map.
    """

    def on_sphere(longitude: Array, latitude: Array) -> Array:
        x, y = np.deg2rad(longitude), np.deg2rad(latitude)
        return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)

    longitude = np.arange(0.5 * _MAP_STEP_DEG, 360.0, _MAP_STEP_DEG)
    latitude = np.arange(-90.0 + 0.5 * _MAP_STEP_DEG, 90.0, _MAP_STEP_DEG)
    points = on_sphere(*np.meshgrid(longitude, latitude))
    return longitude, latitude, np.asarray(cKDTree(on_sphere(lon, lat)).query(points)[1])


def _map_panel(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xticks(
        [0, 60, 120, 180, 240, 300, 360], ["0", "60E", "120E", "180", "120W", "60W", "0"]
    )
    axes.set_yticks([-60, -30, 0, 30, 60], ["60S", "30S", "0", "30N", "60N"])
    axes.set_aspect("equal")


def intensity_figure(numbers: xr.Dataset) -> Figure:
    """Draw the density of precipitation intensities on a logarithmic axis, a panel for each
    surface.
    """
    surfaces = list(numbers["surface"].values)
    figure, grid = panels(len(surfaces), 2, 2.4)
    for axes, surface in zip(grid, surfaces, strict=True):
        for member in (REFERENCE, TWIN, RUN):
            if member in numbers["member"].values:
                density = numbers["rain_density"].sel(member=member, surface=surface).values
                axes.step(
                    numbers["intensity"].values,
                    np.where(density > 0.0, density, np.nan),
                    where="mid",
                    **LINES[member],
                )
        logarithmic(axes, numbers["rain_density"].sel(surface=surface).values)
        axes.set_title(str(surface), fontsize=10)
        axes.set_xlabel(f"{numbers['rain_density'].attrs['records']} precipitation, mm/day")
        axes.set_ylabel("density, 1/(mm/day)")
        axes.grid(True, color="0.9", linewidth=0.6)
    legend_above(figure, grid[0])
    return figure


def band_figure(numbers: xr.Dataset) -> Figure:
    """Draw position and width of the rain band against time."""
    series = {
        "band_position": ("centroid of rain 20S-20N, degrees north", 1.0),
        "band_width": ("width of P - E > 0, degrees", 1.0),
    }
    return series_figure(
        numbers, {name: shown for name, shown in series.items() if name in numbers}, "band_period"
    )


def hovmoeller_figure(numbers: xr.Dataset, label: str, colours: str = _RAIN_COLOURS) -> Figure:
    """Draw hovmoeller_LABEL of every member: longitude to the right, time downward."""
    values = numbers[f"hovmoeller_{label}"]
    members = [
        m
        for m in (REFERENCE, TWIN, RUN)
        if m in values["member"].values and np.isfinite(values.sel(member=m).values).any()
    ]
    figure, grid = panels(len(members), len(members), 4.2, sharey=True)
    finite = values.values[np.isfinite(values.values)]
    low, top = float(np.quantile(finite, 0.01)), float(np.quantile(finite, 0.99))
    for number, (axes, member) in enumerate(zip(grid, members, strict=True)):
        days = numbers["hovmoeller_day"].values
        mesh = axes.pcolormesh(
            numbers["longitude"].values,
            days,
            values.sel(member=member).values,
            cmap=colours,
            vmin=low,
            vmax=top,
            rasterized=True,
        )
        axes.set_facecolor("0.85")
        axes.set_title(fill(str(LINES[member]["label"]), 14), fontsize=10)
        axes.set_xticks([0, 120, 240], ["0", "120E", "120W"])
        axes.set_xlabel("longitude")
        if number == 0:
            axes.set_ylabel("day")
            axes.invert_yaxis()
    figure.colorbar(
        mesh,
        ax=grid,
        label=str(values.attrs.get("units", "")),
        extend="both",
        location="bottom",
        shrink=0.6,
    )
    return figure
