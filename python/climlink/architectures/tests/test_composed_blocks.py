"""The blocks of composed networks from outside: shapes, gradients, independent columns, and each
against another's formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.architectures import build
from climlink.architectures.composed import BLOCKS
from climlink.architectures.composed.block import BlockConfiguration, Signal
from climlink.architectures.composed.mamba import SelectiveStateSpace, selective_scan
from climlink.wrappers.column_emulator import ColumnShape

WIDTH, LENGTH, SCALARS = 8, 12, 3
SIGNAL = Signal(width=WIDTH, length=LENGTH, scalars=SCALARS)
SHAPE = ColumnShape(4, SCALARS, 2, 3, LENGTH)
U_SHAPE = {"kind": "u_shape", "widths": [8, 12, 16], "blocks": ["convolution"]}
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    # name: block, channels and levels that come out
    "convolution": ({"kind": "convolution", "width": 10, "dilation": 2}, 10, LENGTH),
    "depthwise": ({"kind": "convolution", "depthwise": True, "norm": "none"}, WIDTH, LENGTH),
    "squeeze_excitation": ({"kind": "squeeze_excitation"}, WIDTH, LENGTH),
    "inception": ({"kind": "inception", "width": 18, "bottleneck": 4}, 18, LENGTH),
    "tcn": ({"kind": "tcn", "width": 10, "dilations": [1, 2]}, 10, LENGTH),
    "convnext": ({"kind": "convnext"}, WIDTH, LENGTH),
    "conv_lstm": ({"kind": "conv_lstm", "width": 6}, 6, LENGTH),
    "lstm": ({"kind": "lstm", "units": 5, "layers": 2}, 10, LENGTH),
    "lstm_up": ({"kind": "lstm", "units": 5, "directions": "up"}, 5, LENGTH),
    "gru": ({"kind": "gru", "units": 7, "directions": "down"}, 7, LENGTH),
    "attention": ({"kind": "attention", "heads": 2}, WIDTH, LENGTH),
    "attention_tanh": (
        {"kind": "attention", "weights": "tanh", "gated": True, "norm_first": False},
        WIDTH,
        LENGTH,
    ),
    "mamba": ({"kind": "mamba", "states": 4}, WIDTH, LENGTH),
    "film": ({"kind": "film", "hidden": [4]}, WIDTH, LENGTH),
    "pooling": ({"kind": "pooling", "width": 5}, 5, LENGTH),
    "mlp": ({"kind": "mlp", "width": 6, "gated": True, "activation": "silu"}, 6, LENGTH),
    "norm": ({"kind": "norm"}, WIDTH, LENGTH),
    "activation": ({"kind": "activation", "name": "tanh"}, WIDTH, LENGTH),
    "dropout": ({"kind": "dropout"}, WIDTH, LENGTH),
    "pixel_shuffle": (
        {"kind": "pixel_shuffle", "direction": "down", "factor": 3, "width": 9},
        9,
        4,
    ),
    "pixel_shuffle_up": ({"kind": "pixel_shuffle", "direction": "up", "width": 3}, 3, 24),
    "residual": ({"kind": "residual", "blocks": [{"kind": "mlp", "width": 6}]}, 6, LENGTH),
    "repeat": ({"kind": "repeat", "times": 3, "blocks": ["convolution"]}, WIDTH, LENGTH),
    "u_shape": ({**U_SHAPE, "middle": ["attention"]}, 8, LENGTH),
    "u_shape_stride": ({**U_SHAPE, "resample": "stride"}, 8, LENGTH),
    "u_shape_shuffle": ({**U_SHAPE, "resample": "shuffle"}, 8, LENGTH),
}
EVERY = pytest.mark.parametrize(("block", "width", "length"), CASES.values(), ids=list(CASES))


def made(block: dict[str, Any], signal: Signal = SIGNAL) -> nn.Module:
    """Return a block's module with weights of a fixed seed."""
    torch.manual_seed(4)
    return BLOCKS[block["kind"]].model_validate(block).build(signal)[0]


def columns(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, WIDTH, LENGTH, generator=generator)
    return x, torch.randn(batch, SCALARS, generator=generator)


