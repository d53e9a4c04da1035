"""The order of inputs on import: orders are compared with each other on data, and one that is
better beyond doubt is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.data.climsim import file_name
from climlink.data.stamp import Stamp
from climlink.data.synthetic import (
    GRID_NAME,
    synthetic_hybrid,
    synthetic_inputs,
    synthetic_outputs,
    synthetic_rows,
    write_file,
    write_grid,
)
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.import_wrapper.foreign_graph import ForeignGraph, GraphError, open_graph
from climlink.packages.import_wrapper.import_columns import ImportColumns
from climlink.packages.import_wrapper.input_order import RESAMPLES, order_finding
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import VariableSet, variable_set

GASES = slice(360, 540)
"""Ozone, methane and nitrous oxide in the host's order; in ClimSim's the surface variables and a
part of the gases stand there.
"""

PER_SPREAD = 0.25
"""Signal over noise in the tendencies of ``weak_pairs``: R² of the perfect predictor is 0.06."""

FLUX_MEAN = 140.0  # W/m2, of synthetic pbuf_LHFLX
STEP_S = 1200.0
NOISE = {"t": 1e-4, "u": 1e-5, "v": 1e-5, "q": 1e-9}  # of synthetic tendencies, per second


def _write_pairs(folder: Path, signal: Any) -> Path:
    """Write two pairs of 160 columns whose tendencies are ``signal(name, before)`` more than
    noise.
    """
    grid = write_grid(folder / GRID_NAME, n_column=160, level_count=60)
    for stamp in (Stamp(1, 1, 1), Stamp(1, 1, 2)):
        rng = np.random.default_rng(stamp.day)
        before = synthetic_inputs(grid, rng)
        after = synthetic_outputs(grid, before, rng)
        for name in after:
            if name.startswith("state_"):
                after[name] = after[name] + STEP_S * signal(name, before)
        write_file(folder / file_name("mli", stamp), stamp, before)
        write_file(folder / file_name("mlo", stamp), stamp, after)
    return folder


@pytest.fixture(scope="module")
def weak_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pairs whose tendencies follow the latent heat flux a little: no network can have more
    than R² of 0.06 on them.
    """

    def signal(name: str, before: dict[str, np.ndarray]) -> np.ndarray:
        flux = (before["pbuf_LHFLX"] - FLUX_MEAN) / 92.0  # over its standard deviation
        return PER_SPREAD * NOISE[name[6]] * flux[:, None] * np.ones(60)

    return _write_pairs(tmp_path_factory.mktemp("weak"), signal)


class FollowsFlux(nn.Module):
    """The best predictor of ``weak_pairs``, which finds the flux where one order of inputs has
    it.
    """

    def __init__(self, input_set: str) -> None:
        super().__init__()
        self.place: int = variable_set(input_set).slice("pbuf_LHFLX").start
        spread = [
            NOISE[n[6] if n[6] in "tuv" else "q"]
            for n in variable_set("mmf368").names
            if n.startswith("ptend")
        ]
        gain = torch.tensor(spread).repeat_interleave(60) * PER_SPREAD / 92.0
        self.register_buffer("gain", torch.cat([gain, torch.zeros(8)]))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, self.place : self.place + 1] - 140.0) * self.gain + 0.0 * x[:, 556:557]


def _import(module: nn.Module, folder: Path, input_set: str, data: Path) -> EmulatorPackage:
    torch.jit.script(module.eval()).save(str(folder / "old.pt"))
    return import_package(
        folder / "old.pt", ImportRequest(input_set, data=data), folder / "wrap_model.pt"
    )


def _finding(package: EmulatorPackage) -> str:
    assert package.manifest.imported is not None
    return next(f for f in package.manifest.imported.findings if "median R²" in f)


