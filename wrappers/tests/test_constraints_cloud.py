"""Evaporation of cloud in dry air: what it keeps, how far it goes, and where it does nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from climlink.wrappers.constants import (
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_FUSION,
    LATENT_HEAT_VAPORIZATION,
)
from climlink.wrappers.constraints import ConstraintContext, build_constraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.thermodynamics import relative_humidity, specific_humidity
from climlink.wrappers.vertical import PressureLevels

L, DT, PRUNED = 20, 1200.0, 3
STATES = ("state_t", "state_q0001", "state_q0002", "state_q0003")
TENDENCIES = ("ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003")


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), DT, PRUNED, L)


def rule(context, **parameters):
    entry = ConstraintEntry(name="cloud_evaporation", parameters=parameters)
    return build_constraint(entry, context)


def column(context, humidity: float, cloud: float, batch: int = 6):
    """Return state and outputs whose air has a relative humidity after the step, with liquid below
    and ice above 0 C, and the cloud after the step in kg/kg.
    """
    rng = np.random.default_rng(3)
    pressure = torch.full((batch, 1), 1e5, dtype=torch.float64)
    levels = PressureLevels(context.hybrid).midpoints(pressure)
    t = torch.from_numpy(rng.uniform(210.0, 300.0, (batch, L)))
    after = {
        "state_t": t,
        "state_q0001": specific_humidity(t, torch.full_like(t, humidity), levels),
        "state_q0002": torch.where(t > 273.0, cloud, 0.0).double(),
        "state_q0003": torch.where(t > 273.0, 0.0, cloud).double(),
    }
    outputs = {
        tendency: torch.from_numpy(rng.uniform(-0.1, 0.1, (batch, L))) * after[state] / DT
        for state, tendency in zip(STATES, TENDENCIES, strict=True)
    }
    outputs["ptend_t"] *= 0.01
    state = {
        name: after[name] - DT * outputs[tendency]
        for name, tendency in zip(STATES, TENDENCIES, strict=True)
    }
    return state | {"state_ps": pressure}, outputs, levels


def after(state, outputs):
    return [state[s] + DT * outputs[t] for s, t in zip(STATES, TENDENCIES, strict=True)]


def test_cloud_in_dry_air_goes_and_water_and_enthalpy_stay(context) -> None:
    state, outputs, _ = column(context, humidity=0.2, cloud=1e-6)
    made = rule(context, margin=0.0, relative_humidity=[0.8] * L)
    got = outputs | made(state, outputs)
    before, now = after(state, outputs), after(state, got)
    cp, lv, lf = HEAT_CAPACITY_DRY_AIR, LATENT_HEAT_VAPORIZATION, LATENT_HEAT_FUSION
    # 1e-6 kg/kg is far less than the air takes up at 0.2, even at 210 K and 1000 hPa
    kept = slice(PRUNED, None)
    for gone in now[2:]:
        np.testing.assert_allclose(gone[:, kept], 0.0, atol=1e-20)
    np.testing.assert_allclose(sum(now[1:]), sum(before[1:]), rtol=1e-14)
    enthalpy = [cp * t + lv * q - lf * ice for t, q, _, ice in (before, now)]
    np.testing.assert_allclose(enthalpy[1], enthalpy[0], rtol=1e-14)
    for name in TENDENCIES:
        assert torch.equal(got[name][:, :PRUNED], outputs[name][:, :PRUNED]), name
        assert not torch.equal(got[name][:, kept], outputs[name][:, kept]), name


def test_no_more_goes_than_makes_the_air_humid(context) -> None:
    """With qs linear in T over the cooling of the step: 6 K at most here, where the second order
    is (L/Rv T2 dT)2 / 2 = 0.07 of qs.
    """
    state, outputs, levels = column(context, humidity=0.7, cloud=5e-2)
    made = rule(context, margin=0.1, relative_humidity=1.0)
    t, q, liquid, ice = after(state, outputs | made(state, outputs))
    kept = slice(PRUNED, None)
    humidity = relative_humidity(t, q, levels)[:, kept]
    np.testing.assert_allclose(humidity, 0.9, atol=0.07)
    assert float(humidity.mean()) == pytest.approx(0.9, abs=0.02)
    assert bool((liquid + ice > 0.0)[:, kept].all())


def test_humid_air_keeps_its_cloud_to_the_bit(context) -> None:
    state, outputs, _ = column(context, humidity=0.75, cloud=1e-4)
    for given in (
        {"relative_humidity": [0.8] * L},
        {"margin": 0.0, "relative_humidity": [0.7] * L},
    ):
        got = rule(context, **given)(state, outputs)
        assert all(torch.equal(got[n], outputs[n]) for n in TENDENCIES)


def test_air_without_cloud_is_left_alone_and_gradients_are_finite(context) -> None:
    state, outputs, _ = column(context, humidity=0.1, cloud=0.0)
    outputs = {n: v.clone().requires_grad_() for n, v in outputs.items()}
    got = rule(context, relative_humidity=[0.8] * L)(state, outputs)
    assert all(torch.equal(got[n], outputs[n]) for n in TENDENCIES)
    sum(v.sum() for v in got.values()).backward()
    assert all(bool(torch.isfinite(v.grad).all()) for v in outputs.values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no relative_humidity: `climlink train` and"),
        ({"relative_humidity": [0.8, 0.7]}, r"expected one relative_humidity or 20, .* got 2"),
        ({"relative_humidity": 0.0}, "greater than 0"),
        ({"margin": 1.0, "relative_humidity": [0.8] * L}, "less than 1"),
    ],
)
def test_wrong_parameters_are_refused(context, parameters, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        rule(context, **parameters)
