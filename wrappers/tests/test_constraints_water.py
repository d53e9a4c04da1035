"""Constraints on water and wind against closed forms in numpy, float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.wrappers.constraints import ConstraintContext, build_constraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry

DT = 1200.0
L = 30
PRUNED = 5


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), DT, PRUNED, L)


def rule(context: ConstraintContext, name: str, **parameters):
    return build_constraint(ConstraintEntry(name=name, parameters=parameters), context)


def columns(batch: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return plausible states and tendencies, some of them at exact zeros."""
    rng = np.random.default_rng(seed)
    shape = (batch, L)
    state = {
        "state_t": rng.uniform(200.0, 300.0, shape),
        "state_q0001": rng.uniform(0.0, 1e-2, shape),
        "state_q0002": rng.uniform(0.0, 1e-4, shape) * (rng.random(shape) < 0.6),
        "state_q0003": rng.uniform(0.0, 1e-4, shape) * (rng.random(shape) < 0.6),
        "state_ps": rng.uniform(6e4, 1.04e5, (batch, 1)),
    }
    outputs = {
        n: rng.normal(0.0, 1e-7, shape)
        for n in ("ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_qn")
    }
    outputs |= {
        "ptend_t": rng.normal(0.0, 1e-3, shape),
        "ptend_u": rng.normal(size=shape),
        "ptend_v": rng.normal(size=shape),
    }
    return state, outputs