def test_a_weak_network_in_the_wrong_order_is_refused_and_in_its_own_accepted(
    weak_pairs: Path, tmp_path: Path
) -> None:
    for own, other in (("climsim_v2", "host_v2_q"), ("host_v2_q", "climsim_v2")):
        with pytest.raises(
            GraphError,
            match=f"the graph was made for {own}, not for {other}; import it with --input-set "
            f"{own}",
        ):
            _import(FollowsFlux(own), tmp_path, other, weak_pairs)
        assert not (tmp_path / "wrap_model.pt").exists()
        found = _finding(_import(FollowsFlux(own), tmp_path, own, weak_pairs))
        # host_v2_rh has the flux where host_v2_q has it: the two cannot be told apart by this
        # network
        assert f"{own} 0.0" in found
        assert "no order has skill" not in found
        (tmp_path / "wrap_model.pt").unlink()


class Blind(nn.Module):
    """A network with random weights: it looks at everything and knows nothing."""

    def __init__(self, seed: int, amplitude: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Linear(557, 32), nn.Linear(32, 368)
        spread = [
            NOISE[n[6] if n[6] in "tuv" else "q"]
            for n in variable_set("mmf368").names
            if n.startswith("ptend")
        ]
        scale = torch.cat([torch.tensor(spread).repeat_interleave(60), torch.ones(8)])
        self.register_buffer("scale", amplitude * scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(torch.tanh(0.1 * x)))) * self.scale


def test_a_network_without_skill_is_not_refused_but_it_is_said(
    weak_pairs: Path, tmp_path: Path
) -> None:
    found = _finding(_import(Blind(0, 1.0), tmp_path, "climsim_v2", weak_pairs))
    assert "no order has skill there, so nothing checks that the declared one is right" in found


def _columns(declared: str, network: nn.Module | None, noise: float) -> ImportColumns:
    """Return 256 columns in four snapshots whose targets are a network's outputs in ClimSim's order
    under noise, or noise alone.
    """
    outputs = variable_set("mmf368")

    def rows_of(variables: VariableSet) -> Tensor:
        return torch.from_numpy(synthetic_rows(variables, synthetic_hybrid(60), 256, seed=3))

    rng = np.random.default_rng(4)
    targets = rng.normal(size=(256, 368))
    if network is not None:
        with torch.no_grad():
            signal = network(rows_of(variable_set("climsim_v2"))).double().numpy()
        spread = signal.std(axis=0)
        targets = signal + np.where(spread > 0, noise * spread, 1.0) * targets
    inputs = variable_set(declared)
    snapshots = np.repeat(np.arange(4), 64)
    return ImportColumns(
        inputs,
        outputs,
        rows_of(inputs),
        "store",
        None,
        rows_of,
        snapshots,
        torch.from_numpy(targets),
    )


def _graph(module: nn.Module, path: Path) -> ForeignGraph:
    torch.jit.script(module.eval()).save(str(path))
    return open_graph(path)


@pytest.mark.parametrize(
    ("declared", "count"),
    [
        ("host_v2_q", 4),
        ("climsim_v2", 4),
        *(
            pytest.param(name, 60, marks=pytest.mark.long)
            for name in ("host_v2_q", "host_v2_rh", "climsim_v2")
        ),
    ],
)
def test_random_networks_are_accepted_in_any_order(
    declared: str, count: int, tmp_path: Path
) -> None:
    columns = _columns(declared, None, 1.0)
    for seed in range(count):
        graph = _graph(Blind(seed, (1e3, 1e4, 1e5)[seed % 3]), tmp_path / "old.pt")
        assert "no order has skill" in order_finding(graph, columns, graph(columns.rows))


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_a_network_of_any_skill_is_known_in_its_order(noise: float, tmp_path: Path) -> None:
    """At a noise of 3 the perfect predictor explains a tenth of the variance."""
    network = Blind(1, 1.0)
    graph = _graph(network, tmp_path / "old.pt")
    right, wrong = (_columns(declared, network, noise) for declared in ("climsim_v2", "host_v2_q"))
    assert "median R² on the data given: climsim_v2" in order_finding(
        graph, right, graph(right.rows)
    )
    with pytest.raises(
        GraphError,
        match=f"made for climsim_v2, not for host_v2_q.*better in all of {RESAMPLES} resamples",
    ):
        order_finding(graph, wrong, graph(wrong.rows))


