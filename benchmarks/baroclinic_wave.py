"""Growth of the dry baroclinic wave: lowest surface pressure by day, and the surface pressure of
one day as a figure.

    climlink online run baroclinic_wave_t42
    python benchmarks/baroclinic_wave.py runs/baroclinic_wave_t42 --figure baroclinic_wave.png

Jablonowski and Williamson (2006, Q. J. R. Meteorol. Soc. 132, 2943), section 5: the wave is hardly
visible until day 4, is about 3 hPa deep at day 6, below 980 hPa at day 8, about 945 hPa deep at day
9, and breaks after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Print the lowest pressure of every day and draw the pressure of one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder with daily values")
    parser.add_argument("--day", type=int, default=9, help="day of the figure")
    parser.add_argument("--figure", type=Path, default=Path("baroclinic_wave.png"))
    given = parser.parse_args()
    files = sorted((given.run / "history").glob("*.eam.h1.*.nc"))
    if not files:
        raise SystemExit(f"{given.run}/history holds no daily history (*.eam.h1.*.nc)")
    data = xr.open_mfdataset(
        files, decode_times=False, data_vars="minimal", coords="minimal", compat="override"
    )
    pressure = data["PS"].values / 100.0
    for day, row in enumerate(pressure, start=1):
        print(
            f"day {day:2d}: lowest surface pressure {row.min():7.2f} hPa, highest {row.max():7.2f} "
            "hPa"
        )
    latitude, longitude = (
        np.unique(np.round(data["lat"].values, 9)),
        np.unique(np.round(data["lon"].values, 9)),
    )
    field = pressure[given.day - 1].reshape(len(latitude), len(longitude))
    fig, axis = plt.subplots(figsize=(9, 3.6), constrained_layout=True)
    filled = axis.contourf(
        longitude, latitude, field, np.arange(940.0, 1025.0, 5.0), cmap="viridis", extend="both"
    )
    axis.set_xlim(45.0, 360.0)
    axis.set_ylim(0.0, 90.0)
    axis.set_xlabel("longitude, degrees east")
    axis.set_ylabel("latitude, degrees north")
    axis.set_title(f"surface pressure of day {given.day}, hPa")
    fig.colorbar(filled, ax=axis)
    fig.savefig(given.figure, dpi=110)


if __name__ == "__main__":
    main()
