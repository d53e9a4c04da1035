"""What eam_loop must give, in NumPy: the columns, the driver's formulas, the lagged inputs, the
policy, and the old post-processing.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEVELS = 60
CPAIR, GRAVIT = 1004.64, 9.80616
PROFILES = ["t", "q1", "q2", "q3", "u", "v", "ozone", "CH4", "N2O", "pmid", "pdel", "exner", "zm"]
SCALARS = [
    "lat",
    "ps",
    "phis",
    "LHFLX",
    "SHFLX",
    "TAUX",
    "TAUY",
    "COSZRS",
    "SOLIN",
    "ALDIF",
    "ALDIR",
    "ASDIF",
    "ASDIR",
    "LWUP",
]
SCALARS += ["ICEFRAC", "LANDFRAC", "OCNFRAC", "SNOWHICE", "SNOWHLAND"]
TENDENCIES = ["ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v"]
SURFACE = [
    f"cam_out_{n}" for n in ("NETSW", "FLWDS", "PRECSC", "PRECC", "SOLS", "SOLL", "SOLSD", "SOLLD")
]
CHANGES = {
    "t": "DTPHYS",
    "q1": "DQ1PHYS",
    "q2": "DQ2PHYS",
    "q3": "DQ3PHYS",
    "u": "DUPHYS",
    "v": "DVPHYS",
}
STATE = ["t", "q1", "q2", "q3", "u", "v"]
MODEL_SURFACE = [100.0, 300.0, 1e-9, 1e-8, 10.0, 20.0, 30.0, 40.0]
WITH_STEP = (
    "LHFLX",
    "SHFLX",
    "TAUX",
    "TAUY",
    "COSZRS",
    "SOLIN",
    "LWUP",
)  # these change with the step

Fields = dict[str, np.ndarray]


def make_columns(n: int, seed: int = 5, levels: int = LEVELS) -> Fields:
    """Return columns that look like an atmosphere: profiles [n, level], scalars [n]; some at night,
    some over ocean alone.
    """
    rng = np.random.default_rng(seed)
    height = np.linspace(45e3, 60.0, levels)
    pmid = 1e5 * np.exp(-height / 7000.0) * np.ones((n, 1))
    noise = rng.uniform(0.9, 1.1, (n, levels))
    columns = {
        "t": np.maximum(300.0 - 6.5e-3 * height, 205.0) + rng.normal(0, 3, (n, levels)),
        "q1": 0.015 * np.exp(-height / 2500.0) * noise + 1e-9,
        "q2": 1e-5 * rng.uniform(0, 1, (n, levels)),
        "q3": 2e-5 * rng.uniform(0, 1, (n, levels)),
        "u": rng.normal(5, 10, (n, levels)),
        "v": rng.normal(0, 10, (n, levels)),
        "ozone": 1e-6 * noise,
        "CH4": 9e-7 * noise,
        "N2O": 4e-7 * noise,
        "pmid": pmid,
        "pdel": 0.05 * pmid,
        "exner": (1e5 / pmid) ** (287.04231 / CPAIR),
        "zm": height * np.ones((n, 1)),
    }
    limits = {
        "lat": (-1.5, 1.5),
        "ps": (9.8e4, 1.02e5),
        "phis": (0, 1e4),
        "LHFLX": (10, 200),
        "SHFLX": (-20, 50),
        "TAUX": (-0.2, 0.2),
    }
    limits |= {
        "TAUY": (-0.2, 0.2),
        "COSZRS": (-0.5, 1.0),
        "SOLIN": (10, 1300),
        "LWUP": (200, 500),
        "SNOWHICE": (0, 1),
        "SNOWHLAND": (0, 1),
    }
    columns |= {name: rng.uniform(*limits.get(name, (0.0, 1.0)), n) for name in SCALARS}
    columns["SOLIN"] = np.where(columns["COSZRS"] > 0, columns["SOLIN"], 0.0)
    columns["OCNFRAC"][::3] = 1.0
    return columns


def write_columns(columns: Fields, path: Path) -> None:
    """Write columns as eam_loop reads them."""
    n = len(columns["ps"])
    rows = [columns[s][:, None] for s in SCALARS] + [columns[p] for p in PROFILES]
    np.concatenate(rows, axis=1).reshape(n, -1).astype("<f8").tofile(path)


def saturation(t: np.ndarray, single: bool = False) -> np.ndarray:
    """Saturation vapour pressure in Pa as the existing coupling's formula has it; ``single``: with
    every number of it rounded to float32, as in the existing coupling's host code.
    """

    def rounded(*numbers: float) -> np.ndarray:
        return np.array(numbers, np.float32 if single else np.float64).astype(np.float64)

    water = [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5]
    water += [0.206739458e-7, 0.640689451e-10, -0.952447341e-13, -0.976195544e-15]
    ice = [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5]
    ice += [0.602588177e-7, 0.385852041e-9, 0.146898966e-11, 0.252751365e-14]
    very_cold = rounded(0.00763685, 0.000151069, 7.48215e-7)
    triple, freezing, all_ice = rounded(273.16, 273.15, 253.16)
    polynomial = np.polynomial.polynomial.polyval
    liquid = 100 * polynomial(np.maximum(-80.0, t - triple), rounded(*water))
    frozen = 100 * polynomial(t - triple, rounded(*ice))
    frozen = np.where(t <= 185, 100 * polynomial(np.maximum(-100.0, t - triple), very_cold), frozen)
    frozen = np.where(t > freezing, liquid, frozen)
    weight = np.clip((t - all_ice) / (triple - all_ice), 0, 1)
    return weight * liquid + (1 - weight) * frozen


def layout(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the input and output variables of a package, confidence after the outputs."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("climlink/manifest.json"))
        record = json.loads(archive.read(name))
    return record["inputs"]["variables"], record["outputs"]["variables"]


@dataclass
class Settings:
    """How the reference couples: defaults are the emulator alone from the first step."""

    spin_up: int = 0
    weight: Any = None  # n (steps since the end of spin-up, from 1) -> weight; None is 1
    variables: list[str] | None = None  # partial coupling
    levels: dict[str, np.ndarray] = field(default_factory=dict)  # where, of some of them
    legacy: bool = False
    strato: bool = False
    ocean_only: bool = False
    own_sun: bool = False  # the adapter finds the sun by itself
    single_humidity: bool = False  # climlink_rh_arithmetic = 'legacy'
    water_fixer: bool = False
    range_policy: bool = False  # one that is not switched off
    dt: float = 1200.0


@dataclass
class Model:
    """The model in NumPy. ``run`` gives one dictionary of records for each step."""

    columns: Fields
    package: Path
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.network = torch.jit.load(str(self.package))
        self.inputs, self.outputs = layout(self.package)
        self.before: list[Fields] = []
        self.after: list[Fields] = []
        self.surface = np.full((len(self.columns["ps"]), 8), np.nan)

    def at_step(self, step: int) -> Fields:
        """Return what surface and sun give in a step."""
        now = {
            n: self.columns[n] * (1 + 0.01 * step) if n in WITH_STEP else self.columns[n]
            for n in SCALARS
        }
        if (
            self.settings.own_sun
        ):  # of the step before, as the stand-ins of orbit and radiation have it
            day = 1 + (step - 1) * self.settings.dt / 86400
            longitude = 0.01 * np.arange(1, len(now["ps"]) + 1)
            now["COSZRS"] = (
                np.cos(now["lat"]) * np.cos(longitude + day) * (1 - self.settings.dt / 86400)
            )
            now["SOLIN"] = (
                (800.0 + 0.5 * 560.0) * (1 + 0.0625 + 0.125) * np.maximum(now["COSZRS"], 0.0)
            )
        return now

    def lagged(self, name: str, step: int) -> np.ndarray:
        """Return a lagged input from the states before and after the last steps."""
        back, bare = (1, name[3:]) if name.startswith("tm_") else (0, name)
        if bare in ("state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX", "pbuf_COSZRS"):
            return self.before[step - 1]["scalars"][bare.split("_")[1]]
        kind = bare.rsplit("_", 1)[1]
        key = {
            "state_t": "t",
            "state_u": "u",
            "state_q0001": "q1",
            "state_q0002": "q2",
            "state_q0003": "q3",
            "state_q0": "q0",
        }
        which = key[bare.rsplit("_", 1)[0]]

        def value(state: Fields) -> np.ndarray:
            return (state["q1"] + state["q2"]) + state["q3"] if which == "q0" else state[which]

        if kind == "dyn":
            return (
                value(self.before[step - back]) - value(self.after[step - back - 1])
            ) / self.settings.dt
        return (
            value(self.after[step - back - 1]) - value(self.before[step - back - 1])
        ) / self.settings.dt

    def input(self, name: str, step: int) -> np.ndarray:
        """Return one input [n, width]."""
        state, now = self.before[step], self.before[step]["scalars"]
        direct = {
            "state_t": "t",
            "state_q0001": "q1",
            "state_q0002": "q2",
            "state_q0003": "q3",
            "state_u": "u",
            "state_v": "v",
        }
        zero = self.settings.legacy and (
            name == "icol" or name in ("tm_state_ps",) or name.startswith("tm_pbuf_")
        )
        if zero:
            value = np.zeros_like(now["ps"])
        elif name in direct:
            value = state[direct[name]]
        elif name == "state_rh":
            value = (
                461.0
                * self.columns["pmid"]
                * state["q1"]
                / (287.0 * saturation(state["t"], self.settings.single_humidity))
            )
        elif name in ("clat", "slat"):
            value = np.cos(now["lat"]) if name == "clat" else np.sin(now["lat"])
        elif name == "icol":
            value = np.arange(1.0, len(now["ps"]) + 1)
        elif name.startswith("tm_") or name.endswith(("_dyn", "_prvphy")):
            value = self.lagged(name, step)
        elif name.split("_")[1] in ("ozone", "CH4", "N2O"):
            value = self.columns[name.split("_")[1]]
        else:
            value = now[name.split("_", 1)[1].removeprefix("in_")]
        return value if value.ndim == 2 else value[:, None]

    def rows(self, step: int) -> np.ndarray:
        """Return the packed inputs [n, n_input], float32."""
        values = [self.input(v["name"], step) for v in self.inputs]
        return np.concatenate(values, axis=1).astype(np.float32)

    def infer(self, step: int) -> Fields:
        """Return the outputs of the package by name [n, width], float64."""
        x = self.rows(step)
        n = len(x)
        x = np.concatenate(
            [x, np.repeat(x[-1:], -n % 16, axis=0)]
        )  # the number of rows decides which kernels run
        with torch.no_grad():
            y = self.network(torch.from_numpy(x)).numpy().astype(np.float64)[:n]
        result, at = {}, 0
        for variable in self.outputs:
            result[variable["name"]] = y[:, at : at + variable["width"]]
            at += variable["width"]
        assert at == y.shape[1]
        return result

    def run(self, n_step: int) -> list[dict[str, Any]]:
        """Run steps from 0 and return what a driver records of each, with the raw answers under
        ``raw`` where the emulator ran.
        """
        state = {k: self.columns[k].copy() for k in STATE}
        ps = self.columns["ps"].copy()
        records = []
        for step in range(n_step):
            self.before.append(
                {
                    **{k: v.copy() for k, v in state.items()},
                    "scalars": {**self.at_step(step), "ps": ps.copy()},
                }
            )
            record = self.step(step, state)
            self.after.append({k: v.copy() for k, v in state.items()})
            changes = {
                n: (self.after[-1][k] - self.before[-1][k]) / self.settings.dt
                for k, n in CHANGES.items()
            }
            records.append(
                {**record, **self.after[-1], "surface": self.surface.copy(), "changes": changes}
            )
            for k, change in (("t", 0.5), ("u", 0.125), ("v", -0.25)):
                state[k] = state[k] + change
            for k in ("q1", "q2", "q3"):
                state[k] = state[k] * 1.001
            ps = ps + 16.0
        return records

    def step(self, step: int, state: Fields) -> dict[str, Any]:
        """Change the state by one physics step."""
        s = self.settings
        n = step - s.spin_up + 1
        weight = 0.0 if n < 1 else 1.0 if s.weight is None else s.weight(n)
        record: dict[str, Any] = {"weight": weight}
        tendency, surface = None, None
        if weight > 0:
            record["raw"] = self.infer(step)
            tendency = [record["raw"][k].copy() for k in TENDENCIES]
            surface = np.concatenate([record["raw"][k] for k in SURFACE], axis=1)
            if s.legacy:
                record["counts"] = legacy(self.columns, self.before[step], tendency, surface, s)
            if s.water_fixer:
                record["fix"] = fix_water(self.columns["pdel"], tendency, surface)
                record["counts"] = record.get("counts", {}) | record["fix"].pop("counts")
            if s.range_policy:
                use = self.network.range_use(torch.from_numpy(self.rows(step))).numpy()
                names = ("NN_RANGE_CLIPPED", "NN_RANGE_HEAT", "NN_RANGE_MASS")
                record["counts"] = record.get("counts", {}) | dict(zip(names, use.T, strict=True))
        start = {k: v.copy() for k, v in state.items()}
        if s.variables is not None or weight < 1:
            self.model_physics(state)
        weights = {
            k: weight * s.levels.get(k, 1.0) if s.variables is None or k in s.variables else 0.0
            for k in TENDENCIES + SURFACE
        }
        if tendency is None or surface is None:
            return record
        alone = s.variables is None and weight >= 1
        for k, name, rate in zip(STATE, TENDENCIES, tendency, strict=True):
            emulated = start[k] + s.dt * rate
            state[k] = (
                emulated if alone else weights[name] * emulated + (1 - weights[name]) * state[k]
            )
        over = (self.columns["OCNFRAC"] == 1.0) if s.ocean_only else np.ones(len(surface), bool)
        w = np.array([weights[k] for k in SURFACE])
        old = np.where(np.isnan(self.surface), 0.0, self.surface)
        self.surface[over] = np.where(w >= 1, surface, (1 - w) * old + w * surface)[over]
        return record

    def model_physics(self, state: Fields) -> None:
        """The driver's formulas for the model's own physics."""
        rates = {"t": 1e-5 * (250 - state["t"]), "u": -1e-5 * state["u"], "v": -2e-5 * state["v"]}
        rates |= {k: -1e-6 * state[k] for k in ("q1", "q2", "q3")}
        for k, rate in rates.items():
            state[k] = state[k] + self.settings.dt * rate
        self.surface[:] = MODEL_SURFACE


def areas(n: int) -> np.ndarray:
    """Return the areas of the stand-ins' columns."""
    return 1 + 0.25 * (np.arange(1, n + 1) % 3)


