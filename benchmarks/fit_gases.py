"""Fit the gases' absorption in the embedded model's radiation to real ClimSim columns.

    python benchmarks/fit_gases.py PATH_TO_CLIMSIM [--steps N]

Starts from the strengths that stand in aqua_longwave.F90 and aqua_shortwave.F90, which it reads
there, and fits all that are not zero (absorption, floors of pressure, and in the longwave continuum
and shares of terms) by least squares to clear columns of the training pairs: heating by night and
longwave radiation down at the surface; heating by day and direct near infrared there. A weak pull
holds what the columns do not tell. The pairs that PATH_TO_CLIMSIM/split.yaml names as test are
scored, not fitted. Prints both scores and the arrays; nothing is written. The fluxes are those of
the two modules in NumPy, held here against the program.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import yaml
from radiation import FLUXES, GRAVITY, Field, clear_columns, read, run_driver, true_heating
from scipy.optimize import least_squares

FOLDER = Path("fortran_host/aquaplanet/column")
BAND = np.array([1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5]) - 1  # term_band
EDGES = np.array([0.0, 540.0, 800.0, 980.0, 1080.0, 1200.0])  # [1/cm]
BAND_ABOVE = np.array([1, 2, 3, 4, 3, 5]) - 1
PLANCK_CM_K, STEFAN_BOLTZMANN = 1.438777, 5.67e-8
DIFFUSIVITY, TOWARD_EDGE, HEAT_CAPACITY, DAY_S = 1.66, 0.278, 1.00464e3, 86400.0
LOWEST_HPA = 850.0  # below, turbulence heats
FLUX_W_M2, HEATING_K_DAY = 10.0, 1.0  # errors that count alike
PULL = 0.3  # per factor of e, in the same unit
TABLE_W_M2 = (
    0.05  # by which the source's table of Planck shares, linear between entries, may differ
)

Strengths = dict[str, Field]


def standing(source: str, names: tuple[str, ...]) -> Strengths:
    """Return arrays of a source by name."""
    text = (FOLDER / source).read_text(encoding="utf-8")
    found = {}
    for name in names:
        match = re.search(rf"parameter :: {name}\(\w+\) = \[([^\]]*)\]", text)
        if match is None:
            raise ValueError(f"{FOLDER / source}: no array {name}")
        numbers = match[1].replace("&", " ").replace("_r8", "").split(",")
        found[name] = np.array([float(number) for number in numbers])
    return found


def emission(t: Field) -> Field:
    """Return black-body emission by band [5, ...] in W/m2 at temperatures in K."""
    x = PLANCK_CM_K * EDGES.reshape(-1, *[1] * t.ndim) / t
    n = np.arange(1, 40).reshape(-1, *[1] * x.ndim)
    terms = np.exp(-n * x) * (x**3 / n + 3.0 * x**2 / n**2 + 6.0 * x / n**3 + 6.0 / n**4)
    above = 15.0 / np.pi**4 * terms.sum(axis=0)
    above[0] = 1.0
    parts = above - np.concatenate([above[1:], np.zeros_like(above[:1])])
    share = np.zeros((5, *t.shape))
    np.add.at(share, BAND_ABOVE, parts)
    return share * STEFAN_BOLTZMANN * t**4


class Columns:
    """Clear columns, what E3SM-MMF made of them, and what the program does."""

    source: str
    arrays: tuple[str, ...]
    flux: str

    def __init__(self, columns: dict[str, Field], heated: Field) -> None:
        self.columns, self.heated = columns, heated
        self.t, self.q = columns["state_t"], columns["state_q0001"]
        self.ozone = columns["pbuf_ozone"]
        p_int = columns["p_int"]
        self.dp, self.p = np.diff(p_int, axis=0), 0.5 * (p_int[1:] + p_int[:-1])
        self.levels = self.p.mean(axis=1) < LOWEST_HPA * 100.0
        self.start = standing(self.source, self.arrays)
        self.prepare()
        self.at_start = self.radiation(self.start)
        self.hold_against_program()
        heating, fluxes = run_driver(columns)
        self.heating_missed = heating.T - true_heating(columns).T
        self.flux_missed = fluxes[:, FLUXES.index(self.flux)] - columns[f"cam_out_{self.flux}"]

    def prepare(self) -> None:
        """Make what no strength changes."""

    def radiation(self, s: Strengths) -> tuple[Field, Field]:
        """Return heating [level, column] in K/day by the fitted terms and the flux in W/m2."""
        raise NotImplementedError

    def hold_against_program(self) -> None:
        """Raise ValueError where the program, without cloud, makes another flux than NumPy."""
        bare = {**self.columns, "state_q0002": 0.0 * self.t, "state_q0003": 0.0 * self.t}
        flux = run_driver(bare)[1][:, FLUXES.index(self.flux)]
        apart = np.abs(self.at_start[1] - flux).max()
        if apart > TABLE_W_M2:
            raise ValueError(
                f"without cloud, {self.flux} of NumPy and of {self.source} differ by {apart:.3f} "
                "W/m2: one of them was changed without the other"
            )

    def per_day(self, gained: Field) -> Field:
        """Return W/m2 per layer as K/day."""
        return gained * GRAVITY / (HEAT_CAPACITY * self.dp) * DAY_S

    def misses(self, s: Strengths) -> tuple[Field, Field]:
        """Return errors of heating [level, column] in K/day and of the flux in W/m2: those of the
        program, changed by what the strengths change.
        """
        heating, flux = self.radiation(s)
        of_heating = self.heating_missed + heating - self.at_start[0]
        of_flux = self.flux_missed + flux - self.at_start[1]
        return of_heating[np.ix_(self.levels, self.heated)], of_flux

    def moved(self, logs: Field) -> Strengths:
        """Return the strengths times exp(logs) where they are not zero; shares sum to 1 by band."""
        made, at = {}, 0
        for name, values in self.start.items():
            used = values > 0.0
            made[name] = values.copy()
            made[name][used] *= np.exp(logs[at : at + used.sum()])
            at += used.sum()
        if "term_weight" in made:
            made["term_weight"] /= np.bincount(BAND, made["term_weight"])[BAND]
        return made

    def residuals(self, logs: Field) -> Field:
        """Return what least squares makes small."""
        heating, flux = self.misses(self.moved(logs))
        return np.concatenate([heating.ravel() / HEATING_K_DAY, flux / FLUX_W_M2, PULL * logs])


class Longwave(Columns):
    """Heating by night, FLWDS."""

    source, flux = "aqua_longwave.F90", "FLWDS"
    arrays = ("vapor", "mixed", "ozone_strength", "floor_pressure", "continuum", "term_weight")

    def __init__(self, columns: dict[str, Field]) -> None:
        super().__init__(columns, columns["pbuf_COSZRS"] <= 0.0)

    def prepare(self) -> None:
        """Make emissions."""
        edge = self.t[:-1] + np.diff(self.t, axis=0) * self.dp[:-1] / (self.dp[:-1] + self.dp[1:])
        lowest = self.t[-1:] + 0.5 * (self.t[-1:] - self.t[-2:-1])
        at_edge = np.concatenate([self.t[:1], edge, lowest])
        self.middle, self.edge = emission(self.t)[BAND], emission(at_edge)[BAND]
        lwup = self.columns["cam_in_LWUP"]
        self.surface = (emission((lwup / STEFAN_BOLTZMANN) ** 0.25))[BAND]

    def radiation(self, s: Strengths) -> tuple[Field, Field]:
        """Return heating and FLWDS."""
        air, relative = DIFFUSIVITY * self.dp / GRAVITY, self.p / 1.0e5
        own = air * self.q**2 / 0.622 * relative * np.exp(1800.0 * (1.0 / self.t - 1.0 / 296.0))
        flux_down, gained = np.zeros_like(self.surface), np.zeros(self.t.shape)
        column = (len(BAND), 1)
        passed, to_edge = [], []
        weight = s["term_weight"].reshape(column)
        for k in range(len(self.t)):
            gas = sum(
                s[name].reshape(column) * amount
                for name, amount in (
                    ("vapor", self.q[k]),
                    ("mixed", np.ones_like(self.q[k])),  # at the default co2_ppm
                    ("ozone_strength", self.ozone[k]),
                )
            )
            depth = gas * air[k] * (relative[k] + s["floor_pressure"].reshape(column))
            depth = depth + s["continuum"][BAND].reshape(column) * own[k]
            passed.append(np.exp(-np.minimum(depth, 40.0)))
            to_edge.append(TOWARD_EDGE * depth)
            source = self.emitted(k, k + 1, weight, to_edge[k])
            change = (1.0 - passed[k]) * (source - flux_down)
            flux_down = flux_down + change
            gained[k] -= change.sum(axis=0)
        flux_up = weight * self.surface
        for k in reversed(range(len(self.t))):
            change = (1.0 - passed[k]) * (self.emitted(k, k, weight, to_edge[k]) - flux_up)
            flux_up = flux_up + change
            gained[k] -= change.sum(axis=0)
        return self.per_day(gained), flux_down.sum(axis=0)

    def emitted(self, k: int, edge: int, weight: Field, share: Field) -> Field:
        """Return what layer k emits toward an edge, were it black [term, column]."""
        return weight * (self.middle[:, k] + share * self.edge[:, edge]) / (1.0 + share)


class Shortwave(Columns):
    """Heating by day, SOLL, by the terms of the near infrared."""

    source, flux = "aqua_shortwave.F90", "SOLL"
    arrays = ("vapor_absorption", "mixed_absorption", "floor_pressure")

    def __init__(self, columns: dict[str, Field]) -> None:
        rows = columns["pbuf_COSZRS"] > 0.0
        day = {name: values[..., rows] for name, values in columns.items()}
        super().__init__(day, np.ones(rows.sum(), dtype=bool))

    def prepare(self) -> None:
        """Make incoming light."""
        weight = standing(self.source, ("term_weight",))["term_weight"].copy()
        weight[0] = 0.0  # the visible
        self.incoming = weight[:, None] * self.columns["pbuf_SOLIN"]

    def radiation(self, s: Strengths) -> tuple[Field, Field]:
        """Return heating and SOLL."""
        term, slant = (len(self.incoming), 1, 1), 1.0 / self.columns["pbuf_COSZRS"]
        gas = s["vapor_absorption"].reshape(term) * self.q + s["mixed_absorption"].reshape(term)
        depth = gas * self.dp / GRAVITY * (self.p / 1.0e5 + s["floor_pressure"].reshape(term))
        below = np.cumsum(depth, axis=1)
        edges = np.concatenate([0.0 * below[:, :1], below], axis=1)  # depth above every edge
        down = self.incoming[:, None] * np.exp(-edges * slant)
        back = down[:, -1:] * self.columns["cam_in_ALDIR"]
        up = back * np.exp(-np.sqrt(3.0) * (edges[:, -1:] - edges))
        return self.per_day(-np.diff(down - up, axis=1).sum(axis=0)), down[:, -1].sum(axis=0)


def report(name: str, training: Columns, test: Columns, steps: int) -> None:
    """Fit, and print errors with the standing and the fitted strengths and the fitted arrays."""
    n = sum(int((values > 0.0).sum()) for values in training.start.values())
    found = least_squares(training.residuals, np.zeros(n), max_nfev=steps, ftol=1e-4)
    best = training.moved(found.x)
    print(f"\n{name}, {n} strengths")
    print(f"pairs     strengths  heating, rms K/day   {training.flux}, bias and rms W/m2")
    for label, part in (("training", training), ("test", test)):
        for which, strengths in (("standing", part.start), ("fitted", best)):
            heating, flux = part.misses(strengths)
            print(
                f"{label:9s} {which:9s} {np.sqrt((heating**2).mean()):19.3f}"
                f"{flux.mean():15.1f} {np.sqrt((flux**2).mean()):8.1f}"
            )
    for array, values in best.items():
        print(f"  {array}: " + ", ".join(f"{value:.3g}" for value in values))


def main() -> None:
    """Fit longwave and shortwave strengths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("climsim", type=Path)
    parser.add_argument("--steps", type=int, default=10, help="of each fit, at most")
    arguments = parser.parse_args()
    folder = arguments.climsim
    test = yaml.safe_load((folder / "split.yaml").read_text(encoding="utf-8"))["test"]
    training = clear_columns(read(folder, lambda stamp: stamp not in test))
    unseen = clear_columns(read(folder, lambda stamp: stamp in test))
    for name, kind in (("longwave", Longwave), ("shortwave", Shortwave)):
        report(name, kind(training), kind(unseen), arguments.steps)


if __name__ == "__main__":
    main()
