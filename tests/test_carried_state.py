"""A column network with memory where it runs: offline, replayed, in the embedded model, resumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from climlink.data.climsim import Pair, find_pairs, read_inputs, read_outputs
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.data.store import ColumnStore
from climlink.online import aquaplanet
from climlink.online.replay import ReplayConfig, ReplayRun, run_replay
from climlink.packages.packaging import package
from climlink.packages.read import EmulatorPackage
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import Variable

LEVELS, UNITS = 60, 2
STEPS_PER_DAY = 72
ROUTES = 1e-6
"""Largest difference of two routes at any step, in the manifest's measure."""


class SlowClimate(nn.Module):
    """Rows [row, 557 + 120] -> [row, 368 + 120] in physical units.

    The air is damped, and pushed by what the network remembers. Sums are in float64: a host that
    links a BLAS of its own lends it to libtorch, which then adds in another order.
    """

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.Generator().manual_seed(41)
        for name, width in (("of_air", 120), ("of_memory", 120), ("answer", 60)):
            weights = torch.randn(120, width, generator=numbers).double()
            self.register_buffer(name, weights / 120**0.5)

    @torch.jit.export
    def initial_state(self, rows: Tensor) -> Tensor:
        """Return [row, 120]: what a column begins with comes from its insolation."""
        return torch.tanh(rows[:, 541:542] / 500.0).expand(-1, 120)

    def forward(self, rows: Tensor) -> Tensor:
        """Return tendencies, fluxes and the next memory."""
        t, water, u, v = rows[:, :60], rows[:, 60:240], rows[:, 240:300], rows[:, 300:360]
        sun, longwave = rows[:, 541:542], rows[:, 551:552]
        air = torch.tanh(torch.cat([(t - 250.0) / 40.0, u / 20.0], dim=1)).double()
        before = rows[:, 557:].double()
        memory = torch.tanh(air @ self.of_air + 0.5 * before @ self.of_memory).float()
        push = 2e-5 * torch.tanh(memory.double() @ self.answer).float()  # K/s: up to 1.7 K/day
        warming = (250.0 - t) / 2e6 + push
        rain = torch.full_like(sun, 3e-8)
        radiation = torch.cat([0.3 * sun, 0.2 * sun, 0.1 * sun, 0.05 * sun], dim=1)
        fluxes = torch.cat([0.5 * sun, 0.75 * longwave, 0.1 * rain, rain, radiation], dim=1)
        tendencies = torch.cat([warming, -5e-6 * water, -1e-6 * u, -1e-6 * v], dim=1)
        return torch.cat([tendencies, fluxes, memory], dim=1)


def _with_memory(name: str, memory: str) -> VariableSet:
    carried = Variable(memory, "1", "what is remembered", ("level", "unit"), role="carried")
    variables = (*variable_set(name, LEVELS).variables, carried)
    return VariableSet(f"{name}_memory", variables, {"level": LEVELS, "unit": UNITS})