def fix_water(
    thickness: np.ndarray, tendency: list[np.ndarray], surface: np.ndarray
) -> dict[str, Any]:
    """Scale PRECSC and PRECC so that the water of the globe closes, within the limits; return
    the factor and what it moved.
    """
    lost = -(thickness / GRAVIT * (tendency[1] + tendency[2] + tendency[3])).sum(axis=1)
    rain = 1000.0 * surface[:, 3]
    area = areas(len(rain)) / areas(len(rain)).sum()
    factor = min(max(area @ lost / (area @ rain), 0.5), 2.0) if area @ rain > 0 else 1.0
    surface[:, 2:4] *= factor
    added = (factor - 1) * rain
    return {
        "factor": factor,
        "made": area @ (rain - lost),
        "added": area @ added,
        "counts": {"NN_FIXER_WATER": added},
    }


def legacy(
    columns: Fields, state: Fields, tendency: list[np.ndarray], surface: np.ndarray, s: Settings
) -> Fields:
    """The post-processing of the existing coupling, column by column and level by level, in its
    order; changes its arguments.
    """
    n = len(surface)
    counts = {
        k: np.zeros(n) for k in ("NN_CLIPPED", "NN_LIMITED", "NN_LIMITER_HEAT", "NN_LIMITER_WATER")
    }
    counts["TROP_IND"] = np.ones(n)
    counts["NN_CLIPPED"] = (surface < 0).sum(axis=1).astype(float)
    surface[:] = np.maximum(surface, 0.0)
    night = state["scalars"]["COSZRS"] <= 0
    for k in (0, 4, 5, 6, 7):
        surface[night, k] = 0.0
    energy = CPAIR * state["t"] + GRAVIT * columns["zm"] + columns["phis"][:, None]
    theta = state["t"] * columns["exner"]
    heating = CPAIR * tendency[0]
    for i in range(n):
        if s.strato:
            top = 1
            for k in range(2, LEVELS):
                slope = (
                    (theta[i, k - 2] - theta[i, k])
                    / (columns["zm"][i, k - 2] - columns["zm"][i, k])
                    * 1000
                )
                if columns["pmid"][i, k - 1] <= 40000 and slope > 10.0:
                    top = k
            counts["TROP_IND"][i] = top
            tendency[1][i, :top] = 0
            tendency[2][i, :top] = -state["q2"][i, :top] / s.dt
            tendency[3][i, :top] = -state["q3"][i, :top] / s.dt
        for k in range(LEVELS):
            mass = columns["pdel"][i, k] / GRAVIT
            limited = [(energy, heating, "NN_LIMITER_HEAT")]
            limited += [(state[f"q{m}"], tendency[m], "NN_LIMITER_WATER") for m in (1, 2, 3)]
            for value, rate, source in limited:
                after = value[i, k] + rate[i, k] * s.dt
                if after < 0:
                    rate[i, k] += abs(after) / s.dt
                    counts["NN_LIMITED"][i] += 1
                    counts[source][i] += abs(after) / s.dt * mass
    tendency[0][:] = heating / CPAIR
    for rate in tendency[1:]:
        rate[:, :12] = 0.0
    return counts
