"""The six networks of the ClimSim online study from outside: published sizes, limits of the small
ones, layout of outputs, scripting, export, independence of columns.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from climlink.architectures import ArchitectureError, build, find, preset_names
from climlink.architectures.cost import example, frozen_and_trainable, multiply_adds
from climlink.architectures.pao import Pao
from climlink.architectures.pure_reslstm import PureResLSTM
from climlink.architectures.squeezeformer import ChannelAttention, Squeezeformer
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, trainable_parameters

STANDARD = ColumnShape(9, 17, 5, 8, 60)
MULTIREPRESENTATION = ColumnShape(25, 17, 5, 8, 60)
V6 = ColumnShape(23, 19, 5, 8, 60)
FEW_LEVELS = ColumnShape(3, 2, 2, 2, 9)

# trainable parameters with standard, confidence, multirepresentation and v6 inputs, counted by
# instantiating the published networks (the U-Net's frozen identity convolutions are apart)
PUBLISHED = {
    "unet": (12_975_373, 12_980_634, 12_981_517, 12_981_517),
    "squeezeformer": (44_785_225, 44_811_862, 44_791_369, 44_791_369),
    "pure_reslstm": (15_395_341, 15_402_010, 15_428_109, 15_428_109),
    "pao": (18_876_133, 25_407_346, 18_880_613, 18_880_373),
    "convnext": (26_805_429, 26_839_242, 26_811_573, 26_811_573),
    "encoder_decoder_lstm": (18_582_976, 20_723_124, 21_004_960, 21_004_960),
}
SIX = list(PUBLISHED)
CONFIDENT = [*SIX, "mlp"]
RECURRENT_ERROR = 5e-6
"""Float32 products of other batch sizes may be summed in another order: a few units of the last
place of values about 1, through some tens of layers.
"""


def _build(name: str, shape: ColumnShape, **configuration: Any) -> ColumnEmulator:
    torch.manual_seed(5)
    network = build(name, {"preset": "tiny", **configuration}, shape)
    assert isinstance(network, ColumnEmulator)
    return network


def _on_meta(name: str, configuration: dict[str, Any], shape: ColumnShape) -> ColumnEmulator:
    with torch.device("meta"):
        network = build(name, configuration, shape)
    assert isinstance(network, ColumnEmulator)
    return network


@pytest.mark.parametrize("name", SIX)
def test_published_presets_have_the_published_numbers_of_parameters(name: str) -> None:
    cases = [(STANDARD, False), (STANDARD, True), (MULTIREPRESENTATION, False), (V6, False)]
    counted = [
        frozen_and_trainable(_on_meta(name, {"preset": "published", "confidence": sure}, shape))
        for shape, sure in cases
    ]
    assert counted == [(0, n) for n in PUBLISHED[name]]


@pytest.mark.parametrize("name", SIX)
def test_presets_stay_within_their_limits(name: str) -> None:
    assert preset_names(name) == ["published", "small", "tiny"]
    for shape in (STANDARD, MULTIREPRESENTATION, V6):
        for preset in ("small", "tiny"):
            network = _on_meta(name, {"preset": preset, "confidence": True}, shape)
            assert trainable_parameters(network) <= 1_500_000
    # Of the published inputs these are the most channels, and confidence has a head of its own.
    largest = {"preset": "tiny", "confidence": True}
    assert multiply_adds(lambda: _on_meta(name, largest, MULTIREPRESENTATION)) <= 5_000_000


def test_multiply_adds_are_those_counted_by_hand() -> None:
    c, n, out, levels, h = 5, 2, 4, 9, 7
    lstm = 2 * 4 * h * (c + h) + 2 * 4 * h * (2 * h + h)  # both directions, four gates
    shape = ColumnShape(3, n, 2, 2, levels)
    made = multiply_adds(lambda: _build("pure_reslstm", shape, blocks=2, hidden=h))
    assert made == levels * (lstm + 2 * h * out)

    bottleneck = 2 * (levels * c * 2 * c + 2 * c * 3 * c)
    recurrent = levels * (2 * 4 * h * (2 * c + h) + 2 * 3 * n * (2 * h + n))
    dense = 2 * n * levels * 6 + 6 * (2 * levels + 2)
    sizes = {"encoder": [2.0, 3.0], "lstm_hidden": h, "gru_hidden": n, "dense_hidden": 6}
    made = multiply_adds(lambda: _build("encoder_decoder_lstm", shape, **sizes))
    assert made == bottleneck + recurrent + dense

    w, inner, head = 8, 16, 10
    gated = w * 2 * inner + inner * w
    convolution = gated + inner * 15 + 5  # depthwise, and the gate per level
    attention = 4 * w * w + 2 * levels * w
    per_level = c * w + convolution + attention + 2 * gated
    per_level += w * head + head * 2 * inner + inner * head + head * out
    sizes = {"width": w, "hidden": 2 * inner, "head_width": head}
    made = multiply_adds(lambda: _build("squeezeformer", shape, **sizes))
    assert made == levels * per_level


@pytest.mark.parametrize("name", CONFIDENT)
def test_scripts_with_the_same_bits_and_confidence_for_every_output(name: str) -> None:
    """The frozen graph is what hosts run."""
    network = _build(name, STANDARD, confidence=True)
    network(*example(STANDARD, 16))  # BatchNorm gets statistics that are worth folding
    network.eval()
    inputs = example(STANDARD, 7)
    scripted = torch.jit.script(network)
    frozen = torch.jit.freeze(scripted)
    assert network.has_confidence
    with torch.no_grad():
        results = network(*inputs)
        assert [r.shape for r in results] == [(7, 5, 60), (7, 8), (7, 308)]
        for graph in (scripted, scripted, frozen, frozen):  # before and after optimization
            for eager, script in zip(results, graph(*inputs), strict=True):
                assert torch.equal(eager, script)
    plain = _build(name, STANDARD)
    assert not plain.has_confidence
    assert plain.eval()(*inputs)[2].shape == (7, 0)


@pytest.mark.parametrize("name", SIX)
def test_a_confidence_head_changes_no_prediction_and_learns_apart(name: str) -> None:
    inputs = example(FEW_LEVELS, 4)
    with torch.no_grad():
        plain = _build(name, FEW_LEVELS).eval()(*inputs)
    network = _build(name, FEW_LEVELS, confidence=True).eval()
    profiles, scalars, confidence = network(*inputs)
    assert torch.equal(profiles, plain[0])
    assert torch.equal(scalars, plain[1])
    parts = {n for n, _ in network.named_children() if "confidence" in n}
    confidence.square().sum().backward()
    for child in parts:
        moved = [p.grad for p in network.get_submodule(child).parameters()]
        assert all(g is not None and bool(g.abs().sum() > 0) for g in moved)
    assert parts == {"confidence_head"}


@pytest.mark.parametrize("name", SIX)
def test_each_confidence_stands_where_its_output_does(name: str) -> None:
    """With the first head's weights in the second one too, confidence is the packed outputs."""
    network = _build(name, FEW_LEVELS, confidence=True).eval()
    parts = [network.head_norm, nn.SiLU()] if name == "unet" else []
    head = nn.Sequential(*parts, network.head) if parts else network.head
    network.confidence_head.load_state_dict(head.state_dict())
    with torch.no_grad():
        profiles, scalars, confidence = network(*example(FEW_LEVELS, 3))
    assert torch.equal(confidence, torch.cat([profiles.flatten(1), scalars], dim=1))


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("levels", [26, 9])
def test_other_level_counts_and_absent_scalars(name: str, levels: int) -> None:
    shape = ColumnShape(3, 0, 4, 0, levels)
    with torch.no_grad():
        results = _build(name, shape, confidence=True).eval()(*example(shape, 3))
    assert [r.shape for r in results] == [(3, 4, levels), (3, 0), (3, 4 * levels)]


