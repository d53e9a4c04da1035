"""The linear response through TorchScript: known matrices come back, derivatives are those of
differences, bad graphs are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.response import (
    CLOUD,
    PROGNOSTIC,
    LinearizedPackage,
    directional_error,
    mean_response,
)
from climlink.evaluation.stability.sensitivity import (
    by_variable,
    input_spread,
    sensitivity,
    share_from_above,
)
from climlink.evaluation.stability.states import given_column, read_pool, state_groups
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage


class Planted(nn.Module):
    """y = W x, or |W x| where kinked, as a host would load it."""

    def __init__(self, matrix: Tensor, kinked: bool = False) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.kinked = kinked

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.matrix.t()
        return y.abs() if self.kinked else y


class Constant(nn.Module):
    """Outputs that do not depend on the inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[0], 368)


@pytest.fixture(scope="session")
def linear(linear_package: EmulatorPackage) -> LinearizedPackage:
    return LinearizedPackage.load(linear_package)


def planted(linear: LinearizedPackage, module: nn.Module) -> LinearizedPackage:
    predictor = Predictor(linear.package)
    predictor.module = torch.jit.script(module.eval())
    return replace(linear, predictor=predictor)


def random_matrix(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(368, 557)).astype(np.float32)


def test_a_known_matrix_comes_back_for_every_column_and_batch(linear: LinearizedPackage) -> None:
    matrix = random_matrix()
    known = planted(linear, Planted(torch.from_numpy(matrix)))
    rows = np.random.default_rng(1).normal(size=(5, 557)).astype(np.float32)
    outputs = np.array([0, 59, 60, 367])
    for batch_rows in (1, 8, 1000):
        got = list(known.jacobians(rows, outputs, batch_rows))
        assert len(got) == 5
        for jacobian in got:
            np.testing.assert_array_equal(jacobian, matrix[outputs])
    response = mean_response(known, rows, (*PROGNOSTIC, *CLOUD))
    # Inputs and tendencies of T, q, liquid and ice both come first, in this order, in the host's
    # sets.
    np.testing.assert_allclose(response.mean, matrix[:240, :240], rtol=1e-7)
    assert response.each.shape == (5, 240, 240)


@pytest.mark.parametrize("input_set", ["host_v2_q", "host_v2_rh"])
def test_derivatives_are_those_of_differences(
    input_set: str,
    export_untrained: Callable[..., EmulatorPackage],
    synthetic_store: ColumnStore,
    tmp_path: Path,
) -> None:
    package = LinearizedPackage.load(export_untrained(input_set, tmp_path / "wrap_model.pt"))
    pool = read_pool(synthetic_store, package.inputs, "test")
    rows = pool.rows[8:14]
    spread = pool.spread(PROGNOSTIC)
    response = mean_response(package, rows, PROGNOSTIC)
    assert response.left_out == 0
    # Float32 outputs are differenced, so small steps cannot do better than this; large ones meet
    # clamps.
    assert directional_error(package, rows, PROGNOSTIC, response, spread, size=0.003) < 0.05
    wrong = replace(response, each=2.0 * response.each)
    assert directional_error(package, rows, PROGNOSTIC, wrong, spread, size=0.003) == pytest.approx(
        1.0, abs=0.1
    )
    state = package.state(rows, PROGNOSTIC)
    np.testing.assert_allclose(state[:, :60], pool.profiles["state_t"][8:14], rtol=1e-6)
    np.testing.assert_allclose(state[:, 60:], pool.profiles["state_q0001"][8:14], rtol=1e-5)


def test_the_ensemble_mean_smooths_kinks(linear: LinearizedPackage) -> None:
    kinked = planted(linear, Planted(torch.from_numpy(random_matrix(2)), kinked=True))
    rows = np.random.default_rng(3).normal(size=(64, 557)).astype(np.float32)
    response = mean_response(kinked, rows, PROGNOSTIC)
    single = np.abs(response.each[0]).mean()
    # Slopes of |w x| are +w or -w by chance, so their mean over 64 columns is about an eighth of
    # one of them.
    assert np.abs(response.mean).mean() == pytest.approx(single / 8.0, rel=0.25)


def test_a_graph_without_derivatives_is_refused(linear: LinearizedPackage) -> None:
    rows = np.ones((2, 557), dtype=np.float32)
    with pytest.raises(EvaluationError, match="no derivative with regard to its inputs"):
        mean_response(planted(linear, Constant()), rows, PROGNOSTIC)


