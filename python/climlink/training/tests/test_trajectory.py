"""Trajectories: errors against an explicit integration, cut gradients, and which steps make one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from climlink.architectures import build
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_training_run
from climlink.training.callbacks import read_metrics
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train
from climlink.training.trajectory.config import TrajectoryConfig
from climlink.training.trajectory.rollout import MeanTendencyErrors, Rollout, Sequence
from climlink.training.trajectory.sequences import (
    TrajectoryBatches,
    consecutive_runs,
    read_sequence,
)
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_FIRST = Stamp.parse("0001-02-28-82800")
_STAMPS = tuple(_FIRST.plus(1200 * n) for n in (0, 1, 2, 3, 4, 6, 7, 8))
"""Eight steps over a month's end, the sixth of nine missing."""
_STEP_S = 1200.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return a store of columns of sixteen levels with a gap in time."""
    folder = tmp_path_factory.mktemp("steps")
    write_training_run(folder / "pairs", _STAMPS, case="c", n_column=5, level_count=16)
    prepare(folder / "pairs", folder / "store.zarr", split=Split())
    return ColumnStore.open(folder / "store.zarr")


@pytest.fixture(scope="module")
def emulator(store: ColumnStore) -> WrappedEmulator:
    """Return a linear emulator fitted to the store, with all constraints."""
    config = TrainingConfig.model_validate(
        {"name": "a", "store": store.path, "epochs": 1, "architecture": {"name": "linear"}}
    )
    contract = config.contract(store.hybrid, store.time_step_s)
    torch.manual_seed(3)
    network = build("linear", {}, contract.network_shape)
    return WrappedEmulator(contract, network).fit(compute_statistics(store)).eval()


def _answers(emulator: WrappedEmulator, rows: Tensor) -> Tensor:
    with torch.no_grad():
        network_rows, _ = emulator.normalized_forward(rows)
        return emulator.constrain(rows, network_rows)


def _own_sequence(store: ColumnStore, emulator: WrappedEmulator, steps: int) -> Sequence:
    """Return recorded columns with the emulator's own answers as what was recorded."""
    inputs = read_sequence(store, emulator.contract, range(steps)).inputs
    return Sequence(inputs, torch.stack([_answers(emulator, x) for x in inputs]).to(torch.float32))


def test_an_emulator_that_equals_the_physics_stays_on_the_recorded_track(
    store: ColumnStore, emulator: WrappedEmulator
) -> None:
    sequence = _own_sequence(store, emulator, 4)
    with torch.no_grad():
        errors, _ = Rollout(emulator.contract).errors(emulator, sequence)
    scale = emulator.contract.inputs.slice("state_t")
    # float32 of the recorded answers: 6e-8 of a tendency, times 1200 s
    assert max(float(e[:, scale].abs().max()) for e in errors) < 1e-5


def test_errors_are_those_of_an_explicit_integration(
    store: ColumnStore, emulator: WrappedEmulator
) -> None:
    sequence = read_sequence(store, emulator.contract, range(4))
    with torch.no_grad():
        errors, _ = Rollout(emulator.contract).errors(emulator, sequence)
    inputs, outputs = emulator.contract.inputs, emulator.contract.outputs
    names = ("t", "q0001", "q0002", "q0003", "u", "v")
    x = sequence.inputs.to(torch.float64).numpy()
    recorded = sequence.outputs.to(torch.float64).numpy()
    y = x[0].copy()
    for step in range(3):
        f = _answers(emulator, torch.from_numpy(y).to(torch.float32)).numpy()
        following = x[step + 1].copy()
        for name in names:
            state, moved = inputs.slice(f"state_{name}"), outputs.slice(f"ptend_{name}")
            dynamics = (
                x[step + 1][:, state] - x[step][:, state] - _STEP_S * recorded[step][:, moved]
            )
            following[:, state] = y[:, state] + _STEP_S * f[:, moved] + dynamics
        for name in names:
            state = inputs.slice(f"state_{name}")
            np.testing.assert_allclose(
                errors[step].numpy()[:, state],
                (following - x[step + 1])[:, state],
                rtol=1e-7,
                atol=1e-5 if name in "tuv" else 1e-9,  # x + e - x, and float32 rows in between
            )
            if name.startswith("q"):
                following[:, state] = following[:, state].clip(min=0.0)
        y = following


