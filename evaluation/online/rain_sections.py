"""The sections of an online report about precipitation and outgoing longwave radiation."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.evaluation.figures import online_rain as draw_rain
from climlink.evaluation.online import captions
from climlink.evaluation.online.blocks import FORECASTS, REFERENCE, RUN
from climlink.evaluation.report import Picture, Section, Table


def rain_section(numbers: xr.Dataset) -> Section | None:
    """Return the section about precipitation; None where it cannot be told of the whole run."""
    if (
        "precipitation" not in numbers
        or not np.isfinite(numbers["precipitation"].sel(member=RUN).values).all()
    ):
        return None
    records = numbers["rain_density"].attrs["records"]
    outside = (
        numbers["rain_above"].sel(surface="global"),
        numbers["rain_below"].sel(surface="global"),
    )
    told = ", ".join(
        f"{m}: {float(outside[0].sel(member=m)):.2g}" for m in numbers["member"].values
    )
    below = ", ".join(
        f"{m}: {float(outside[1].sel(member=m)):.2g}" for m in numbers["member"].values
    )
    text = (
        f"Share of area and time with {records} precipitation above 178 mm/day, outside the bins: "
        f"{told}; below -2 mm/day: {below}."
    )
    mean = f"Mean precipitation over the compared days, from {records} means."
    intensity = (
        f"Distribution of the intensity of {records} means of precipitation, weighted by area; "
        "bins of 4 mm/day."
    )
    pictures = [
        Picture(
            "precipitation_map",
            draw_rain.map_figure(numbers),
            captions.joined(mean, captions.dots(numbers)),
        ),
        Picture("precipitation_intensity", draw_rain.intensity_figure(numbers), intensity),
    ]
    if "band_position" in numbers and numbers.sizes["band_period"] > 1:
        caption = (
            f"Rain band by {numbers['band_position'].attrs['period']}: latitude that halves the "
            "rain between 20S and 20N, and width of the band about it in which precipitation "
            "exceeds evaporation."
        )
        pictures.append(Picture("rain_band", draw_rain.band_figure(numbers), caption))
    return Section("Precipitation", text, pictures, [_rain_table(numbers)])


def _rain_table(numbers: xr.Dataset) -> Table:
    members = [str(m) for m in numbers["member"].values]
    pairs = [str(p) for p in numbers["pair"].values]
    rows = [*members, *(p for p in pairs if p in FORECASTS)]

    def of_pair(name: str, row: str) -> float | None:
        return float(numbers[f"precipitation_{name}"].sel(pair=row)) if row in pairs else None

    area = numbers["area"].values / numbers["area"].values.sum()
    reference = float(area @ numbers["precipitation"].sel(member=REFERENCE).values)
    columns: dict[str, list[str | float | None]] = {
        "": list(rows),
        "mean": [reference + (of_pair("bias", row) or 0.0) for row in rows],
        "bias": [of_pair("bias", row) for row in rows],
        "RMSE": [of_pair("rmse", row) for row in rows],
    }
    units = {"mean": "mm/day", "bias": "mm/day", "RMSE": "mm/day"}
    for name, title in (("band_position", "rain band at"), ("band_width", "its width")):
        if name in numbers:
            columns[title] = [
                _mean(numbers[name].sel(member=row).values) if row in members else None
                for row in rows
            ]
            units[title] = "degrees"
    records = numbers["precipitation"].attrs["records"]
    title = f"Precipitation over the compared days, from {records} means"
    return Table("precipitation", title, columns, units)


def _mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def hovmoeller_section(numbers: xr.Dataset) -> Section | None:
    """Return the section of time against longitude; None where there is only one time."""
    labels = {
        "precipitation": ("Precipitation", "YlGnBu"),
        "olr": ("Outgoing longwave radiation", "magma"),
    }
    pictures = []
    for label, (what, colours) in labels.items():
        name = f"hovmoeller_{label}"
        if (
            name in numbers
            and numbers.sizes["hovmoeller_day"] > 1
            and np.isfinite(numbers[name].sel(member=RUN).values).any()
        ):
            caption = f"{what} over 10S-10N by longitude and time, {numbers[name].attrs['means']}."
            pictures.append(
                Picture(name, draw_rain.hovmoeller_figure(numbers, label, colours), caption)
            )
    return Section("Time against longitude", pictures=pictures) if pictures else None