@pytest.mark.parametrize("name", SIX)
def test_evaluated_columns_do_not_see_their_batch_and_inputs_stay(name: str) -> None:
    network = _build(name, STANDARD, confidence=True)
    for _ in range(2):
        network(*example(STANDARD, 8))  # BatchNorm has statistics of its own
    network.eval()
    profiles, scalars = example(STANDARD, 12)
    before = profiles.clone(), scalars.clone()
    with torch.no_grad():
        whole = network(profiles, scalars)
        part = network(profiles[3:7], scalars[3:7])
        strange = network(torch.cat([profiles[:1], 50 * profiles[1:]]), scalars)
    for of_whole, of_part, of_strange in zip(whole, part, strange, strict=True):
        torch.testing.assert_close(of_part, of_whole[3:7], rtol=0, atol=RECURRENT_ERROR)
        torch.testing.assert_close(of_strange[0], of_whole[0], rtol=0, atol=RECURRENT_ERROR)
    assert torch.equal(profiles, before[0])
    assert torch.equal(scalars, before[1])


@pytest.mark.parametrize("name", SIX)
def test_half_precision_training_stays_finite_and_double_follows_the_module(name: str) -> None:
    network = _build(name, STANDARD, confidence=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = network(*example(STANDARD, 6))
        loss = sum(r.float().square().mean() for r in results)
    loss.backward()
    assert all(bool(torch.isfinite(r).all()) for r in results)
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    double = _build(name, FEW_LEVELS, confidence=True).double()
    assert {r.dtype for r in double(*(x.double() for x in example(FEW_LEVELS, 4)))} == {
        torch.float64
    }


def _exported_equals_eager(
    name: str, shape: ColumnShape, *, strict: bool, **configuration: Any
) -> None:
    network = _build(name, shape, confidence=True, **configuration).eval()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        network, example(shape, 4), dynamic_shapes=({0: batch}, {0: batch}), strict=strict
    )
    inputs = example(shape, 11)
    with torch.no_grad():
        results = zip(network(*inputs), program.module()(*inputs), strict=True)
        for eager, exported in results:
            torch.testing.assert_close(exported, eager, rtol=0, atol=RECURRENT_ERROR)


