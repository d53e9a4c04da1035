"""A package of 60 levels in the embedded model on 72: refused, or remapped as the case declares.

The package answers the same tendencies for every column, so that their sums over a column of its
own layers are known; what the host's pairs hold after the remap must have the same sums.
"""

from __future__ import annotations

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import yaml

import climlink
from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.installation import configuration
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.vertical import HybridCoordinate

HOST_LEVELS, PACKAGE_LEVELS, TIME_STEP_S = 72, 60, 1200.0
PER_DAY = 1.0 / 86400.0


class Steady(torch.nn.Module):
    """Rows [row, n_input] -> the same row of tendencies and fluxes for all."""

    def __init__(self, answer: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("answer", torch.tensor(answer, dtype=torch.float32))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.answer + 0.0 * rows[:, :1]


def interfaces(levels: dict[str, list[float]], ps: np.ndarray) -> np.ndarray:
    """Return interface pressures [level + 1, column] in Pa."""
    a, b = (np.asarray(levels[key])[:, None] for key in ("hyai", "hybi"))
    return levels["p0_pa"] * a + b * ps


def grid(name: str) -> dict[str, list[float]]:
    return yaml.safe_load(configuration(f"levels/{name}.yaml").read_text(encoding="utf-8"))


def steady_answers() -> dict[str, np.ndarray]:
    """Return gentle tendencies [level] that change sign with height, and small fluxes."""
    k = np.arange(PACKAGE_LEVELS) / PACKAGE_LEVELS
    wave = {f"ptend_{n}": np.sin((i + 2) * np.pi * k) for i, n in enumerate(("t", "u", "v"))}
    moist = {f"ptend_q000{i}": 1e-6 * PER_DAY * k**2 * (2.0 + np.sin(i * k)) for i in (1, 2, 3)}
    return {name: 0.1 * PER_DAY * values for name, values in wave.items()} | moist


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "steady.pt"
    levels = grid("climsim60")
    middle = {key: np.convolve(levels[key], [0.5, 0.5], "valid") for key in ("hyai", "hybi")}
    hybrid = HybridCoordinate(
        levels["p0_pa"],
        tuple(middle["hyai"]),
        tuple(middle["hybi"]),
        tuple(levels["hyai"]),
        tuple(levels["hybi"]),
    )
    inputs, outputs = (variable_set(n, PACKAGE_LEVELS) for n in ("host_v2_rh", "mmf368"))
    known = steady_answers()
    answer = [
        known.get(v.name, np.zeros(PACKAGE_LEVELS if v.dims else 1)) for v in outputs.variables
    ]
    rng = np.random.default_rng(0)
    climlink.package(
        Steady(np.concatenate(answer)),
        name="steady",
        inputs=inputs,
        outputs=outputs,
        golden=rng.uniform(0.1, 1.0, (32, inputs.width)).astype("float32"),
        hybrid=hybrid,
        time_step_s=TIME_STEP_S,
        output=path,
    )
    return path


def case(package: Path, output: Path, **emulator: object) -> AquaplanetConfig:
    return AquaplanetConfig.model_validate(
        {
            "host": "aquaplanet",
            "days": 1,
            "levels": configuration("levels/e3sm_l72.yaml"),
            "pairs": {"every_steps": 36},
            "output": output,
            "ranks": 2,
            "emulator": {"package": package, **emulator},
        }
    )


def test_without_the_declaration_other_levels_are_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"the host has 72 levels, the package .* 60"):
        run_aquaplanet(case(package, tmp_path / "run"))
    with pytest.raises((ConfigError, LaunchError), match="vertical_remap"):
        run_aquaplanet(case(package, tmp_path / "other", vertical_remap="linear"))


@pytest.fixture(scope="module")
def folder(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("other") / "run"
    run = run_aquaplanet(case(package, output, vertical_remap="conservative"))
    assert run.status == "finished"
    return run.folder


def test_column_sums_survive_the_remap(folder: Path) -> None:
    pairs = find_pairs(folder / "climsim" / "train")
    assert len(pairs) == 2
    for pair in pairs:
        with netCDF4.Dataset(pair.mli) as before, netCDF4.Dataset(pair.mlo) as after:
            ps = before["state_ps"][:].data
            dp_host = np.diff(interfaces(grid("e3sm_l72"), ps), axis=0)
            dp_package = np.diff(interfaces(grid("climsim60"), ps), axis=0)
            for name, tendency in steady_answers().items():
                old = before[name.replace("ptend", "state")][:].data
                new = after[name.replace("ptend", "state")][:].data
                got = ((new - old) / TIME_STEP_S * dp_host).sum(axis=0)
                given = tendency.astype("float32").astype("float64")[:, None] * dp_package
                # Sums of float32 numbers; a difference of states loses their last bit.
                lost = np.finfo(float).eps * np.abs(old * dp_host).sum(axis=0) / TIME_STEP_S
                allowed = 1e-7 * np.abs(given).sum(axis=0) + lost
                assert np.all(np.abs(got - given.sum(axis=0)) <= allowed), name


def test_a_run_says_that_it_remaps(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["case"]["emulator"]["vertical_remap"] == "conservative"
    with netCDF4.Dataset(next((folder / "history").glob("*.h1.*.nc"))) as file:
        said = file.getncattr("climlink_vertical_remap")
    assert said == "conservative, 72 levels of the host, 60 of the package"