def apply(
    constraint, state: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Apply a constraint; check that it changes neither argument and returns only what it may."""
    s, o = ({k: torch.from_numpy(v.copy()) for k, v in d.items()} for d in (state, outputs))
    result = constraint(s, o)
    for given_, kept in ((state, s), (outputs, o)):
        assert list(given_) == list(kept)
        assert all(given_[k].tobytes() == kept[k].numpy().tobytes() for k in given_)
    scripted = torch.jit.script(constraint)(s, o)
    assert list(scripted) == list(result)
    assert all(torch.equal(scripted[k], result[k]) for k in result)
    return {k: v.numpy() for k, v in result.items()}


def test_prune_zeroes_water_and_wind_and_leaves_temperature(context) -> None:
    state, outputs = columns(4)
    got = apply(rule(context, "prune"), state, outputs)
    assert sorted(got) == [
        "ptend_q0001",
        "ptend_q0002",
        "ptend_q0003",
        "ptend_qn",
        "ptend_u",
        "ptend_v",
    ]
    for name, value in got.items():
        assert not value[:, :PRUNED].any()
        assert np.array_equal(value[:, PRUNED:], outputs[name][:, PRUNED:])


def split(state, outputs):
    """The published split, then nothing on pruned levels."""
    f = np.clip((state["state_t"] + DT * outputs["ptend_t"] - 253.16) / 20.0, 0.0, 1.0)
    qn = state["state_q0002"] + state["state_q0003"] + DT * outputs["ptend_qn"]
    liquid, ice = (f * qn - state["state_q0002"]) / DT, ((1.0 - f) * qn - state["state_q0003"]) / DT
    keep = np.arange(L) >= PRUNED
    return liquid * keep, ice * keep


def test_partition_is_the_published_split_below_the_pruned_levels(context) -> None:
    state, outputs = columns(6)
    got = apply(rule(context, "liquid_ice_partition"), state, outputs)
    assert sorted(got) == ["ptend_q0002", "ptend_q0003"]
    for name, expected in zip(("ptend_q0002", "ptend_q0003"), split(state, outputs), strict=True):
        np.testing.assert_allclose(got[name], expected, rtol=1e-12, atol=1e-22)
        assert not got[name][:, :PRUNED].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_partition_conserves_total_cloud(make, seed: int) -> None:
    state, outputs = columns(3, seed)
    got = apply(
        rule(ConstraintContext(make.hybrid(L), DT, PRUNED, L), "liquid_ice_partition"),
        state,
        outputs,
    )
    total, wanted = got["ptend_q0002"] + got["ptend_q0003"], outputs["ptend_qn"]
    size = (state["state_q0002"] + state["state_q0003"]) / DT + np.abs(wanted)
    assert np.max((np.abs(total - wanted) / size)[:, PRUNED:]) < 1e-15


def test_partition_at_the_ends_of_the_mixed_phase(context) -> None:
    state, outputs = columns(1)
    outputs["ptend_t"][:] = 0.0
    state["state_t"][0, PRUNED : PRUNED + 4] = [253.16, 263.16, 273.16, 300.0]
    got = apply(rule(context, "liquid_ice_partition"), state, outputs)
    qn = (state["state_q0002"] + state["state_q0003"] + DT * outputs["ptend_qn"])[
        0, PRUNED : PRUNED + 4
    ]
    new = {
        n: (state[f"state_{n}"] + DT * got[f"ptend_{n}"])[0, PRUNED : PRUNED + 4]
        for n in ("q0002", "q0003")
    }
    np.testing.assert_allclose(new["q0002"], qn * [0.0, 0.5, 1.0, 1.0], rtol=1e-12, atol=1e-18)
    np.testing.assert_allclose(new["q0003"], qn * [1.0, 0.5, 0.0, 0.0], rtol=1e-12, atol=1e-18)


def test_partition_in_float64_does_not_amplify_network_noise(context) -> None:
    """Noise of 3e-7 of a scale of 3e-10/s in ptend_qn stays that size; the same formula in float32
    makes it orders larger.
    """
    state, outputs = columns(50, 3)
    outputs["ptend_qn"] = np.random.default_rng(0).normal(0.0, 1e-9, (50, L))
    moved = dict(outputs, ptend_qn=outputs["ptend_qn"] * (1.0 + 3e-7))
    scale = 3e-10 + np.abs(split(state, outputs)[0])
    partition = rule(context, "liquid_ice_partition")
    a, b = (apply(partition, state, o)["ptend_q0002"] for o in (outputs, moved))
    assert np.max(np.abs(a - b) / scale) < 3e-6
    single = [{k: v.astype(np.float32) for k, v in d.items()} for d in (state, outputs)]
    f = np.clip(
        (single[0]["state_t"] + np.float32(DT) * single[1]["ptend_t"] - np.float32(253.16))
        / np.float32(20.0),
        0,
        1,
    )
    qn = (
        single[0]["state_q0002"] + single[0]["state_q0003"] + np.float32(DT) * single[1]["ptend_qn"]
    )
    rough = (f * qn - single[0]["state_q0002"]) / np.float32(DT)
    assert np.max((np.abs(rough - a) / scale)[:, PRUNED:]) > 3e-5


def test_output_mask_zeroes_and_removes_named_levels_only(context) -> None:
    state, outputs = columns(3)
    got = apply(
        rule(
            context,
            "output_mask",
            zero={"ptend_u": [0, 7], "ptend_q0002": [3, 4]},
            remove={"ptend_q0002": [4, L - 1]},
        ),
        state,
        outputs,
    )
    assert sorted(got) == ["ptend_q0002", "ptend_u"]
    u, q = outputs["ptend_u"].copy(), outputs["ptend_q0002"].copy()
    u[:, [0, 7]] = 0.0
    q[:, 3] = 0.0
    q[:, [4, L - 1]] = -state["state_q0002"][:, [4, L - 1]] / DT
    assert np.array_equal(got["ptend_u"], u)
    assert np.array_equal(got["ptend_q0002"], q)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"zero": {"ptend_q002": [1]}}, "did you mean.*ptend_q0002"),
        ({"zero": {"cam_out_NETSW": [0]}}, "cannot zero"),
        ({"zero": {"ptend_qn": [0]}}, "cannot zero"),
        ({"remove": {"ptend_t": [1]}}, "cannot remove"),
        ({"zero": {"ptend_u": [L]}}, rf"levels \[{L}\] are outside 0..{L - 1}"),
        ({"remove": {"ptend_q0003": [-1]}}, r"levels \[-1\] are outside"),
        ({"zeros": {"ptend_u": [1]}}, "zeros"),
        ({"zero": {"ptend_u": ["1"]}}, "zero.*ptend_u"),
    ],
)
def test_output_mask_refuses_what_it_cannot_do(context, parameters: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        rule(context, "output_mask", **parameters)


def tropopause(context, state, stability=10.0, limit=40000.0):
    """The host's rule level by level in plain Python: True at and above the tropopause, [column,
    level].
    """
    h = context.hybrid
    above = np.zeros(state["state_t"].shape, dtype=bool)
    for i, ps in enumerate(state["state_ps"].ravel()):
        p = [h.p0_pa * a + ps * b for a, b in zip(h.hyam, h.hybm, strict=True)]
        pi = [h.p0_pa * a + ps * b for a, b in zip(h.hyai, h.hybi, strict=True)]
        theta = [
            t * (ps / x) ** ((6.02214e26 * 1.38065e-23 / 28.966) / 1004.64)
            for t, x in zip(state["state_t"][i], p, strict=True)
        ]
        z, floor = [0.0] * L, 0.0
        for k in range(L - 1, -1, -1):
            tv = state["state_t"][i, k] * (
                1.0 + (28.966 / 18.016 - 1.0) * state["state_q0001"][i, k]
            )
            layer = (6.02214e26 * 1.38065e-23 / 28.966) * tv / 9.80616 * (pi[k + 1] - pi[k]) / p[k]
            z[k], floor = floor + layer / 2.0, floor + layer
        found = 0
        for k in range(1, L - 1):
            if (
                p[k] <= limit
                and (theta[k - 1] - theta[k + 1]) / (z[k - 1] - z[k + 1]) * 1000.0 > stability
            ):
                found = k
        above[i, : found + 1] = True
    return above


def standard_columns(
    context, tops: list[float]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Temperature falls by 6.5 K/km from 300 K up to the given pressures (Pa), isothermal above."""
    state, outputs = columns(len(tops), 9)
    state["state_ps"] = np.linspace(9e4, 1.02e5, len(tops))[:, None]
    h = context.hybrid
    p = h.p0_pa * np.array(h.hyam) + state["state_ps"] * np.array(h.hybm)
    gamma = 287.04 * 6.5e-3 / 9.80616
    state["state_t"] = 300.0 * (np.maximum(p, np.array(tops)[:, None]) / state["state_ps"]) ** gamma
    return state, outputs