class OnlyHeating(Blind):
    """Knows the temperature tendency and nothing else, so that its median R² is that of zero in any
    order.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(torch.relu(self.first(torch.tanh(0.1 * x)))) * self.scale
        return torch.cat([y[:, :60], torch.zeros_like(y[:, 60:])], dim=1)


def test_skill_in_some_outputs_is_enough(tmp_path: Path) -> None:
    network = OnlyHeating(1, 1.0)
    graph = _graph(network, tmp_path / "old.pt")
    wrong = _columns("host_v2_q", network, 1.0)
    with pytest.raises(GraphError, match="made for climsim_v2, not for host_v2_q"):
        order_finding(graph, wrong, graph(wrong.rows))


class Transformed(nn.Module):
    """As published wrappers transform inputs: what fits one place is NaN or infinity for what
    another order has there.
    """

    def __init__(self, transform: str) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> Tensor:
        q, gases = x[:, 60:120], x[:, 360:540]
        if self.transform == "exp":  # the cloud transform, 1 - exp(-λ q), on a wind stress
            shown = 1.0 - torch.exp(-1e4 * gases)
        elif self.transform == "log":
            shown = torch.log(gases)
        elif self.transform == "root":
            shown = torch.sqrt(gases)
        else:
            # A level whose spread is zero, of which only NaN becomes zero; and the square of 1e30.
            shown = gases * gases / torch.zeros_like(gases)
            shown = torch.where(gases < 1e-3, torch.zeros_like(gases), shown)
        y = torch.cat([1e-3 * q, 1e-6 * q, 1e-6 * q, 1e-6 * q, 1e-3 * q, 1e-3 * q, q[:, :8]], dim=1)
        return y + 0.0 * shown.sum(dim=1, keepdim=True) + 0.0 * x[:, 556:557]


@pytest.fixture(scope="module")
def humid_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pairs whose tendencies are in proportion to humidity, as ``Transformed`` says."""
    return _write_pairs(
        tmp_path_factory.mktemp("humid"),
        lambda name, before: (1e-6 if "q0" in name else 1e-3) * before["state_q0001"],
    )


@pytest.mark.parametrize("transform", ["exp", "log", "root", "zero spread"])
def test_an_order_that_gives_nan_or_infinity_has_no_skill(
    transform: str, humid_pairs: Path, tmp_path: Path
) -> None:
    found = _finding(_import(Transformed(transform), tmp_path, "host_v2_q", humid_pairs))
    assert "climsim_v2 not finite" in found
    assert "host_v2_q" in found
    declared_wrong = "not finite.*; in the order of host_v2_q or host_v2_rh all outputs are finite"
    with pytest.raises(GraphError, match=declared_wrong):
        _import(Transformed(transform), tmp_path, "climsim_v2", humid_pairs)
    with pytest.raises(GraphError, match=declared_wrong):
        import_package(tmp_path / "old.pt", ImportRequest("climsim_v2"), tmp_path / "other.pt")


class Asserts(nn.Module):
    """Stops at values that are not those of a gas."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x[:, 360:540] > 1.0).any()):
            raise ValueError("not a mixing ratio")
        q = x[:, 60:120]
        return (
            torch.cat([1e-3 * q, 1e-6 * q, 1e-6 * q, 1e-6 * q, 1e-3 * q, 1e-3 * q, q[:, :8]], dim=1)
            + 0.0 * x[:, 556:557]
        )


def test_an_order_on_which_the_graph_stops_has_no_skill(humid_pairs: Path, tmp_path: Path) -> None:
    assert "climsim_v2 not finite" in _finding(
        _import(Asserts(), tmp_path, "host_v2_q", humid_pairs)
    )


def test_too_few_columns_are_said(tmp_path: Path) -> None:
    from climlink.data.synthetic import write_dataset
    from climlink.wrappers.errors import ContractError

    folder = write_dataset(tmp_path / "few", ["0001-01-01-00000"], n_column=8, level_count=60)
    with pytest.raises(ContractError, match="the data have 8 columns; an import needs 16"):
        _import(FollowsFlux("host_v2_q"), tmp_path, "host_v2_q", folder)
