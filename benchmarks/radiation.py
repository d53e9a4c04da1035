"""Radiation of the embedded model on real ClimSim columns, beside what E3SM-MMF made of them.

    python benchmarks/radiation.py PATH_TO_CLIMSIM

PATH_TO_CLIMSIM holds ClimSim's low-resolution pairs and grid file. Columns are clear where there is
less than 5 g/m2 of cloud before and after the step, and no precipitation: there heating is
radiation, but for turbulence near the surface. The program is made by the build of the tests (make
setup).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
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


def read(folder: Path) -> dict[str, Field]:
    """Return named columns of all pairs: profiles [level, column], interface pressures [level + 1,
    column], scalars [column].
    """
    grid = xr.open_dataset(next(folder.glob("*grid-info.nc")))
    columns: dict[str, list[Field]] = {}
    for pair in find_pairs(folder):
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


def run_driver(columns: dict[str, Field]) -> tuple[Field, Field]:
    """Return the model's heating [column, level] in K/day and its fluxes [column, flux] in W/m2."""
    stacked = np.concatenate(
        [
            *(columns[name] for name in PROFILES),
            columns["p_int"],
            np.stack([columns[name] for name in SCALARS]),
        ],
        axis=0,
    ).T
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "in", Path(scratch) / "out"
        given.write_bytes(
            np.int32(len(stacked)).tobytes() + np.ascontiguousarray(stacked).tobytes()
        )
        subprocess.run([DRIVER, given, made], check=True)
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
    mass = np.diff(columns["p_int"], axis=0) / GRAVITY
    cloud = [
        ((columns[f"state_q0002{s}"] + columns[f"state_q0003{s}"]) * mass).sum(axis=0)
        for s in ("", "_after")
    ]
    clear = (cloud[0] < 5e-3) & (cloud[1] < 5e-3) & (columns["cam_out_PRECC"] < 1e-10)
    night = columns["pbuf_COSZRS"] <= 0.0
    truth = ((columns["state_t_after"] - columns["state_t"]) * DAY_S / STEP_S).T
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


if __name__ == "__main__":
    main()
