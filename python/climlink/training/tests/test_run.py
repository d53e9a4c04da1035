"""Training runs from outside, on small synthetic stores whose tendencies follow from the state by a
linear rule.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from climlink import progress
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics, read_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.signals import Interrupted
from climlink.training import data as training_data
from climlink.training.augment import Augmentation
from climlink.training.callbacks import MetricsFile, read_metrics
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.loader import ColumnLoader
from climlink.training.mirror import Mirror
from climlink.training.module import ColumnTraining
from climlink.training.run import RunResult, train
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import variable

_STAMPS = tuple(f"0008-{month:02d}-11-03600" for month in range(1, 4))
_LEVELS = 16


def _train(config: TrainingConfig, **options: Any) -> RunResult:
    return train(config, progress=False, **options)


def _weights(result: RunResult) -> dict[str, torch.Tensor]:
    return load_checkpoint(result.checkpoint).emulator.state_dict()


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_learns_and_records_itself(configure: Callable[..., TrainingConfig]) -> None:
    config = configure(
        epochs=40,
        architecture={"name": "linear"},
        optimizer={"learning_rate": 1e-2},
        validation={"source": "store"},
    )
    result = _train(config)
    lines = read_metrics(result.directory / "metrics.csv")
    assert [int(line["epoch"]) for line in lines] == list(range(1, 41))
    assert float(lines[-1]["train_loss"]) < 0.8 * float(lines[0]["train_loss"])
    assert float(lines[-1]["r2_ptend_t"]) > 0.5
    assert result.checkpoint.name == "best.ckpt"
    assert result.epochs == 40
    recorded = TrainingConfig.model_validate(load_checkpoint(result.directory).record.training)
    assert recorded == config.resolved()
    assert not list(result.directory.rglob("*.part"))


def test_the_checkpoint_is_a_wrapped_emulator_with_its_provenance(
    configure: Callable[..., TrainingConfig], store_path: Path
) -> None:
    trained = load_checkpoint(_train(configure(seed=5)).directory)
    store = ColumnStore.open(store_path)
    rows = torch.from_numpy(store.pack(trained.contract.inputs, store.indices("test")))
    with torch.no_grad():
        y = trained.emulator(rows)
    assert y.shape == (32, trained.contract.outputs.width)
    assert bool(torch.isfinite(y).all())
    record = trained.record
    assert (record.seed, record.data_digest) == (5, store.digest)
    assert (
        record.statistics_digest
        == compute_statistics(store).digest
        == read_statistics(trained.path.parents[1] / "statistics.nc").digest
    )
    assert record.architecture_configuration["hidden"] == [24]
    snow = record.training_ranges["cam_in_SNOWHICE"]
    assert snow[1][0] < 1e20
    assert len(record.difference_scale["ptend_q0002"]) == _LEVELS
    assert not trained.emulator.training
    assert trained.epochs == 2


def test_same_seed_same_weights_other_seed_other_weights(
    configure: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    runs = [
        _weights(_train(configure(seed=seed, output=tmp_path / str(i))))
        for i, seed in enumerate((3, 3, 4))
    ]
    assert _equal(runs[0], runs[1])
    assert not _equal(runs[0], runs[2])


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"averaging": {"kind": "ema", "decay": 0.8}},
        {"averaging": {"kind": "swa", "start": 0.3}, "schedule": {"name": "ConstantLR"}},
        {
            "schedule": {
                "name": "ReduceLROnPlateau",
                "arguments": {"patience": 0, "factor": 0.5, "threshold": 10.0},
                "interval": "epoch",
            }
        },
        {"augment": {"input_noise": 0.1, "mirror_winds": True}, "gradient_clip": 0.5},
        {
            "schedule": {"name": "OneCycleLR", "warmup_fraction": 0},
            "optimizer": {"name": "RMSprop", "arguments": {"momentum": 0.5}},
        },
    ],
    ids=["plain", "ema", "swa", "plateau", "augment", "one cycle"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    configure: Callable[..., TrainingConfig], tmp_path: Path, changed: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {**changed, "epochs": 3, "validation": {"source": "cut", "every": 3}}
    whole = _train(configure(output=tmp_path / "whole", **fields))
    config = configure(output=tmp_path / "parts", **fields)
    assert _train(config, stop_after=1).epochs == 1
    parts = _train(config, resume=True)
    assert parts.epochs == 3
    for name in ("last.ckpt", "best.ckpt"):
        files = [load_checkpoint(r.directory / "checkpoints" / name) for r in (whole, parts)]
        assert _equal(files[0].emulator.state_dict(), files[1].emulator.state_dict())
    assert _timeless(whole) == _timeless(parts)


def _timeless(result: RunResult) -> list[dict[str, str]]:
    return [
        {k: v for k, v in line.items() if k != "seconds"}
        for line in read_metrics(result.directory / "metrics.csv")
    ]


def test_averaged_weights_are_the_ones_read_back(
    configure: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    plain = _weights(_train(configure(output=tmp_path / "plain")))
    averaged = _weights(
        _train(configure(output=tmp_path / "averaged", averaging={"kind": "ema", "decay": 0.9}))
    )
    parameters = [k for k in plain if k.startswith("network.")]
    assert any(not torch.equal(plain[k], averaged[k]) for k in parameters)
    assert all(torch.equal(plain[k], averaged[k]) for k in plain if k not in parameters)


def test_streamed_batches_hold_every_column_once_and_train(
    configure: Callable[..., TrainingConfig], store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    original = ColumnLoader.__iter__

    def spy(self: ColumnLoader) -> Any:
        for batch in original(self):
            seen.append(batch.targets)
            yield batch

    monkeypatch.setattr(ColumnLoader, "__iter__", spy)
    result = _train(configure(memory_limit_gib=1e-4, epochs=1))
    batches = [len(t) for t in seen]
    assert batches == [24] * 8
    store = ColumnStore.open(store_path)
    emulator = load_checkpoint(result.directory).emulator
    targets = torch.from_numpy(
        store.targets(emulator.contract.network_outputs, store.indices("train"))
    )
    expected = emulator.normalization.normalize_outputs(targets)
    # Lexicographic order makes the two sets of rows comparable.
    order = [rows[np.lexsort(rows.numpy().T)] for rows in (torch.cat(seen), expected)]
    assert torch.equal(order[0], order[1])
    assert not torch.equal(torch.cat(seen), expected)


def test_features_of_the_graph_get_statistics(configure: Callable[..., TrainingConfig]) -> None:
    unet = {"name": "unet", "configuration": {"preset": "small", "widths": [8, 8], "groups": 4}}
    loss = {"host_outputs": ["ptend_q0002", "ptend_q0003"]}
    result = _train(
        configure(network_input_set="net_v2_features", architecture=unet, loss=loss, epochs=1)
    )
    statistics = read_statistics(result.directory / "statistics.nc")
    assert "state_t@step" in statistics.variables
    assert float(statistics["state_t@step"].maximum[0]) == 0.0
    assert load_checkpoint(result.directory).record.statistics_digest == statistics.digest


def test_given_statistics_must_be_of_the_same_data(
    configure: Callable[..., TrainingConfig], store_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "statistics.nc"
    statistics = compute_statistics(ColumnStore.open(store_path))
    write_statistics(statistics, path)
    assert (
        load_checkpoint(
            _train(configure(statistics=path, epochs=1)).directory
        ).record.statistics_digest
        == statistics.digest
    )
    object.__setattr__(statistics, "data_digest", "0" * 64)
    write_statistics(statistics, path)
    with pytest.raises(TrainingError, match="statistics of other data"):
        _train(configure(statistics=path, output=tmp_path / "other"))


def test_a_loss_that_is_not_finite_stops_with_epoch_and_batch(
    configure: Callable[..., TrainingConfig],
) -> None:
    config = configure(
        optimizer={"learning_rate": 1e30, "weight_decay": 0.0},
        schedule={"name": None},
        epochs=3,
    )
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) in epoch 1, batch \d+.*learning_rate"
    ):
        _train(config)


def test_resuming_needs_the_same_data_and_settings(
    configure: Callable[..., TrainingConfig], store_path: Path, tmp_path: Path
) -> None:
    _train(configure(), stop_after=1)
    with pytest.raises(TrainingError, match="batch_size was 24, now 12"):
        _train(configure(batch_size=12), resume=True)
    other = tmp_path / "other.zarr"
    write_dataset(tmp_path / "pairs", _STAMPS, n_column=32, level_count=_LEVELS, seed=9)
    prepare(tmp_path / "pairs", other, split=Split())
    assert (
        zarr.open_group(other, mode="r").attrs["data_digest"] != ColumnStore.open(store_path).digest
    )
    with pytest.raises(TrainingError, match=r"data digest of the store was .* now"):
        _train(configure(store=other), resume=True)


def test_a_run_is_never_overwritten_unasked(
    configure: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    config = configure(epochs=1)
    first = _weights(_train(config))
    with pytest.raises(TrainingError, match="already holds a run"):
        _train(config)
    assert _equal(first, _weights(_train(config, resume=True)))
    assert not _equal(first, _weights(_train(configure(epochs=1, seed=8), overwrite=True)))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty and holds no run"):
        _train(configure(output=tmp_path / "full"))


def test_a_split_that_leaves_nothing_is_refused(
    configure: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "pairs", _STAMPS[:1], n_column=4, level_count=_LEVELS)
    prepare(tmp_path / "pairs", tmp_path / "one.zarr", split=Split())
    with pytest.raises(TrainingError, match="no time belongs to the validation split"):
        _train(configure(store=tmp_path / "one.zarr", validation={"source": "store"}))
    with pytest.raises(TrainingError, match="leaves nothing of 1 training time"):
        _train(configure(store=tmp_path / "one.zarr", validation={"source": "cut", "offset": 0}))


def test_broken_checkpoints_are_refused(
    configure: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    result = _train(configure(epochs=1))
    whole = result.checkpoint.read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        load_checkpoint(cut)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(TrainingError, match="not one that climlink train wrote"):
        load_checkpoint(tmp_path / "foreign.ckpt")
    with pytest.raises(TrainingError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(TrainingError, match="no checkpoint in"):
        load_checkpoint(tmp_path)


def test_a_library_call_raises_and_does_not_exit(
    configure: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning makes exits of Ctrl-C and SIGTERM, with code 0 for the latter."""
    end = MetricsFile.on_train_epoch_end

    def interrupted(*given: Any) -> None:
        end(*given)
        raise KeyboardInterrupt

    def terminated(*given: Any) -> None:
        end(*given)
        os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    for behaviour, expected in ((interrupted, KeyboardInterrupt), (terminated, Interrupted)):
        monkeypatch.setattr(MetricsFile, "on_train_epoch_end", behaviour)
        with pytest.raises(expected):
            _train(configure(epochs=3), overwrite=True)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_torch_is_left_as_it_was(configure: Callable[..., TrainingConfig]) -> None:
    torch.manual_seed(99)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    _train(configure(epochs=1, threads=max(1, threads - 1)))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_arithmetic_is_chosen_for_the_run_and_given_back(
    configure: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def arithmetic() -> tuple[str, bool, bool]:
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
        )

    found = []
    step = ColumnTraining.training_step

    def spy(self: ColumnTraining, *given: Any) -> torch.Tensor:
        found.append(arithmetic())
        return step(self, *given)

    monkeypatch.setattr(ColumnTraining, "training_step", spy)
    before = arithmetic()
    _train(configure(max_steps=1, tf32=True, deterministic=True))
    _train(configure(max_steps=1), overwrite=True)
    assert found == [("high", True, True), ("highest", False, False)]
    assert arithmetic() == before


