"""Stacks: they begin as the mean, learn what a convolution can know, do not leak between folds, and
run in a graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.ensembles.build import ensemble_emulator, equal_weights, write_ensemble
from climlink.ensembles.held_out import HeldOut, held_out
from climlink.ensembles.members import read_members
from climlink.ensembles.stack import (
    Columns,
    Stack,
    StackColumns,
    StackSettings,
    fit_columns,
    fit_stack,
)
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.wrappers.variable_sets import variable_set

Pair = tuple[EmulatorPackage, EmulatorPackage]
OUTPUTS = variable_set("net308", 8)
SETTINGS = StackSettings(folds=3, width=8, epochs=20, batch_size=50, learning_rate=1e-2)


def _columns(truth: Tensor, given: Tensor, folds: int = SETTINGS.folds) -> Columns:
    fold = torch.arange(len(truth)) * folds // len(truth)
    return Columns(given, truth, fold, torch.ones(truth.shape[1], dtype=torch.bool))


def _members(rows: int, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(rows, OUTPUTS.width, generator=generator)
    given = truth[:, None] + noise * torch.randn(rows, 2, OUTPUTS.width, generator=generator)
    return truth, given


def test_it_begins_as_the_mean() -> None:
    network = StackColumns(OUTPUTS, 2, 8)
    _, given = _members(5, 0.5)
    mean = given.double().mean(dim=1)
    assert torch.equal(Stack([network, network], 1.0)(given.double(), mean), mean)


def test_it_learns_which_member_is_wrong_where() -> None:
    # Member 1 is off by a constant: the mean by half of it. A convolution can take that away.
    truth, given = _members(150, 0.05)
    given[:, 1] += 1.0
    networks, share, scores = fit_columns(_columns(truth, given), OUTPUTS, SETTINGS)
    assert len(networks) == SETTINGS.folds
    assert share == 1.0
    assert scores["equal_weights"] == pytest.approx(1.0 - 0.25, abs=0.02)
    assert scores["out_of_fold"] > 0.95


def test_what_one_fold_alone_could_teach_is_not_credited() -> None:
    # Pure noise about the truth, few columns, a wide network and many passes: it fits what it has
    # seen better than the mean, and what it has not seen no better.
    truth, given = _members(24, 1.0)
    truth = truth + torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    settings = StackSettings(folds=2, width=32, epochs=60, batch_size=8, learning_rate=1e-2)
    columns = _columns(truth, given, settings.folds)
    networks, _, scores = fit_columns(columns, OUTPUTS, settings)
    seen = columns.fold != 0
    with torch.no_grad():
        fitted = given[seen].mean(dim=1) + networks[0](given[seen])
    inside = 1.0 - (fitted - truth[seen]).square().mean() / truth[seen].var()
    assert float(inside) > scores["equal_weights"] + 0.2
    assert scores["out_of_fold"] < scores["equal_weights"] + 0.1


def test_the_same_seed_gives_the_same_stack_and_leaves_random_numbers_alone() -> None:
    truth, given = _members(60, 0.5)
    settings = StackSettings(folds=2, width=4, epochs=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a = fit_columns(_columns(truth, given, 2), OUTPUTS, settings)[0]
    assert torch.equal(torch.get_rng_state(), before)
    b = fit_columns(_columns(truth, given, 2), OUTPUTS, settings)[0]
    for x, y in zip(a, b, strict=True):
        assert all(torch.equal(x.state_dict()[k], y.state_dict()[k]) for k in x.state_dict())
    other = StackSettings(folds=2, width=4, epochs=1, seed=8)
    c = fit_columns(_columns(truth, given, 2), OUTPUTS, other)[0]
    assert not torch.equal(a[0].inner[0].weight, c[0].inner[0].weight)


@pytest.mark.long
def test_a_stack_of_packages_runs_in_a_graph(
    pair: Pair, held_store: ColumnStore, host_rows: Tensor, tmp_path: Path
) -> None:
    members = read_members(pair)
    held: HeldOut = held_out(held_store, pair)
    settings = StackSettings(folds=2, width=4, epochs=1)
    stack, record = fit_stack(members, held, settings)
    assert record["fitted_on"]["count"] == 5
    assert record["fitted_on"]["first"] == str(held_store.stamps[2])
    # Not the share that noise chose: the networks must be seen to act.
    acting = Stack(list(stack.networks), 1.0)  # type: ignore[arg-type]
    made = write_ensemble(
        members,
        equal_weights(members),
        tmp_path / "stack.pt",
        name="stack",
        combination=acting,
        record=record,
    )
    graph = made.load()
    with torch.no_grad():
        rows, _ = graph.normalized_forward(host_rows)
        emulator = ensemble_emulator(members, equal_weights(members))
        mean, _ = emulator.normalized_forward(host_rows)
        given = emulator.network.member_rows(host_rows).float()  # type: ignore[operator]
        added = torch.stack([n(given) for n in acting.networks]).double().mean(dim=0)
    torch.testing.assert_close(rows, mean + added, rtol=0.0, atol=1e-5)  # float32 convolutions
    assert float(added.abs().max()) > 1e-3
    recorded = made.manifest.provenance.training["ensemble"]
    assert (recorded["kind"], recorded["fitted_on"]) == ("stack", record["fitted_on"])


@pytest.mark.long
def test_five_routes_of_a_stack_from_the_command_line(
    pair: Pair, held_store: ColumnStore, tmp_path: Path
) -> None:
    out = tmp_path / "stack.pt"
    line = ["ensemble", "stack", *(str(p.path) for p in pair), "--store", str(held_store.path)]
    run = CliRunner().invoke(app, [*line, "-o", str(out), "--folds", "2", "--epochs", "1"])
    assert run.exit_code == 0, run.output
    made = EmulatorPackage.read(out)
    assert verify(made).passed
    assert np.isfinite(made.golden_outputs).all()