@pytest.mark.parametrize(
    "parameters", [{}, {"stability_k_per_km": 14.0}, {"maximum_pressure_pa": 15000.0}]
)
def test_stratospheric_water_on_analytic_columns(context, parameters: dict) -> None:
    tops = [10000.0, 20000.0, 30000.0, 60000.0]
    state, outputs = standard_columns(context, tops)
    above = tropopause(
        context,
        state,
        parameters.get("stability_k_per_km", 10.0),
        parameters.get("maximum_pressure_pa", 40000.0),
    )
    constraint = rule(context, "stratospheric_water", **parameters)
    got = apply(constraint, state, outputs)
    assert sorted(got) == ["ptend_q0001", "ptend_q0002", "ptend_q0003"]
    assert np.array_equal(got["ptend_q0001"], np.where(above, 0.0, outputs["ptend_q0001"]))
    for n in ("q0002", "q0003"):
        assert np.array_equal(
            got[f"ptend_{n}"], np.where(above, -state[f"state_{n}"] / DT, outputs[f"ptend_{n}"])
        )
        assert np.abs((state[f"state_{n}"] + DT * got[f"ptend_{n}"])[above]).max() < 1e-19
    depth = above.sum(axis=1)
    assert (depth[:3] > 1).all()
    assert not above[:, -1].any()
    if not parameters:
        # The tropopause is where the atmosphere was made isothermal, to a level or two; the
        # pressure limit stops the last column.
        p = context.hybrid.p0_pa * np.array(context.hybrid.hyam) + state["state_ps"] * np.array(
            context.hybrid.hybm
        )
        for i, top in enumerate(tops[:3]):
            assert abs(depth[i] - int(np.sum(p[i] < top))) <= 2
        assert p[3, depth[3] - 1] <= 40000.0 < p[3, depth[3]]


def test_stratospheric_water_random_columns_follow_the_hosts_rule(context) -> None:
    state, outputs = columns(40, 11)
    got = apply(rule(context, "stratospheric_water"), state, outputs)
    assert np.array_equal(got["ptend_q0001"] == 0.0, tropopause(context, state))


def test_a_column_without_tropopause_counts_its_top_level_only(context) -> None:
    state, outputs = standard_columns(context, [1.0, 2.0])
    got = apply(rule(context, "stratospheric_water", stability_k_per_km=1e6), state, outputs)
    assert np.array_equal(got["ptend_q0001"][:, 1:], outputs["ptend_q0001"][:, 1:])
    assert not got["ptend_q0001"][:, 0].any()


def test_stratospheric_water_needs_three_levels(make) -> None:
    with pytest.raises(ContractError, match="at least 3 levels"):
        rule(ConstraintContext(make.hybrid(2), DT, 0, 2), "stratospheric_water")