@pytest.mark.parametrize("name", SIX)
def test_exports_with_a_dynamic_batch(name: str) -> None:
    # export unrolls recurrent layers over levels: it takes seconds for 60 of them
    smaller = {"widths": [8, 8]} if name == "unet" else {}
    _exported_equals_eager(name, ColumnShape(3, 2, 2, 2, 3), strict=False, **smaller)


@pytest.mark.long
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", SIX)
def test_exports_columns_of_the_published_shape(name: str, strict: bool) -> None:
    _exported_equals_eager(name, STANDARD, strict=strict)


@pytest.mark.long
@pytest.mark.parametrize("name", SIX)
def test_published_presets_script_and_run(name: str) -> None:
    network = _build(name, STANDARD, preset="published").eval()
    inputs = example(STANDARD, 2)
    with torch.no_grad():
        results = torch.jit.script(network)(*inputs)
        for eager, scripted in zip(network(*inputs), results, strict=True):
            torch.testing.assert_close(scripted, eager, rtol=0, atol=RECURRENT_ERROR)
    assert [list(r.shape) for r in results] == [[2, 5, 60], [2, 8], [2, 0]]
    assert all(bool(torch.isfinite(r).all()) for r in results)


def _read_positions(order: str, variable: int, level: int) -> list[int]:
    """Return the positions of the LSTM's sequence on which an output of Pao's profile head
    depends.
    """
    network = _build("pao", STANDARD, profile_head_order=order)
    assert isinstance(network, Pao)
    sequence = torch.randn(1, 60, 48, requires_grad=True)
    network.head(sequence, torch.zeros(1, 60 * 48))[0][0, variable, level].backward()
    assert isinstance(sequence.grad, Tensor)
    return sequence.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()


@pytest.mark.parametrize("variable", [0, 1, 4])
def test_pao_predicts_level_k_from_position_k(variable: int) -> None:
    for level in (0, 1, 17, 59):
        assert _read_positions("level", variable, level) == [level]


