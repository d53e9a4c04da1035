"""Runs of the embedded model that the range policy of their package holds, or need not: what is
counted, against the pairs that the run itself writes, and what is said of it.

The package's network says nothing (zero tendencies), so all that heats is the relaxation.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

import climlink
from climlink.cli.main import app
from climlink.data.climsim import find_pairs
from climlink.installation import configuration
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    AquaplanetRun,
    resume_aquaplanet,
    run_aquaplanet,
)
from climlink.runtime import Emulator, EmulatorError
from climlink.support import COLUMNS, Support
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.vertical import HybridCoordinate

L, STEP_S, DAY_S = 60, 1200.0, 86400.0
CP, G = 1004.64, 9.80616  # J/kg/K and m/s2 of E3SM (shr_const_mod)
RATE = 0.01  # per day: the model shall not notice
NARROW, WIDE = (240.0, 270.0), (100.0, 400.0)  # K
STEPS = 4


class Silent(torch.nn.Module):
    """Rows [row, n_input] -> zeros [row, 368]."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros(rows.shape[0], 368) + 0.0 * rows[:, :1]


def grid() -> HybridCoordinate:
    found = yaml.safe_load(configuration("levels/climsim60.yaml").read_text(encoding="utf-8"))
    a, b = (np.array(found[key]) for key in ("hyai", "hybi"))
    middle = (tuple(np.convolve(edge, [0.5, 0.5], "valid").tolist()) for edge in (a, b))
    return HybridCoordinate(found["p0_pa"], *middle, tuple(a.tolist()), tuple(b.tolist()))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[float, float]], Path]:
    """Return a function that gives the package whose training temperatures lie in a range."""
    folder = tmp_path_factory.mktemp("packages")

    def made(limits: tuple[float, float]) -> Path:
        path = folder / f"{limits[0]:g}.pt"
        if path.exists():
            return path
        low, high = (torch.full((L,), end, dtype=torch.float64) for end in limits)
        moments = VariableStatistics(0.5 * (low + high), torch.ones_like(low), low, high)
        inputs = variable_set("host_v2_q", L)
        rows = np.random.default_rng(0).uniform(0.1, 1.0, (32, inputs.width)).astype("float32")
        rows[:, inputs.slice("state_ps")] = 1e5
        relaxation = ConstraintEntry(
            name="range_relaxation", parameters={"rates_per_day": {"state_t": RATE}}
        )
        climlink.package(
            Silent(),
            name="silent",
            inputs=inputs,
            golden=rows,
            statistics=Statistics({"state_t": moments}, {}, "a range"),
            constraints=["input_clip", relaxation],
            hybrid=grid(),
            time_step_s=STEP_S,
            output=path,
        )
        return path

    return made


def case(output: Path, package: Path, *, steps: int = STEPS, ranks: int = 2, **emulator: object):
    return AquaplanetConfig.model_validate(
        {
            "host": "aquaplanet",
            "name": "case",
            "days": steps * STEP_S / DAY_S,
            "output": output,
            "ranks": ranks,
            "history": {"monthly": False, "daily": False},
            "pairs": {"every_steps": 3},
            "emulator": {"package": package, **emulator},
        }
    )