@pytest.mark.parametrize("by", ["norm", "value"])
def test_a_clipped_gradient_moves_no_weight_further(
    configure: Callable[..., TrainingConfig], tmp_path: Path, by: str
) -> None:
    def weights(name: str, rate: float) -> torch.Tensor:
        config = configure(
            output=tmp_path / name,
            max_steps=1,
            gradient_clip=1e-3,
            gradient_clip_by=by,
            optimizer={"name": "SGD", "learning_rate": rate, "weight_decay": 0.0},
            schedule={"name": None, "warmup_fraction": 0},
        )
        state = _weights(_train(config))
        names = [k for k in state if "layers" in k]
        return torch.cat([state[k].flatten() for k in sorted(names)]).double()

    moved = weights("moved", 1.0) - weights("still", 1e-30)
    # Weights of about 0.1 are rounded to 1e-8.
    size = moved.norm() if by == "norm" else moved.abs().max()
    assert float(size) == pytest.approx(1e-3, rel=1e-3)


def test_no_chatter_and_progress_of_the_whole_run_only_when_asked(
    configure: Callable[..., TrainingConfig],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _train(configure(epochs=1, output=tmp_path / "quiet"))
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    train(configure(epochs=2, output=tmp_path / "loud"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "small: 16 of 16, about 0 s left small, epoch 2, loss" in err
    assert "GPU" not in err


def test_mirrored_columns_have_reversed_winds_and_nothing_else(
    configure: Callable[..., TrainingConfig], store_path: Path
) -> None:
    """Denormalized, a mirrored batch is the original one with the winds' signs changed, in inputs
    and targets alike.
    """
    store = ColumnStore.open(store_path)
    config = configure(
        normalization={"output_center": "mean"},
        network_input_set="net_v2_features",
        epochs=1,
        augment={"mirror_winds": True},
    )
    emulator = load_checkpoint(_train(config).directory).emulator
    host = training_data.host_outputs(["ptend_v"], emulator.contract.outputs)
    carried = training_data.HostOutputs(host, torch.ones(_LEVELS, dtype=torch.float64))
    batch = training_data.Encoder(store, emulator, carried).encode(store.indices("train")[:1])
    augment = Augmentation(config.augment, emulator, carried)
    mirrored = augment(batch, torch.Generator().manual_seed(0))
    outputs, inputs = emulator.contract.network_outputs, emulator.contract.inputs
    before, after = (
        outputs.unpack(emulator.normalization.denormalize(b.targets)) for b in (batch, mirrored)
    )
    rows_before, rows_after = (inputs.unpack(b.host_rows) for b in (batch, mirrored))
    sign_u = torch.sign(rows_after["pbuf_TAUX"] * rows_before["pbuf_TAUX"])[:, None]
    sign_v = torch.sign(rows_after["pbuf_TAUY"] * rows_before["pbuf_TAUY"])[:, None]
    assert {-1.0, 1.0} == set(sign_u.flatten().tolist()) == set(sign_v.flatten().tolist())
    for name, sign in (("ptend_u", sign_u), ("ptend_v", sign_v), ("ptend_t", 1.0)):
        scale = float(before[name].abs().max())
        torch.testing.assert_close(
            after[name] / scale, sign * before[name] / scale, rtol=0, atol=3e-6
        )
    assert torch.equal(rows_after["state_v"], sign_v * rows_before["state_v"])
    assert torch.equal(mirrored.host_targets, sign_v * batch.host_targets)
    # The mirrored rows, sent through the graph, give the mirrored network inputs.
    torch.testing.assert_close(
        emulator.normalized_inputs(mirrored.host_rows), mirrored.inputs, rtol=0, atol=2e-5
    )


def test_a_signed_logarithm_has_no_mirror() -> None:
    with pytest.raises(TrainingError, match="cannot reverse state_u@log"):
        Mirror(VariableSet("winds", (variable("state_u@log"),), {"level": 4}), torch.zeros(4))


def test_a_folder_in_which_a_training_runs_is_refused(
    configure: Callable[..., TrainingConfig],
) -> None:
    config = configure(epochs=1)
    _train(config)
    folder = os.open(config.run_directory, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        for how in ("resume", "overwrite"):
            with pytest.raises(TrainingError, match="another training writes in this folder"):
                _train(config, **{how: True})
    finally:
        os.close(folder)
    assert read_metrics(config.run_directory / "metrics.csv")  # nothing was removed
    _train(config, overwrite=True)