def test_columns_without_finite_derivatives_are_left_out_and_counted(
    linear: LinearizedPackage,
) -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :368].sqrt()

    rows = np.ones((3, 557), dtype=np.float32)
    rows[1, 4] = 0.0
    response = mean_response(planted(linear, Root()), rows, PROGNOSTIC)
    assert response.left_out == 1
    np.testing.assert_allclose(np.diag(response.mean), 0.5)
    found = sensitivity(
        planted(linear, Root()), rows, np.ones(557), np.linspace(1.0, 1000.0, 60), 200.0
    )
    assert (found.columns, found.left_out) == (2, 1)
    rows[:, 4] = 0.0
    with pytest.raises(EvaluationError, match="none of 3 columns"):
        mean_response(planted(linear, Root()), rows, PROGNOSTIC)


def test_sensitivity_by_hand(linear: LinearizedPackage) -> None:
    matrix = np.zeros((368, 557), dtype=np.float32)
    matrix[30, 2] = 3.0  # ptend_t at level 30 from state_t at level 2
    matrix[31, 45] = 4.0  # ptend_t at level 31 from state_t at level 45
    matrix[367, 60] = 2.0  # the last scalar from state_q0001 at level 0
    known = planted(linear, Planted(torch.from_numpy(matrix)))
    known = replace(known, output_scale=np.full(368, 2.0))
    pressure = np.linspace(1.0, 1000.0, 60)
    rows = np.ones((4, 557), dtype=np.float32)
    found = sensitivity(known, rows, np.full(557, 10.0), pressure, 200.0)
    table = found.by_variable()
    t, last = linear.outputs.names.index("ptend_t"), len(linear.outputs.names) - 1
    assert table[t, 0] == pytest.approx(np.sqrt((15.0**2 + 20.0**2) / 60.0))
    assert table[last, linear.inputs.names.index("state_q0001")] == pytest.approx(10.0)
    assert np.count_nonzero(table) == 2
    assert found.share_from_above == pytest.approx(15.0**2 / (15.0**2 + 20.0**2))
    assert found.strongest("ptend_t", 1) == [("state_t", pytest.approx(table[t, 0]))]
    assert np.isnan(share_from_above(found.mean, linear.inputs, linear.outputs, pressure, 0.5))
    np.testing.assert_allclose(by_variable(found.mean, linear.inputs, linear.outputs), table)


def test_fill_values_do_not_count_as_spread() -> None:
    rows = np.array([[1.0, 1e30], [3.0, 0.2], [5.0, 0.4]], dtype=np.float32)
    np.testing.assert_allclose(input_spread(rows), [np.std([1, 3, 5]), 0.1], rtol=1e-6)
    np.testing.assert_array_equal(input_spread(np.full((2, 1), 1e30, dtype=np.float32)), [0.0])


def test_groups_part_the_tropics_by_moisture_and_the_rest_by_latitude(
    synthetic_store: ColumnStore, linear: LinearizedPackage
) -> None:
    pool = read_pool(synthetic_store, linear.inputs, "train")
    groups = {g.name: g.members for g in state_groups(pool, 1000)}
    assert sorted(groups) == [
        "midlatitudes_north",
        "midlatitudes_south",
        "polar_north",
        "polar_south",
        "tropics_dry",
        "tropics_middle",
        "tropics_moist",
    ]
    everything = np.concatenate(list(groups.values()))
    assert sorted(everything) == list(range(len(pool.rows)))
    assert pool.water[groups["tropics_dry"]].max() < pool.water[groups["tropics_moist"]].min()
    assert (pool.latitude[groups["polar_south"]] < -60.0).all()
    assert all(len(g.members) <= 3 for g in state_groups(pool, 3))
    np.testing.assert_array_equal(
        pool.rows[:, 60:120], pool.profiles["state_q0001"].astype(np.float32)
    )


def test_a_given_column_leads_its_neighbours(
    synthetic_store: ColumnStore, linear: LinearizedPackage
) -> None:
    pool = read_pool(synthetic_store, linear.inputs, "train")
    stamp = str(synthetic_store.stamps[-1])
    larger, group = given_column(synthetic_store, pool, linear.inputs, f"{stamp}:5", 4, 1)
    assert len(larger.rows) == len(pool.rows) + 1
    assert len(group.members) == 4
    assert len(pool.rows) in group.members
    np.testing.assert_array_equal(larger.rows[-1], synthetic_store.pack(linear.inputs, [3])[5])
    # A column of the pool itself is its own nearest neighbour.
    inside, same = given_column(
        synthetic_store, pool, linear.inputs, f"{synthetic_store.stamps[0]}:7", 2, 1
    )
    np.testing.assert_array_equal(inside.rows[same.members[0]], inside.rows[same.members[1]])
    for bad in ("0001-01-01-00000:5", f"{stamp}:24", stamp, "5"):
        with pytest.raises(EvaluationError, match="expected STAMP:COLUMN"):
            given_column(synthetic_store, pool, linear.inputs, bad, 4, 1)
