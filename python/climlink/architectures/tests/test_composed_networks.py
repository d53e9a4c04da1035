"""Composed networks from outside: what their configuration says is what is built, and what does not
fit is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from climlink.architectures import ArchitectureError, build, resolve_configuration
from climlink.architectures.composed import BLOCKS, Composed
from climlink.architectures.composed.heads import HeadConfiguration
from climlink.architectures.composed.scalars import StemConfiguration
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.wrappers.column_emulator import ColumnShape

NAMES = ("ptend_t", "ptend_q0001", "ptend_u", "cam_out_NETSW", "cam_out_PRECC")
SHAPE = ColumnShape(4, 3, 3, 2, 12, NAMES)
LSTM = {"kind": "lstm", "units": 4}
GROUPS = {
    "rest": {"hidden": [6]},
    "water": {"outputs": ["cam_out_PRECC", "ptend_q0001"], "blocks": [LSTM], "scalars": "pooled"},
    "wind": {"outputs": ["ptend_u"], "blocks": ["convolution"]},
}
WAYS: dict[str, dict[str, Any]] = {
    "levels": {"scalars": {"ways": ["levels"]}},
    "encoded": {"scalars": {"ways": ["levels"], "hidden": [5, 4]}},
    "tokens": {"scalars": {"ways": ["tokens"]}, "heads": {"all": {"scalars": "token"}}},
    "state": {"scalars": {"ways": ["state"]}, "blocks": [LSTM]},
    "film": {"scalars": {"ways": [], "hidden": [5]}, "blocks": ["film"]},
    "all": {"scalars": {"ways": ["levels", "tokens", "state"]}, "blocks": ["attention", LSTM]},
    "embeddings": {
        "stem": {"width": 8, "kernel": 3, "feature_width": 2, "level_width": 3,
                 "position": "learned", "norm": "layer", "activation": "gelu"},
        "heads": {"all": {"scalars": "flatten", "scalar_hidden": [7]}},
    },
    "groups": {"heads": GROUPS, "confidence": True},
}  # fmt: skip
EVERY = pytest.mark.parametrize("configuration", WAYS.values(), ids=list(WAYS))


def made(configuration: dict[str, Any], shape: ColumnShape = SHAPE) -> Composed:
    """Return a network of eight channels with weights of a fixed seed."""
    torch.manual_seed(3)
    network = build("composed", {"stem": {"width": 8}, **configuration}, shape)
    assert isinstance(network, Composed)
    return network


def columns(batch: int = 5, shape: ColumnShape = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    profiles = torch.randn(batch, shape.profile_inputs, shape.level_count, generator=generator)
    return profiles, torch.randn(batch, shape.scalar_inputs, generator=generator)


@EVERY
def test_shapes_gradients_and_scalars(configuration: dict[str, Any]) -> None:
    network = made(configuration).train()
    profiles, scalars = columns()
    scalars.requires_grad_()
    results = network(profiles, scalars)
    confidence = 3 * 12 + 2 if network.has_confidence else 0
    assert [list(r.shape[1:]) for r in results] == [[3, 12], [2], [confidence]]
    sum(r.square().sum() for r in results).backward()
    lacking = [n for n, p in network.named_parameters() if p.numel() and not bool(p.grad.any())]
    assert lacking == []
    assert scalars.grad is not None
    assert bool((scalars.grad != 0).all())


@EVERY
def test_a_configuration_survives_the_manifest(configuration: dict[str, Any]) -> None:
    given = {"stem": {"width": 8}, **configuration}
    resolved = json.loads(json.dumps(resolve_configuration("composed", given)))
    assert "preset" not in resolved
    assert resolve_configuration("composed", resolved) == resolved
    network, again = made(given).eval(), build("composed", resolved, SHAPE).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        pairs = zip(network(*columns()), again(*columns()), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_resolved_numbers_are_explicit() -> None:
    resolved = resolve_configuration("composed", {"blocks": ["lstm"]})
    assert resolved["blocks"] == [
        {"kind": "lstm", "units": 128, "layers": 1, "directions": "both", "dropout": 0.0}
    ]
    assert resolved["stem"]["width"] == 128
    assert resolved["heads"]["all"]["outputs"] is None


@pytest.mark.parametrize("name", ["all", "groups", "embeddings"])
def test_script_equals_eager_and_columns_are_independent(name: str) -> None:
    network = made(WAYS[name]).eval()
    profiles, scalars = columns(9)
    with torch.no_grad():
        whole = network(profiles, scalars)
        for a, b in zip(whole, torch.jit.script(network)(profiles, scalars), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(whole, network(profiles[2:6], scalars[2:6]), strict=True):
            # batches of other sizes take other kernels: rounding of float32
            torch.testing.assert_close(a[2:6], b, rtol=0, atol=2e-6)


@pytest.mark.long
def test_a_network_exports_with_any_batch() -> None:
    network = made(WAYS["groups"]).eval()
    free = {0: torch.export.Dim("batch", min=2, max=4096)}
    exported = torch.export.export(network, columns(4), dynamic_shapes=(free, free)).module()
    with torch.no_grad():
        for a, b in zip(network(*columns(9)), exported(*columns(9)), strict=True):
            # the exported graph calls the same kernels in pieces: rounding of float32
            torch.testing.assert_close(a, b, rtol=0, atol=2e-6)


def test_without_blocks_it_is_a_linear_map_of_each_level() -> None:
    network = made({}).double()
    profiles, scalars = (x.double() for x in columns(1))
    out, values, confidence = network(profiles, scalars)
    stem, head = network.stem.channels[0], network.heads[0]
    assert isinstance(stem, nn.Conv1d)
    rows = torch.cat([profiles[0], scalars[0][:, None].expand(-1, 12)]).T
    h = rows @ stem.weight[:, :, 0].T + stem.bias
    last, scalar_last = head.profile_map, head.scalar_map[1]
    expected = h @ last.weight[:, :, 0].T + last.bias
    torch.testing.assert_close(out[0].T, expected, rtol=0, atol=1e-12)  # float64 rounding
    expected = h.mean(dim=0) @ scalar_last.weight.T + scalar_last.bias
    torch.testing.assert_close(values[0], expected, rtol=0, atol=1e-12)
    assert confidence.shape == (1, 0)


@pytest.mark.parametrize(
    ("head", "profiles", "scalars"),
    [("rest", {"ptend_t"}, {"cam_out_NETSW"}), ("water", {"ptend_q0001"}, {"cam_out_PRECC"}),
     ("wind", {"ptend_u"}, set())],
)  # fmt: skip
def test_a_head_makes_the_outputs_that_it_names(
    head: str, profiles: set[str], scalars: set[str]
) -> None:
    network = made(WAYS["groups"]).eval()
    with torch.no_grad():
        before = network(*columns())
        for parameter in network.heads[list(GROUPS).index(head)].parameters():
            parameter.add_(0.1)
        after = network(*columns())
    changed = [(a != b).flatten(2).any(dim=2).any(dim=0) if a.dim() == 3 else (a != b).any(dim=0)
               for a, b in zip(before, after, strict=True)]  # fmt: skip
    assert {NAMES[k] for k in torch.nonzero(changed[0])} == profiles
    assert {NAMES[3 + k] for k in torch.nonzero(changed[1])} == scalars
    sure = [bool(c) for c in [*changed[2][:36].reshape(3, 12).any(dim=1), *changed[2][36:]]]
    assert {n for n, moved in zip(NAMES, sure, strict=True) if moved} == profiles | scalars


def test_tokens_carry_scalars_to_levels_through_attention_only() -> None:
    still = made({"scalars": {"ways": ["tokens"]}, "blocks": [{"kind": "mlp"}]}).eval()
    mixed = made({"scalars": {"ways": ["tokens"]}, "blocks": ["attention"]}).eval()
    profiles, scalars = columns()
    with torch.no_grad():
        assert torch.equal(still(profiles, scalars)[0], still(profiles, scalars + 1)[0])
        assert not torch.equal(mixed(profiles, scalars)[0], mixed(profiles, scalars + 1)[0])


def test_positions_break_the_symmetry_of_levels() -> None:
    flat, scalars = torch.ones(2, 4, 12), torch.zeros(2, 3)
    for stem, varies in (
        ({}, False),
        ({"position": "waves"}, True),
        ({"position": "learned"}, True),
        ({"level_width": 2}, True),
    ):
        with torch.no_grad():
            out = made({"stem": {"width": 8, **stem}})(flat, scalars)[0]
        assert (float(out.std(dim=2).max()) > 1e-3) == varies, stem


def test_scalars_may_be_absent() -> None:
    shape = ColumnShape(2, 0, 3, 0, 12)
    profiles, scalars, _ = made({"blocks": ["convolution"]}, shape)(*columns(4, shape))
    assert profiles.shape == (4, 3, 12)
    assert scalars.shape == (4, 0)


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"block": []}, ["unknown key 'block'", "'blocks'"]),
        (
            {"blocks": ["lstm", {"kind": "convulotion"}]},
            ["block 2", "'convolution'", "known kinds"],
        ),
        ({"blocks": ["lstm", {"units": 3}]}, ["block 2", "no `kind`", "known kinds", "lstm"]),
        ({"blocks": [{"kind": "lstm", "unit": 3}]}, ["block 1 (lstm)", "'unit'", "'units'"]),
        ({"blocks": [{"kind": "gru", "units": "3"}]}, ["block 1 (gru)", "units", "got '3'"]),
        (
            {"blocks": ["gru", {"kind": "repeat", "times": 2, "blocks": ["gru", {"kind": "x"}]}]},
            ["block 2 (repeat)", "block 2", "unknown kind 'x'"],
        ),
        ({"blocks": "lstm"}, ["list of blocks", "'lstm'"]),
        (
            {"blocks": [{"kind": "attention", "heads": 3}]},
            ["block 1 (attention)", "heads (3)", "8"],
        ),
        (
            {"blocks": [{"kind": "residual", "blocks": [{"kind": "convolution", "kernel": 4}]}]},
            ["block 1 (residual)", "block 1 (convolution)", "odd", "4"],
        ),
        (
            {"blocks": [{"kind": "pixel_shuffle", "direction": "down"}]},
            ["number of levels (12)", "they make 6"],
        ),
        (
            {"blocks": [{"kind": "pixel_shuffle", "direction": "down", "factor": 5}]},
            ["block 1 (pixel_shuffle)", "12 levels", "multiple of 5"],
        ),
        ({"stem": {"widht": 8}}, ["stem", "'widht'", "'width'"]),
        ({"scalars": {"ways": ["token"]}}, ["scalars", "'tokens'", "'token'"]),
        ({"scalars": {"ways": ["state"]}}, ["`state`", "lstm or gru"]),
        ({"scalars": {"ways": []}}, ["would not be read"]),
        ({"heads": {"a": {"outputs": ["ptend_q1"]}}}, ["'a'", "'ptend_q1'", "'ptend_q0001'"]),
        (
            {"heads": {"a": {"outputs": ["ptend_t"]}}},
            ["no head makes ptend_q0001", "takes the rest"],
        ),
        ({"heads": {"a": {}, "b": {}}}, ["a, b", "only one"]),
        ({"heads": {"a": {"outputs": list(NAMES)}, "b": {}}}, ["no output is left", "'b'"]),
        (
            {"heads": {"a": {"outputs": ["ptend_t"]}, "b": {"outputs": ["ptend_t"]}, "c": {}}},
            ["'a' and 'b'", "'ptend_t'"],
        ),
        ({"heads": {"a": {"hiden": [3]}}}, ["head 'a'", "'hiden'", "'hidden'"]),
        ({"heads": {"a": {"scalars": "token"}}}, ["head 'a'", "enter as tokens"]),
    ],
)
def test_what_does_not_fit_is_named(configuration: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        made(configuration)
    for word in words:
        assert word in str(caught.value)


def test_heads_by_name_need_names() -> None:
    with pytest.raises(ArchitectureError, match="build it for a contract"):
        made({"heads": GROUPS}, ColumnShape(4, 3, 3, 2, 12))


def test_ways_of_scalars_need_scalars() -> None:
    for way in ("tokens", "state"):
        with pytest.raises(ArchitectureError, match=f"{way} need scalar inputs"):
            made({"scalars": {"ways": [way]}, "blocks": [LSTM]}, ColumnShape(4, 0, 3, 2, 12))
    with pytest.raises(ArchitectureError, match=r"block 1 \(film\): needs scalar inputs"):
        made({"blocks": ["film"]}, ColumnShape(4, 0, 3, 2, 12))


PAGE = Path(__file__).resolve().parents[4] / "docs" / "composed-networks.md"


def rows_of_the_page(heading: str) -> dict[str, set[str]]:
    """Return the names in the first and the last column of a section's table."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    names = re.compile(r"`([a-z_]+)`")
    return {name: set(names.findall(row[-1])) for row in cells for name in names.findall(row[0])}


