"""The loss from outside: its closed forms, those of the published recipes among them, what it
leaves out, and what it sends back to the network.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional

from climlink.architectures import build
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.training.auxiliary import with_auxiliary
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch, Encoder, HostOutputs, host_outputs
from climlink.training.loss_config import LossConfig
from climlink.training.losses import ColumnLoss, elementwise
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.wrapped_emulator import WrappedEmulator


@dataclasses.dataclass
class Setting:
    """An emulator on the synthetic store, one encoded time, and the host outputs of the loss."""

    emulator: WrappedEmulator
    batch: Batch
    host: HostOutputs

    def loss(
        self, rows: torch.Tensor, confidence: torch.Tensor | None = None, **fields: Any
    ) -> torch.Tensor:
        none = torch.zeros(rows.shape[0], 0)
        return ColumnLoss(LossConfig(**fields), self.emulator, self.host).of_rows(
            self.emulator, rows, none if confidence is None else confidence, self.batch
        )


def _setting(store: ColumnStore, names: list[str], **fields: Any) -> Setting:
    config = TrainingConfig.model_validate(
        {
            "name": "a",
            "store": store.path,
            "epochs": 1,
            "architecture": {"name": "linear"},
            **fields,
        }
    )
    contract = config.contract(store.hybrid, store.time_step_s)
    statistics = with_auxiliary(compute_statistics(store), store, contract)
    emulator = WrappedEmulator(contract, build("linear", {}, contract.network_shape)).fit(
        statistics
    )
    chosen = host_outputs(names, contract.outputs)
    host = HostOutputs(
        chosen, output_scale(chosen, statistics) if names else torch.zeros(0, dtype=torch.float64)
    )
    return Setting(
        emulator, Encoder(store, emulator, host).encode(store.indices("train")[:1]), host
    )


def _differences(s: Setting, lag: int) -> int:
    """Return how many differences over some levels the network's profiles have."""
    outputs = s.emulator.contract.network_outputs
    return len(outputs.profiles) * (outputs.level_count - lag)


def test_huber_is_torchs() -> None:
    error = torch.linspace(-4, 4, 41, dtype=torch.float64)
    for delta in (0.5, 1.0, 3.0):
        expected = functional.huber_loss(
            error, torch.zeros_like(error), delta=delta, reduction="none"
        )
        torch.testing.assert_close(
            elementwise("huber", error, torch.tensor(delta, dtype=torch.float64)),
            expected,
            rtol=1e-14,
            atol=0,
        )


def test_plain_loss_is_the_mean_over_outputs_without_the_pruned_ones(
    synthetic_store: ColumnStore,
) -> None:
    s = _setting(synthetic_store, [])
    target = s.batch.targets
    assert float(s.loss(target)) == 0.0
    outputs = s.emulator.contract.network_outputs
    pruned = outputs.slice("ptend_u").start + 3
    kept = outputs.slice("ptend_t").start + 3  # temperature is never pruned
    for position, expected in ((pruned, 0.0), (kept, 0.5 * 0.25)):
        rows = target.clone()
        rows[:, position] += 0.5
        assert float(s.loss(rows)) == pytest.approx(expected / outputs.width, rel=1e-5)


def test_scalar_weight_and_delta_of_one_output(synthetic_store: ColumnStore) -> None:
    s = _setting(synthetic_store, [])
    outputs = s.emulator.contract.network_outputs
    rows = s.batch.targets.clone()
    rows[:, outputs.offset("cam_out_PRECC")] += 3.0
    fields: dict[str, Any] = {"scalar_weight": 4.0, "delta_of": {"cam_out_PRECC": 2.0}}
    assert float(s.loss(rows, **fields)) == pytest.approx(
        4.0 * 2.0 * (3.0 - 1.0) / outputs.width, rel=1e-5
    )
    assert float(s.loss(rows, **fields, weight_of={"cam_out_PRECC": 7.0})) == pytest.approx(
        7.0 * 4.0 / outputs.width, rel=1e-5
    )


def test_level_differences_do_not_see_a_constant_shift(synthetic_store: ColumnStore) -> None:
    s = _setting(synthetic_store, [])
    outputs = s.emulator.contract.network_outputs
    shifted, bent = s.batch.targets.clone(), s.batch.targets.clone()
    shifted[:, outputs.slice("ptend_t")] += 0.5
    bent[:, outputs.offset("ptend_t") + 30] += 0.5
    for rows, expected in ((shifted, 0.0), (bent, 2 * 0.125)):
        extra = float(s.loss(rows, level_differences={1: 1.0})) - float(s.loss(rows))
        assert extra == pytest.approx(expected / _differences(s, 1), abs=1e-8)


def test_level_differences_have_their_outputs_weight_and_end_at_pruned_levels(
    synthetic_store: ColumnStore,
) -> None:
    s = _setting(synthetic_store, [])
    outputs = s.emulator.contract.network_outputs
    bent, below = s.batch.targets.clone(), s.batch.targets.clone()
    bent[:, outputs.offset("ptend_t") + 30] += 0.5
    below[:, outputs.offset("ptend_u") + 15 : outputs.slice("ptend_u").stop] += 0.5
    weights = {"weight_of": {"ptend_t": 3.0}}
    for rows, expected in ((bent, 3.0 * 2 * 0.125), (below, 0.0)):
        plain, whole = s.loss(rows, **weights), s.loss(rows, level_differences={1: 2.0}, **weights)
        assert float(whole - plain) == pytest.approx(2.0 * expected / _differences(s, 1), abs=1e-7)


def test_host_outputs_have_a_weight_of_their_own(synthetic_store: ColumnStore) -> None:
    names = ["ptend_t", "cam_out_PRECC"]
    s = _setting(synthetic_store, names)
    rows = s.batch.targets + 0.3
    plain = float(_setting(synthetic_store, []).loss(rows))
    once, thrice = (float(s.loss(rows, host_outputs=names, host_weight=w)) for w in (1.0, 3.0))
    assert once > plain + 1e-3
    assert thrice - plain == pytest.approx(3.0 * (once - plain), rel=1e-4)


def test_host_outputs_are_compared_after_the_constraints(synthetic_store: ColumnStore) -> None:
    """The exact network targets leave only what the diagnosed liquid/ice split costs, and that has
    a gradient to temperature and cloud.
    """
    names = ["ptend_q0002", "ptend_q0003"]
    s = _setting(synthetic_store, names)
    rows = s.batch.targets.clone().requires_grad_()
    loss = s.loss(rows, host_outputs=names)
    contract = s.emulator.contract
    received = s.emulator.constrain(s.batch.host_rows, rows.detach())
    total = 0.0
    for i, name in enumerate(names):
        level = slice(15, contract.level_count)
        predicted = (
            received[:, contract.outputs.slice(name)] / s.host.scale[s.host.variables.slice(name)]
        )
        wanted = s.batch.host_targets[:, s.host.variables.slice(names[i])]
        total += float(
            functional.huber_loss(predicted.float()[:, level], wanted[:, level], reduction="sum")
        )
    assert float(loss.detach()) == pytest.approx(
        total / rows.shape[0] / contract.network_outputs.width, rel=1e-4
    )
    (gradient,) = torch.autograd.grad(loss, rows)
    assert float(gradient[:, contract.network_outputs.slice("ptend_qn")].abs().max()) > 0
    assert bool(torch.isfinite(gradient).all())
