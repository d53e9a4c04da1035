"""Every distinct network of the LEAP competition's ten solutions is a shipped configuration: it
loads, has its size, and trains.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from climlink.architectures import ColumnEmulator
from climlink.data.store import ColumnStore
from climlink.installation import configurations
from climlink.training.callbacks import read_metrics
from climlink.training.checkpoint import load_checkpoint
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.run import train
from climlink.wrappers.column_emulator import trainable_parameters
from climlink.wrappers.vertical import HybridCoordinate

# Trainable parameters in millions: of networks that have an architecture of their own, the
# published size with the configuration's inputs and outputs; of composed ones, what theirs give.
MILLIONS = {
    "leap_1_squeezeformer": 44.9,
    "leap_1_squeezeformer_plain": 44.8,
    "leap_2_cnn_lstm": 7.0,
    "leap_2_convlstm": 5.4,
    "leap_2_lstm_mamba": 11.1,
    "leap_2_reslstm": 15.4,
    "leap_3_cnn_transformer_lstm": 18.9,
    "leap_3_film_unet": 7.1,
    "leap_3_transformer": 6.5,
    "leap_4_convnext": 26.8,
    "leap_4_transformer": 10.8,
    "leap_5_bilstm": 18.5,
    "leap_5_bilstm6": 11.6,
    "leap_5_bilstm_attention": 16.1,
    "leap_5_bilstm_log": 11.6,
    "leap_5_bilstm_pooling": 11.0,
    "leap_5_gru": 9.4,
    "leap_7_film_unet": 7.3,
    "leap_7_lstm_state": 10.9,
    "leap_7_resnet": 13.2,
    "leap_7_squeezeformer": 44.8,
    "leap_7_transformer_lstm": 5.9,
    "leap_8_bilstm": 9.1,
    "leap_8_bilstm_attention": 10.1,
    "leap_8_bilstm_cnn": 9.7,
    "leap_8_bilstm_tcn": 10.7,
    "leap_8_bilstm_transformer": 15.4,
    "leap_10_conv_transformer": 6.0,
    "leap_10_film_unet": 6.4,
    "leap_10_lstm": 5.9,
    "leap_10_shuffle_unet": 8.3,
}
EVERY = pytest.mark.parametrize("name", MILLIONS)
SHRUNK = {"width", "widths", "units", "hidden", "scalar_hidden", "bottleneck"}
"""Keys of composed networks that give a number of channels."""


def network_of(config: TrainingConfig, hybrid: HybridCoordinate) -> ColumnEmulator:
    """Return the network of a configuration on 60 levels, without memory for its weights."""
    with torch.device("meta"):
        network = config.architecture.find().build_for(
            config.contract(hybrid, 1200.0), config.architecture.configuration
        )
    assert isinstance(network, ColumnEmulator)
    return network


def shrunk(part: Any, key: str = "") -> Any:
    """Return a configuration with an eighth of the channels, so that it trains at once."""
    if isinstance(part, Mapping):
        return {k: shrunk(v, k if k in SHRUNK else "") for k, v in part.items()}
    if isinstance(part, list):
        return [shrunk(v, key) for v in part]
    return max(8, part // 8) if key and isinstance(part, int) else part


def test_there_is_one_for_each_distinct_network() -> None:
    assert {n for n in configurations("training") if n.startswith("leap_")} == set(MILLIONS)
    page = Path(__file__).resolve().parents[1] / "docs" / "composed-networks.md"
    listed = re.findall(r"`(\d+_[a-z_\d]+)`", page.read_text(encoding="utf-8"))
    assert sorted(f"leap_{name}" for name in listed) == sorted(MILLIONS)


@EVERY
def test_a_network_has_the_size_that_its_configuration_gives(
    name: str, synthetic_store: ColumnStore
) -> None:
    config = load_training(name)
    assert config.name == name
    count = trainable_parameters(network_of(config, synthetic_store.hybrid))
    assert math.isclose(count / 1e6, MILLIONS[name], abs_tol=0.05)  # two digits are given
    again = TrainingConfig.model_validate(config.resolved().model_dump(mode="json"))
    assert again.architecture == config.resolved().architecture


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("leap_1_squeezeformer", {"loss.kind": "mae", "architecture.name": "squeezeformer"}),
        ("leap_2_reslstm", {"loss.kind": "smooth_l1", "loss.delta": 0.5}),
        ("leap_3_transformer", {"loss.kind": "huber", "loss.delta": 4.0}),
        ("leap_4_convnext", {"loss.delta": 0.01, "normalization.hard_clip": 100.0}),
        (
            "leap_5_bilstm",
            {"loss.kind": "huber", "loss.delta": 1.0, "schedule.name": "MultiStepLR",
             "schedule.arguments.gamma": 0.65, "averaging.kind": "ema", "averaging.decay": 0.99,
             "network_output_set": "net368"},
        ),
        ("leap_10_conv_transformer", {"loss.kind": "gaussian_nll"}),
    ],
)  # fmt: skip
def test_what_is_known_of_a_solution_is_in_its_configuration(
    name: str, facts: dict[str, Any]
) -> None:
    values = load_training(name).model_dump()
    for key, expected in facts.items():
        found = values
        for part in key.split("."):
            found = found[part]
        assert found == expected, key


def test_stages_are_those_of_the_solutions() -> None:
    second = load_training("leap_2_reslstm")
    assert [second.stage(n).epochs for n in range(9)] == [3, 9, 1, 1, 1, 1, 1, 1, 1]
    groups = [tuple(second.stage(n).loss.outputs) for n in range(9)]
    assert groups[:2] == [(), ()]
    outputs = {"ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v"}
    assert {name for group in groups[2:8] for name in group} == outputs
    assert len(groups[8]) == 8
    fifth = load_training("leap_5_bilstm")
    assert [set(fifth.stage(n).mix) for n in range(3)] == [
        {"main", "aquaplanet"},
        {"main", "high_resolution"},
        {"main", "high_resolution"},
    ]
    assert [fifth.stage(n).averaging.kind for n in range(3)] == ["ema", "ema", "swa"]
    assert "positivity" in [entry.name for entry in fifth.constraints]
    seventh = load_training("leap_7_resnet")
    assert [(seventh.stage(n).loss.kind) for n in range(2)] == ["mae", "mse"]
    assert seventh.stage(1).epochs == 5


@pytest.mark.long
@EVERY
def test_a_configuration_trains_two_steps_in_each_stage(
    name: str, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    config = load_training(name)
    composed = config.architecture.name == "composed"
    small = shrunk(config.architecture.configuration) if composed else {"preset": "tiny"}
    overrides = {
        "store": str(synthetic_store.path),
        "stores": {n: {"store": str(synthetic_store.path)} for n in config.stores},
        "output": str(tmp_path / "run"),
        "architecture": {"configuration": small},
        "validation": {"source": "cut", "every": 3},
        "max_steps": 2,
        "batch_size": 24,
        "device": "cpu",
        "threads": 1,
    }
    result = train(load_training(name, overrides), progress=False)
    lines = read_metrics(result.directory / "metrics.csv")
    assert len(lines) >= len(config.stages or [config])
    assert all(math.isfinite(float(line["train_loss"])) for line in lines)
    trained = load_checkpoint(result.checkpoint)
    rows = synthetic_store.pack(trained.contract.inputs, synthetic_store.indices("test"))
    with torch.no_grad():
        assert bool(torch.isfinite(trained.emulator(torch.from_numpy(rows))).all())