def network_of(block: dict[str, Any]) -> dict[str, Any]:
    """Return a network around a block, levels restored."""
    blocks = [block]
    if block["kind"] == "pixel_shuffle":
        factor = block.get("factor", 2)
        back = {"up": "down", "down": "up"}[block["direction"]]
        blocks.append({"kind": "pixel_shuffle", "direction": back, "factor": factor})
    return {"stem": {"width": WIDTH}, "blocks": blocks}


def test_every_kind_of_block_is_tried() -> None:
    assert {block["kind"] for block, _, _ in CASES.values()} == set(BLOCKS)


@EVERY
def test_a_block_gives_the_shape_that_it_says(
    block: dict[str, Any], width: int, length: int
) -> None:
    module, signal = BLOCKS[block["kind"]].model_validate(block).build(SIGNAL)
    assert (signal.width, signal.length, signal.scalars) == (width, length, SCALARS)
    assert module(*columns(5)).shape == (5, width, length)


@EVERY
def test_a_gradient_reaches_every_parameter_and_input(
    block: dict[str, Any], width: int, length: int
) -> None:
    module = made(block).train()
    x, scalars = columns(5)
    x.requires_grad_()
    result = module(x, scalars)
    # weights of its own for every value: a plain sum does not see what comes before a norm
    (
        result * torch.randn(result.shape, generator=torch.Generator().manual_seed(9))
    ).sum().backward()
    lacking = [n for n, p in module.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert lacking == []
    assert x.grad is not None
    assert bool(x.grad.any(dim=2).all())


@EVERY
def test_columns_do_not_see_their_batch(block: dict[str, Any], width: int, length: int) -> None:
    module = made(block).eval()
    x, scalars = columns(12)
    before = x.clone()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = module(x, scalars)
        # batches of other sizes take other kernels: rounding of float32
        torch.testing.assert_close(module(x[3:7], scalars[3:7]), whole[3:7], rtol=0, atol=2e-6)
        torch.testing.assert_close(
            module(x[order], scalars[order]), whole[order], rtol=0, atol=2e-6
        )
    assert torch.equal(x, before)


@EVERY
def test_a_block_trains_in_bf16(block: dict[str, Any], width: int, length: int) -> None:
    module = made(block).train()
    x, scalars = columns(5)
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = module(x, scalars)
    assert bool(torch.isfinite(result).all())
    result.float().square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in (x, *module.parameters()))


def network_of_all(cases: Iterable[tuple[dict[str, Any], int, int]]) -> nn.Module:
    """Return a network of many blocks, in evaluation mode, batch norms with statistics of their
    own.
    """
    blocks: list[dict[str, Any]] = []
    for block, _, _ in cases:
        blocks += [*network_of(block)["blocks"], {"kind": "mlp", "width": WIDTH}]
    network = build("composed", {"stem": {"width": WIDTH}, "blocks": blocks}, SHAPE)
    network(torch.randn(16, 4, LENGTH), torch.randn(16, SCALARS))
    return network.eval()


def test_every_kind_of_block_scripts_with_the_same_bits() -> None:
    network = network_of_all({case[0]["kind"]: case for case in CASES.values()}.values())
    inputs = torch.randn(7, 4, LENGTH), torch.randn(7, SCALARS)
    scripted = torch.jit.script(network)
    # the optimizing executor takes as long again: below, and in the tests of networks
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for eager, result in zip(network(*inputs), scripted(*inputs), strict=True):
            assert torch.equal(eager, result)


@pytest.mark.long
def test_all_blocks_frozen_give_the_same_numbers() -> None:
    """The frozen graph is what hosts run."""
    network = network_of_all(CASES.values())
    inputs = torch.randn(7, 4, LENGTH), torch.randn(7, SCALARS)
    frozen = torch.jit.freeze(torch.jit.script(network))
    with torch.no_grad():
        for _ in range(2):  # before and after optimization
            for eager, result in zip(network(*inputs), frozen(*inputs), strict=True):
                # a GRU's frozen weights may lie otherwise in memory: a unit of the last place
                torch.testing.assert_close(result, eager, rtol=0, atol=2e-7)


