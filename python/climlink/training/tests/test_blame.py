"""A loss that is not finite is blamed on what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from climlink.architectures import build
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.training.blame import blame
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch, Encoder, HostOutputs, host_outputs
from climlink.wrappers.wrapped_emulator import WrappedEmulator

Blame = Callable[..., str]
_PARTS = {"inputs": "input", "targets": "target", "host_rows": "host input"}


@pytest.fixture(scope="module")
def emulator(synthetic_store: ColumnStore) -> WrappedEmulator:
    store = synthetic_store
    config = TrainingConfig.model_validate(
        {"name": "a", "store": store.path, "epochs": 1, "architecture": {"name": "linear"}}
    )
    contract = config.contract(store.hybrid, store.time_step_s)
    network = build("linear", {}, contract.network_shape)
    return WrappedEmulator(contract, network).fit(compute_statistics(store))


@pytest.fixture(scope="module")
def host(emulator: WrappedEmulator) -> HostOutputs:
    chosen = host_outputs(["ptend_q0003"], emulator.contract.outputs)
    return HostOutputs(chosen, torch.ones(60, dtype=torch.float64))


@pytest.fixture
def batch(synthetic_store: ColumnStore, emulator: WrappedEmulator, host: HostOutputs) -> Batch:
    return Encoder(synthetic_store, emulator, host).encode(synthetic_store.indices("train")[:1])


@pytest.mark.parametrize(
    ("part", "name"),
    [("inputs", "state_v"), ("targets", "cam_out_PRECC"), ("host_rows", "state_q0002")],
)
def test_the_variable_and_its_columns_are_named(
    part: str, name: str, emulator: WrappedEmulator, host: HostOutputs, batch: Batch
) -> None:
    contract = emulator.contract
    sets = {
        "inputs": contract.network_inputs,
        "targets": contract.network_outputs,
        "host_rows": contract.inputs,
    }
    values = getattr(batch, part).clone()
    values[[4, 9], sets[part].offset(name)] = torch.tensor([float("nan"), float("inf")])
    text = blame(emulator, batch._replace(**{part: values}), host)
    expected = f"{_PARTS[part]} {name} is not finite in 2 of 24 columns, first in column 5"
    assert text.startswith(expected)
    assert "climlink data describe" in text


def test_predictions_and_weights_are_named_where_the_data_are_finite(
    emulator: WrappedEmulator, host: HostOutputs, batch: Batch
) -> None:
    outputs = emulator.contract.network_outputs
    rows = batch.targets.clone()
    rows[2:5, outputs.slice("ptend_u")] = float("nan")
    text = blame(emulator, batch, host, rows)
    assert text.startswith("prediction ptend_u is not finite in 3 of 24 columns, first in column 3")
    assert "learning_rate" in text
    rows[:, outputs.offset("ptend_t")] = 0.0
    rows[2:5, outputs.slice("ptend_u")] = 3e37
    assert "largest prediction is 3e+37 of ptend_u" in blame(emulator, batch, host, rows)
    weight = next(emulator.network.parameters())
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0] = float("nan")
    text = blame(emulator, batch, host)
    with torch.no_grad():
        weight.copy_(kept)
    assert text.startswith("not finite: 1 weight(s) of the network, first ")
    assert "diverged" in text
