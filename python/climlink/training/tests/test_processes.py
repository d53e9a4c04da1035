"""Several processes: who starts them, on what, and that they compute what one alone computes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from climlink.training.assembly import assemble
from climlink.training.callbacks import read_metrics
from climlink.training.checkpoint import load_checkpoint, run_progress
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.processes import Processes, environment_of, processes_of
from climlink.training.run import train
from climlink.training.validation import HeldOutTimes

Configure = Callable[..., TrainingConfig]


@pytest.mark.parametrize(
    ("fields", "gpus", "expected"),
    [
        ({"device": "auto"}, 0, Processes("cpu", 1, 1)),
        ({"device": "auto"}, 4, Processes("gpu", 1, 1)),
        ({"device": "cuda", "devices": 4, "nodes": 2}, 4, Processes("gpu", 4, 2)),
        ({"device": "auto", "devices": "auto"}, 8, Processes("gpu", 8, 1)),
        ({"device": "auto", "devices": "auto"}, 0, Processes("cpu", 1, 1)),
        ({"device": "cpu", "devices": 3}, 4, Processes("cpu", 3, 1)),
    ],
)
def test_a_run_gets_the_devices_that_it_asks_for(
    configure: Configure, fields: dict[str, Any], gpus: int, expected: Processes
) -> None:
    assert processes_of(configure(**fields), gpus) == expected


@pytest.mark.parametrize(
    ("fields", "gpus", "message"),
    [
        ({"device": "cuda"}, 0, "torch sees no GPU here; set device: cpu"),
        ({"device": "cuda", "devices": 3}, 2, "devices is 3, but torch sees 2 GPU"),
        ({"device": "auto", "precision": "16-mixed"}, 0, "16-mixed needs a GPU"),
    ],
)
def test_devices_that_are_not_there_are_told(
    configure: Configure, fields: dict[str, Any], gpus: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        processes_of(configure(**fields), gpus)


_SRUN = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train"}
_TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    ("processes", "environ", "kind"),
    [
        # A batch script or an interactive shell of Slurm is no start by srun, and one process never
        # looks for others: not by MPI either.
        (Processes("cpu", 1, 1), {}, LightningEnvironment),
        (Processes("gpu", 1, 1), _SRUN, LightningEnvironment),
        (Processes("gpu", 4, 2), _SRUN, SLURMEnvironment),
        (Processes("gpu", 4, 2), _TORCHRUN, TorchElasticEnvironment),
        (Processes("gpu", 4, 1), {"SLURM_NTASKS": "4"}, None),
        (Processes("gpu", 4, 1), {"SLURM_STEP_NUM_TASKS": "1"}, None),
        (Processes("gpu", 4, 1), {"OMPI_COMM_WORLD_SIZE": "4"}, None),
    ],
)
def test_who_starts_the_processes_is_told_by_the_environment(
    processes: Processes, environ: dict[str, str], kind: type | None
) -> None:
    found = environment_of(processes, environ)
    assert type(found) is (kind or type(None))


@pytest.mark.parametrize(
    ("processes", "environ", "message"),
    [
        (Processes("gpu", 4, 1), _SRUN, r"srun started 8 processes, but .* 1 node\(s\) x 4 .* = 4"),
        (Processes("gpu", 2, 2), _TORCHRUN, "torchrun started 8 processes"),
        (Processes("gpu", 4, 2), {}, "nodes is 2: start one process per device with srun or torch"),
    ],
)
def test_other_numbers_than_were_started_are_refused(
    processes: Processes, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        environment_of(processes, environ)


class _Rank:
    """A stand-in for Lightning's trainer in one of several processes."""

    current_epoch = 0

    def __init__(self, rank: int, world: int) -> None:
        self.global_rank, self.world_size = rank, world


