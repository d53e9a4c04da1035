"""The loss from outside: its closed forms, those of the published recipes among them, what it
leaves out, and what it sends back to the network.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from climlink.architectures import build
from climlink.data.errors import DataError
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.training.auxiliary import with_auxiliary
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch, Encoder, HostOutputs, host_outputs
from climlink.training.errors import TrainingError
from climlink.training.loss_config import LossConfig
from climlink.training.losses import ColumnLoss, elementwise, output_weights
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable
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


def _numpy_huber(error: np.ndarray, delta: float = 1.0) -> np.ndarray:
    size = np.abs(error)
    return np.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


@pytest.fixture
def published(synthetic_store: ColumnStore) -> tuple[Setting, torch.Tensor, torch.Tensor]:
    """Return a setting of the published sets (308 outputs), a prediction with errors on both sides
    of delta, and confidences.
    """
    s = _setting(synthetic_store, [])
    assert s.emulator.contract.network_outputs.width == 308
    s.emulator.network.has_confidence = True
    generator = torch.Generator().manual_seed(3)
    noise = 1.5 * torch.randn(s.batch.targets.shape, generator=generator)
    return s, s.batch.targets + noise, torch.randn(noise.shape, generator=generator)


def test_the_published_losses_in_closed_form(
    published: tuple[Setting, torch.Tensor, torch.Tensor],
) -> None:
    """Standard: Huber, mean over 308 outputs. Confidence: mean of l + Huber(conf, l). Difference:
    Huber + Huber of adjacent levels' differences, each a mean of its own: over 308 outputs, and
    over 59 differences of 5 profiles.
    """
    s, rows, confidence = published
    p, y, c = (a.double().numpy() for a in (rows, s.batch.targets, confidence))
    losses = _numpy_huber(p - y)
    profiles = [a[:, :300].reshape(-1, 5, 60) for a in (p, y)]
    apart = np.diff(profiles[0], axis=2) - np.diff(profiles[1], axis=2)
    original: dict[str, Any] = {"kind": "huber", "delta": 1.0, "masked": "none"}
    for fields, expected in (
        ({}, losses.mean()),
        ({"confidence_weight": 1.0}, (losses + _numpy_huber(c - losses)).mean()),
        ({"level_differences": {1: 1.0}}, losses.mean() + _numpy_huber(apart).mean()),
    ):
        got = float(s.loss(rows, confidence, **original, **fields))
        # float32 rows and sums over 7392 values
        assert got == pytest.approx(expected, rel=2e-6)


def test_confidence_learns_the_loss_and_leaves_the_prediction_alone(
    published: tuple[Setting, torch.Tensor, torch.Tensor],
) -> None:
    s, rows, confidence = published
    rows, confidence = rows.requires_grad_(), confidence.requires_grad_()
    plain, whole = s.loss(rows, confidence), s.loss(rows, confidence, confidence_weight=2.0)
    by_rows = [torch.autograd.grad(loss, rows)[0] for loss in (plain, whole)]
    assert torch.equal(*by_rows)
    (gradient,) = torch.autograd.grad(s.loss(rows, confidence, confidence_weight=2.0), confidence)
    losses = _numpy_huber((rows - s.batch.targets).detach().double().numpy())
    expected = 2.0 * np.clip(confidence.detach().numpy() - losses, -1.0, 1.0) / losses.size
    outputs = s.emulator.contract.network_outputs
    kept = np.ones(308, dtype=bool)
    for name in ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v"):
        kept[outputs.offset(name) : outputs.offset(name) + 15] = False
    np.testing.assert_allclose(gradient.numpy()[:, kept], expected[:, kept], atol=1e-9)
    assert not gradient.numpy()[:, ~kept].any(), "pruned outputs are masked here too"


def test_gaussian_nll_reads_confidence_as_the_log_variance(
    published: tuple[Setting, torch.Tensor, torch.Tensor],
) -> None:
    s, rows, confidence = published
    error = (rows - s.batch.targets).double().numpy()
    c = confidence.double().numpy()
    expected = 0.5 * (c + error**2 / np.exp(c))
    got = float(s.loss(rows, confidence, kind="gaussian_nll", masked="none"))
    assert got == pytest.approx(expected.mean(), rel=2e-6)


def test_every_kind_of_one_value() -> None:
    error = np.linspace(-3.0, 3.0, 61)
    size, beta = np.abs(error), 0.5
    expected = {
        "smooth_l1": np.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta),
        "mse": size**2,
        "mae": size,
        "mse_mae": size**2 + size,
    }
    for kind, values in expected.items():
        got = elementwise(kind, torch.from_numpy(error), torch.tensor(beta, dtype=torch.float64))
        np.testing.assert_allclose(got.numpy(), values, rtol=1e-13, atol=1e-15)


def _weights(s: Setting, **fields: Any) -> dict[str, np.ndarray]:
    """Return how often each value of the network's outputs counts, by output, from the gradient of
    the mean absolute error at a prediction that is too large everywhere.
    """
    outputs = s.emulator.contract.network_outputs
    rows = (s.batch.targets + 1.0).requires_grad_()
    score = fields.pop("score_weights", None)
    loss = ColumnLoss(LossConfig(kind="mae", **fields), s.emulator, s.host, score)
    (gradient,) = torch.autograd.grad(
        loss.of_rows(s.emulator, rows, torch.zeros(len(rows), 0), s.batch), rows
    )
    per_value = (gradient * rows.shape[0] * outputs.width)[0].numpy()
    return {n: per_value[outputs.slice(n)] for n in outputs.names}


def test_what_the_competition_does_not_score_is_masked(synthetic_store: ColumnStore) -> None:
    """Its rule: 12 levels of vapour, ice and winds, 15 of liquid; total cloud counts where one of
    its parts does. Weights of a store come before the rule.
    """
    s = _setting(synthetic_store, [], pruned_levels=2)
    found = _weights(s, masked="score")
    first = {n: int(np.argmax(w > 0)) for n, w in found.items() if len(w) > 1}
    assert first == dict.fromkeys(("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v"), 12) | {
        "ptend_t": 0
    }
    given = {n: np.ones(60) for n in ("ptend_t", "ptend_q0001", "ptend_u", "ptend_v")}
    given |= {"ptend_q0002": np.ones(60), "ptend_q0003": np.ones(60)}
    given |= {n: np.ones(1) for n in found if n.startswith("cam_out")}
    given["ptend_q0002"][:40] = given["ptend_q0003"][:30] = given["ptend_t"][20:22] = 0.0
    given["cam_out_SOLS"][:] = 0.0
    found = _weights(s, masked="score", score_weights=given)
    assert np.flatnonzero(found["ptend_qn"] == 0).tolist() == list(range(30))
    assert np.flatnonzero(found["ptend_t"] == 0).tolist() == [20, 21]
    assert np.flatnonzero(found["ptend_u"] == 0).tolist() == [0, 1], "pruned levels are masked too"
    assert [n for n, w in found.items() if len(w) == 1 and w[0] == 0] == ["cam_out_SOLS"]


def test_the_competition_scores_no_other_outputs(synthetic_store: ColumnStore) -> None:
    s = _setting(synthetic_store, [])
    other = VariableSet("mine", (Variable("ptend_soil", "K/s", "", ("level",)),), {"level": 60})
    with pytest.raises(DataError, match=r"mmf368 targets on 60 levels; got ptend_soil"):
        output_weights(other, LossConfig(masked="score"), 0)
    short = VariableSet("short", (s.emulator.contract.outputs["ptend_t"],), {"level": 8})
    with pytest.raises(DataError, match="got short on 8 levels"):
        output_weights(short, LossConfig(masked="score"), 0)


def test_only_the_outputs_of_a_group_count(synthetic_store: ColumnStore) -> None:
    names = ["ptend_q0002"]
    s = _setting(synthetic_store, names)
    found = _weights(s, masked="none", outputs=["ptend_u", "cam_out_PRECC"], host_outputs=names)
    assert {n for n, w in found.items() if w.any()} == {"ptend_u", "cam_out_PRECC"}
    found = _weights(s, outputs=["ptend_q0002"], host_outputs=names)
    assert {n for n, w in found.items() if w.any()} == {"ptend_t", "ptend_qn"}, "through the split"


def test_differences_over_two_levels(
    published: tuple[Setting, torch.Tensor, torch.Tensor],
) -> None:
    s, rows, _ = published
    error = (rows - s.batch.targets).double().numpy()[:, :300].reshape(-1, 5, 60)
    fields: dict[str, Any] = {"kind": "smooth_l1", "delta": 0.5, "masked": "none"}
    plain = float(s.loss(rows, **fields))
    for lag, weight in ((1, 0.3), (2, 0.7)):
        apart = error[..., lag:] - error[..., :-lag]
        expected = weight * (_numpy_huber(apart, 0.5) / 0.5).mean()
        extra = float(s.loss(rows, level_differences={lag: weight}, **fields)) - plain
        assert extra == pytest.approx(expected, rel=1e-5)
    both = float(s.loss(rows, level_differences={1: 0.3, 2: 0.7}, **fields)) - plain
    each = [
        float(s.loss(rows, level_differences={lag: w}, **fields)) - plain
        for lag, w in ((1, 0.3), (2, 0.7))
    ]
    assert both == pytest.approx(sum(each), rel=1e-5)


def test_auxiliary_targets_have_the_loss_of_a_value_and_classes_cross_entropy(
    synthetic_store: ColumnStore,
) -> None:
    targets = ["aux_slat", "ptend_rh", "aux_state_class"]
    plain, s = _setting(synthetic_store, []), _setting(synthetic_store, [], auxiliary=targets)
    outputs = s.emulator.contract.network_outputs
    assert torch.equal(s.batch.targets[:, :308], plain.batch.targets)
    generator = torch.Generator().manual_seed(5)
    rows = s.batch.targets + 1.5 * torch.randn(s.batch.targets.shape, generator=generator)
    error = (rows - s.batch.targets).double().numpy()
    logits = rows[:, -5:].double().numpy()
    truth = s.batch.targets[:, -5:].numpy()
    assert sorted(set(truth.sum(axis=1))) == [1.0]
    entropy = np.log(np.exp(logits).sum(axis=1)) - (logits * truth).sum(axis=1)
    expected = {
        "aux_slat": _numpy_huber(error[:, 308]),
        "ptend_rh": _numpy_huber(error[:, outputs.slice("ptend_rh")]).sum(axis=1),
        "aux_state_class": entropy,
    }
    own = float(plain.loss(rows[:, :308]))
    for weights in ({}, {"ptend_rh": 0.25, "aux_state_class": 0.0}, {"aux_slat": 3.0}):
        extra = sum(weights.get(n, 1.0) * float(e.mean()) / 308 for n, e in expected.items())
        got = float(s.loss(rows, auxiliary_weight_of=weights))
        assert got - own == pytest.approx(extra, rel=2e-5)
    alone = float(s.loss(rows, outputs=["aux_state_class"]))
    assert alone == pytest.approx(float(entropy.mean()) / 308, rel=1e-5)


def test_a_loss_that_the_network_or_the_batches_cannot_serve_is_refused(
    synthetic_store: ColumnStore,
) -> None:
    s = _setting(synthetic_store, ["ptend_t"])
    rows = s.batch.targets
    for fields, words in (
        ({"confidence_weight": 1.0}, r"confidence_weight needs a network.*confidence: true"),
        ({"kind": "gaussian_nll"}, r"kind gaussian_nll needs a network"),
        (
            {"outputs": ["ptend_q0002"]},
            r"nothing counts: of ptend_q0002, .* the network gives none",
        ),
        ({"host_outputs": ["ptend_u"]}, r"ptend_u are not in the batches, which carry ptend_t"),
    ):
        with pytest.raises(TrainingError, match=words):
            s.loss(rows, **fields)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="leave confidence_weight out"):
        LossConfig(kind="gaussian_nll", confidence_weight=1.0)
