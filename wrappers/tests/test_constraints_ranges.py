"""The range policy against its closed forms: the network sees clipped inputs, the state is drawn
back at the stated rate, and both are counted.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.wrappers.constraints import ConstraintContext, build_constraint, changed_entries
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry, NormalizationConfig
from climlink.wrappers.recorded_statistics import training_ranges
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import variable
from climlink.wrappers.wrapped_emulator import WrappedEmulator

L, DT, PRUNED, DAY = 20, 1200.0, 4, 86400.0
CP, G = 1004.64, 9.80616  # J/kg/K and m/s2 of E3SM (shr_const_mod)
POLICY = ("input_clip", "stable_top", "range_relaxation", "liquid_ice_partition")
OTHERS = ("prune", "liquid_ice_partition", "positivity")


def entry(name: str, **parameters) -> ConstraintEntry:
    return ConstraintEntry(name=name, parameters=parameters)


def with_policy(make, *added: ConstraintEntry, **choices) -> EmulatorContract:
    contract = make.contract(constraints=OTHERS, **choices)
    entries = changed_entries(contract.constraints, added)
    return contract.model_copy(update={"constraints": entries})


def limits(make, contract: EmulatorContract, name: str) -> tuple[np.ndarray, np.ndarray]:
    s = make.statistics(L)[name]
    return s.minimum.numpy(), s.maximum.numpy()


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), DT, PRUNED, L, make.contract().inputs)


def relaxation(context, ranges, **parameters):
    rule = build_constraint(entry("range_relaxation", **parameters), context)
    rule.give_ranges(ranges)
    return rule


def test_the_tendency_is_minus_the_rate_times_the_excess(context) -> None:
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.0, 10.0, L)
    rates[7] = 0.0
    low, high = rng.uniform(200.0, 230.0, L), rng.uniform(250.0, 290.0, L)
    t, u = rng.uniform(150.0, 350.0, (6, L)), rng.normal(0.0, 80.0, (6, L))
    made = relaxation(
        context,
        {"state_t": [low.tolist(), high.tolist()], "state_u": [[-50.0], [60.0]]},
        rates_per_day={"state_t": rates.tolist(), "state_u": 2.0},
        margin=0.1,
    )
    state = {"state_t": torch.from_numpy(t), "state_u": torch.from_numpy(u)}
    outputs = {n: torch.from_numpy(rng.normal(size=(6, L))) for n in ("ptend_t", "ptend_u")}
    kept = {n: v.clone() for n, v in outputs.items()}
    got = made(state, outputs)
    wide = 0.1 * (high - low)
    excess = t - np.clip(t, low - wide, high + wide)
    np.testing.assert_allclose(
        got["ptend_t"], kept["ptend_t"].numpy() - rates / DAY * excess, rtol=1e-14
    )
    excess_u = u - np.clip(u, -61.0, 71.0)
    excess_u[:, :PRUNED] = 0.0
    np.testing.assert_allclose(
        got["ptend_u"], kept["ptend_u"].numpy() - 2.0 / DAY * excess_u, rtol=1e-14
    )
    assert (excess != 0.0).any()
    assert (excess_u[:, PRUNED:] != 0.0).any()
    assert torch.equal(got["ptend_t"][:, 7], kept["ptend_t"][:, 7]), "no rate, no change"
    inside = torch.from_numpy(excess == 0.0)
    assert torch.equal(got["ptend_t"][inside], kept["ptend_t"][inside])
    zero = made(state, {n: torch.full_like(v, -0.0) for n, v in outputs.items()})["ptend_t"]
    assert torch.signbit(zero[inside]).all(), "inside its range a column keeps its bits"
    assert all(torch.equal(outputs[n], kept[n]) for n in kept), "arguments are not changed"
    script = torch.jit.script(made)(state, outputs)
    assert all(torch.equal(script[n], got[n]) for n in got)


def test_what_is_not_finite_stays_visible(context) -> None:
    made = relaxation(context, {"state_t": [[200.0], [300.0]]}, rates_per_day={"state_t": 1.0})
    t = torch.full((1, L), 250.0, dtype=torch.float64)
    t[0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    got = made({"state_t": t}, {"ptend_t": torch.zeros(1, L, dtype=torch.float64)})["ptend_t"][0]
    assert torch.isnan(got[0])
    assert got[1:3].tolist() == [-float("inf"), float("inf")]
    assert not got[3:].any()


def silent(emulator: WrappedEmulator) -> WrappedEmulator:
    """Let the network say nothing: zeros."""
    nn.init.zeros_(emulator.network.network.outer.weight)
    nn.init.zeros_(emulator.network.network.outer.bias)
    return emulator


def test_a_column_outside_comes_back_at_the_stated_rate(make) -> None:
    """The emulator's tendency alone is integrated: the excess decays by (1 - rate dt) per step and
    ends at the edge of the range, on every level.
    """
    rate = 6.0
    contract = with_policy(
        make, entry("input_clip"), entry("range_relaxation", rates_per_day={"state_t": rate})
    )
    emulator = silent(make.emulator(contract))
    low, high = limits(make, contract, "state_t")
    where, out = contract.inputs.slice("state_t"), contract.outputs.slice("ptend_t")
    x = make.rows(contract, 2)
    start = np.stack([high + 80.0, low - 80.0])
    t = start.copy()
    for _ in range(100):
        x[:, where] = torch.from_numpy(t).float()
        with torch.no_grad():
            t = t + DT * emulator(x)[:, out].numpy().astype(np.float64)
    left = 80.0 * (1.0 - rate * DT / DAY) ** 100
    expected = np.stack([high + left, low - left])
    # Every step rounds T once to float32 (1.5e-5 K) and its effect decays with the excess itself.
    np.testing.assert_allclose(t, expected, rtol=0, atol=100 * 1.5e-5)
    assert left < 0.02


def test_without_relaxation_it_stays_where_it_is(make) -> None:
    contract = with_policy(make, entry("input_clip"))
    emulator, x = silent(make.emulator(contract)), make.rows(contract, 2)
    x[:, contract.inputs.slice("state_t")] = 400.0
    assert not emulator(x)[:, contract.outputs.slice("ptend_t")].any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rates_per_day": {"state_t": 72.5}}, r"state_t: 72.5 per day .* the largest rate is 72 "),
        ({"rates_per_day": {"state_t": [1.0] * (L - 1)}}, "expected 1 rate or 20, one per level"),
        ({"rates_per_day": {"state_t": -1.0}}, "greater than or equal to 0"),
        ({"rates_per_day": {"state_t": 0.0}}, "no rate is above 0"),
        ({"rates_per_day": {"state_u": [1.0] * PRUNED + [0.0] * (L - PRUNED)}}, "no rate is above"),
        ({"rates_per_day": {"state_tt": 1.0}}, "cannot relax 'state_tt'; did you mean 'state_t'"),
        ({"rates_per_day": {"state_ps": 1.0}}, "cannot relax 'state_ps'.*only state_t"),
        ({"rates_per_day": {}}, "at least 1 item"),
        ({}, "rates_per_day"),
        ({"rates_per_day": {"state_t": 1.0}, "margin": -0.1}, "greater than or equal to 0"),
    ],
)
def test_relaxations_that_cannot_be_are_refused(context, parameters, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        build_constraint(entry("range_relaxation", **parameters), context)


def test_a_rate_of_once_per_step_is_the_largest(context) -> None:
    made = relaxation(context, {"state_t": [[0.0], [300.0]]}, rates_per_day={"state_t": 72.0})
    t = torch.full((1, L), 310.0, dtype=torch.float64)
    got = made({"state_t": t}, {"ptend_t": torch.zeros_like(t)})["ptend_t"]
    np.testing.assert_allclose(t + DT * got, 300.0, rtol=1e-15)


def test_where_there_is_no_range_step_or_grid_the_policy_is_refused(make, context) -> None:
    policy = entry("range_relaxation", rates_per_day={"state_t": 1.0})
    rule = build_constraint(policy, context)
    with pytest.raises(ContractError, match=r"training range of state_t.*of the inputs state_u"):
        rule.give_ranges({"state_u": [[0.0], [1.0]]})
    for lacking, message in (
        (ConstraintContext(make.hybrid(L), None, 0, L), "give time_step_s"),
        (ConstraintContext(None, DT, 0, L), "hybrid coefficients"),
    ):
        with pytest.raises(ContractError, match=f"range_relaxation.*{message}"):
            build_constraint(policy, lacking)
    clip = build_constraint(entry("input_clip"), context)
    with pytest.raises(ContractError, match="none is known of any input"):
        clip.give_ranges({})
    named = build_constraint(entry("input_clip", inputs=["state_u", "state_t"]), context)
    with pytest.raises(ContractError, match="training range of state_t"):
        named.give_ranges({"state_u": [[0.0], [1.0]]})
    with pytest.raises(ContractError, match="cannot clip 'state_tt'; did you mean 'state_t'"):
        build_constraint(entry("input_clip", inputs=["state_tt"]), context)
    with pytest.raises(ContractError, match="give the input set"):
        build_constraint(entry("input_clip"), ConstraintContext(None, DT, 0, L))


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_the_network_sees_every_value_in_its_training_range(make, margin: float) -> None:
    """The same as a host that clips its rows itself, but for fill values and what is not finite;
    constraints see the true state.
    """
    contract = with_policy(make, entry("input_clip", margin=margin))
    emulator, plain = make.emulator(contract), make.emulator(with_policy(make))
    x = make.rows(contract, 12)
    clipped = x.numpy().copy()
    for name in contract.inputs.names:
        low, high = limits(make, contract, name)
        wide = margin * (high - low)
        where = contract.inputs.slice(name)
        clipped[:, where] = np.clip(x[:, where].numpy().astype(np.float64), low - wide, high + wide)
    fill = x.numpy() >= 1e20
    clipped[fill] = x.numpy()[fill]
    assert fill.any()
    assert (clipped != x.numpy()).mean() > 0.05
    with torch.no_grad():
        rows, _ = emulator.normalized_forward(x)
        assert torch.equal(rows, plain.normalized_forward(torch.from_numpy(clipped))[0])
        assert torch.equal(emulator(x), plain.constrain(x, rows).float())
        assert torch.equal(torch.jit.script(emulator)(x), emulator(x))
        spoiled = x.clone()
        spoiled[0, 3], spoiled[1, 3], spoiled[2, 3] = float("nan"), float("inf"), -float("inf")
        seen = emulator.constraints.seen(spoiled)
    assert torch.isnan(seen[0, 3])
    assert seen[1:3, 3].tolist() == [float("inf"), -float("inf")]
    assert torch.isnan(emulator.normalized_inputs(spoiled)[:3]).any(dim=1).all()


def test_columns_of_training_are_never_clipped(make) -> None:
    """A store keeps float64, rows are float32: an extreme that rounding moved out of the range is
    still the extreme.
    """
    contract = with_policy(make, entry("input_clip"))
    emulator = make.emulator(contract)
    ends = [make.statistics(L)[n] for n in contract.inputs.names]
    x = torch.stack(
        [torch.cat([s.minimum for s in ends]), torch.cat([s.maximum for s in ends])]
    ).float()
    low, high = (torch.cat([getattr(s, n) for s in ends]) for n in ("minimum", "maximum"))
    assert (x[0].double() < low).any()
    assert (x[1].double() > high).any()
    assert torch.equal(emulator.constraints.seen(x), x)


def test_only_named_inputs_are_clipped(make) -> None:
    contract = with_policy(make, entry("input_clip", inputs=["state_u"]))
    emulator = make.emulator(contract)
    x = torch.full((1, contract.inputs.width), 1e4)
    seen, where = emulator.constraints.seen(x), contract.inputs.slice("state_u")
    np.testing.assert_array_equal(
        seen[0, where], limits(make, contract, "state_u")[1].astype(np.float32)
    )
    seen[:, where] = 1e4
    assert torch.equal(seen, x)


class Refusing(nn.Module):
    """A network that must not run."""

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("the network ran")


def counted(make) -> tuple[WrappedEmulator, Tensor, np.ndarray]:
    """Return an emulator whose T and u are relaxed, rows, and what its use must be by hand."""
    rates = np.linspace(0.5, 2.0, L)
    contract = with_policy(
        make,
        entry("input_clip", inputs=["state_t", "state_v"]),
        entry("range_relaxation", rates_per_day={"state_t": rates.tolist(), "state_u": 1.0}),
    )
    emulator, x = make.emulator(contract), make.rows(contract, 9)
    s = {n: v.numpy().astype(np.float64) for n, v in contract.inputs.unpack(x).items()}
    range_of = {n: limits(make, contract, n) for n in ("state_t", "state_u", "state_v")}
    excess = {n: s[n] - np.clip(s[n], *range_of[n]) for n in range_of}
    h = contract.hybrid
    edges = h.p0_pa * np.array(h.hyai) + s["state_ps"][:, None] * np.array(h.hybi)
    mass = np.diff(edges, axis=1) / G
    touched = (excess["state_t"] != 0.0) | (excess["state_u"] != 0.0) & (np.arange(L) >= PRUNED)
    use = np.stack(
        [
            (excess["state_t"] != 0.0).sum(1) + (excess["state_v"] != 0.0).sum(1),
            (mass * CP * np.abs(rates / DAY * excess["state_t"])).sum(1),
            (mass * touched).sum(1) / mass.sum(1),
        ],
        axis=1,
    )
    assert (use > 0.0).all()
    assert ((use[:, 2] > 0.0) & (use[:, 2] < 1.0)).all()
    return emulator, x, use


def test_use_is_counted_by_hand_without_the_network(make) -> None:
    emulator, x, expected = counted(make)
    script = torch.jit.script(emulator)
    got = emulator.range_use(x)
    assert torch.equal(script.range_use(x), got)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert got.dtype == torch.float64
    emulator.network = Refusing()
    assert torch.equal(emulator.range_use(x), got)
    assert emulator.range_use(x[:0]).shape == (0, 3)
    changes = emulator.input_changes(x)
    assert set(changes) == {"input_clip/state_t", "input_clip/state_v"}
    total = sum((v != 0.0).sum(1) for v in changes.values())
    assert total.tolist() == expected[:, 0].tolist()
    assert all(torch.equal(v, changes[k]) for k, v in script.input_changes(x).items())
    emulator.constraints.switch_off(["range_relaxation"])
    assert emulator.range_use(x)[:, 1:].any().item() is False
    emulator.constraints.switch_off(["input_clip"])
    assert not emulator.range_use(x).any()
    assert torch.equal(emulator.constraints.seen(x), x)


def test_without_a_policy_nothing_is_used_and_nothing_is_kept(make) -> None:
    """The buffers of an emulator without range policy are those that it always had."""
    contract = make.contract(constraints=(*OTHERS, "night"))
    emulator = make.emulator(contract)
    assert not emulator.range_use(make.rows(contract, 3)).any()
    assert emulator.input_changes(make.rows(contract, 3)) == {}
    kept = {k.rsplit(".", 1)[1] for k in emulator.state_dict() if k.startswith("constraints.")}
    assert kept == {"kept", "gives", "hyam", "hybm", "hyai", "hybi"}
    assert emulator.constraints.seen(x := make.rows(contract, 3)) is x


@pytest.mark.long
def test_the_whole_exports_with_a_free_batch(make) -> None:
    contract = make.contract(constraints=POLICY)
    emulator = make.emulator(contract)
    free = {0: torch.export.Dim("batch", min=2, max=4096)}
    with torch.no_grad():
        exported = torch.export.export(
            emulator, (make.rows(contract, 4),), dynamic_shapes=(free,)
        ).module()
        x = make.rows(contract, 9, seed=3)
        assert torch.equal(exported(x), emulator(x))


def test_other_constraints_on_the_same_weights(make) -> None:
    """Measures come and go without a training: what is left keeps its ranges, what comes is the
    emulator that was built with it.
    """
    relaxed = entry("range_relaxation", rates_per_day={"state_t": 1.0})
    both = make.emulator(with_policy(make, entry("input_clip"), relaxed))
    x = make.rows(both.contract, 6)
    with torch.no_grad():
        for added in ([], [relaxed], [entry("input_clip")]):
            contract = with_policy(make, *added)
            changed = both.with_constraints(contract.constraints)
            assert torch.equal(changed(x), make.emulator(contract)(x))
            assert not torch.equal(changed(x), both(x))
        wider = with_policy(make, entry("input_clip", margin=0.5))
        changed = make.emulator(with_policy(make)).with_constraints(wider.constraints)
        changed.constraints.give_ranges(training_ranges(wider, make.statistics(L)))
        assert torch.equal(changed(x), make.emulator(wider)(x))


def test_changed_entries_keep_the_fixed_order() -> None:
    given = [entry("prune"), entry("positivity"), entry("night")]
    names = [e.name for e in changed_entries(given, [entry("output_mask")], ["night"])]
    assert names == ["prune", "output_mask", "positivity"]
    replaced = changed_entries(given, [entry("positivity", repair="column")])
    assert [e.parameters for e in replaced] == [{}, {"repair": "column"}, {}]
    assert changed_entries(given) == given
    for added, without, message in (
        ([entry("stable_tpo")], [], "unknown constraint 'stable_tpo'; did you mean 'stable_top'"),
        ([], ["nihgt"], "no constraint 'nihgt' to leave out; did you mean 'night'"),
        ([], ["output_mask"], "no constraint 'output_mask' to leave out"),
        ([entry("night")], ["night"], "'night' is named twice"),
        ([entry("prune"), entry("prune")], [], "'prune' is named twice"),
    ):
        with pytest.raises(ContractError, match=message):
            changed_entries(given, added, without)


@pytest.mark.parametrize("scheme", ["moments", "range"])
def test_a_network_blind_aloft(make, scheme: str) -> None:
    """Levels whose midpoint lies above 30 hPa where the surface is at 1000 hPa enter as zero, in
    every profile; nothing else changes.
    """
    h = make.hybrid(L)
    aloft = sum(1e5 * (a + b) < 3000.0 for a, b in zip(h.hyam, h.hybm, strict=True))
    assert 1 < aloft < PRUNED + 2
    plain = make.contract(normalization=NormalizationConfig(scheme=scheme))
    blind = make.contract(normalization=NormalizationConfig(scheme=scheme, drop_above_pa=3000.0))
    x = make.rows(plain, 5)
    with torch.no_grad():
        sees, seen = (make.emulator(c).normalized_inputs(x) for c in (plain, blind))
        expected = sees.clone()
        for v in plain.network_inputs.profiles:
            start = plain.network_inputs.offset(v.name)
            expected[:, start : start + aloft] = 0.0
        assert not torch.equal(expected, sees)
        assert torch.equal(seen, expected)


def test_blindness_aloft_needs_pressure(make) -> None:
    sets = (VariableSet("one", (variable(n),), {"level": L}) for n in ("state_t", "ptend_t"))
    contract = EmulatorContract.of(
        **dict(zip(("inputs", "outputs"), sets, strict=True)),
        normalization=NormalizationConfig(drop_above_pa=3000.0),
    )
    with pytest.raises(ContractError, match=r"drop_above_pa.*hybrid coefficients"):
        WrappedEmulator(contract, make.network(contract.network_shape))


def test_a_normalization_of_before_reads_as_one_that_drops_nothing(make) -> None:
    contract = make.contract()
    old = contract.model_dump(mode="json")
    del old["normalization"]["drop_above_pa"]
    assert EmulatorContract.model_validate(old) == contract