@pytest.mark.long
@EVERY
def test_a_block_exports_with_any_batch(block: dict[str, Any], width: int, length: int) -> None:
    network = build("composed", network_of(block), SHAPE).eval()
    inputs = torch.randn(4, 4, LENGTH), torch.randn(4, SCALARS)
    free = {0: torch.export.Dim("batch", min=2, max=4096)}
    exported = torch.export.export(network, inputs, dynamic_shapes=(free, free)).module()
    others = torch.randn(9, 4, LENGTH), torch.randn(9, SCALARS)
    with torch.no_grad():
        for eager, out in zip(network(*others), exported(*others), strict=True):
            # the exported graph calls the same kernels in pieces: rounding of float32
            torch.testing.assert_close(out, eager, rtol=0, atol=2e-6)


def test_selective_scan_is_its_recurrence() -> None:
    rng = np.random.default_rng(2)
    batch, length, channels, states = 2, 7, 3, 4
    x, step = rng.normal(size=(batch, length, channels)), rng.random((batch, length, channels))
    decay = -rng.random((channels, states))
    enter, leave = rng.normal(size=(2, batch, length, states))
    expected = np.zeros((batch, length, channels))
    for b in range(batch):
        for c in range(channels):
            for n in range(states):
                h = 0.0
                for k in range(length):
                    h = math.exp(step[b, k, c] * decay[c, n]) * h
                    h += step[b, k, c] * enter[b, k, n] * x[b, k, c]
                    expected[b, k, c] += leave[b, k, n] * h
    got = selective_scan(*map(torch.as_tensor, (x, step, decay, enter, leave)))
    # float64: rounding of sums of seven steps and four states
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)


def test_mamba_is_its_published_algorithm() -> None:
    """One direction against numpy, after Gu and Dao (2023), algorithm 2, section 3.4."""
    torch.manual_seed(0)
    width, states, inner, kernel, length = 4, 3, 8, 4, 6
    block = SelectiveStateSpace(width, states, inner // width, kernel).double()
    rows = torch.randn(1, length, width, dtype=torch.float64)
    w = {name: p.detach().numpy() for name, p in block.named_parameters()}

    def silu(v: Any) -> Any:
        return v / (1 + np.exp(-v))

    values, gate = np.split(rows[0].numpy() @ w["enter.weight"].T, 2, axis=1)
    wide = np.concatenate([np.zeros((kernel - 1, inner)), values])
    near = np.stack(
        [(wide[k : k + kernel] * w["near.weight"][:, 0].T).sum(0) for k in range(length)]
    )
    u = silu(near + w["near.bias"])
    chosen = u @ w["choose.weight"].T
    step = np.log1p(np.exp(chosen[:, :1] @ w["step.weight"].T + w["step.bias"]))
    h, expected = np.zeros((inner, states)), []
    for k in range(length):
        enter, leave = chosen[k, 1 : 1 + states], chosen[k, 1 + states :]
        h = np.exp(-step[k][:, None] * np.exp(w["log_rate"])) * h
        h = h + np.outer(step[k] * u[k], enter)
        expected.append(((h @ leave + w["direct"] * u[k]) * silu(gate[k])) @ w["leave.weight"].T)
    # float64: rounding of sums of at most eight products
    np.testing.assert_allclose(block(rows)[0].detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("directions", "seen"), [("down", "above"), ("up", "below"), ("both", "")])
@pytest.mark.parametrize("kind", ["mamba", "lstm", "gru"])
def test_directions_say_which_levels_are_seen(kind: str, directions: str, seen: str) -> None:
    module = made({"kind": kind, "directions": directions}).eval()
    x, scalars = columns(2)
    x.requires_grad_()
    module(x, scalars)[:, :, 5].square().sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum(dim=(0, 1)) > 0
    assert bool(reached[5])
    assert bool(reached[:5].all()) == (seen != "below")
    assert bool(reached[6:].all()) == (seen != "above")
    assert bool(reached[:5].any()) == (seen != "below")
    assert bool(reached[6:].any()) == (seen != "above")


@pytest.mark.parametrize("norm_first", [True, False])
def test_attention_is_torchs_encoder_layer(norm_first: bool) -> None:
    module = made({"kind": "attention", "heads": 2, "norm_first": norm_first}).eval()
    torchs = nn.TransformerEncoderLayer(
        WIDTH, 2, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=norm_first
    ).eval()
    names = (
        "self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
        "self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight",
        "linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
    )  # fmt: skip
    torchs.load_state_dict(dict(zip(names, module.state_dict().values(), strict=True)))
    x, scalars = columns(3)
    expected = torchs(x.transpose(1, 2)).transpose(1, 2)
    # float32 sums of eight products in another order
    torch.testing.assert_close(module(x, scalars), expected, rtol=0, atol=2e-6)


def test_tanh_attention_is_its_formula() -> None:
    block = {"kind": "attention", "heads": 2, "weights": "tanh", "feedforward": 0, "norm": "none"}
    module = made(block).double().eval()
    weight, bias, out_weight, out_bias = (p.detach().numpy() for p in module.parameters())
    x = columns(1)[0].double()
    rows = x[0].numpy().T
    query, key, value = np.split(rows @ weight.T + bias, 3, axis=1)
    mixed = np.zeros_like(rows)
    for head in (slice(0, 4), slice(4, 8)):
        scores = np.tanh(query[:, head] @ key[:, head].T / 2.0)
        mixed[:, head] = scores @ value[:, head] / math.sqrt(LENGTH)
    expected = rows + mixed @ out_weight.T + out_bias
    got = module(x, torch.zeros(1, SCALARS).double())[0].T.detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)  # float64 rounding