def test_gradients_are_cut(store: ColumnStore, emulator: WrappedEmulator) -> None:
    sequence = read_sequence(store, emulator.contract, range(3))
    rollout = Rollout(emulator.contract)
    temperature = emulator.contract.inputs.slice("state_t")

    def gradient(truncate: int | None) -> Tensor:
        emulator.zero_grad()
        errors, _ = rollout.errors(emulator, sequence, truncate)
        errors[1][:, temperature].sum().backward()
        weight = next(emulator.network.parameters())
        assert weight.grad is not None
        return weight.grad.clone()

    # By hand: the second step alone, from the state that the first left.
    with torch.no_grad():
        first, _ = rollout.errors(emulator, Sequence(*(a[:1] for a in sequence)))
    emulator.zero_grad()
    rows = (sequence.inputs[1].to(torch.float64) + first[0]).to(torch.float32)
    for name in ("state_q0001", "state_q0002", "state_q0003"):
        rows[:, emulator.contract.inputs.slice(name)] = rows[
            :, emulator.contract.inputs.slice(name)
        ].clamp(min=0.0)
    network_rows, _ = emulator.normalized_forward(rows)
    heating = emulator.constrain(rows, network_rows)[:, emulator.contract.outputs.slice("ptend_t")]
    (_STEP_S * heating).sum().backward()
    weight = next(emulator.network.parameters())
    assert weight.grad is not None
    alone = weight.grad.clone()
    # the same sums in another order, float32
    torch.testing.assert_close(gradient(1), alone, rtol=1e-5, atol=1e-5 * float(alone.abs().max()))
    assert not torch.allclose(gradient(None), alone, rtol=1e-3)


def test_one_step_is_the_error_of_a_single_step(
    store: ColumnStore, emulator: WrappedEmulator
) -> None:
    sequence = read_sequence(store, emulator.contract, range(1))
    rollout = Rollout(emulator.contract)
    with torch.no_grad():
        errors, outputs = rollout.errors(emulator, sequence)
    difference = outputs[0] - sequence.outputs[0]
    rows = MeanTendencyErrors(rollout, emulator)(errors[0], difference, 1)
    own, host = emulator.contract.network_outputs, emulator.contract.outputs
    scale = emulator.normalization.output_scale
    for name in ("ptend_t", "ptend_u", "cam_out_FLWDS"):
        expected = difference[:, host.slice(name)] / scale[own.slice(name)]
        torch.testing.assert_close(
            rows[:, own.slice(name)], expected.to(torch.float32), rtol=1e-5, atol=1e-6
        )


def test_later_steps_are_scored_by_the_mean_tendency(
    store: ColumnStore, emulator: WrappedEmulator
) -> None:
    sequence = read_sequence(store, emulator.contract, range(3))
    rollout = Rollout(emulator.contract)
    with torch.no_grad():
        errors, outputs = rollout.errors(emulator, sequence)
    rows = MeanTendencyErrors(rollout, emulator)(errors[2], outputs[2] - sequence.outputs[2], 3)
    own, inputs = emulator.contract.network_outputs, emulator.contract.inputs
    scale = emulator.normalization.output_scale
    liquid, ice = (errors[2][:, inputs.slice(f"state_q000{k}")] for k in (2, 3))
    for name, error in (
        ("ptend_v", errors[2][:, inputs.slice("state_v")]),
        ("ptend_qn", liquid + ice),
    ):
        expected = error / (3 * _STEP_S) / scale[own.slice(name)]
        torch.testing.assert_close(rows[:, own.slice(name)], expected.to(torch.float32))


def test_runs_end_at_gaps(store: ColumnStore) -> None:
    runs = consecutive_runs(store, np.arange(8))
    assert [r.tolist() for r in runs] == [[0, 1, 2, 3, 4], [5, 6, 7]]


