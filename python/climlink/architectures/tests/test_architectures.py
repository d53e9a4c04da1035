"""The architectures from outside: published sizes and starting values, scripting, independence of
columns, errors.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from climlink.architectures import (
    ArchitectureError,
    architecture_names,
    build,
    preset_names,
    resolve_configuration,
)
from climlink.architectures.unet import UNet
from climlink.wrappers.column_emulator import ColumnShape, trainable_parameters

PUBLISHED = ColumnShape(
    profile_inputs=9, scalar_inputs=17, profile_outputs=5, scalar_outputs=8, level_count=60
)
TINY: dict[str, Any] = {"widths": [8, 8, 16, 16], "blocks": 1, "groups": 4}
EVERY = [("linear", {}), ("mlp", {"hidden": [16, 12]}), ("unet", {"preset": "small", **TINY})]


def _inputs(shape: ColumnShape, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    profiles = torch.randn(batch, shape.profile_inputs, shape.level_count, generator=generator)
    return profiles, torch.randn(batch, shape.scalar_inputs, generator=generator)


def test_published_unet_has_the_published_number_of_parameters() -> None:
    assert trainable_parameters(build("unet", {"preset": "published"}, PUBLISHED)) == 12_975_373
    multirep = ColumnShape(25, 17, 5, 8, 60)
    assert trainable_parameters(build("unet", {}, multirep)) == 12_981_517


def test_small_unet_stays_within_its_budget() -> None:
    assert (
        trainable_parameters(build("unet", {"preset": "small"}, ColumnShape(25, 20, 5, 8, 60)))
        <= 1_500_000
    )


def test_published_unet_starts_as_published() -> None:
    torch.manual_seed(3)
    network = build("unet", {"preset": "published"}, PUBLISHED)
    assert isinstance(network, UNet)
    weight = network.head.weight.detach()
    bound = 1e-5 * math.sqrt(6.0 / (3 * (weight.shape[0] + weight.shape[1])))
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert all(
        float(p.detach().abs().max()) == 0
        for name, p in network.named_parameters()
        if name.endswith("bias")
    )
    seconds = [
        p.detach() for name, p in network.named_parameters() if name.endswith("second.weight")
    ]
    # encoder 2*4 + 3 down, middle 2, decoder 3*4 + 3 up
    assert len(seconds) == 28
    assert all(0 < float(p.abs().max()) < 2e-6 for p in seconds)
    profiles, scalars, _ = network(*_inputs(PUBLISHED, 2))
    assert float(profiles.detach().abs().max()) < 1e-3
    assert float(scalars.detach().min()) >= 0


@pytest.mark.parametrize(("name", "configuration"), EVERY)
@pytest.mark.parametrize("levels", [60, 26, 9])
def test_any_level_count_gives_the_declared_shapes(
    name: str, configuration: dict[str, Any], levels: int
) -> None:
    shape = ColumnShape(3, 2, 4, 5, levels)
    profiles, scalars, confidence = build(name, configuration, shape)(*_inputs(shape, 6))
    assert profiles.shape == (6, 4, levels)
    assert scalars.shape == (6, 5)
    assert confidence.shape == (6, 0)


@pytest.mark.parametrize(("name", "configuration"), EVERY)
def test_scalars_may_be_absent(name: str, configuration: dict[str, Any]) -> None:
    shape = ColumnShape(2, 0, 3, 0, 16)
    profiles, scalars, _ = build(name, configuration, shape)(*_inputs(shape, 4))
    assert profiles.shape == (4, 3, 16)
    assert scalars.shape == (4, 0)


@pytest.mark.parametrize(("name", "configuration"), EVERY)
def test_script_equals_eager_bitwise(name: str, configuration: dict[str, Any]) -> None:
    network = build(name, configuration, PUBLISHED).eval()
    scripted = torch.jit.script(network)
    inputs = _inputs(PUBLISHED, 7)
    with torch.no_grad():
        for eager, script in zip(network(*inputs), scripted(*inputs), strict=True):
            assert torch.equal(eager, script)


@pytest.mark.parametrize(("name", "configuration"), EVERY)
def test_columns_do_not_see_their_batch_and_inputs_stay(
    name: str, configuration: dict[str, Any]
) -> None:
    network = build(name, configuration, PUBLISHED).train()
    profiles, scalars = _inputs(PUBLISHED, 12)
    before = (profiles.clone(), scalars.clone())
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = network(profiles, scalars)
        part = network(profiles[3:7], scalars[3:7])
        mixed = network(profiles[order], scalars[order])
    for i in range(2):
        torch.testing.assert_close(part[i], whole[i][3:7], rtol=0, atol=2e-6)
        torch.testing.assert_close(mixed[i], whole[i][order], rtol=0, atol=2e-6)
    assert torch.equal(profiles, before[0])
    assert torch.equal(scalars, before[1])


@pytest.mark.parametrize(("name", "configuration"), EVERY)
def test_double_precision_follows_the_module(name: str, configuration: dict[str, Any]) -> None:
    network = build(name, configuration, PUBLISHED).double()
    profiles, scalars, confidence = network(*(x.double() for x in _inputs(PUBLISHED, 2)))
    assert {profiles.dtype, scalars.dtype, confidence.dtype} == {torch.float64}


def test_padding_at_the_top_is_zero_levels_of_the_stem() -> None:
    """60 levels padded by four zero levels equal a 64-level network given those zero levels itself,
    below the padding.
    """
    configuration = {"preset": "small", **TINY, "position_channels": 0, "rectified_scalars": False}
    padded = build("unet", configuration, ColumnShape(3, 0, 2, 0, 60))
    plain = build("unet", configuration, ColumnShape(3, 0, 2, 0, 64))
    plain.load_state_dict({**copy.deepcopy(padded.state_dict()), "position": plain.position})
    profiles, scalars = _inputs(ColumnShape(3, 0, 2, 0, 60), 3)
    with torch.no_grad():
        wide = plain(torch.cat([torch.zeros(3, 3, 4), profiles], dim=2), scalars)[0]
        torch.testing.assert_close(padded(profiles, scalars)[0], wide[:, :, 4:], rtol=0, atol=0)


def test_position_channels_break_the_symmetry_of_levels() -> None:
    shape = ColumnShape(1, 0, 1, 0, 16)
    torch.manual_seed(0)
    flat = build("unet", {"preset": "small", **TINY, "position_channels": 2}, shape)
    with torch.no_grad():
        flat.stem.weight[:, 0] = 0.0
        out = flat(torch.ones(2, 1, 16), torch.zeros(2, 0))[0]
    assert float(out[0, 0].std()) > 1e-4


def test_same_seed_gives_the_same_weights() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(11)
        networks.append(build("unet", {"preset": "small", **TINY}, PUBLISHED))
    assert all(
        torch.equal(a, b)
        for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    )


def test_presets_resolve_to_explicit_numbers_that_build_the_same_network() -> None:
    for name in architecture_names():
        for preset in preset_names(name):
            resolved = resolve_configuration(name, {"preset": preset})
            assert "preset" not in resolved
            assert resolve_configuration(name, resolved) == resolved
    assert resolve_configuration("unet", {"preset": "small", "blocks": 2})["blocks"] == 2


@pytest.mark.parametrize(
    ("name", "configuration", "words"),
    [
        ("unte", {}, ["unknown architecture 'unte'", "did you mean 'unet'", "linear"]),
        ("unet", {"preset": "smal"}, ["no preset 'smal'", "'small'", "published"]),
        ("unet", {"width": [8]}, ["unknown key 'width'", "'widths'"]),
        ("unet", {"widths": [100, 100]}, ["multiple of groups (32)", "100"]),
        ("unet", {"blocks": 0}, ["blocks", "greater than or equal to 1", "got 0"]),
        ("mlp", {"hidden": []}, ["hidden", "at least 1"]),
        ("mlp", {"activation": "tanhh"}, ["activation", "'relu'", "tanhh"]),
        ("linear", {"hidden": [3]}, ["linear", "unknown key 'hidden'"]),
    ],
)
def test_a_wrong_configuration_is_named(
    name: str, configuration: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        build(name, configuration, PUBLISHED)
    for word in words:
        assert word in str(caught.value)


def test_too_few_levels_for_the_resolutions() -> None:
    with pytest.raises(ArchitectureError, match="need at least 8 levels, got 5"):
        build("unet", {"preset": "small"}, ColumnShape(1, 0, 1, 0, 5))