def budgets(run: AquaplanetRun) -> dict[str, np.ndarray]:
    with (run.folder / "budgets.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def record(run: AquaplanetRun) -> dict:
    return json.loads((run.folder / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def held(package, tmp_path_factory: pytest.TempPathFactory) -> AquaplanetRun:
    return run_aquaplanet(case(tmp_path_factory.mktemp("held") / "run", package(NARROW)))


def excess(t: np.ndarray) -> np.ndarray:
    return t - np.clip(t, *NARROW)


def by_hand(t: np.ndarray, ps: np.ndarray) -> np.ndarray:
    """Return [column, 3] from temperatures [column, level] and surface pressures [column]."""
    h = grid()
    edges = h.p0_pa * np.array(h.hyai) + ps[:, None] * np.array(h.hybi)
    mass, out = np.diff(edges, axis=1) / G, excess(t)
    heating = (mass * CP * np.abs(RATE / DAY_S * out)).sum(1)
    share = (mass * (out != 0.0)).sum(1) / mass.sum(1)
    return np.stack([(out != 0.0).sum(1), heating, share], axis=1)


def test_the_columns_of_a_run_are_its_area_means(held: AquaplanetRun) -> None:
    """Every third step the run writes what its emulator was given: the means follow by hand."""
    rows, pairs = budgets(held), find_pairs(held.folder / "climsim")
    assert list(rows)[-3:] == ["range_clipped_values", "range_heating_W_m2", "range_mass_share"]
    with netCDF4.Dataset(next((held.folder / "climsim").glob("*_grid-info.nc"))) as info:
        area = info["area"][:].data
    assert len(pairs) == 2
    for step, pair in zip((0, 3), pairs, strict=True):
        with netCDF4.Dataset(pair.mli) as given:
            use = by_hand(given["state_t"][:].data.T, given["state_ps"][:].data)
        mean = (area[:, None] * use).sum(0) / area.sum()
        got = [rows[name][step] for name in list(rows)[-3:]]
        # the emulator sees T in float32: 1e-5 K of an excess of some 10 K
        np.testing.assert_allclose(got, mean, rtol=1e-5)
        assert 0.0 < mean[2] < 1.0


def test_a_run_far_out_of_its_range_is_told_as_on_support(held: AquaplanetRun) -> None:
    rows, said = budgets(held), record(held)
    assert (held.status, said["status"]) == ("finished", "finished"), "a field, not a status"
    heating, share, clipped = (float(rows[name].mean()) for name in COLUMNS)
    expected = {"heating_w_m2": heating, "mass_share": share, "clipped_values": clipped}
    # the sum of a few numbers in another order
    assert said["support"] == pytest.approx({**expected, "on_support": True}, rel=1e-14)
    assert held.support == Support.model_validate(said["support"])
    assert heating > 1.0
    assert share > 0.1


def test_the_net_radiation_of_a_hybrid_is_the_inferred_one(held: AquaplanetRun) -> None:
    """What the columns gain: the relaxation's heating with its sign, less what the surface takes
    of radiation, which is all that it emits.
    """
    rows = budgets(held)
    assert "toa_net_W_m2" not in rows
    pair = find_pairs(held.folder / "climsim")[0]
    with netCDF4.Dataset(next((held.folder / "climsim").glob("*_grid-info.nc"))) as info:
        area = info["area"][:].data
    with netCDF4.Dataset(pair.mli) as given:
        t, ps, up = (given[n][:].data for n in ("state_t", "state_ps", "cam_in_LWUP"))
    h = grid()
    edges = h.p0_pa * np.array(h.hyai) + ps[:, None] * np.array(h.hybi)
    heating = -(np.diff(edges, axis=1) / G * CP * RATE / DAY_S * excess(t.T)).sum(1)
    mean = (area * (heating - up)).sum() / area.sum()
    np.testing.assert_allclose(rows["toa_net_inferred_W_m2"][0], mean, rtol=1e-6)  # float32 heat
    assert not rows["emulated_energy_residual_W_m2"].any()


@pytest.mark.parametrize("ranks", [1, pytest.param(4, marks=pytest.mark.long)])
def test_ranks_do_not_change_a_bit(held: AquaplanetRun, package, tmp_path, ranks: int) -> None:
    other = run_aquaplanet(case(tmp_path / "run", package(NARROW), ranks=ranks))
    name = "budgets.csv"
    assert (other.folder / name).read_bytes() == (held.folder / name).read_bytes()
    assert other.restart.read_bytes() == held.restart.read_bytes()


def test_a_resumed_run_is_the_whole_run_and_says_so(
    held: AquaplanetRun, package, tmp_path: Path
) -> None:
    part = run_aquaplanet(case(tmp_path / "run", package(NARROW), steps=2))
    assert part.support != held.support
    command = ["online", "resume", str(part.folder), "--days", repr(STEPS * STEP_S / DAY_S)]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "alive on support: relaxation toward the training ranges" in shown.output
    assert (part.folder / "budgets.csv").read_bytes() == (held.folder / "budgets.csv").read_bytes()
    assert record(part)["support"] == record(held)["support"]


def test_a_run_inside_its_range_is_alive(package, tmp_path: Path) -> None:
    run = run_aquaplanet(case(tmp_path / "run", package(WIDE), steps=2))
    assert run.support == Support(
        heating_w_m2=0.0, mass_share=0.0, clipped_values=0.0, on_support=False
    )
    rows = budgets(run)
    assert not any(rows[name].any() for name in COLUMNS)


@pytest.mark.long
def test_a_policy_that_is_off_or_not_applied_holds_nothing(package, tmp_path: Path) -> None:
    off = {"constraints_off": ["range_relaxation", "input_clip"]}
    run = run_aquaplanet(case(tmp_path / "off", package(NARROW), steps=1, **off))
    assert run.support is None
    assert "support" not in record(run)
    assert list(budgets(run))[3] == "toa_net_inferred_W_m2"
    assert not set(COLUMNS) & set(budgets(run))
    clip_only = {"constraints_off": ["range_relaxation"]}
    run = run_aquaplanet(case(tmp_path / "clip", package(NARROW), steps=1, **clip_only))
    assert run.support is not None
    assert (run.support.heating_w_m2, run.support.mass_share) == (0.0, 0.0)
    assert run.support.clipped_values > 1.0
    assert not run.support.on_support
    run = run_aquaplanet(case(tmp_path / "shadow", package(NARROW), steps=1, mode="shadow"))
    assert run.support is None
    plain = list(budgets(run))
    assert plain[3] == "toa_net_W_m2"
    assert plain[-1] == "surface_pressure_Pa"


@pytest.mark.long
def test_spin_up_counts_as_steps_without_support(package, tmp_path: Path) -> None:
    """The reference alone runs in the first two steps; the row of the third is its first."""
    run = run_aquaplanet(case(tmp_path / "run", package(NARROW), spin_up_steps=2))
    rows = budgets(run)
    assert [bool(v) for v in rows["range_heating_W_m2"]] == [False, False, True, True]
    assert run.support is not None
    assert run.support.heating_w_m2 == pytest.approx(rows["range_heating_W_m2"].sum() / STEPS)


@pytest.mark.long
def test_other_columns_than_the_file_has_are_refused(held, package, tmp_path: Path) -> None:
    """budgets.csv of an older climlink: nothing is appended to it, and nothing lost."""
    part = run_aquaplanet(case(tmp_path / "run", package(NARROW), steps=2))
    path = part.folder / "budgets.csv"
    old = path.read_text(encoding="utf-8").replace("toa_net_inferred", "toa_net")
    path.write_text(old, encoding="utf-8")
    with pytest.raises(LaunchError, match=r"budgets\.csv: its columns are not those of this run"):
        resume_aquaplanet(part.folder, days=STEPS * STEP_S / DAY_S)
    assert path.read_text(encoding="utf-8") == old


@pytest.fixture(scope="module")
def columns(held: AquaplanetRun) -> dict[str, np.ndarray]:
    """Return 37 columns of the run by input: no multiple of a batch."""
    inputs = variable_set("host_v2_q", L)
    with netCDF4.Dataset(find_pairs(held.folder / "climsim")[1].mli) as given:
        found = {n: given[n][:].data for n in inputs.names}
    return {n: np.ascontiguousarray(v.T[100:137]) for n, v in found.items()}


def sent(emulator: Emulator, columns: dict[str, np.ndarray]) -> None:
    emulator.begin(37)
    for name, values in columns.items():
        emulator.set(name, values)


def test_the_runtime_says_what_the_graph_says(package, columns: dict[str, np.ndarray]) -> None:
    inputs = variable_set("host_v2_q", L)
    x = np.concatenate([columns[n].reshape(37, -1) for n in inputs.names], axis=1)
    graph = torch.jit.load(str(package(NARROW)))
    expected = graph.range_use(torch.from_numpy(x.astype(np.float32))).numpy()
    assert (expected[:, 1] > 0.0).any()
    np.testing.assert_allclose(
        expected, by_hand(columns["state_t"], columns["state_ps"]), rtol=1e-4
    )
    for micro_batch in (16, 128):
        emulator = Emulator(package(NARROW), micro_batch=micro_batch)
        assert emulator.has_range_policy
        sent(emulator, columns)
        before = emulator.range_use()
        emulator.run()
        assert np.array_equal(before, expected)
        assert np.array_equal(emulator.range_use(), expected)
    emulator.begin(0)
    assert emulator.range_use().shape == (0, 3)


def test_what_is_off_is_not_counted(package, columns: dict[str, np.ndarray]) -> None:
    relaxed = Emulator(package(NARROW), constraints_off=["input_clip"])
    clipped = Emulator(package(NARROW), constraints_off=["range_relaxation"])
    neither = Emulator(package(NARROW), constraints_off=["range_relaxation", "input_clip"])
    used = []
    for emulator in (relaxed, clipped, neither):
        sent(emulator, columns)
        used.append(emulator.range_use().any(axis=0).tolist())
    assert used == [[False, True, True], [True, False, False], [False] * 3]
    assert [e.has_range_policy for e in (relaxed, clipped, neither)] == [True, True, False]


def test_use_needs_a_step_with_its_inputs(package, columns: dict[str, np.ndarray]) -> None:
    emulator = Emulator(package(WIDE))
    message = "range_use needs climlink_begin and every input set"
    with pytest.raises(EmulatorError, match=message) as refused:
        emulator.range_use()
    assert refused.value.status == "state"
    emulator.begin(37)
    emulator.set("state_t", columns["state_t"])
    with pytest.raises(EmulatorError, match="are not set: ") as refused:
        emulator.range_use()
    assert refused.value.status == "variable"
