"""Radiation of the embedded model on real ClimSim columns, beside what E3SM-MMF made of them.

    python benchmarks/radiation.py PATH_TO_CLIMSIM

PATH_TO_CLIMSIM holds ClimSim's low-resolution pairs and grid file. Columns are clear where there is
less than 5 g/m2 of cloud before and after the step, and no precipitation: there heating is
radiation, but for turbulence near the surface. Shortwave under cloud was fitted by
benchmarks/fit_cloud.py. The program is made by the build of the tests (make setup).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.climsim import find_pairs

Field = NDArray[np.float64]
GRAVITY, STEP_S, DAY_S = 9.80616, 1200.0, 86400.0
PROFILES = ("state_t", "state_q0001", "state_q0002", "state_q0003", "pbuf_ozone")
SCALARS = (
    "pbuf_SOLIN",
    "pbuf_COSZRS",
    "cam_in_ASDIR",
    "cam_in_ASDIF",
    "cam_in_ALDIR",
    "cam_in_ALDIF",
    "cam_in_LWUP",
)
FLUXES = ("FLWDS", "NETSW", "SOLS", "SOLL", "SOLSD", "SOLLD")
DRIVER = Path("build/python/fortran_host/tests/aqua_column_driver")


def read(folder: Path, keep: Callable[[str], bool] = lambda stamp: True) -> dict[str, Field]:
    """Return named columns of the pairs whose stamp is kept: profiles [level, column], interface
    pressures [level + 1, column], scalars [column], latitudes in degrees.
    """
    grid = xr.open_dataset(next(folder.glob("*grid-info.nc")))
    columns: dict[str, list[Field]] = {}
    for pair in find_pairs(folder):
        if not keep(pair.mli.name.split(".")[-2]):
            continue
        columns.setdefault("latitude", []).append(grid.lat.values)
        with xr.open_dataset(pair.mli) as before, xr.open_dataset(pair.mlo) as after:
            for name in (*PROFILES, *SCALARS, "state_ps"):
                columns.setdefault(name, []).append(before[name].values)
            for name in (*(f"cam_out_{f}" for f in FLUXES), "cam_out_PRECC"):
                columns.setdefault(name, []).append(after[name].values)
            for name in PROFILES[:4]:
                columns.setdefault(f"{name}_after", []).append(after[name].values)
    named = {
        name: np.concatenate(values, axis=-1).astype(np.float64) for name, values in columns.items()
    }
    named["p_int"] = (
        grid.hyai.values[:, None] * 1.0e5 + grid.hybi.values[:, None] * named["state_ps"]
    )
    return named


def cloud_path(columns: dict[str, Field], when: str = "") -> Field:
    """Return liquid and ice of columns [kg/m2] before the step, or with when "_after" after it."""
    mass = np.diff(columns["p_int"], axis=0) / GRAVITY
    water = columns[f"state_q0002{when}"] + columns[f"state_q0003{when}"]
    return (water * mass).sum(axis=0)


def is_clear(columns: dict[str, Field]) -> NDArray[np.bool_]:
    """Return which columns are clear."""
    path = np.maximum(cloud_path(columns), cloud_path(columns, "_after"))
    return (path < 5e-3) & (columns["cam_out_PRECC"] < 1e-10)


def clear_columns(columns: dict[str, Field]) -> dict[str, Field]:
    """Return the clear columns."""
    clear = is_clear(columns)
    return {name: values[..., clear] for name, values in columns.items()}


def true_heating(columns: dict[str, Field]) -> Field:
    """Return what warmed columns over the step in E3SM-MMF [column, level] in K/day."""
    return ((columns["state_t_after"] - columns["state_t"]) * DAY_S / STEP_S).T


def run_driver(
    columns: dict[str, Field], physics: dict[str, float] | None = None
) -> tuple[Field, Field]:
    """Return the model's heating [column, level] in K/day and its fluxes [column, flux] in W/m2,
    with entries of &physics that are not the defaults.
    """
    stacked = np.concatenate(
        [
            *(columns[name] for name in PROFILES),
            columns["p_int"],
            np.stack([columns[name] for name in SCALARS]),
        ],
        axis=0,
    ).T
    with tempfile.TemporaryDirectory() as scratch:
        given, made, settings = (Path(scratch) / name for name in ("in", "out", "settings"))
        entries = (f"  {name} = {float(value)!r}\n" for name, value in (physics or {}).items())
        settings.write_text("&physics\n" + "".join(entries) + "/\n", encoding="utf-8")
        given.write_bytes(
            np.int32(len(stacked)).tobytes() + np.ascontiguousarray(stacked).tobytes()
        )
        subprocess.run([DRIVER, given, made, settings], check=True)
        answer = np.fromfile(made).reshape(len(stacked), -1)
    heating, fluxes, _ = np.split(answer, np.cumsum([len(columns["state_t"]), len(FLUXES)]), axis=1)
    return heating, fluxes


def main() -> None:
    """Print heating of clear columns by night and by day, and the fluxes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("climsim", type=Path)
    columns = read(parser.parse_args().climsim)
    heating, fluxes = run_driver(columns)
    path = cloud_path(columns)
    clear = is_clear(columns)
    night = columns["pbuf_COSZRS"] <= 0.0
    truth = true_heating(columns)
    pressure = 0.5 * (columns["p_int"][1:] + columns["p_int"][:-1]).mean(axis=1) / 100.0
    print(
        f"heating of {np.sum(clear & night)} clear columns by night and {np.sum(clear & ~night)} "
        "by day, K/day"
    )
    print("      hPa   night: model   E3SM     day: model   E3SM")
    for k in range(0, 54, 3):
        rows = [
            heating[clear & night, k],
            truth[clear & night, k],
            heating[clear & ~night, k],
            truth[clear & ~night, k],
        ]
        a, b, c, d = (row.mean() for row in rows)
        print(f"{pressure[k]:9.2f}      {a:8.2f} {b:6.2f}       {c:8.2f} {d:6.2f}")
    print("\nflux     clear: model   E3SM     all: model   E3SM     R² (all)")
    for i, name in enumerate(FLUXES):
        model, real = fluxes[:, i], columns[f"cam_out_{name}"]
        score = 1.0 - ((model - real) ** 2).mean() / real.var()
        of_clear = f"{model[clear].mean():8.1f} {real[clear].mean():6.1f}"
        print(
            f"{name:6s}       {of_clear}      {model.mean():8.1f} {real.mean():6.1f} {score:12.3f}"
        )
    print_tropopause(heating - truth, columns, clear, pressure)
    print_under_cloud(fluxes, columns, path)


