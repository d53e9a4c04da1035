"""WrappedEmulator: one path, eager and scripted, whatever the sets; what it promises about tensors,
devices and errors.
"""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.packing import Packing
from climlink.wrappers.thermodynamics import relative_humidity
from climlink.wrappers.wrapped_emulator import WrappedEmulator

SETS = [
    (host, network)
    for host in (
        "host_v2_q",
        "host_v2_rh",
        "host_v4_q",
        "host_v4_rh",
        "host_v6_q",
        "host_v6_rh",
        "climsim_v2",
    )
    for network in ("net_v2_mc", "net_multirep", "net_v6_mc")
    if network != "net_v6_mc" or host.startswith(("host_v4", "host_v6"))
]


@pytest.fixture(scope="module")
def contract(make) -> EmulatorContract:
    return make.contract()


@pytest.fixture(scope="module")
def emulator(make, contract) -> WrappedEmulator:
    return make.emulator(contract)


@pytest.fixture(scope="module")
def script(emulator) -> torch.jit.ScriptModule:
    return torch.jit.script(emulator)


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize(("host", "network"), SETS)
def test_eager_and_script_agree_bit_for_bit(
    make, host: str, network: str, confidence: bool
) -> None:
    choices = NormalizationConfig(
        scheme="range", cloud_transform=network != "net_multirep", output_center="mean"
    )
    contract = make.contract(host, network, normalization=choices)
    emulator = make.emulator(contract, confidence)
    x = make.rows(contract, 6)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        y = emulator(x)
        assert torch.equal(torch.jit.script(emulator)(x), y)
    assert y.shape == (6, emulator.n_output)
    assert emulator.n_output == contract.outputs.width + confidence * contract.network_outputs.width
    assert y.dtype == torch.float32
    assert torch.isfinite(y).all()


def test_hosts_that_send_q_or_rh_get_the_same_answer(make) -> None:
    with_q, with_rh = make.contract("host_v2_q"), make.contract("host_v2_rh")
    x = make.rows(with_q, 8)
    h = with_q.hybrid
    named = {n: v.double() for n, v in with_q.inputs.unpack(x).items()}
    pressure = (
        h.p0_pa * torch.tensor(h.hyam).double()
        + named["state_ps"][:, None] * torch.tensor(h.hybm).double()
    )
    named["state_rh"] = relative_humidity(named["state_t"], named["state_q0001"], pressure)
    del named["state_q0001"]
    other = with_rh.inputs.pack({n: v.float() for n, v in named.items()})
    a, b = make.emulator(with_q)(x).detach(), make.emulator(with_rh)(other).detach()
    scale = make.emulator(with_q).normalization.output_scale.abs().max()
    assert float(((a - b).abs() / (scale + a.abs())).max()) < 1e-5


def test_the_answer_is_the_composition_in_numpy(make) -> None:
    """A network that returns zeros, no centre: every tendency is zero but what the constraints make
    of the state.
    """
    contract = make.contract(constraints=("prune", "liquid_ice_partition"))
    emulator = make.emulator(contract)
    nn.init.zeros_(emulator.network.network.outer.weight)
    nn.init.zeros_(emulator.network.network.outer.bias)
    x = make.rows(contract, 5)
    y = {k: v.detach().numpy() for k, v in contract.outputs.unpack(emulator(x)).items()}
    s = {k: v.numpy().astype(np.float64) for k, v in contract.inputs.unpack(x).items()}
    f = np.clip((s["state_t"] - 253.16) / 20.0, 0.0, 1.0)
    expected = (f * (s["state_q0002"] + s["state_q0003"]) - s["state_q0002"]) / 1200.0
    expected[:, :4] = 0.0
    np.testing.assert_allclose(y["ptend_q0002"], expected, rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(y["ptend_q0003"], -expected, rtol=1e-6, atol=1e-20)
    assert not any(y[n].any() for n in y if n not in ("ptend_q0002", "ptend_q0003"))


def test_the_callers_tensor_is_never_changed(make, contract, emulator, script) -> None:
    x = make.rows(contract, 4)
    before = x.numpy().tobytes()
    for module in (emulator, script):
        module(x)
        module.constraint_changes(x)
        module.normalized_forward(x)
        assert x.numpy().tobytes() == before


def test_columns_do_not_see_each_other(make, contract, emulator, script) -> None:
    x = make.rows(contract, 23)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    noisy = x.clone()
    noisy[5] = float("nan")
    rest = [i for i in range(23) if i != 5]
    rows = emulator.normalized_forward(x)[0]
    # Everything around the network is bitwise independent of the batch; the network's own kernels
    # are only so per batch size.
    for module in (emulator, script):
        for step, given in ((module.normalized_inputs, (x,)), (module.constrain, (x, rows))):
            whole = step(*given)
            parts = [step(*(g[a:b] for g in given)) for a, b in ((0, 1), (1, 2), (2, 9), (9, 23))]
            assert torch.equal(torch.cat(parts), whole)
            assert torch.equal(step(*(g[order] for g in given)), whole[order])
        whole = module(x)
        assert torch.equal(module(x[order]), whole[order])
        assert torch.equal(module(noisy)[rest], whole[rest])
        assert torch.isnan(module(noisy)[5]).any()


def test_no_columns_are_legal(make, contract, emulator, script) -> None:
    for module in (emulator, script):
        assert module(make.rows(contract, 3)[:0]).shape == (0, emulator.n_output)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :-1], r"expected host rows of shape \[columns, 197\], got \[2, 196\]"),
        (
            lambda x: torch.cat([x, x], 1),
            r"expected host rows of shape \[columns, 197\], got \[2, 394\]",
        ),
        (lambda x: x[0], r"expected host rows of shape \[columns, 197\], got \[197\]"),
        (lambda x: x.double(), "expected float32 host rows, got another type; cast"),
        (lambda x: x.half(), "expected float32 host rows"),
    ],
)
def test_wrong_rows_are_refused_alike(
    make, contract, emulator, script, spoil, message: str
) -> None:
    x = spoil(make.rows(contract, 2))
    with pytest.raises(ValueError, match=message):
        emulator(x)
    with pytest.raises(torch.jit.Error, match=message):
        script(x)


