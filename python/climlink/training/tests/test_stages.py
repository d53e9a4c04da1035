"""Runs of several stages from outside: what each begins from, what is recorded, and that an
interruption at any moment changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from climlink.training import callbacks
from climlink.training.averaging import average_checkpoints
from climlink.training.callbacks import read_metrics
from climlink.training.checkpoint import load_checkpoint, read_checkpoint, run_progress
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import RunResult, train

Configure = Callable[..., TrainingConfig]
_LONG = pytest.mark.long
_STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}
"""Steps that float32 does not notice: a stage that ends where it began."""
_CUT = {"source": "cut", "every": 3}


def _train(config: TrainingConfig, **options: Any) -> RunResult:
    return train(config, progress=False, **options)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(path).emulator.state_dict()
    # Positions are no weights.
    return {k: v for k, v in state.items() if "network." in k and v.is_floating_point()}


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _timeless(result: RunResult) -> list[dict[str, str]]:
    lines = read_metrics(result.directory / "metrics.csv")
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.fixture
def staged(configure: Configure) -> Configure:
    """Return a function that configures three stages of two, one and two epochs: other losses,
    batches, schedules, averages.
    """

    def make(**fields: Any) -> TrainingConfig:
        stages = [
            {
                "name": "far",
                "epochs": 2,
                "loss": {"kind": "mae"},
                "averaging": {"kind": "ema", "decay": 0.7},
                "augment": {"input_noise": 0.05},
            },
            {"name": "near", "epochs": 1, "batch_size": 40, "start_from": "best"},
            {
                "name": "last",
                "epochs": 2,
                "optimizer": {"name": "SGD", "learning_rate": 0.05},
                "schedule": {"name": "StepLR", "arguments": {"step_size": 1}, "interval": "epoch"},
                "averaging": {"kind": "swa"},
            },
        ]
        return configure(**{"stages": stages, "validation": _CUT, **fields})

    return make


def test_metrics_and_progress_count_over_all_stages(staged: Configure) -> None:
    result = _train(staged())
    lines = read_metrics(result.directory / "metrics.csv")
    assert [line["epoch"] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line["stage"] for line in lines] == ["far", "far", "near", "last", "last"]
    # 4 times of 32 columns in batches of 24 and of 40; the last 8 are a batch of their own.
    assert [line["step"] for line in lines] == ["6", "12", "16", "22", "28"]
    assert [float(line["learning_rate"]) for line in lines[3:]] == [0.05, pytest.approx(0.005)]
    assert result.epochs == 5
    assert str(run_progress(result.directory)) == "5 of 5 epochs"
    assert run_progress(result.directory).finished
    skills = [float(line["skill"]) for line in lines]
    best = load_checkpoint(result.checkpoint)
    assert best.path.name == "best.ckpt"
    assert best.epochs == 1 + skills.index(max(skills))
    assert best.record.progress.best_skill == max(skills)


@pytest.mark.parametrize("stop", [1, pytest.param(2, marks=_LONG), 3, pytest.param(4, marks=_LONG)])
def test_a_run_stopped_after_any_epoch_goes_on_as_if_it_had_not_been(
    staged: Configure, tmp_path: Path, whole: RunResult, stop: int
) -> None:
    config = staged(output=tmp_path / "parts")
    assert _train(config, stop_after=stop).epochs == stop
    assert str(run_progress(config.run_directory)) == f"{stop} of 5 epochs"
    assert not run_progress(config.run_directory).finished
    parts = _train(config, resume=True)
    _require_same(whole, parts)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the uninterrupted run of this file is kept."""
    return tmp_path_factory.mktemp("uninterrupted")


@pytest.fixture
def whole(staged: Configure, whole_folder: Path) -> RunResult:
    """Return the uninterrupted run; it is trained once."""
    return _train(staged(output=whole_folder / "run"), resume=True)


def _require_same(whole: RunResult, parts: RunResult) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        one, two = (_weights(r.directory / "checkpoints" / name) for r in (whole, parts))
        assert _equal(one, two)
    assert _timeless(whole) == _timeless(parts)
    assert not list(parts.directory.rglob("*.part"))