def test_pao_scrambles_levels_where_the_original_is_asked_for() -> None:
    of_temperature = {p for k in range(60) for p in _read_positions("published", 0, k)}
    assert of_temperature == set(range(12))
    assert [_read_positions("published", 1, k) for k in (0, 4, 5, 59)] == [[12], [12], [13], [23]]


@pytest.mark.parametrize(
    ("chosen", "momentum"), [({}, 0.05), ({"batch_norm_momentum": 0.95}, 0.95)]
)
def test_squeezeformer_remembers_batches(chosen: dict[str, float], momentum: float) -> None:
    """The running mean begins at 0: after one batch it is the momentum times the batch's mean."""
    network = _build("squeezeformer", FEW_LEVELS, **chosen)
    assert isinstance(network, Squeezeformer)
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm1d))
    seen: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    network(*example(FEW_LEVELS, 8))
    # float32 sums of 72 values in two orders
    torch.testing.assert_close(
        norm.running_mean, momentum * seen[0].mean(dim=(0, 2)), rtol=1e-5, atol=1e-8
    )


def test_squeezeformer_gates_levels_or_channels() -> None:
    x = torch.randn(3, 8, 12)
    for by_level, same_along in ((True, 1), (False, 2)):
        gates = (ChannelAttention(by_level=by_level)(x) / x).detach()
        along = gates.std(dim=same_along).max()
        across = gates.std(dim=3 - same_along).max()
        assert float(along) < 1e-6  # one factor, through one float32 division
        assert float(across) > 1e-3


def test_reslstm_starts_as_published() -> None:
    network = _build("pure_reslstm", FEW_LEVELS)
    assert isinstance(network, PureResLSTM)
    hidden = 40
    for block in (network.first, *network.others):
        for end in ("", "_reverse"):
            weight = getattr(block.lstm, f"weight_hh_l0{end}").detach()
            # 4 hidden x hidden with orthonormal columns, to float32
            torch.testing.assert_close(weight.T @ weight, torch.eye(hidden), rtol=0, atol=1e-5)
            bias = sum(getattr(block.lstm, f"bias_{k}_l0{end}").detach() for k in ("ih", "hh"))
            assert bias[hidden : 2 * hidden].eq(1).all()  # i, f, g, o: the forget gate
            assert bias.sum() == hidden


@pytest.mark.parametrize(
    ("name", "configuration", "words"),
    [
        ("squeezeformer", {"heads": 5}, ["heads (5) must divide the width (32)"]),
        ("squeezeformer", {"hidden": 33}, ["hidden", "multiple of 2"]),
        ("squeezeformer", {"kernel": 4}, ["kernel must be odd, got 4"]),
        ("squeezeformer", {"batch_norm_momentum": 0}, ["batch_norm_momentum", "greater than 0"]),
        ("convnext", {"depths": [1]}, ["widths and depths must be as many, got 3 and 1"]),
        ("convnext", {"kernel": 2}, ["kernel must be odd, got 2"]),
        ("convnext", {"widths": [0, 8, 8]}, ["must be at least 1"]),
        ("pao", {"heads": 7}, ["heads (7) must divide twice the width (40)"]),
        ("pao", {"profile_head_order": "scrambled"}, ["profile_head_order", "'published'"]),
        ("pao", {"profile_order": "level"}, ["'profile_order'; did you mean 'profile_head_order'"]),
        ("pure_reslstm", {"blocks": 0}, ["blocks", "greater than or equal to 1"]),
        ("encoder_decoder_lstm", {"encoder": [-1.0]}, ["encoder.0", "greater than 0"]),
        ("unet", {"confidence": "yes"}, ["confidence", "'yes'"]),
    ],
)
def test_a_wrong_configuration_is_named(
    name: str, configuration: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        _build(name, STANDARD, **configuration)
    for word in words:
        assert word in str(caught.value)


def test_all_are_registered_as_any_other_would_be() -> None:
    for name in SIX:
        known = find(name)
        assert known.origin.kind == "built_in"
        assert known.network.__module__ == f"climlink.architectures.{name}"