def test_nothing_is_printed(make, contract, emulator, script, capfd) -> None:
    for module in (emulator, script, torch.jit.script(emulator)):
        module(make.rows(contract, 2))
    assert capfd.readouterr() == ("", "")


def test_operators_are_portable(script) -> None:
    """No print, no device of its own, nothing whose result shape depends on values."""
    names = {n.split(".")[0] for n in torch.jit.export_opnames(script)}
    assert not [n for n in names if "cuda" in n.lower()]
    forbidden = {
        "prim::Print",
        "aten::nonzero",
        "aten::masked_select",
        "aten::index",
        "aten::index_put",
        "aten::index_put_",
        "aten::unique",
    }
    assert not names & forbidden
    code = "\n".join(m.code for _, m in script.named_modules() if hasattr(m, "code"))
    assert "print" not in code
    assert 'device("' not in code


def test_every_tensor_is_a_parameter_or_a_buffer(emulator) -> None:
    for name, module in emulator.named_modules():
        plain = [k for k, v in vars(module).items() if isinstance(v, torch.Tensor)]
        assert not plain, f"{name}: {plain} would stay behind when the module moves"


def test_everything_moves(make, contract) -> None:
    moved = make.emulator(contract).to(torch.device("meta"))
    assert {t.device.type for t in (*moved.parameters(), *moved.buffers())} == {"meta"}
    assert moved(make.rows(contract, 3).to("meta")).device.type == "meta"


def test_state_of_a_loaded_script_fits_a_fresh_emulator(make, contract, emulator, script) -> None:
    stored = io.BytesIO()
    torch.jit.save(script, stored)
    stored.seek(0)
    loaded = torch.jit.load(stored)
    fresh = WrappedEmulator(contract, make.network(contract.network_shape, seed=7)).eval()
    x = make.rows(contract, 9)
    assert not torch.equal(fresh(x), emulator(x))
    fresh.load_state_dict(loaded.state_dict())
    assert torch.equal(fresh(x), emulator(x))
    assert torch.equal(loaded(x), emulator(x))
    assert fresh.normalization.digest() == emulator.normalization.digest()