@pytest.fixture(scope="module")
def slow_climate(
    synthetic_store: ColumnStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> EmulatorPackage:
    """Return the package of SlowClimate."""
    return package(
        SlowClimate(),
        name="slow climate",
        inputs=_with_memory("host_v2_q", "memory"),
        outputs=_with_memory("mmf368", "memory_next"),
        carried={"memory_next": "memory"},
        golden=synthetic_store,
        output=tmp_path_factory.mktemp("memory") / "wrap_model.pt",
    )


@dataclass
class RollOut:
    """A package's graph over consecutive pairs, fed with its own memory."""

    emulator: EmulatorPackage
    grid: Grid

    def __post_init__(self) -> None:
        m = self.emulator.manifest
        self.graph = self.emulator.load()
        self.inputs = VariableSet.from_layout(m.inputs, m.dims)
        self.outputs = VariableSet.from_layout(m.outputs, m.dims)
        self.values = self.outputs.of_role("value")
        widths = [(n, self.values.width_of(n)) for n in self.values.names]
        self.scale = np.concatenate([np.broadcast_to(m.difference_scale[n], w) for n, w in widths])

    def rows(self, pair: Pair, memory: Tensor | None) -> Tensor:
        """Return input rows of a step; without memory it is the first."""
        columns = read_inputs(pair.mli, self.grid)
        rows = torch.zeros([self.grid.n_column, self.inputs.width])
        for name in self.inputs.of_role("value").names:
            values = torch.from_numpy(columns[name]).reshape(self.grid.n_column, -1)
            rows[:, self.inputs.slice(name)] = values.float()
        if memory is None:
            rows[:, self.inputs.slice("start")] = 1.0
        else:
            rows[:, self.inputs.slice("memory")] = memory
        return rows

    def answer(self, rows: Tensor) -> tuple[NDArray[np.float64], Tensor]:
        """Return values [column, 368] and the next memory [column, 120]."""
        with torch.inference_mode(), intra_op_threads(RUNTIME_THREADS):
            y = self.graph(rows)
        values = y[:, : self.values.width].double().numpy()
        return values, y[:, self.outputs.slice("memory_next")].clone()

    def written(self, pair: Pair, mlo: Path) -> NDArray[np.float64]:
        """Return values [column, 368] that a host wrote for a step."""
        before = read_inputs(pair.mli, self.grid)
        made = read_outputs(mlo, before, self.grid, pair.stamp)
        n = self.grid.n_column
        return np.concatenate([made[name].reshape(n, -1) for name in self.values.names], axis=1)

    def difference(self, given: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
        """Return the largest difference in the manifest's measure."""
        return float((np.abs(given - expected) / (self.scale + np.abs(expected))).max())


def _run(emulator: EmulatorPackage, output: Path, n_step: int, ranks: int) -> Path:
    """Run the embedded model for some steps, a pair of each; return its folder."""
    case: dict[str, Any] = {
        "host": "aquaplanet",
        "name": "case",
        "days": n_step / STEPS_PER_DAY,
        "pairs": {"every_steps": 1},
        "history": {"monthly": False, "daily": False},
        "emulator": {"package": emulator.path},
        "output": output,
        "ranks": ranks,
    }
    return aquaplanet.run_aquaplanet(aquaplanet.AquaplanetConfig.model_validate(case)).folder


def _replay(emulator: EmulatorPackage, data: Path, output: Path) -> ReplayRun:
    case = {"host": "replay", "package": emulator.path, "data": data, "output": output, "ranks": 2}
    return run_replay(ReplayConfig.model_validate(case))


def _last_restart(folder: Path) -> bytes:
    return aquaplanet.newest_restart(folder).read_bytes()


@pytest.mark.parametrize("n_step", [6, pytest.param(STEPS_PER_DAY, marks=pytest.mark.long)])
def test_offline_replay_and_embedded_run_agree_at_every_step(
    slow_climate: EmulatorPackage,
    tmp_path: Path,
    n_step: int,
) -> None:
    whole = _run(slow_climate, tmp_path / "whole", n_step, ranks=2)
    stopped = _run(slow_climate, tmp_path / "stopped", n_step // 2, ranks=1)
    aquaplanet.resume_aquaplanet(stopped, days=n_step / STEPS_PER_DAY, ranks=2)
    assert _last_restart(stopped) == _last_restart(whole), "a stop changed the run"

    data = whole / "climsim"
    pairs = find_pairs(data)
    assert len(pairs) == n_step
    replayed = _replay(slow_climate, data, tmp_path / "replay").files
    roll_out = RollOut(slow_climate, read_grid(find_grid(data, None)))
    memory: Tensor | None = None
    moved = []
    for step, (pair, file) in enumerate(zip(pairs, replayed, strict=True)):
        rows = roll_out.rows(pair, memory)
        expected, memory = roll_out.answer(rows)
        for mlo in (pair.mlo, file):
            difference = roll_out.difference(roll_out.written(pair, mlo), expected)
            assert difference < ROUTES, (step, mlo)
        if step > 0:
            rows[:, roll_out.inputs.slice("memory")] = 0.0
            moved.append(np.abs(roll_out.answer(rows)[0] - expected) / roll_out.scale)
    assert np.max(moved) > 1e-2, "the memory changes nothing"
    assert memory is not None
    _check_memory(aquaplanet.newest_restart(whole), memory.numpy())


def _check_memory(restart: Path, memory: NDArray[np.float32]) -> None:
    """The restart holds the memory [column, 120] after the last step, and `start` before it."""
    with netCDF4.Dataset(restart) as data:
        state = np.asarray(data["carried_state"][:])
    assert not state[:, 0].any()
    # The host's array is [column, level, unit], first index fastest; rows are in C order.
    kept = state[:, 1:].reshape(-1, UNITS, LEVELS).transpose(0, 2, 1).reshape(memory.shape)
    assert np.abs(kept - memory).max() < ROUTES


def test_replay_says_where_memory_begins(
    slow_climate: EmulatorPackage,
    synthetic_dir: Path,
    tmp_path: Path,
) -> None:
    run = _replay(slow_climate, synthetic_dir, tmp_path / "run")
    first, second, *_ = run.files
    log = (run.folder / "log.txt").read_text()
    earlier = first.name.replace("mlo", "mli")
    for file, why in ((first, "first file"), (second, f"{earlier} is not one time step earlier")):
        with netCDF4.Dataset(file) as data:
            assert data.climlink_carried_state == f"begins: {why}"
        assert f"{file.name.replace('mlo', 'mli')} (carried state begins: {why})" in log
