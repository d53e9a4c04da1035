"""Surface constraints and the sequence of all constraints."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.wrappers.constraints import (
    CONSTRAINTS,
    ConstraintContext,
    ConstraintSequence,
    build_constraint,
)
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import variable_set

PARTS = {"SOLS": "ASDIR", "SOLL": "ALDIR", "SOLSD": "ASDIF", "SOLLD": "ALDIF"}
SURFACE = ("NETSW", "FLWDS", "PRECSC", "PRECC", *PARTS)


@pytest.fixture
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(make.levels), 1200.0, 4, make.levels)


def rule(context, name: str, **parameters):
    return build_constraint(ConstraintEntry(name=name, parameters=parameters), context)


def random(
    seed: int = 0, batch: int = 9
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    state = {
        f"cam_in_{n}": torch.from_numpy(rng.uniform(0.0, 1.0, (batch, 1))) for n in PARTS.values()
    }
    state["pbuf_COSZRS"] = torch.from_numpy(rng.normal(size=(batch, 1)))
    state["pbuf_COSZRS"][:3, 0] = torch.tensor([0.0, -0.0, 5e-324], dtype=torch.float64)
    outputs = {
        f"cam_out_{n}": torch.from_numpy(rng.normal(0.0, 100.0, (batch, 1))) for n in SURFACE
    }
    return state, outputs | {"ptend_t": torch.from_numpy(rng.normal(size=(batch, 20)))}


def test_non_negative_surface(context) -> None:
    _, outputs = random()
    outputs["cam_out_PRECC"][0] = 0.0
    got = rule(context, "non_negative_surface")({}, outputs)
    assert sorted(got) == sorted(f"cam_out_{n}" for n in SURFACE)
    assert all(np.array_equal(got[n].numpy(), np.maximum(outputs[n].numpy(), 0.0)) for n in got)


def test_snow_is_part_of_precipitation(context) -> None:
    _, outputs = random()
    got = rule(context, "snow_within_precipitation")({}, outputs)
    assert list(got) == ["cam_out_PRECC"]
    assert np.array_equal(
        got["cam_out_PRECC"],
        np.maximum(outputs["cam_out_PRECSC"].numpy(), outputs["cam_out_PRECC"].numpy()),
    )


def test_night_has_no_shortwave_and_leaves_the_rest(context) -> None:
    state, outputs = random()
    got = rule(context, "night")(state, outputs)
    assert sorted(got) == sorted(f"cam_out_{n}" for n in ("NETSW", *PARTS))
    dark = state["pbuf_COSZRS"].numpy() <= 0.0
    assert dark[:3].ravel().tolist() == [True, True, False]
    assert all(np.array_equal(got[n].numpy(), np.where(dark, 0.0, outputs[n].numpy())) for n in got)


def test_net_shortwave_is_the_absorbed_part(context) -> None:
    state, outputs = random()
    got = rule(context, "net_shortwave_closure")(state, outputs)
    assert list(got) == ["cam_out_NETSW"]
    expected = sum(
        outputs[f"cam_out_{f}"].numpy() * (1.0 - state[f"cam_in_{a}"].numpy())
        for f, a in PARTS.items()
    )
    np.testing.assert_allclose(got["cam_out_NETSW"], expected, rtol=1e-14)


def test_net_shortwave_closes_in_the_real_data(context, climsim_dir: Path) -> None:
    """5e-13 W/m2 per W/m2: which albedo belongs to which part is a fact of the data, not of a
    name.
    """
    worst, daylight = 0.0, 0
    for path in sorted(climsim_dir.glob("train/*/E3SM-MMF.mli.*.nc"))[::10]:
        with (
            netCDF4.Dataset(path) as mli,
            netCDF4.Dataset(str(path).replace(".mli.", ".mlo.")) as mlo,
        ):
            state = {
                f"cam_in_{a}": torch.from_numpy(np.array(mli[f"cam_in_{a}"][:])[:, None])
                for a in PARTS.values()
            }
            outputs = {
                f"cam_out_{n}": torch.from_numpy(np.array(mlo[f"cam_out_{n}"][:])[:, None])
                for n in SURFACE
            }
        net = rule(context, "net_shortwave_closure")(state, outputs)["cam_out_NETSW"]
        true = outputs["cam_out_NETSW"]
        worst = max(worst, float(((net - true).abs() / (1.0 + true.abs())).max()))
        daylight += int((true > 1.0).sum())
        assert all(float(outputs[f"cam_out_{n}"].min()) >= 0.0 for n in SURFACE)
    assert daylight > 500
    assert worst < 5e-13


@pytest.mark.parametrize(
    "name", ["non_negative_surface", "snow_within_precipitation", "night", "net_shortwave_closure"]
)
def test_surface_rules_are_out_of_place_and_pass_nan_on(context, name: str) -> None:
    state, outputs = random()
    copies = [{k: v.clone() for k, v in d.items()} for d in (state, outputs)]
    constraint = rule(context, name)
    got = constraint(state, outputs)
    assert all(
        torch.equal(a[k], b[k]) for a, b in zip(copies, (state, outputs), strict=True) for k in a
    )
    assert all(torch.equal(torch.jit.script(constraint)(state, outputs)[k], got[k]) for k in got)
    state["pbuf_COSZRS"][:] = 1.0
    broken = {k: torch.full_like(v, float("nan")) for k, v in outputs.items()}
    assert all(torch.isnan(v).all() for v in constraint(state, broken).values())


def entries(*names: str) -> list[ConstraintEntry]:
    return [ConstraintEntry(name=n) for n in names]


def test_the_registry_is_in_the_designs_order(make) -> None:
    # The closures need an output of the network that no published set has.
    assert tuple(CONSTRAINTS) == (*make.all_constraints, "water_closure", "energy_closure")


def test_names_parameters_and_order_are_checked(context) -> None:
    names = variable_set("net308").names
    with pytest.raises(
        ContractError, match="unknown constraint 'positvity'; did you mean 'positivity'"
    ):
        ConstraintSequence(entries("positvity"), context, names)
    with pytest.raises(
        ContractError,
        match=r"in the order \['prune', 'liquid_ice_partition'\]; got \['liquid_ice_partition', "
        r"'prune'\]",
    ):
        ConstraintSequence(entries("liquid_ice_partition", "prune"), context, names)
    with pytest.raises(ContractError, match="each stand once"):
        ConstraintSequence(entries("prune", "prune"), context, names)
    for name in ("prune", "liquid_ice_partition", "night"):
        with pytest.raises(ContractError, match=f"constraint '{name}'.*levels"):
            rule(context, name, levels=12)


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("liquid_ice_partition", "ptend_qn"),
        ("positivity", "ptend_q0002"),
        ("stratospheric_water", "ptend_q0003"),
        ("night", "cam_out_NETSW"),
    ],
)
def test_outputs_that_a_rule_requires_must_exist(context, name: str, lacking: str) -> None:
    with pytest.raises(ContractError, match=f"'{name}' needs the outputs .*{lacking}"):
        ConstraintSequence(entries(name), context, ["ptend_t", "ptend_q0001"])


def test_a_rule_may_use_what_an_earlier_rule_produces(context) -> None:
    names = list(variable_set("net308").names)
    sequence = ConstraintSequence(entries("liquid_ice_partition", "positivity"), context, names)
    assert sequence.produced == [*names, "ptend_q0002", "ptend_q0003"]
    assert sequence.state_names == ["state_t", "state_q0002", "state_q0003", "state_q0001"]


def test_changes_add_up_to_the_whole_effect(make) -> None:
    contract = make.contract()
    emulator, x = make.emulator(contract), make.rows(contract, 12)
    with torch.no_grad():
        rows, _ = emulator.normalized_forward(x)
    start = emulator.physical_outputs(rows)
    state = emulator.state(x)
    final = emulator.constraints(state, start)
    changes = emulator.constraints.changes(state, start)
    rules = dict(zip(emulator.constraints.names, emulator.constraints.rules, strict=True))
    heated = start | rules["stable_top"](state, start)
    heated |= rules["range_relaxation"](state, heated)
    partition = rules["liquid_ice_partition"](state, heated | rules["prune"](state, heated))
    for name, value in final.items():
        first = start.get(name, partition.get(name))
        total = sum(
            (v for k, v in changes.items() if k.endswith(f"/{name}")), torch.zeros_like(value)
        )
        scale = float(value.abs().max() + first.abs().max() + 1e-30)
        assert float((first + total - value).abs().max()) <= 1e-13 * scale, name
    assert {k.split("/")[0] for k in changes} == set(make.all_constraints) - {
        "liquid_ice_partition",  # makes its outputs
        "input_clip",  # acts on inputs
    }
    touched = {k for k, v in changes.items() if v.any()}
    assert {
        "unskilled_to_mean/ptend_v",
        "prune/ptend_u",
        "net_shortwave_closure/cam_out_NETSW",
        "output_mask/ptend_u",
        "positivity/ptend_q0002",
    } <= touched
    assert any(k.startswith("night/") for k in touched)


def test_an_empty_sequence_changes_nothing(context) -> None:
    _, outputs = random()
    sequence = torch.jit.script(ConstraintSequence([], context, list(outputs)))
    got = sequence({}, outputs)
    assert all(torch.equal(got[k], outputs[k]) for k in outputs)
