"""Climate of the embedded model from daily history and budgets: global means, closure, and a table
by latitude.

climlink online run aquaplanet --days 120
python benchmarks/climate.py runs/aquaplanet --from-day 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

MM_PER_DAY = 86_400_000.0  # of 1 m/s
LATENT_HEAT = 2.501e6  # J/kg
GLOBAL = {
    "PRECT": ("precipitation, mm/day", MM_PER_DAY),
    "LHFLX": ("evaporation, mm/day", 86400.0 / LATENT_HEAT),
    "PRECSC": ("snow, mm/day", MM_PER_DAY),
    "TMQ": ("column water, kg/m2", 1.0),
    "TGCLDLWP": ("cloud liquid, kg/m2", 1.0),
    "TGCLDIWP": ("cloud ice, kg/m2", 1.0),
    "SOLIN": ("sunlight at the top, W/m2", 1.0),
    "FSNT": ("absorbed sunlight, W/m2", 1.0),
    "FLUT": ("outgoing longwave, W/m2", 1.0),
    "FSNS": ("sunlight absorbed by the sea, W/m2", 1.0),
    "FLDS": ("longwave down at the surface, W/m2", 1.0),
    "SHFLX": ("sensible heat, W/m2", 1.0),
}


def budget_lines(run: Path, from_day: float) -> list[str]:
    """Return closure of energy and water over the days from ``from_day`` on, from budgets.csv."""
    table = np.genfromtxt(run / "budgets.csv", delimiter=",", names=True)
    table = table[table["day"] > from_day]
    seconds = (table["day"][-1] - table["day"][0]) * 86400.0
    change = (table["energy_J_m2"][-1] - table["energy_J_m2"][0]) / seconds
    later = table[1:]
    top = "toa_net_W_m2" if "toa_net_W_m2" in table.dtype.names else "toa_net_inferred_W_m2"
    net = (later[top] - later["surface_net_W_m2"]).mean()
    fixer = table["energy_fixer_W_m2"].mean()
    rain, evaporation = table["precipitation_mm_day"].mean(), table["evaporation_mm_day"].mean()
    return [
        f"precipitation against evaporation   {100 * (rain / evaporation - 1):+.2f} %",
        f"top less surface, W/m2              {net:.4f}; change of heat content {change:.4f}; "
        f"difference {net - change:+.1e}",
        f"energy fixer, W/m2                  {fixer:.2f} (what diffusion, sponge, filter and "
        "truncation took)",
        "made by the physics from nothing    "
        f"{np.abs(table['emulated_energy_residual_W_m2']).max():.1e} W/m2, "
        f"{np.abs(table['emulated_water_residual_mm_day']).max():.1e} mm/day at most in a step",
        f"added by transport and limiter      {np.abs(table['transport_water_mm_day']).max():.1e} "
        f"and {np.abs(table['limiter_water_mm_day']).max():.1e} mm/day at most in a step",
        f"temperature, K                      {table['temperature_min_K'].min():.1f} to "
        f"{table['temperature_max_K'].max():.1f}; strongest wind {table['wind_max_m_s'].max():.0f} "
        "m/s",
    ]


def wind_lines(data: xr.Dataset) -> list[str]:
    """Return the wind over the equator in blocks of 90 days, and the noise of two levels.

    The noise is the root mean square of a quarter of a quarter of the fourth difference over levels
    of the zonal-mean meridional wind, in means of ten days: a wind that alternates from level to
    level counts with its amplitude, one that varies over six levels with a sixteenth of it.
    """
    rows = np.round(data["lat"].values, 6)
    latitudes = np.unique(rows)
    equator = latitudes[np.abs(latitudes) < 10.0]
    near = np.isin(rows, equator)
    level = int(np.abs(data["lev"].values - 200.0).argmin())
    u = data["U"].isel(lev=level).values[:, near].mean(axis=1)
    blocks = [f"{u[i : i + 90].mean():.1f}" for i in range(0, len(u) - 89, 90)]
    v = np.stack([data["V"].values[..., rows == latitude].mean(-1) for latitude in latitudes], -1)
    days = len(v) // 10
    v = v[: 10 * days].reshape(days, 10, *v.shape[1:]).mean(axis=1, dtype=np.float64)
    noise = np.diff(v, 4, axis=1) / 16.0
    here = noise[..., np.isin(latitudes, equator)]
    return [
        f"wind at 200 hPa within 10 degrees of the equator, 90 days each, m/s: {', '.join(blocks)}",
        f"two-level noise of zonal-mean V, m/s   {np.sqrt((here**2).mean()):.3f} within 10 degrees "
        f"of the equator, {np.sqrt((noise**2).mean()):.3f} over all",
    ]


def main() -> None:
    """Print the climate of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder with daily history and budgets.csv")
    parser.add_argument("--from-day", type=float, default=60.0)
    given = parser.parse_args()
    files = sorted((given.run / "history").glob("*.eam.h1.*.nc"))
    if not files:
        raise SystemExit(f"{given.run}/history holds no daily history (*.eam.h1.*.nc)")
    data = xr.open_mfdataset(
        files, decode_times=False, data_vars="minimal", coords="minimal", compat="override"
    )
    data = data.isel(time=data["time"].values - data["time"].values[0] + 1.0 > given.from_day)
    print(f"{given.run}: {data.sizes['time']} days after day {given.from_day:g}")
    mean = data.mean("time").load()
    weight = mean["area"] / mean["area"].sum()
    for name, (label, factor) in GLOBAL.items():
        print(f"{label:36s}{factor * float((mean[name] * weight).sum()):8.3f}")
    print("\n".join(budget_lines(given.run, given.from_day)))
    print("\n".join(wind_lines(data)))
    pressure = mean["lev"].values
    rows = np.round(mean["lat"].values, 6)
    print(
        "\nlatitude  rain  evap   u850   u200   T500   T200   T100    T10     T1 (hPa levels; "
        "mm/day, m/s, K)"
    )
    for latitude in np.unique(rows):
        here = rows == latitude
        at = [
            ("U", 850.0),
            ("U", 200.0),
            ("T", 500.0),
            ("T", 200.0),
            ("T", 100.0),
            ("T", 10.0),
            ("T", 1.0),
        ]
        values = [float(mean[n].values[np.abs(pressure - p).argmin()][here].mean()) for n, p in at]
        rain = MM_PER_DAY * float(mean["PRECT"].values[here].mean())
        evaporation = 86400.0 / LATENT_HEAT * float(mean["LHFLX"].values[here].mean())
        print(
            f"{latitude:8.1f} {rain:5.2f} {evaporation:5.2f} "
            + " ".join(f"{v:6.1f}" for v in values)
        )


if __name__ == "__main__":
    main()