# A checkpoint is written to a file beside, copied, and renamed: the run dies at any of these.
@pytest.mark.parametrize("epoch", [3, *(pytest.param(n, marks=_LONG) for n in (1, 2, 5))])
@pytest.mark.parametrize("dies_at", ["best.ckpt", "last.ckpt"])
def test_a_run_that_dies_while_it_writes_goes_on_as_if_it_had_not(
    staged: Configure,
    tmp_path: Path,
    whole: RunResult,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    dies_at: str,
) -> None:
    config = staged(output=tmp_path / "parts")
    replacing = callbacks.replacing
    written: list[str] = []

    @contextmanager
    def dying(path: Path) -> Any:
        with replacing(path) as beside:
            yield beside
            if path.name == dies_at:
                written.append(path.name)
                if len(read_metrics(config.run_directory / "metrics.csv")) >= epoch:
                    raise RuntimeError("killed")

    monkeypatch.setattr(callbacks, "replacing", dying)
    try:
        _train(config)
        died = False
    except RuntimeError:
        died = True
    assert died or dies_at == "best.ckpt"  # no better skill was left to keep
    monkeypatch.undo()
    _require_same(whole, _train(config, resume=True))


@pytest.mark.parametrize(("start", "kept"), [("last", "last.ckpt"), ("best", "best.ckpt")])
def test_a_stage_begins_from_what_the_one_before_left(
    configure: Configure, tmp_path: Path, start: str, kept: str
) -> None:
    # Uphill: the first epoch is the best.
    first = {
        "epochs": 3,
        "optimizer": {"learning_rate": 1e-3, "arguments": {"maximize": True}},
        "schedule": {"name": None},
        "averaging": {"kind": "ema", "decay": 0.9},
    }
    fields = {"validation": _CUT}
    alone = _train(configure(output=tmp_path / "alone", **first, **fields))
    checkpoints = alone.directory / "checkpoints"
    assert not _equal(_weights(checkpoints / "last.ckpt"), _weights(checkpoints / "best.ckpt"))
    stages = [
        {"name": "one", **first},
        {"name": "two", "epochs": 1, "optimizer": _STILL, "start_from": start},
    ]
    both = _train(configure(output=tmp_path / "both", stages=stages, **fields))
    assert _equal(
        _weights(both.directory / "checkpoints" / "last.ckpt"), _weights(checkpoints / kept)
    )


def test_a_group_of_outputs_is_tuned_and_the_others_stay(
    configure: Configure, tmp_path: Path
) -> None:
    linear = {"architecture": {"name": "linear"}, "optimizer": {"weight_decay": 0.0}}
    group = {"name": "group", "loss": {"outputs": ["ptend_t", "cam_out_PRECC"]}}
    stages = [{"name": "all"}, group]
    config = configure(epochs=1, stages=stages, output=tmp_path / "run", **linear)
    before = _weights(_train(config, stop_after=1).directory / "checkpoints" / "last.ckpt")
    after = _weights(_train(config, resume=True).directory / "checkpoints" / "last.ckpt")
    outputs = load_checkpoint(config.run_directory).contract.network_outputs
    # Weights and biases of an output lie in rows of their own.
    rows = [(before[k] != after[k]).flatten(1).any(1) for k in after if after[k].ndim > 1]
    names = {v.name for v in outputs.variables if bool(rows[0][outputs.slice(v.name)].any())}
    assert names == {"ptend_t", "cam_out_PRECC"}


def test_steps_end_a_stage_within_an_epoch_and_the_schedule_with_it(configure: Configure) -> None:
    fields = {"schedule": {"name": "PolynomialLR", "warmup_fraction": 0}, "validation": _CUT}
    result = _train(configure(epochs=9, max_steps=8, **fields))
    lines = read_metrics(result.directory / "metrics.csv")
    assert [line["step"] for line in lines] == ["6", "8"]
    assert float(lines[-1]["learning_rate"]) == pytest.approx(3e-3 / 8)
    assert lines[-1]["skill"] != ""
    progress = run_progress(result.directory)
    assert (str(progress), progress.finished) == ("2 of 2 epochs", True)