def test_the_page_lists_every_block_with_every_key() -> None:
    listed = rows_of_the_page("Blocks")
    assert set(listed) == set(BLOCKS)
    for kind, model in BLOCKS.items():
        assert listed[kind] - {"blocks"} == set(model.model_fields) - {"kind", "blocks"}, kind
    for heading, model in (("Stem", StemConfiguration), ("Heads", HeadConfiguration)):
        assert set(rows_of_the_page(heading)) == set(model.model_fields)
    ways = {"levels", "tokens", "state"}
    assert set(rows_of_the_page("Three ways for scalars")) == ways


def test_the_pages_example_builds() -> None:
    text = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    configuration = yaml.safe_load(text)["architecture"]["configuration"]
    names = ("ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003", "cam_out_PRECC")
    shape = ColumnShape(9, 17, 4, 1, 60, names)
    with torch.device("meta"):
        assert made(configuration, shape).has_confidence


@pytest.mark.long
def test_a_package_of_a_composed_network_passes_verify(
    export_untrained: Callable[..., EmulatorPackage], tmp_path: Path
) -> None:
    convolutions = [{"kind": "residual", "weight": 0.7, "blocks": ["convolution", "film"]}]
    configuration = {
        "stem": {"width": 16, "kernel": 3, "position": "learned", "level_width": 2},
        "scalars": {"ways": ["levels", "state"], "hidden": [8]},
        "blocks": [
            {"kind": "u_shape", "widths": [16, 16, 24], "blocks": convolutions},
            {"kind": "attention", "heads": 4, "weights": "tanh"},
            {"kind": "residual", "blocks": ["norm", {"kind": "mamba", "states": 4}]},
            {"kind": "gru", "units": 8},
            {"kind": "lstm", "units": 8},
        ],
        "heads": {
            "water": {"outputs": ["ptend_q0001", "ptend_qn", "cam_out_PRECC"], "hidden": [8]},
            "rest": {"scalars": "flatten", "scalar_hidden": [8]},
        },
        "confidence": True,
    }
    path = tmp_path / "wrap_model.pt"
    package = export_untrained("host_v2_q", path, "composed", configuration)
    result = verify(package)
    assert result.passed
    assert package.manifest.architecture.configuration["heads"]["water"]["hidden"] == [8]