def test_conv_lstm_of_kernel_one_is_torchs_cell_on_every_level() -> None:
    module = made({"kind": "conv_lstm", "width": 5, "kernel": 1, "steps": 3})
    weights = [p.detach() for p in module.parameters()]
    i, f, o, g = (slice(5 * k, 5 * k + 5) for k in range(4))
    cell = nn.LSTMCell(WIDTH, 5)
    with torch.no_grad():
        for k, gate in enumerate((i, f, g, o)):  # torch's order of gates
            rows = slice(5 * k, 5 * k + 5)
            cell.weight_ih[rows], cell.bias_ih[rows] = weights[0][gate, :, 0], weights[1][gate]
            cell.weight_hh[rows], cell.bias_hh[rows] = weights[2][gate, :, 0], 0.0
    x, scalars = columns(2)
    rows = x.transpose(1, 2).reshape(-1, WIDTH)
    state = (torch.zeros(len(rows), 5), torch.zeros(len(rows), 5))
    for _ in range(3):
        state = cell(rows, state)
    expected = state[0].reshape(2, LENGTH, 5).transpose(1, 2)
    # float32 sums of eight products in another order
    torch.testing.assert_close(module(x, scalars), expected, rtol=0, atol=1e-6)


def test_recurrent_blocks_begin_where_the_scalars_say() -> None:
    x, scalars = columns(2)
    begun = Signal(WIDTH, LENGTH, scalars=SCALARS, state=True)
    for kind, parts in (("lstm", 2), ("gru", 1)):
        block = {"kind": kind, "units": 5, "directions": "down"}
        module = made(block, begun).eval()
        start = module.get_submodule("start")
        plain: Any = nn.LSTM(WIDTH, 5, batch_first=True)
        if kind == "gru":
            plain = nn.GRU(WIDTH, 5, batch_first=True)
        plain.load_state_dict(module.get_submodule("layers").state_dict())
        first = torch.tanh(scalars @ start.map.weight.T + start.map.bias)  # type: ignore[operator]
        states = [part[None].contiguous() for part in first.split(5, dim=1)]
        assert len(states) == parts
        expected = plain(x.transpose(1, 2), tuple(states) if parts == 2 else states[0])[0]
        # the same kernels; the map before them may sum in another order
        torch.testing.assert_close(module(x, scalars), expected.transpose(1, 2), rtol=0, atol=1e-6)


def test_pixel_shuffle_loses_nothing() -> None:
    x = torch.arange(2 * WIDTH * LENGTH, dtype=torch.float32).reshape(2, WIDTH, LENGTH)
    scalars = torch.zeros(2, SCALARS)
    down = made({"kind": "pixel_shuffle", "direction": "down", "factor": 3})
    shuffled = down.get_submodule("layers")[0](x)  # type: ignore[index]
    assert shuffled.shape == (2, 3 * WIDTH, 4)
    assert torch.equal(shuffled[:, 3 * 5 + 2], x[:, 5, 2::3])
    up = made({"kind": "pixel_shuffle", "direction": "up", "factor": 3})
    assert torch.equal(up.get_submodule("layers")[1](shuffled), x)  # type: ignore[index]
    assert down(x, scalars).shape == (2, WIDTH, 4)