def print_tropopause(
    excess: Field, columns: dict[str, Field], clear: Field, pressure: Field
) -> None:
    """Print by how much the model heats clear columns more than E3SM-MMF, about the tropopause."""
    bands = ((0, 25), (25, 50), (50, 90))
    latitude = np.abs(columns["latitude"])
    print("\nheating about the tropopause, model less E3SM, clear columns, K/day")
    print("      hPa" + "".join(f"{f'{low} to {high} N,S':>15}" for low, high in bands))
    for k in range(14, 31, 2):
        rows = (excess[clear & (latitude >= low) & (latitude < high), k] for low, high in bands)
        print(f"{pressure[k]:9.2f}" + "".join(f"{row.mean():15.2f}" for row in rows))


def print_under_cloud(fluxes: Field, columns: dict[str, Field], path: Field) -> None:
    """Print sunlight at the surface by how much cloud there is above: model / E3SM-MMF."""
    edges = (0.0, 5.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0, np.inf)
    print("\nsunlight at the surface by day, W/m2: model / E3SM")
    print("cloud, g/m2   columns" + "".join(f"{name:>12s}" for name in FLUXES[1:]))
    for low, high in pairwise(edges):
        rows = (columns["pbuf_COSZRS"] > 0.0) & (path * 1e3 >= low) & (path * 1e3 < high)
        pairs = (
            f"{fluxes[rows, i].mean():.0f} / {columns[f'cam_out_{name}'][rows].mean():.0f}"
            for i, name in enumerate(FLUXES)
            if name != "FLWDS"
        )
        print(f"{low:4.0f} to {high:4.0f} {rows.sum():9d}" + "".join(f"{p:>12s}" for p in pairs))


if __name__ == "__main__":
    main()