@pytest.mark.parametrize("limit", [1e9, 1.0])
def test_batches_are_consecutive_columns(
    store: ColumnStore, emulator: WrappedEmulator, limit: float
) -> None:
    def batches() -> TrajectoryBatches:
        return TrajectoryBatches(
            store,
            emulator.contract,
            np.arange(8),
            steps=3,
            windows=2,
            columns=4,
            memory_limit_bytes=limit,
        )

    drawn = list(batches().draw(torch.Generator().manual_seed(5)))
    again = list(batches().draw(torch.Generator().manual_seed(5)))
    assert len(drawn) == len(batches()) > 1
    every = read_sequence(store, emulator.contract, np.arange(8))
    for batch, same in zip(drawn, again, strict=True):
        assert batch.inputs.shape[:2] == (3, 4)
        assert torch.equal(batch.inputs, same.inputs)
        for column in range(4):
            place = [
                (start, c)
                for start in (0, 1, 2, 5)
                for c in range(5)
                if torch.equal(every.inputs[start : start + 3, c], batch.inputs[:, column])
                and torch.equal(every.outputs[start : start + 3, c], batch.outputs[:, column])
            ]
            assert len(place) == 1


def test_what_cannot_be_a_trajectory(
    store: ColumnStore, emulator: WrappedEmulator, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="the longest run has 5"):
        TrajectoryBatches(
            store,
            emulator.contract,
            np.arange(8),
            steps=6,
            windows=1,
            columns=1,
            memory_limit_bytes=1e9,
        )
    config = TrainingConfig.model_validate(
        {
            "name": "a",
            "store": store.path,
            "epochs": 1,
            "architecture": {"name": "linear"},
            "input_set": "host_v6_q",
            "network_input_set": "net_v6_mc",
        }
    )
    with pytest.raises(TrainingError, match="inputs of earlier steps"):
        Rollout(config.contract(store.hybrid, store.time_step_s))
    with pytest.raises(ValueError, match="beyond steps"):
        TrajectoryConfig(steps=3, truncate=4)


def test_a_stage_trains_through_recorded_steps(store: ColumnStore, tmp_path: Path) -> None:
    config = {
        "name": "a",
        "store": str(store.path),
        "output": str(tmp_path / "run"),
        "architecture": {"name": "linear"},
        "batch_size": 6,
        "epochs": 2,
        "stages": [
            {"name": "steps", "epochs": 1},
            {
                "name": "trajectory",
                "epochs": 8,
                "trajectory": {"steps": 3, "truncate": 2, "windows": 2},
                "optimizer": {"learning_rate": 0.003},
            },
        ],
    }
    result = train(TrainingConfig.model_validate(config), progress=False)
    losses = [float(line["train_loss"]) for line in read_metrics(result.directory / "metrics.csv")]
    assert losses[-1] < 0.9 * losses[1]  # of the trajectory alone
    again = {**config, "output": str(tmp_path / "again")}
    train(TrainingConfig.model_validate(again), progress=False, stop_after=4)
    resumed = train(TrainingConfig.model_validate(again), progress=False, resume=True)
    first, second = (load_checkpoint(r.directory).emulator for r in (result, resumed))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"loss": {"host_outputs": ["ptend_q0002"]}}, "not by host_outputs"),
        ({"batch_size": 2}, "give at least 3"),
        ({"augment": {"mirror_winds": True}}, "augment"),
        ({"trajectory": {"steps": 73}}, "72"),
    ],
)
def test_what_a_trajectory_stage_cannot_have(
    store: ColumnStore, tmp_path: Path, stage: dict[str, Any], message: str
) -> None:
    config = {
        "name": "a",
        "store": str(store.path),
        "output": str(tmp_path / "run"),
        "architecture": {"name": "linear"},
        "trajectory": {"steps": 3, "truncate": 3},
        "batch_size": 8,
        "epochs": 1,
        **stage,
    }
    with pytest.raises((TrainingError, ValueError), match=message):
        train(TrainingConfig.model_validate(config), progress=False)
