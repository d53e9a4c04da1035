"""Closure of column water and column energy: closed forms, what is not there cannot be taken, and
the whole graph down to float32.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from climlink.wrappers import constants
from climlink.wrappers.constraints import ConstraintContext, ConstraintSequence, build_constraint
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import variable
from climlink.wrappers.wrapped_emulator import WrappedEmulator

L, TOP, STEP = 30, 5, 1200.0
G, CP, LV, LF = 9.80616, 1004.64, 2.501e6, 3.337e5
DAY = 86400.0
WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")
SUNLIGHT = tuple(f"cam_out_{n}" for n in ("NETSW", "SOLS", "SOLL", "SOLSD", "SOLLD"))

Columns = dict[str, Tensor]


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), STEP, TOP, L)


def entry(name: str, **parameters) -> ConstraintEntry:
    return ConstraintEntry(name=name, parameters=parameters)


def columns(batch: int = 40) -> tuple[Columns, Columns]:
    """Return states and outputs of plausible size that close in nothing."""
    rng = np.random.default_rng(3)
    vapour = np.exp(np.linspace(np.log(3e-6), np.log(1.5e-2), L)) * rng.uniform(
        0.5, 1.5, (batch, L)
    )
    state = {
        "state_q0001": vapour,
        "state_u": rng.normal(0.0, 20.0, (batch, L)),
        "state_v": rng.normal(0.0, 10.0, (batch, L)),
        "state_ps": rng.uniform(7e4, 1.03e5, (batch, 1)),
        "cam_in_LWUP": rng.uniform(300.0, 450.0, (batch, 1)),
    }
    outputs = {
        "ptend_t": rng.normal(0.0, 5e-5, (batch, L)),
        **{n: rng.normal(0.0, 0.05, (batch, L)) * vapour / STEP for n in WATER},
        "ptend_u": rng.normal(0.0, 1e-4, (batch, L)),
        "ptend_v": rng.normal(0.0, 1e-4, (batch, L)),
        "cam_out_NETSW": rng.uniform(0.0, 600.0, (batch, 1)),
        "cam_out_FLWDS": rng.uniform(200.0, 400.0, (batch, 1)),
        "cam_out_PRECSC": rng.uniform(0.0, 1e-8, (batch, 1)),
        "cam_out_PRECC": rng.uniform(0.0, 2e-7, (batch, 1)),
        "toa_net": rng.normal(0.0, 200.0, (batch, 1)),
    }
    tensors = ({n: torch.from_numpy(v) for n, v in d.items()} for d in (state, outputs))
    return next(tensors), next(tensors)


def budgets(context: ConstraintContext, state: Columns, outputs: Columns) -> tuple[np.ndarray, ...]:
    """Return what numpy finds, level by level: water in kg/m2/s and energy in W/m2 that a column
    makes from nothing, and its vapour after the step in kg/m2.
    """
    h = context.hybrid
    assert h is not None
    s, o = ({n: v.numpy() for n, v in d.items()} for d in (state, outputs))
    water = 1e3 * o["cam_out_PRECC"][:, 0]
    energy = o["cam_out_NETSW"][:, 0] + o["cam_out_FLWDS"][:, 0] - s["cam_in_LWUP"][:, 0]
    energy = energy - LF * 1e3 * o["cam_out_PRECSC"][:, 0] - o["toa_net"][:, 0]
    left = np.zeros_like(water)
    for k in range(context.level_count):
        above, below = (h.p0_pa * h.hyai[j] + h.hybi[j] * s["state_ps"][:, 0] for j in (k, k + 1))
        m = (below - above) / G
        water = water + m * sum(o[n][:, k] for n in WATER)
        dt, dq, di, du, dv = (o[f"ptend_{n}"][:, k] for n in ("t", "q0001", "q0003", "u", "v"))
        energy = energy + m * (CP * dt + LV * dq - LF * di)
        for name, wind in (("state_u", du), ("state_v", dv)):
            before = s[name][:, k]
            energy = energy + m * 0.5 * ((before + STEP * wind) ** 2 - before**2) / STEP
        left = left + m * (s["state_q0001"][:, k] + STEP * dq)
    return water, energy, left


def test_water_closes_by_vapour_in_proportion_to_what_is_there(context) -> None:
    state, outputs = columns()
    before, _, _ = budgets(context, state, outputs)
    rule = build_constraint(entry("water_closure"), context)
    changed = rule(state, outputs)
    assert list(changed) == ["ptend_q0001"]
    after, _, _ = budgets(context, state, outputs | changed)
    # kg/m2/s; terms of 1e-4 are rounded by 1e-20 each.
    assert np.abs(before).max() > 1e-5
    assert np.abs(after).max() < 1e-18
    added = changed["ptend_q0001"] - outputs["ptend_q0001"]
    assert not added[:, :TOP].any(), "pruned levels"
    held = state["state_q0001"] + STEP * outputs["ptend_q0001"]
    share = (added / held)[:, TOP:]
    assert float((share.max(1).values - share.min(1).values).abs().max()) < 1e-9 * float(
        share.abs().max()
    )


def test_what_a_column_does_not_hold_is_not_taken_and_stays(context) -> None:
    state, outputs = columns()
    outputs["cam_out_PRECC"] = torch.full_like(outputs["cam_out_PRECC"], 1e-4)  # 120 mm in a step
    rule = build_constraint(entry("water_closure", top_level=0), context)
    emptied = outputs | rule(state, outputs)
    left = state["state_q0001"] + STEP * emptied["ptend_q0001"]
    # Emptied to rounding of the step, and never beyond -q/dt itself.
    assert bool((emptied["ptend_q0001"] >= -state["state_q0001"] / STEP).all())
    assert float(left.abs().max()) < 1e-15
    before, _, held = budgets(context, state, outputs)
    after, _, _ = budgets(context, state, emptied)
    np.testing.assert_allclose(after, before - held / STEP, rtol=1e-12)
    assert after.min() > 0.0

    nothing = state | {"state_q0001": torch.zeros_like(state["state_q0001"])}
    dry = outputs | {"ptend_q0001": torch.zeros_like(outputs["ptend_q0001"])}
    assert not rule(nothing, dry)["ptend_q0001"].any()


def test_water_below_zero_before_the_rule_is_not_touched(context) -> None:
    state, outputs = columns()
    outputs["ptend_q0001"][:, 20] = -2.0 * state["state_q0001"][:, 20] / STEP
    changed = build_constraint(entry("water_closure"), context)(state, outputs)["ptend_q0001"]
    assert torch.equal(changed[:, 20], outputs["ptend_q0001"][:, 20])
    after, _, _ = budgets(context, state, outputs | {"ptend_q0001": changed})
    assert np.abs(after).max() < 1e-18


@pytest.mark.parametrize("top", [None, 0, 17, L - 1])
def test_energy_closes_by_temperature_alike_on_all_levels(context, top: int | None) -> None:
    state, outputs = columns()
    _, before, _ = budgets(context, state, outputs)
    rule = build_constraint(entry("energy_closure", top_level=top), context)
    changed = rule(state, outputs)
    assert list(changed) == ["ptend_t"]
    _, after, _ = budgets(context, state, outputs | changed)
    # Single terms are up to 1e4 W/m2: their rounding in float64 is 1e-12.
    assert np.abs(before).max() > 100.0
    assert np.abs(after).max() < 1e-10
    added = changed["ptend_t"] - outputs["ptend_t"]
    first = TOP if top is None else top
    assert not added[:, :first].any()
    assert torch.allclose(added[:, first:], added[:, -1:].expand(-1, L - first), rtol=1e-9)


def test_the_sun_takes_its_share_by_day(context) -> None:
    state, outputs = columns(200)
    rng = torch.Generator().manual_seed(5)
    for name in SUNLIGHT[1:]:
        outputs[name] = 300.0 * torch.rand(len(state["state_ps"]), 1, generator=rng).double()
    night = torch.arange(200) % 4 == 0
    for name in SUNLIGHT:
        outputs[name][night] = 0.0
    outputs["cam_out_NETSW"][1] = 1e-3  # dawn: so little cannot take what is asked
    _, before, _ = budgets(context, state, outputs)
    share = 0.8
    rule = build_constraint(entry("energy_closure", sunlight_share=share), context)
    changed = rule(state, outputs)
    assert set(changed) == {"ptend_t", *SUNLIGHT}
    _, after, _ = budgets(context, state, outputs | changed)
    assert np.abs(after).max() < 1e-10
    factors = {n: (changed[n] / outputs[n])[~night] for n in SUNLIGHT}
    assert all(torch.allclose(f, factors["cam_out_NETSW"], rtol=1e-14) for f in factors.values())
    assert not any(changed[n][night].any() for n in SUNLIGHT)
    factor = factors["cam_out_NETSW"][:, 0].numpy()
    assert factor.min() == 0.5
    assert factor.max() == 2.0
    taken = (outputs["cam_out_NETSW"] - changed["cam_out_NETSW"])[~night][:, 0].numpy()
    free = (factor > 0.5) & (factor < 2.0)
    assert free.sum() > 10
    np.testing.assert_allclose(taken[free], share * before[~night.numpy()][free], rtol=1e-9)
    # What the sun does not take, temperature does: alone, it would take all.
    alone = build_constraint(entry("energy_closure"), context)(state, outputs)
    heat = [(d["ptend_t"] - outputs["ptend_t"])[:, -1].numpy() for d in (changed, alone)]
    np.testing.assert_allclose(heat[0][night.numpy()], heat[1][night.numpy()], rtol=1e-12)
    rest = heat[0][~night.numpy()][free] / heat[1][~night.numpy()][free]
    np.testing.assert_allclose(rest, 1.0 - share, rtol=1e-9)


@pytest.mark.parametrize("name", ["water_closure", "energy_closure"])
def test_gradients_are_finite_at_night_and_without_vapour(context, name: str) -> None:
    state, outputs = columns()
    state["state_q0001"][:3] = 0.0
    for sun in SUNLIGHT:
        outputs[sun] = torch.zeros_like(outputs["toa_net"])
    leaves = {n: v.clone().requires_grad_() for n, v in outputs.items()}
    more = {"sunlight_share": 0.8} if name == "energy_closure" else {}
    changed = build_constraint(entry(name, **more), context)(state, leaves)
    sum(v.sum() for v in changed.values()).backward()
    found = [v.grad for v in leaves.values() if v.grad is not None]
    assert len(found) > 2
    assert all(bool(g.isfinite().all()) for g in found)


def test_arguments_stay_scripts_agree_and_nan_passes(context) -> None:
    for name, output in (("water_closure", "ptend_q0001"), ("energy_closure", "ptend_t")):
        state, outputs = columns()
        kept = {n: v.clone() for n, v in (state | outputs).items()}
        rule = build_constraint(entry(name), context)
        got = rule(state, outputs)
        assert all(torch.equal(v, kept[n]) for n, v in (state | outputs).items())
        assert torch.equal(torch.jit.script(rule)(state, outputs)[output], got[output])
        outputs["ptend_q0003"][3, 25] = float("nan")
        spoiled = rule(state, outputs)[output]
        assert bool(spoiled[3, TOP:].isnan().all())
        assert torch.equal(spoiled[4:], got[output][4:])


def test_what_does_not_fit_is_refused(context) -> None:
    names = [*columns()[1]]
    water, energy = entry("water_closure"), entry("energy_closure")
    with pytest.raises(ContractError, match=r"order \['water_closure', 'energy_closure'\]"):
        ConstraintSequence([energy, water], context, names)
    with pytest.raises(ContractError, match=r"energy_closure' needs the outputs \['toa_net'\]"):
        ConstraintSequence([energy], context, [n for n in names if n != "toa_net"])
    with pytest.raises(ContractError, match=f"top_level must be at most {L - 1}.*got {L}"):
        build_constraint(entry("energy_closure", top_level=L), context)
    without = dataclasses.replace(context, time_step_s=None)
    with pytest.raises(ContractError, match="water_closure' needs the time step"):
        build_constraint(water, without)
    sequence = ConstraintSequence([water, energy], context, names)
    known = [*variable_set("host_v2_q", L).variables]
    without_longwave = VariableSet(
        "dark", tuple(v for v in known if v.name != "cam_in_LWUP"), {"level": L}
    )
    with pytest.raises(ContractError, match=r"energy_closure' cannot act here.*cam_in_LWUP"):
        sequence.state_of(without_longwave, context.hybrid)


def closing_contract(make) -> EmulatorContract:
    """Return the whole default sequence with both closures, of a network that gives toa_net."""
    contract = make.contract(level_count=L)
    outputs = variable_set("net308", L)
    given = VariableSet("net308", (*outputs.variables, variable("toa_net")), {"level": L})
    return contract.model_copy(
        update={
            "network_output_layout": given.layout(),
            "constraints": [
                *contract.constraints,
                entry("water_closure"),
                entry("energy_closure", sunlight_share=0.8),
            ],
        }
    )


def closing_emulator(make, contract: EmulatorContract) -> WrappedEmulator:
    """Return an emulator with random weights whose precipitation is of the size of vapour's
    tendencies, so that some columns hold what the closure takes and some do not.
    """
    emulator = make.emulator(contract)
    outputs = contract.network_outputs
    for name in ("cam_out_PRECC", "cam_out_PRECSC"):
        emulator.normalization.output_scale[outputs.slice(name)] = 1e-7
        emulator.normalization.output_mean[outputs.slice(name)] = 0.0
    return emulator


def host_columns(contract: EmulatorContract, x: Tensor, y: Tensor) -> tuple[Columns, Columns]:
    """Return states and outputs by name, float64, from float32 rows."""
    parts = (contract.inputs.unpack(x.double()), contract.outputs.unpack(y.double()))
    rows = ({n: v.reshape(len(v), -1) for n, v in part.items()} for part in parts)
    return next(rows), next(rows)


def test_the_whole_graph_closes_before_and_after_float32(make) -> None:
    contract = closing_contract(make)
    emulator = closing_emulator(make, contract)
    context = ConstraintContext(contract.coordinate, STEP, contract.pruned_levels, L)
    x = make.rows(contract, 200)
    with torch.no_grad():
        rows, _ = emulator.normalized_forward(x)
        exact = emulator.constrain(x, rows)
        received = emulator(x)
        changes = emulator.constraint_changes(x)
    toa_net = {"toa_net": emulator.physical_outputs(rows)["toa_net"]}
    state, outputs = host_columns(contract, x, exact)
    water, energy, vapour = budgets(context, state, outputs | toa_net)
    holds = vapour > 1e-3  # kg/m2; the others are emptied and close as far as they can
    assert holds.sum() > 100
    # kg/m2/s and W/m2.
    assert np.abs(water[holds]).max() < 1e-10
    assert np.abs(energy).max() < 1e-10
    before = dict(outputs)
    closures = ("water_closure", "energy_closure")
    for key in (k for k in changes if k.startswith(closures)):
        name = key.split("/")[1]
        before[name] = outputs[name] - changes[key]
    moved, heated, _ = budgets(context, state, before | toa_net)
    assert np.median(np.abs(moved)) > 1e-6
    assert np.median(np.abs(heated)) > 1.0
    # float32 leaves the rounding of the terms, half of 2^-23 of each, and positivity as it is.
    state, outputs = host_columns(contract, x, received)
    single, _, _ = budgets(context, state, outputs | toa_net)
    after = state["state_q0001"] + STEP * outputs["ptend_q0001"]
    assert float((after / state["state_q0001"]).min()) > -1e-7
    h = contract.coordinate
    assert h is not None
    pressure = h.p0_pa * np.array(h.hyai) + state["state_ps"].numpy() * np.array(h.hybi)
    terms = np.abs(1e3 * outputs["cam_out_PRECC"].numpy()[:, 0])
    for name in WATER:
        terms += np.abs(np.diff(pressure, axis=1) / G * outputs[name].numpy()).sum(axis=1)
    assert (np.abs(single - water) <= 2.0**-24 * terms).all()


def test_a_closure_can_be_left_out_for_one_run(make) -> None:
    contract = closing_contract(make)
    emulator = make.emulator(contract)
    plain = WrappedEmulator(
        contract.model_copy(update={"constraints": contract.constraints[:-2]}), emulator.network
    )
    # not strict: the closures have buffers that the plain one lacks
    plain.load_state_dict(emulator.state_dict(), strict=False)
    x = make.rows(contract, 20)
    with torch.no_grad():
        closed = emulator(x)
        emulator.constraints.switch_off(["water_closure", "energy_closure"])
        assert torch.equal(emulator(x), plain.eval()(x))
    assert not torch.equal(closed, emulator(x))


def test_constants_are_those_of_the_embedded_model() -> None:
    folder = Path(__file__).parents[2] / "fortran_host" / "aquaplanet"
    text = (folder / "dynamics" / "aqua_constants.F90").read_text(encoding="utf-8")
    found = dict(re.findall(r":: (\w+) = ([0-9.e+-]+)_r8", text))
    for name, value in (
        ("gravity", constants.GRAVITY),
        ("heat_capacity", constants.HEAT_CAPACITY_DRY_AIR),
        ("latent_vaporization", constants.LATENT_HEAT_VAPORIZATION),
        ("latent_fusion", constants.LATENT_HEAT_FUSION),
        ("water_density", constants.WATER_DENSITY),
    ):
        assert float(found[name]) == value, name
