"""Zonal-mean climate of a Held-Suarez run beside the published picture: a table and a figure.

    climlink online run held_suarez_t42
    python benchmarks/held_suarez.py runs/held_suarez_t42 --from-day 80 --figure held_suarez_t42.png

Held and Suarez (1994, Bull. Amer. Meteor. Soc. 75, 1825), figures 1 to 3: jets of about 30 m/s near
250 hPa and 40 to 45 degrees, surface westerlies of about 8 m/s near 45 degrees, eddy temperature
variance of about 40 K2 in the lower troposphere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr
from numpy.typing import NDArray

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Field = NDArray[np.float64]
TT, UU, VT = (
    "t't'",
    "u'u'",
    "v't'",
)  # eddy variances of temperature and zonal wind, poleward eddy heat flux


def read_grid_fields(
    run: Path, from_day: float, to_day: float
) -> tuple[dict[str, Field], Field, Field]:
    """Return T, U, V [time, level, latitude, longitude], latitudes in degrees and mean midpoint
    pressures in hPa.
    """
    files = sorted((run / "history").glob("*.eam.h1.*.nc"))
    if not files:
        raise SystemExit(f"{run}/history holds no daily history (*.eam.h1.*.nc)")
    data = xr.open_mfdataset(
        files,
        combine="by_coords",
        decode_times=False,
        data_vars="minimal",
        coords="minimal",
        compat="override",
    )
    day = data["time"].values - data["time"].values[0] + 1
    data = data.isel(time=(day >= from_day) & (day <= to_day))
    latitude = np.unique(np.round(data["lat"].values, 9))
    shape = (data.sizes["time"], data.sizes["lev"], len(latitude), -1)
    fields = {name: data[name].values.astype(np.float64).reshape(shape) for name in ("T", "U", "V")}
    pressure = data["hyam"].values * float(data["P0"]) + data["hybm"].values * float(
        data["PS"].mean()
    )
    return fields, latitude, pressure / 100.0


def zonal_statistics(fields: dict[str, Field]) -> dict[str, Field]:
    """Return time and zonal means [level, latitude] of wind and temperature, and eddy (co)variances
    about the zonal mean.
    """
    eddy = {name: values - values.mean(axis=-1, keepdims=True) for name, values in fields.items()}
    return {
        "u": fields["U"].mean(axis=(0, 3)),
        "t": fields["T"].mean(axis=(0, 3)),
        TT: (eddy["T"] ** 2).mean(axis=(0, 3)),
        UU: (eddy["U"] ** 2).mean(axis=(0, 3)),
        VT: (eddy["V"] * eddy["T"]).mean(axis=(0, 3)),
    }


def table(stats: dict[str, Field], latitude: Field, pressure: Field) -> list[str]:
    """Return the lines of the comparison: the peak of each hemisphere. The equations know no
    difference between the two, so theirs is the sampling error.
    """
    troposphere = pressure > 100.0
    lower = pressure > 600.0
    lowest = np.arange(len(pressure)) == len(pressure) - 2
    # eddies carry heat poleward, which is southward in the south
    rows = [
        ("jet, m/s", "u", troposphere, (1.0, 1.0)),
        ("surface westerly, m/s", "u", lowest, (1.0, 1.0)),
        ("surface easterly, m/s", "u", lowest, (-1.0, -1.0)),
        ("temperature variance below 600 hPa, K2", TT, lower, (1.0, 1.0)),
        ("zonal wind variance, m2/s2", UU, troposphere, (1.0, 1.0)),
        ("poleward heat flux, K m/s", VT, troposphere, (-1.0, 1.0)),
    ]

    def peak(name: str, levels: Field, sign: float, half: Field) -> str:
        field = sign * stats[name][levels][:, half]
        k, j = np.unravel_index(np.argmax(field), field.shape)
        shown = -field[k, j] if name == "u" and sign < 0.0 else field[k, j]
        return f"{shown:6.1f} at {abs(latitude[half][j]):4.1f} deg, {pressure[levels][k]:5.1f} hPa"

    halves = latitude < 0.0, latitude > 0.0
    return [f"{'':40s}{'south':>28s}{'north':>32s}"] + [
        f"{label:40s}"
        + "    ".join(peak(name, levels, s, h) for s, h in zip(signs, halves, strict=True))
        for label, name, levels, signs in rows
    ]


def figure(
    stats: dict[str, Field], latitude: Field, pressure: Field, path: Path, title: str
) -> None:
    """Draw the four panels of the published figures, pressure downward."""
    panels = [
        ("u", "zonal wind, m/s", 4.0),
        ("t", "temperature, K", 5.0),
        (TT, "temperature variance, K²", 5.0),
        (UU, "zonal wind variance, m²/s²", 30.0),
    ]
    fig, axes = plt.subplots(
        2, 2, figsize=(11, 8), sharex=True, sharey=True, constrained_layout=True
    )
    for axis, (name, label, step) in zip(axes.flat, panels, strict=True):
        field = stats[name]
        shown = field[pressure > 20.0]
        levels = np.arange(np.floor(shown.min() / step) * step, shown.max() + step, step)
        largest = np.abs(levels).max()
        colours = (
            {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
            if name == "u"
            else {"cmap": "viridis"}
        )
        filled = axis.contourf(latitude, pressure, field, levels, extend="both", **colours)
        axis.contour(latitude, pressure, field, levels, colors="k", linewidths=0.4)
        fig.colorbar(filled, ax=axis)
        axis.set_title(label)
    axes[0, 0].set_ylim(1000.0, 20.0)
    for axis in axes[1]:
        axis.set_xlabel("latitude, degrees north")
    for axis in axes[:, 0]:
        axis.set_ylabel("pressure, hPa")
    fig.suptitle(title)
    fig.savefig(path, dpi=110)


def main() -> None:
    """Read a run, print the table, draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder with daily history")
    parser.add_argument("--from-day", type=float, default=80.0, help="first day of the statistics")
    parser.add_argument("--to-day", type=float, default=np.inf, help="last day of the statistics")
    parser.add_argument("--figure", type=Path, default=Path("held_suarez.png"))
    given = parser.parse_args()
    fields, latitude, pressure = read_grid_fields(given.run, given.from_day, given.to_day)
    stats = zonal_statistics(fields)
    days = len(fields["T"])
    print(f"{given.run}: {days} days from day {given.from_day:g}")
    print("\n".join(table(stats, latitude, pressure)))
    figure(stats, latitude, pressure, given.figure, f"Held-Suarez, {given.run.name}, {days} days")


if __name__ == "__main__":
    main()