def test_tensorboard_has_the_numbers_of_metrics_also_after_an_interruption(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(validation=_CUT)
    _train(config, stop_after=1)
    result = _train(config, resume=True)
    board = EventAccumulator(str(result.directory / "tensorboard")).Reload()
    lines = read_metrics(result.directory / "metrics.csv")
    for name in ("train_loss", "skill", "r2_ptend_t", "learning_rate"):
        told = [(event.step, event.value) for event in board.Scalars(name)]
        # TensorBoard keeps float32.
        assert told == [(int(x["epoch"]), pytest.approx(float(x[name]), rel=1e-6)) for x in lines]
    quiet = _train(configure(output=tmp_path / "quiet", tensorboard=False, epochs=1))
    assert not (quiet.directory / "tensorboard").exists()


def test_kept_checkpoints_are_the_newest_and_their_mean_is_a_checkpoint(
    configure: Configure, tmp_path: Path
) -> None:
    result = _train(configure(epochs=4, keep_checkpoints=3))
    folder = result.directory / "checkpoints"
    kept = sorted(folder.glob("epoch_*.ckpt"))
    assert [p.name for p in kept] == ["epoch_2.ckpt", "epoch_3.ckpt", "epoch_4.ckpt"]
    assert _equal(_weights(kept[-1]), _weights(folder / "last.ckpt"))
    averaged = average_checkpoints(kept, tmp_path / "mean.ckpt")
    parts, mean = [_weights(p) for p in kept], _weights(averaged)
    for name, value in mean.items():
        exact = sum(part[name].to(torch.float64) for part in parts) / 3
        torch.testing.assert_close(value, exact.to(torch.float32), rtol=0, atol=0)
    record = load_checkpoint(averaged).record
    assert (record.progress.epochs, record.averaged) == (4, [str(p) for p in kept])
    # What is the same in all is not touched by the mean.
    rest = [k for k in read_checkpoint(kept[0])[0]["state_dict"] if k[9:] not in mean]
    states = [read_checkpoint(p)[0]["state_dict"] for p in (kept[0], averaged)]
    assert rest
    assert all(torch.equal(states[0][k], states[1][k]) for k in rest)


def test_a_mean_of_other_networks_is_refused(configure: Configure, tmp_path: Path) -> None:
    a = _train(configure(epochs=1, output=tmp_path / "a")).checkpoint
    b = _train(configure(epochs=1, output=tmp_path / "b", seed=9)).checkpoint
    with pytest.raises(TrainingError, match=r"differ in seed \(7 and 9\).*ensemble mean"):
        average_checkpoints([a, b], tmp_path / "c.ckpt")
    with pytest.raises(TrainingError, match="at least two checkpoints, got 1"):
        average_checkpoints([a], tmp_path / "c.ckpt")
    with pytest.raises(TrainingError, match="no checkpoint here"):
        average_checkpoints([a, tmp_path / "none.ckpt"], tmp_path / "c.ckpt")
    assert not (tmp_path / "c.ckpt").exists()


def test_starting_again_leaves_nothing_of_the_old_run(staged: Configure) -> None:
    config = staged(keep_checkpoints=2)
    _train(config, stop_after=3)
    old = {p.name for p in (config.run_directory / "checkpoints").iterdir()}
    assert old == {"last.ckpt", "best.ckpt", "epoch_2.ckpt", "epoch_3.ckpt", "start_near.ckpt"}
    shorter = load_training(
        config, {"stages": [{"name": "only", "epochs": 1}], "tensorboard": False}
    )
    result = _train(shorter, overwrite=True)
    assert {p.name for p in (result.directory / "checkpoints").iterdir()} == {
        "last.ckpt",
        "best.ckpt",
        "epoch_1.ckpt",
    }
    assert not (result.directory / "tensorboard").exists()
    assert [line["stage"] for line in read_metrics(result.directory / "metrics.csv")] == ["only"]


def test_another_stage_is_another_configuration(staged: Configure) -> None:
    config = staged()
    _train(config, stop_after=1)
    stages = [s.model_dump(exclude_unset=True) for s in config.stages]
    stages[2]["epochs"] = 3
    with pytest.raises(TrainingError, match=r"cannot resume .* with another configuration: stages"):
        _train(staged(stages=stages), resume=True)
    shutil.copytree(config.run_directory, config.run_directory.with_name("copy"))
    again = staged(output=config.run_directory.with_name("copy"), tensorboard=False, threads=None)
    assert _train(again, resume=True, stop_after=2).epochs == 2