def test_weighted_means_of_the_shares_are_the_loss_and_gradient_of_the_whole_batch(
    configure: Configure,
) -> None:
    """What DDP averages over three processes, whose shares of a batch are not the same size."""
    parts = assemble(configure(batch_size=25).resolved())
    stage = parts.stages[0]
    module = parts.module(stage, None)
    network = module.emulator.network
    found: list[list[tuple[float, torch.Tensor]]] = []
    for rank, world in ((0, 1), (0, 3), (1, 3), (2, 3)):
        stage.data.trainer = _Rank(rank, world)  # type: ignore[assignment]
        steps = []
        for n, batch in enumerate(stage.data.train_dataloader()):
            network.zero_grad()
            loss = module.objective(module.emulator, batch) * stage.data.share_weight(n)
            loss.backward()
            gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            steps.append((float(loss.detach()), torch.cat(gradients)))
        found.append(steps)
    whole, *shares = found
    assert len(whole) == 8  # 192 columns, the last batch of 17 in shares of 6, 6 and 5
    for one, of_processes in zip(whole, zip(*shares, strict=True), strict=True):
        # float32 sums of some thousand terms in another order
        assert sum(s[0] for s in of_processes) / 3 == pytest.approx(one[0], rel=1e-5)
        mean = torch.stack([s[1] for s in of_processes]).mean(dim=0)
        torch.testing.assert_close(mean, one[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_every_held_out_column_is_scored_once_by_however_many_processes(
    configure: Configure, world: int
) -> None:
    parts = assemble(configure(validation={"source": "cut", "every": 3}).resolved())
    times = parts.stages[0].data.held_out
    assert len(times) == 2  # fewer than processes
    shares = [
        HeldOutTimes(parts.store, parts.record.contract, times, rank=rank, world=world)
        for rank in range(world)
    ]
    batches = [list(share) for share in shares]
    assert [len(b) for b in batches] == [len(s) for s in shares]
    assert all(batches)  # none without a batch: all take part in every step
    rows = torch.cat([b.rows for of_process in batches for b in of_process])
    expected = torch.from_numpy(parts.store.pack(parts.record.contract.inputs, times))
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))
    truth = torch.cat([b.truth for of_process in batches for b in of_process])
    assert truth.dtype == torch.float64
    assert truth.shape == (64, parts.record.contract.outputs.width)


@pytest.mark.long
def test_two_processes_give_the_loss_curve_of_one(configure: Configure, tmp_path: Path) -> None:
    fields = {
        "epochs": 3,
        "batch_size": 25,
        "validation": {"source": "cut", "every": 3},
        "averaging": {"kind": "ema", "decay": 0.9},
    }
    one = train(configure(output=tmp_path / "one", **fields), progress=False)
    config = configure(output=tmp_path / "two", devices=2, **fields)
    train(config, progress=False, stop_after=1)
    two = train(config, progress=False, resume=True)
    lines = [read_metrics(r.directory / "metrics.csv") for r in (one, two)]
    for a, b in zip(*lines, strict=True):
        assert a["step"] == b["step"]
        # float32 sums of gradients in another order, over a few dozen steps
        for name in ("train_loss", "skill", "r2_ptend_t"):
            assert float(b[name]) == pytest.approx(float(a[name]), rel=1e-5), name
    states = [load_checkpoint(r.directory).emulator.state_dict() for r in (one, two)]
    for name, value in states[0].items():
        # AdamW divides by the size of the gradient: where that is nearly zero, rounding is not.
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=2e-5)
    # A process that fails ends all, and says what it said.
    with pytest.raises(TrainingError, match=r"process \d of 2: .*already holds a run"):
        train(config, progress=False)
    diverging = configure(
        output=tmp_path / "three", devices=2, optimizer={"learning_rate": 1e30}, epochs=1
    )
    with pytest.raises(TrainingError, match=r"process \d of 2: .*the loss is (nan|inf) in epoch 1"):
        train(diverging, progress=False)


_MAIN = """
import sys
from climlink.training.config import TrainingConfig
from climlink.training.run import train

if __name__ == "__main__":
    config = TrainingConfig.model_validate_json(open(sys.argv[1], encoding="utf-8").read())
    train(config, progress=False, resume=True)
"""


@pytest.mark.long
def test_a_run_killed_at_some_moment_goes_on_as_if_it_had_not_been(
    configure: Configure, tmp_path: Path
) -> None:
    """Killed from outside, three times, wherever it stands then."""
    import subprocess
    import time

    fields = {"epochs": 60, "validation": {"source": "cut"}, "averaging": {"kind": "ema"}}
    whole = train(configure(output=tmp_path / "whole", **fields), progress=False)
    config = configure(output=tmp_path / "killed", **fields)
    (tmp_path / "main.py").write_text(_MAIN, encoding="utf-8")
    (tmp_path / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "config.json")]
    metrics = config.run_directory / "metrics.csv"
    for epochs in (5, 20, 40):
        child = subprocess.Popen(command)
        while child.poll() is None:
            if metrics.exists() and len(read_metrics(metrics)) >= epochs:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            time.sleep(0.01)
        assert child.returncode == -signal.SIGKILL
        assert not run_progress(config.run_directory).finished
    killed = train(config, progress=False, resume=True)
    states = [load_checkpoint(r.directory).emulator.state_dict() for r in (whole, killed)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert [x["skill"] for x in read_metrics(whole.directory / "metrics.csv")] == [
        x["skill"] for x in read_metrics(metrics)
    ]
