"""Saturation, humidity and liquid fraction against a float64 numpy version written from the
published formulas.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from climlink.wrappers import thermodynamics as th

LIQUID = (6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5, 0.206739458e-7,
          0.640689451e-10, -0.952447341e-13, -0.976195544e-15)  # fmt: skip
ICE = (6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5, 0.602588177e-7,
       0.385852041e-9, 0.146898966e-11, 0.252751365e-14)  # fmt: skip
TEMPERATURES = np.concatenate(
    [np.linspace(150.0, 330.0, 20001), [185.0, 193.16, 253.16, 263.16, 273.15, 273.16]]
)


def eliq(t):
    return 100.0 * np.polynomial.polynomial.polyval(np.maximum(-80.0, t - 273.16), LIQUID)


def eice(t):
    d = np.maximum(-100.0, t - 273.16)
    cold = 100.0 * (0.00763685 + d * (0.000151069 + d * 7.48215e-7))
    middle = 100.0 * np.polynomial.polynomial.polyval(t - 273.16, ICE)
    return np.where(t > 273.15, eliq(t), np.where(t > 185.0, middle, cold))


def omega(t):
    return np.clip((t - 253.16) / 20.0, 0.0, 1.0)


def es(t):
    return omega(t) * eliq(t) + (1.0 - omega(t)) * eice(t)


def rh(t, q, p):
    return q / (287.0 * es(t) / (461.0 * p))


def _columns(seed: int = 0):
    rng = np.random.default_rng(seed)
    t = TEMPERATURES
    return (
        t,
        np.exp(rng.uniform(np.log(1e-7), np.log(2e-2), t.shape)),
        np.exp(rng.uniform(np.log(8.0), np.log(1.05e5), t.shape)),
    )


@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (th.saturation_pressure_liquid, eliq),
        (th.saturation_pressure_ice, eice),
        (th.saturation_pressure, es),
        (th.liquid_fraction, omega),
    ],
)
def test_saturation_matches_the_published_formulas(function, oracle) -> None:
    got = function(torch.from_numpy(TEMPERATURES)).numpy()
    np.testing.assert_allclose(got, oracle(TEMPERATURES), rtol=1e-12, atol=1e-15)


def test_known_values() -> None:
    # Triple point 611.657 Pa; the polynomials give it to 0.1 %. 100 C is outside their range and
    # not claimed.
    assert th.saturation_pressure_liquid(
        torch.tensor([273.16], dtype=torch.float64)
    ).item() == pytest.approx(611.239921, rel=1e-12)
    assert th.saturation_pressure(
        torch.tensor([293.15], dtype=torch.float64)
    ).item() == pytest.approx(2339.0, rel=2e-3)
    # Wagner et al. 2011: 0.1015 Pa over ice at 193.15 K is 0.0547 Pa; the polynomial stays within
    # 10 % there.
    assert th.saturation_pressure_ice(
        torch.tensor([223.15], dtype=torch.float64)
    ).item() == pytest.approx(3.94, rel=1e-2)


def test_relative_humidity_matches_numpy() -> None:
    t, q, p = _columns()
    got = th.relative_humidity(*(torch.from_numpy(x) for x in (t, q, p))).numpy()
    np.testing.assert_allclose(got, rh(t, q, p), rtol=1e-12)


def test_float32_input_is_evaluated_in_float64() -> None:
    t, q, p = (x.astype(np.float32) for x in _columns())
    got = th.relative_humidity(*(torch.from_numpy(x) for x in (t, q, p)))
    assert got.dtype == torch.float64
    np.testing.assert_allclose(
        got.numpy(), rh(*(x.astype(np.float64) for x in (t, q, p))), rtol=1e-12
    )


def test_the_same_formula_in_float32_would_fail() -> None:
    """The reason for float64: the eighth-order polynomial over ice loses all meaning in float32
    near 185 K.
    """
    t = np.linspace(185.01, 190.0, 500)
    coefficients = np.array(ICE, dtype=np.float32)
    d, total = (t - 273.16).astype(np.float32), np.zeros(500, dtype=np.float32)
    for c in coefficients[::-1]:
        total = total * d + c
    assert np.max(np.abs(100.0 * total / eice(t) - 1.0)) > 1e-3


def test_humidity_and_its_inverse() -> None:
    t, q, p = (torch.from_numpy(x) for x in _columns(1))
    np.testing.assert_allclose(
        th.specific_humidity(t, th.relative_humidity(t, q, p), p).numpy(), q.numpy(), rtol=1e-12
    )
    np.testing.assert_allclose(
        th.relative_humidity(t, th.specific_humidity(t, q, p), p).numpy(), q.numpy(), rtol=1e-12
    )


@pytest.mark.parametrize(("threshold", "jump"), [(273.15, 1e-3), (253.16, 1e-9), (185.0, 0.061)])
def test_steps_at_thresholds_are_as_published(threshold: float, jump: float) -> None:
    """Two neighbouring float64 temperatures: the published pieces join as well as their
    coefficients allow, no worse.
    """
    pair = torch.tensor([threshold, np.nextafter(threshold, 400.0)], dtype=torch.float64)
    got = th.saturation_pressure(pair).numpy()
    np.testing.assert_allclose(got, es(pair.numpy()), rtol=1e-12)
    assert abs(got[1] / got[0] - 1.0) < jump


def test_liquid_fraction_at_and_around_its_thresholds() -> None:
    t = torch.tensor([100.0, 253.16, 258.16, 263.16, 273.16, 400.0], dtype=torch.float64)
    np.testing.assert_allclose(
        th.liquid_fraction(t).numpy(), [0.0, 0.0, 0.25, 0.5, 1.0, 1.0], atol=1e-14
    )


def test_nan_temperature_is_not_hidden() -> None:
    t = torch.tensor([float("nan")])
    for function in (th.liquid_fraction, th.saturation_pressure):
        assert torch.isnan(function(t)).all()


@pytest.mark.parametrize(
    "function",
    [th.liquid_fraction, th.saturation_pressure, th.relative_humidity, th.specific_humidity],
)
def test_every_function_scripts_with_the_same_bits(function) -> None:
    count = 1 if function in (th.liquid_fraction, th.saturation_pressure) else 3
    arguments = [torch.from_numpy(x) for x in _columns()[:count]]
    assert torch.equal(torch.jit.script(function)(*arguments), function(*arguments))
