"""Augmentation from outside: what a batch is afterwards, and that the same numbers come again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from climlink.architectures import build
from climlink.config import ConfigError
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.training.augment import Augmentation, clipped, step_generator
from climlink.training.augment_config import AugmentConfig, TargetClip
from climlink.training.config import TrainingConfig
from climlink.training.data import Batch, Encoder, HostOutputs, host_outputs
from climlink.training.errors import TrainingError
from climlink.wrappers.wrapped_emulator import WrappedEmulator

Augment = Callable[..., Batch]


@pytest.fixture(scope="module")
def emulator(synthetic_store: ColumnStore) -> WrappedEmulator:
    return _emulator(synthetic_store)


def _emulator(store: ColumnStore, **fields: Any) -> WrappedEmulator:
    config = TrainingConfig.model_validate(_fields(store, **fields))
    contract = config.contract(store.hybrid, store.time_step_s)
    network = build("linear", {}, contract.network_shape)
    return WrappedEmulator(contract, network).fit(compute_statistics(store))


def _fields(store: ColumnStore, **fields: Any) -> dict[str, Any]:
    base = {"name": "a", "store": store.path, "epochs": 1, "architecture": {"name": "linear"}}
    return {**base, **fields}


@pytest.fixture(scope="module")
def host(emulator: WrappedEmulator) -> HostOutputs:
    return HostOutputs(
        host_outputs(["ptend_v"], emulator.contract.outputs), torch.full((60,), 1e-5).double()
    )


@pytest.fixture(scope="module")
def batch(synthetic_store: ColumnStore, emulator: WrappedEmulator, host: HostOutputs) -> Batch:
    """Return seventy-two columns."""
    return Encoder(synthetic_store, emulator, host).encode(synthetic_store.indices("train"))


@pytest.fixture(scope="module")
def augment(emulator: WrappedEmulator, host: HostOutputs, batch: Batch) -> Augment:
    """Return a function that augments the batch as keys say, with the numbers of a step."""

    def run(step: tuple[int, ...] = (7, 0, 0, 0), **keys: Any) -> Batch:
        config = AugmentConfig.model_validate(keys)
        before = [part.clone() for part in batch]
        augmented = Augmentation(config, emulator, host)(batch, step_generator(*step))
        assert all(torch.equal(a, b) for a, b in zip(before, batch, strict=True))
        return augmented

    return run


def test_nothing_asked_for_changes_nothing(augment: Augment, batch: Batch) -> None:
    assert all(torch.equal(a, b) for a, b in zip(augment(), batch, strict=True))


def test_noise_has_the_size_asked_for_and_leaves_constants_alone(
    augment: Augment, batch: Batch, emulator: WrappedEmulator
) -> None:
    inputs = emulator.contract.network_inputs
    noisy = augment(input_noise=0.1, input_noise_of={"state_t": 0.5, "state_u": 0.0})
    added = (noisy.inputs - batch.inputs).double()
    t, v = added[:, inputs.slice("state_t")], added[:, inputs.slice("state_v")]
    # 72 x 60 numbers: their std is known to 1/sqrt(2 x 4320) = 1.1 %, here within 4 of these.
    assert float(t.std()) == pytest.approx(0.5, rel=0.045)
    assert float(v.std()) == pytest.approx(0.1, rel=0.045)
    assert abs(float(t.mean())) < 4 * 0.5 / 4320**0.5
    assert not added[:, inputs.slice("state_u")].any()
    hidden = (~emulator.normalization.kept) | (emulator.normalization.gain == 0.0)
    assert int(hidden.sum()) >= 15, "cloud on pruned levels at least"
    assert not added[:, hidden].any()
    for other in (1, 2, 3):
        assert torch.equal(noisy[other], batch[other])


def test_dropping_aloft_zeroes_the_topmost_levels_of_some_columns(
    augment: Augment, batch: Batch, emulator: WrappedEmulator
) -> None:
    inputs = emulator.contract.network_inputs
    got = augment(drop_aloft={"levels": 5, "probability": 0.4}).inputs
    # state_t normalized is 0 at no level of any column by chance
    dropped = (got[:, inputs.slice("state_t")][:, :5] == 0.0).all(dim=1)
    assert 0.4 * 72 - 3 * 4.2 < int(dropped.sum()) < 0.4 * 72 + 3 * 4.2  # binomial, 3 sigma
    assert torch.equal(got[~dropped], batch.inputs[~dropped])
    expected = batch.inputs[dropped].clone()
    for v in inputs.profiles:
        expected[:, inputs.offset(v.name) : inputs.offset(v.name) + 5] = 0.0
    assert torch.equal(got[dropped], expected)
    every = augment(drop_aloft={"levels": 60, "probability": 1.0}).inputs
    scalars = [inputs.offset(v.name) for v in inputs.scalars]
    assert torch.equal(every[:, scalars], batch.inputs[:, scalars])
    assert not every[:, inputs.slice("state_v")].any()


def test_targets_are_clipped_hard_or_softly(augment: Augment, batch: Batch) -> None:
    x = torch.tensor([-9.0, -2.0, -1.0, 0.3, 2.0, 2.5, 400.0])
    hard, soft = (clipped(x, TargetClip(limit=2.0, kind=k)) for k in ("hard", "soft"))
    assert hard.tolist() == [-2.0, -2.0, -1.0, pytest.approx(0.3), 2.0, 2.0, 2.0]
    expected = [-2.0 - 2.0 * np.tanh(3.5), -2.0, -1.0, 0.3, 2.0, 2.0 + 2.0 * np.tanh(0.25), 4.0]
    np.testing.assert_allclose(soft.numpy(), expected, rtol=1e-6)
    limit = 0.5
    got = augment(target_clip={"limit": limit, "kind": "hard"})
    assert float(batch.targets.abs().max()) > limit
    assert torch.equal(got.targets, batch.targets.clamp(-limit, limit))
    assert torch.equal(got.host_targets, batch.host_targets.clamp(-limit, limit))
    assert torch.equal(got.inputs, batch.inputs)


def test_the_numbers_follow_from_seed_epoch_batch_and_process(augment: Augment) -> None:
    keys: dict[str, Any] = {
        "mirror_winds": True,
        "input_noise": 0.1,
        "drop_aloft": {"levels": 3, "probability": 0.5},
    }
    first, again = augment((7, 2, 5, 1), **keys), augment((7, 2, 5, 1), **keys)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for step in ((8, 2, 5, 1), (7, 3, 5, 1), (7, 2, 6, 1), (7, 2, 5, 0), (2, 7, 5, 1)):
        assert not torch.equal(augment(step, **keys).inputs, first.inputs)


def test_what_does_not_fit_the_run_is_refused(
    synthetic_store: ColumnStore, augment: Augment, host: HostOutputs
) -> None:
    with pytest.raises(TrainingError, match=r"drop_aloft.levels is 61, and there are 60"):
        augment(drop_aloft={"levels": 61, "probability": 0.5})
    placed = _emulator(synthetic_store, auxiliary=["aux_clat"])
    with pytest.raises(TrainingError, match=r"mirror_winds cannot go with .*aux_clat"):
        Augmentation(AugmentConfig(mirror_winds=True), placed, host)
    fields = _fields(synthetic_store, augment={"input_noise_of": {"state_w": 0.1}})
    with pytest.raises((ValueError, ConfigError), match=r"inputs out of .*state_w is none"):
        TrainingConfig.model_validate(fields)
