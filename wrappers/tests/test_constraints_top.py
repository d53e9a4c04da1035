"""The fitted temperature tendency of the top levels against its closed form, and the temperature
mask per level.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from climlink.wrappers.constraints import ConstraintContext, build_constraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry

L, DT, MONTH = 20, 1200.0, 30.0 * 86400.0
FITTED = {
    "above_pa": 1000.0,
    "levels": [2, 0],
    "intercept": [2e-4, 1.5e-4],
    "temperature": [-1e-6, -7e-7],
    "solin": [1e-8, -2e-8],
    "coszrs": [3e-6, 0.0],
    "held_out_r2": [0.9, None],
}


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), DT, 4, L)


def rule(context, name: str = "stable_top", **parameters):
    return build_constraint(ConstraintEntry(name=name, parameters=parameters), context)


def columns(batch: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    rng = np.random.default_rng(0)
    state = {
        "state_t": rng.uniform(180.0, 400.0, (batch, L)),
        "pbuf_SOLIN": rng.uniform(0.0, 1300.0, (batch, 1)),
        "pbuf_COSZRS": rng.uniform(-1.0, 1.0, (batch, 1)),
    }
    outputs = {n: rng.normal(size=(batch, L)) for n in ("ptend_t", "ptend_u")}
    return tuple({k: torch.from_numpy(v) for k, v in d.items()} for d in (state, outputs))


def test_named_levels_follow_temperature_and_sun(context) -> None:
    state, outputs = columns(7)
    kept = outputs["ptend_t"].clone()
    made = rule(context, **FITTED)
    got = made(state, outputs)
    assert list(got) == ["ptend_t"]
    expected = kept.numpy().copy()
    t, sun, mu = (state[n].numpy() for n in ("state_t", "pbuf_SOLIN", "pbuf_COSZRS"))
    for i, k in enumerate(FITTED["levels"]):
        a, b, c, d = (FITTED[n][i] for n in ("intercept", "temperature", "solin", "coszrs"))
        expected[:, k] = a + b * t[:, k] + c * sun[:, 0] + d * mu[:, 0]
    np.testing.assert_allclose(got["ptend_t"], expected, rtol=1e-12)
    others = [k for k in range(L) if k not in FITTED["levels"]]
    assert torch.equal(got["ptend_t"][:, others], kept[:, others])
    assert torch.equal(outputs["ptend_t"], kept), "arguments are not changed"
    assert torch.equal(torch.jit.script(made)(state, outputs)["ptend_t"], got["ptend_t"])
    state["state_t"][0, 2] = float("nan")
    spoiled = made(state, outputs)["ptend_t"]
    assert torch.isnan(spoiled).nonzero().tolist() == [[0, 2]]


def test_two_columns_come_together_within_a_month(context) -> None:
    """The weakest damping that is allowed, the sun as it is: a difference decays by 1/e and more in
    30 days.
    """
    weakest = {**FITTED, "temperature": [-1.0 / MONTH] * 2}
    made, (state, outputs) = rule(context, **weakest), columns(2)
    state["pbuf_SOLIN"][1], state["pbuf_COSZRS"][1] = (
        state["pbuf_SOLIN"][0],
        state["pbuf_COSZRS"][0],
    )
    apart = (state["state_t"][0] - state["state_t"][1]).abs()[[0, 2]]
    for _ in range(30 * 72):
        state["state_t"] = state["state_t"] + DT * made(state, outputs)["ptend_t"]
    left = (state["state_t"][0] - state["state_t"][1]).abs()[[0, 2]]
    np.testing.assert_allclose(left / apart, (1.0 - DT / MONTH) ** (30 * 72), rtol=1e-9)
    assert (left < apart / np.e).all()


def changed(**parameters):
    return {**FITTED, **parameters}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"above_pa": 1000.0}, "no coefficients: `climlink train` and `climlink export RUN"),
        ({"levels": [1]}, "no coefficients"),
        ({}, "give levels, or above_pa"),
        ({"levels": [1], "above_pa": 10.0}, "give levels, or above_pa"),
        ({"levels": [1], "solin": [0.0]}, "give all of intercept, temperature, solin, coszrs"),
        (changed(solin=[0.0]), "one number per level: there are 2 levels.*'solin': 1"),
        (changed(levels=[2, 2]), "levels must be different"),
        (changed(levels=[2, L]), rf"levels \[{L}\] are outside 0..{L - 1}"),
        (changed(levels=[2, -1]), "greater than or equal to 0"),
        (changed(temperature=[-1e-6, -3.8e-7]), r"at most -1/\(30 days\) = -3.858e-07 .* -3.8e-07"),
        (changed(temperature=[-1e-6, 1e-6]), "at most -1/"),
        (
            changed(temperature=[-1e-6, -1e-3]),
            r"-0.001 per s overshoots .* 1200 s; at least -0.000",
        ),
        (changed(held_out_r2=[0.5]), "one number per level"),
        (changed(above_pa=-1.0), "greater than 0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(context, parameters, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        rule(context, **parameters)


def test_temperature_is_masked_by_level(context) -> None:
    """``output_mask`` takes the temperature's tendency like any other, level by level, pruned ones
    or not.
    """
    state, outputs = columns(3)
    got = rule(context, "output_mask", zero={"ptend_t": [0, 3, 11]})(state, outputs)
    expected = outputs["ptend_t"].clone()
    expected[:, [0, 3, 11]] = 0.0
    assert list(got) == ["ptend_t"]
    assert torch.equal(got["ptend_t"], expected)