def test_film_scales_and_shifts_by_the_scalars() -> None:
    module = made({"kind": "film", "hidden": []})
    x, scalars = columns(3)
    weight, bias = (p.detach() for p in module.parameters())
    scale, shift = (scalars @ weight.T + bias).split(WIDTH, dim=1)
    # float32 sums of three products in another order
    torch.testing.assert_close(
        module(x, scalars), x * (1 + scale[:, :, None]) + shift[:, :, None], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("dilations", "seen"),
    [([1], [4, 5, 6, 7, 8]), ([2], [2, 4, 6, 8, 10]), ([1, 2], list(range(LENGTH)))],
)
def test_tcn_sees_as_far_as_its_dilations(dilations: list[int], seen: list[int]) -> None:
    """Two convolutions of kernel 3 per dilation reach twice as far to each side."""
    module = made({"kind": "tcn", "dilations": dilations, "norm": "none"})
    x = torch.zeros(1, WIDTH, LENGTH).requires_grad_()
    module(x, torch.zeros(1, SCALARS))[:, :, 6].sum().backward()
    assert x.grad is not None
    assert torch.nonzero(x.grad.abs().sum(dim=(0, 1))).flatten().tolist() == seen


def test_a_u_shape_sees_the_whole_column_and_pads_at_the_top() -> None:
    block = {**U_SHAPE, "widths": [4, 4, 4, 4]}
    block["blocks"] = [{"kind": "convolution", "norm": "none"}]
    signal = Signal(WIDTH, 13)
    module = made(block, signal)
    x = torch.randn(1, WIDTH, 13).requires_grad_()
    result = module(x, torch.zeros(1, 0))
    assert result.shape == (1, 4, 13)
    result[:, :, 12].sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(dim=(0, 1)) > 0).all())
    wide = made(block, Signal(WIDTH, 16))
    padded = torch.cat([torch.zeros(1, WIDTH, 3), x], dim=2)
    assert torch.equal(wide(padded, torch.zeros(1, 0))[:, :, 3:], result)


def test_residual_weights_are_those_of_its_sum() -> None:
    block = {"kind": "residual", "weight": 0.5, "skip_weight": 0.25, "activation": "relu",
             "blocks": [{"kind": "activation", "name": "tanh"}]}  # fmt: skip
    x, scalars = columns(2)
    expected = torch.relu(0.5 * torch.tanh(x) + 0.25 * x)
    torch.testing.assert_close(made(block)(x, scalars), expected, rtol=0, atol=0)


def test_squeeze_excitation_gates_channels_alike_on_all_levels() -> None:
    module = made({"kind": "squeeze_excitation"}).eval()
    x, scalars = columns(2)
    gates = module(x, scalars).detach() / x
    # one division per value in float32
    torch.testing.assert_close(gates, gates[:, :, :1].expand_as(gates), rtol=1e-5, atol=0)
    assert bool(((gates > 0) & (gates < 1)).all())
    assert float(gates[:, :, 0].std()) > 0


@pytest.mark.parametrize(
    ("name", "over"),
    [("layer", (1,)), ("level_layer", (1, 2)), ("group", (1, 2)), ("batch", (0, 2))],
)
def test_norms_standardize_over_what_they_say(name: str, over: tuple[int, ...]) -> None:
    # of 7 channels GroupNorm makes one group, so that it standardizes over all of them
    module = made({"kind": "norm", "name": name}, Signal(7, LENGTH)).train()
    x = 3.0 + 2.0 * torch.randn(6, 7, LENGTH, generator=torch.Generator().manual_seed(0))
    y = module(x, torch.zeros(6, 0)).detach()
    assert float(y.mean(dim=over).abs().max()) < 1e-5  # float32 rounding
    assert float((y.var(dim=over, unbiased=False) - 1).abs().max()) < 1e-3  # the norms' epsilon


def test_rms_norm_divides_by_the_root_of_the_mean_square() -> None:
    x, scalars = columns(2)
    expected = x / x.square().mean(dim=1, keepdim=True).sqrt()
    got = made({"kind": "norm", "name": "rms"})(x, scalars)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)  # float32, torch's epsilon


def test_a_base_without_kind_is_no_block() -> None:
    assert BlockConfiguration not in BLOCKS.values()
    assert all(kind == model.model_fields["kind"].default for kind, model in BLOCKS.items())
