"""Fit how the embedded model's radiation sees cloud to real ClimSim columns.

    python benchmarks/fit_cloud.py PATH_TO_CLIMSIM

Three numbers of &physics (aqua_physics_settings), within bounds, by least squares on sunlight at
the surface (NETSW, SOLS, SOLL, SOLSD, SOLLD) of sunlit columns, every second one of the training
pairs: what a layer's condensate is within cloud, how that grows with saturation, and the factor for
unresolved variability. The pairs that PATH_TO_CLIMSIM/split.yaml names as test are scored, not
fitted. The same numbers come out in every run. See benchmarks/radiation.py for the program.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from radiation import FLUXES, Field, read, run_driver
from scipy.optimize import least_squares

NAMES = ("cloud_content", "cloud_content_power", "cloud_uniformity")
START = (2.0e-4, 0.5, 0.8)
LOWEST, HIGHEST = (1.0e-5, 0.0, 0.3), (1.0e-3, 1.0, 1.0)
SUNLIGHT = slice(1, len(FLUXES))  # of FLUXES: all but FLWDS
SIZE_W_M2 = 100.0  # of an error that counts as one


def misses(columns: dict[str, Field], physics: dict[str, float]) -> Field:
    """Return model less E3SM-MMF of the fluxes of FLUXES [column, flux] in W/m2."""
    real = np.stack([columns[f"cam_out_{name}"] for name in FLUXES], axis=1)
    return run_driver(columns, physics)[1] - real


def sunlit(columns: dict[str, Field], every: int) -> dict[str, Field]:
    """Return every n-th column that has sun."""
    rows = np.flatnonzero(columns["pbuf_COSZRS"] > 0.0)[::every]
    return {name: values[..., rows] for name, values in columns.items()}


def main() -> None:
    """Print the fitted numbers, and errors on the test pairs with them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("climsim", type=Path)
    folder = parser.parse_args().climsim
    test = yaml.safe_load((folder / "split.yaml").read_text(encoding="utf-8"))["test"]
    fitted = sunlit(read(folder, lambda stamp: stamp not in test), every=2)

    def residuals(values: Field) -> Field:
        physics = dict(zip(NAMES, values, strict=True))
        return misses(fitted, physics)[:, SUNLIGHT].ravel() / SIZE_W_M2

    found = least_squares(
        residuals,
        START,
        bounds=(LOWEST, HIGHEST),
        x_scale=START,
        diff_step=0.01,
        ftol=1e-5,
        xtol=1e-3,
    )
    print(f"fitted to {fitted['state_ps'].size} columns, {found.nfev} steps: {found.message}")
    physics = dict(zip(NAMES, found.x, strict=True))
    for name, value in physics.items():
        print(f"  {name:20s} {value:.3g}")
    unseen = sunlit(read(folder, lambda stamp: stamp in test), every=1)
    print(f"\non {unseen['state_ps'].size} columns of the test pairs, W/m2")
    print("flux     bias   rms")
    missed = misses(unseen, physics)
    for i, name in enumerate(FLUXES):
        bias, rms = missed[:, i].mean(), np.sqrt((missed[:, i] ** 2).mean())
        print(f"{name:6s} {bias:6.1f} {rms:5.1f}")


if __name__ == "__main__":
    main()
