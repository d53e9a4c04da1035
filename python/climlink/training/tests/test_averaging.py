"""Averages of weights against sums made by hand from the weights after every batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from climlink.training.callbacks import read_metrics
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.module import ColumnTraining
from climlink.training.run import train
from climlink.training.stages import NetworkInBFloat16

_NETWORK = '''
from torch import Tensor, nn
from climlink.architectures import (
    ArchitectureConfiguration, RowNetwork, RowShape, register_architecture,
)

class Nothing(ArchitectureConfiguration):
    """No fields."""

@register_architecture("normed", configuration=Nothing)
class Normed(RowNetwork):
    """A batch norm before a layer."""

    def __init__(self, shape: RowShape, configuration: Nothing) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(shape.n_input)
        self.layer = nn.Linear(shape.n_input, shape.n_output)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and no confidence."""
        return self.layer(self.norm(rows)), rows[:, :0]
'''
_STEPS = 8  # batches of an epoch: 6 times of 32 columns by 24


@pytest.fixture
def normed(configure: Callable[..., TrainingConfig], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that configures a network with batch norms."""
    file = tmp_path / "normed.py"
    file.write_text(_NETWORK, encoding="utf-8")
    architecture = {"name": "normed", "file": file}
    return lambda **fields: configure(architecture=architecture, **fields)


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Return a list that gets weights and statistics after every batch of a training."""
    found: list[dict[str, Tensor]] = []
    end = ColumnTraining.on_train_batch_end

    def spy(self: ColumnTraining, *given: Any) -> None:
        end(self, *given)
        found.append({k: v.clone() for k, v in self.emulator.network.state_dict().items()})

    monkeypatch.setattr(ColumnTraining, "on_train_batch_end", spy)
    return found


def _read(folder: Path, name: str = "last.ckpt") -> dict[str, Tensor]:
    return load_checkpoint(folder / "checkpoints" / name).emulator.network.state_dict()


def _ema(weights: list[Tensor], decay: float) -> Tensor:
    average = weights[0].double()
    for weight in weights[1:]:
        average = decay * average + (1 - decay) * weight.double()
    return average


def _same(found: Tensor, expected: Tensor) -> None:
    # Each of some dozen updates rounds to float32.
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("averaging", "members"),
    [
        ({"kind": "ema", "decay": 0.8}, range(24)),
        ({"kind": "ema", "decay": 0.8, "start": 0.5, "every": 3}, range(12, 24, 3)),
        ({"kind": "swa"}, (7, 15, 23)),
        ({"kind": "swa", "start": 0.5}, (15, 23)),
        ({"kind": "swa", "every": 2}, (7, 23)),
    ],
)
def test_an_average_is_that_of_the_batches_it_names(
    normed: Callable[..., TrainingConfig],
    history: list[dict[str, Tensor]],
    averaging: dict[str, Any],
    members: Any,
) -> None:
    """Weights and the running statistics of the batch norm alike."""
    folder = train(normed(epochs=3, averaging=averaging), progress=False).directory
    assert len(history) == 3 * _STEPS
    found = _read(folder)
    for name, value in found.items():
        values = [history[n][name] for n in members]
        if not value.is_floating_point():
            assert torch.equal(value, values[-1])
        elif averaging["kind"] == "ema":
            _same(value, _ema(values, 0.8))
        else:
            _same(value, torch.stack(values).double().mean(dim=0))
    assert not torch.equal(found["norm.running_mean"], history[-1]["norm.running_mean"])


def test_before_it_begins_an_average_is_the_weights_themselves(
    normed: Callable[..., TrainingConfig], history: list[dict[str, Tensor]]
) -> None:
    config = normed(epochs=4, averaging={"kind": "swa", "start": 0.5}, keep_checkpoints=4)
    folder = train(config, progress=False).directory
    for epoch in (1, 2, 3):
        found = _read(folder, f"epoch_{epoch}.ckpt")
        assert all(torch.equal(found[k], v) for k, v in history[epoch * _STEPS - 1].items())


def test_a_stage_cut_short_still_ends_with_an_average(
    normed: Callable[..., TrainingConfig], history: list[dict[str, Tensor]]
) -> None:
    config = normed(epochs=3, max_steps=10, averaging={"kind": "swa"})
    found = _read(train(config, progress=False).directory)
    expected = history[7]["layer.weight"].double() + history[9]["layer.weight"].double()
    _same(found["layer.weight"], expected / 2)


def test_the_averaged_weights_are_the_ones_scored(
    normed: Callable[..., TrainingConfig], tmp_path: Path
) -> None:
    """A run whose average never moves scores the same in every epoch."""
    config = normed(
        epochs=3,
        averaging={"kind": "ema", "decay": 1 - 1e-12},
        validation={"source": "cut", "every": 3},
    )
    lines = read_metrics(train(config, progress=False).directory / "metrics.csv")
    assert len({line["skill"] for line in lines}) == 1
    assert len({line["train_loss"] for line in lines}) == 3


def test_a_network_in_bfloat16_is_surrounded_by_what_it_was(
    normed: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: set[torch.dtype] = set()
    step = ColumnTraining.training_step

    def spy(self: ColumnTraining, *given: Any) -> Tensor:
        kinds.update(p.dtype for p in self.emulator.network.parameters())
        assert self.emulator.normalization.output_scale.dtype == torch.float64
        return step(self, *given)

    monkeypatch.setattr(ColumnTraining, "training_step", spy)
    config = normed(precision="bf16-true", epochs=8, validation={"source": "cut", "every": 3})
    result = train(config, progress=False)
    assert kinds == {torch.bfloat16}
    losses = [float(x["train_loss"]) for x in read_metrics(result.directory / "metrics.csv")]
    assert losses[-1] < losses[0]
    assert {p.dtype for p in load_checkpoint(result.directory).emulator.parameters()} == {
        torch.float32
    }
    assert NetworkInBFloat16.precision == "bf16-true"


def test_mixed_precision_trains_weights_in_float32(
    normed: Callable[..., TrainingConfig], history: list[dict[str, Tensor]]
) -> None:
    result = train(normed(precision="bf16-mixed", epochs=1), progress=False)
    assert {v.dtype for v in history[-1].values() if v.is_floating_point()} == {torch.float32}
    plain = train(normed(epochs=1), progress=False, overwrite=True)
    # bfloat16 has 8 bits: the losses are near each other and not the same.
    assert result.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=0.02)
    assert result.metrics["train_loss"] != plain.metrics["train_loss"]


def test_half_floats_need_a_gpu(normed: Callable[..., TrainingConfig]) -> None:
    with pytest.raises(TrainingError, match=r"16-mixed needs a GPU.*bf16-mixed"):
        train(normed(precision="16-mixed"), progress=False)