@pytest.mark.parametrize(
    "move", [lambda m: m, lambda m: m.to(torch.device("cpu")), lambda m: m.float()]
)
def test_humidity_keeps_its_precision_inside_the_scripted_graph(make, move) -> None:
    """1e-5 from 150 to 330 K against numpy in float64 on the same float32 host rows, after moves
    and a cast of the module too.
    """
    contract = make.contract()
    fields = torch.jit.script(move(make.emulator(contract))).fields
    x = make.rows(contract, 400)
    rng = np.random.default_rng(0)
    x[:, contract.inputs.slice("state_t")] = torch.from_numpy(
        rng.uniform(150.0, 330.0, (400, make.levels))
    ).float()
    got = contract.network_inputs.unpack(fields(x))["state_rh"].numpy()
    s = {k: v.numpy().astype(np.float64) for k, v in contract.inputs.unpack(x).items()}
    t, d = s["state_t"], s["state_t"] - 273.16
    poly = np.polynomial.polynomial.polyval
    liquid = poly(np.maximum(d, -80.0), [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3,
                                         0.302950461e-5, 0.206739458e-7, 0.640689451e-10,
                                         -0.952447341e-13, -0.976195544e-15])  # fmt: skip
    ice = poly(d, [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5,
                   0.602588177e-7, 0.385852041e-9, 0.146898966e-11, 0.252751365e-14])  # fmt: skip
    cold = poly(np.maximum(d, -100.0), [0.00763685, 0.000151069, 7.48215e-7])
    ice = np.where(t > 273.15, liquid, np.where(t > 185.0, ice, cold))
    w = np.clip((t - 253.16) / 20.0, 0.0, 1.0)
    h = contract.hybrid
    p = h.p0_pa * np.array(h.hyam) + s["state_ps"][:, None] * np.array(h.hybm)
    np.testing.assert_allclose(
        got,
        461.0 * p * s["state_q0001"] / (287.0 * 100.0 * (w * liquid + (1.0 - w) * ice)),
        rtol=1e-5,
    )


def test_confidence_follows_the_outputs_and_no_constraint_touches_it(make, contract) -> None:
    emulator = make.emulator(contract, confidence=True)
    x = make.rows(contract, 30)
    y = emulator(x)
    rows, confidence = emulator.normalized_forward(x)
    assert confidence.shape == rows.shape == (30, contract.network_outputs.width)
    assert torch.equal(y[:, contract.outputs.width :], confidence)
    surface = confidence[:, contract.network_outputs.offset("cam_out_NETSW") :]
    assert (surface < 0.0).any(), "a clip at zero would show"
    plain = make.emulator(contract)
    plain.load_state_dict({k: v for k, v in emulator.state_dict().items() if "doubt" not in k})
    assert torch.equal(plain(x), y[:, : contract.outputs.width])


def test_the_gradient_reaches_the_network(make, contract) -> None:
    emulator = make.emulator(contract).train()
    rows, _ = emulator.normalized_forward(make.rows(contract, 4))
    rows.square().mean().backward()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all() for p in emulator.network.parameters()
    )


def test_packing_splits_and_joins(make) -> None:
    variables = make.contract("climsim_v2").inputs  # scalars stand between profiles here
    rows = torch.arange(2.0 * variables.width).reshape(2, -1)
    packing = Packing(variables)
    profiles, scalars = packing.split(rows)
    named = variables.unpack(rows)
    assert torch.equal(profiles, torch.stack([named[v.name] for v in variables.profiles], 1))
    assert torch.equal(scalars, torch.stack([named[v.name] for v in variables.scalars], 1))
    assert torch.equal(packing.join(profiles, scalars), rows)


def test_a_network_of_another_shape_is_refused(make, contract) -> None:
    other = make.contract(network_input_set="net_multirep")
    with pytest.raises(
        ContractError,
        match=r"needs a network of ColumnShape\(profile_inputs=9.*got one of "
        r"ColumnShape\(profile_inputs=25",
    ):
        WrappedEmulator(contract, make.network(other.network_shape))


def test_outputs_that_nobody_produces_are_refused(make) -> None:
    contract = make.contract(constraints=("prune",))
    with pytest.raises(
        ContractError, match=r"outputs \['ptend_q0002', 'ptend_q0003'\] of 'mmf368' come neither"
    ):
        WrappedEmulator(contract, make.network(contract.network_shape))


def test_a_host_that_cannot_feed_the_network_is_refused(make) -> None:
    contract = make.contract("host_v2_q", "net_v6_mc")
    with pytest.raises(ContractError, match="neither holds 'state_t_dyn'"):
        WrappedEmulator(contract, make.network(contract.network_shape))


def test_contract_round_trip_and_checks(make, contract) -> None:
    assert EmulatorContract.model_validate_json(contract.model_dump_json()) == contract
    raw = json.loads(contract.model_dump_json())
    for change, message in (
        ({"dims": {"level": 60}}, "has width 20, its dims say level 60"),
        ({"dims": {"level": "20"}}, "valid integer"),
        (
            {"hybrid": make.hybrid(21).entry().model_dump()},
            "there are 20 levels but the hybrid coefficients have 21",
        ),
        (
            {"carried": [{"output": "ptend_t", "input": "state_t"}]},
            "carried state needs an input 'start'",
        ),
        ({"time_step_s": 0.0}, "greater than 0"),
        ({"time_step_s": float("nan")}, "finite"),
        ({"extra": 1}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=message):
            EmulatorContract.model_validate(raw | change)