def test_positivity_is_max_of_tendency_and_minus_state_over_step(context) -> None:
    state, outputs = columns(5, 2)
    state["state_q0001"][0, 3] = -1e-9  # a host's small negative value is lifted to zero
    outputs["ptend_q0002"][1, 4] = -state["state_q0002"][1, 4] / DT  # exactly at the limit
    got = apply(rule(context, "positivity"), state, outputs)
    for n in ("q0001", "q0002", "q0003"):
        assert np.array_equal(
            got[f"ptend_{n}"], np.maximum(outputs[f"ptend_{n}"], -state[f"state_{n}"] / DT)
        )
        assert (state[f"state_{n}"] + DT * got[f"ptend_{n}"]).min() >= -1e-18
    assert list(apply(rule(context, "positivity", tendencies=["ptend_q0003"]), state, outputs)) == [
        "ptend_q0003"
    ]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_column_repair_conserves_what_it_can(make, seed: int) -> None:
    hybrid = make.hybrid(L)
    state, outputs = columns(4, seed)
    outputs["ptend_q0002"][3] -= 1e-6  # more is asked for than the column holds
    got = apply(
        rule(
            ConstraintContext(hybrid, DT, PRUNED, hybrid.level_count), "positivity", repair="column"
        ),
        state,
        outputs,
    )
    plain = apply(
        rule(ConstraintContext(hybrid, DT, PRUNED, hybrid.level_count), "positivity"),
        state,
        outputs,
    )
    dp = np.diff(
        hybrid.p0_pa * np.array(hybrid.hyai) + state["state_ps"] * np.array(hybrid.hybi), axis=1
    )
    for n in ("q0001", "q0002", "q0003"):
        q, wanted, tend = state[f"state_{n}"], outputs[f"ptend_{n}"], got[f"ptend_{n}"]
        new = q + DT * tend
        assert new.min() > -1e-17
        assert np.array_equal(tend[:, :PRUNED], plain[f"ptend_{n}"][:, :PRUNED]), (
            "pruned levels give nothing"
        )
        assert (tend <= plain[f"ptend_{n}"]).all(), "repair only takes"
        added = (dp * DT * (plain[f"ptend_{n}"] - wanted)).sum(1)
        held = (dp * np.maximum(q + DT * plain[f"ptend_{n}"], 0.0))[:, PRUNED:].sum(1)
        enough = added <= held
        before, after = (dp * (q + DT * wanted)).sum(1), (dp * new).sum(1)
        np.testing.assert_allclose(
            after[enough], before[enough], rtol=1e-12, atol=1e-12 * (dp * q).sum(1).max()
        )
        assert np.abs(new[~enough][:, PRUNED:]).max(initial=0.0) < 1e-17, (
            "where too little is held, all of it goes"
        )


def test_column_repair_takes_the_same_share_of_every_levels_water(context) -> None:
    state, outputs = columns(6, 4)
    for n in ("q0001", "q0002", "q0003"):
        state[f"state_{n}"][:, 7:] += 1e-4
        outputs[f"ptend_{n}"] = np.abs(outputs[f"ptend_{n}"])
        # One level asks for a little too much.
        outputs[f"ptend_{n}"][:, 6] = -state[f"state_{n}"][:, 6] / DT - 1e-9
    got = apply(rule(context, "positivity", repair="column"), state, outputs)
    h = context.hybrid
    interfaces = h.p0_pa * np.array(h.hyai) + state["state_ps"] * np.array(h.hybi)
    dp = np.diff(interfaces, axis=1)
    for n in ("q0001", "q0002", "q0003"):
        wanted = np.maximum(outputs[f"ptend_{n}"], -state[f"state_{n}"] / DT)
        water = (state[f"state_{n}"] + DT * wanted)[:, PRUNED:]
        taken = DT * (wanted - got[f"ptend_{n}"])[:, PRUNED:]
        share = 1e-9 * DT * dp[:, 6] / (dp[:, PRUNED:] * water).sum(axis=1)
        np.testing.assert_allclose(taken, share[:, None] * water, rtol=1e-6, atol=1e-15)


def test_parameters_of_positivity_are_checked(context) -> None:
    for parameters in (
        {"repair": "global"},
        {"tendencies": []},
        {"tendencies": ["ptend_t"]},
        {"fix": True},
    ):
        with pytest.raises(ContractError, match="positivity"):
            rule(context, "positivity", **parameters)
