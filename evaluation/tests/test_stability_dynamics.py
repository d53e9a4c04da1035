"""The waves alone: closed forms without an emulator, planted instabilities against independent
eigenvalues.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.data.synthetic import synthetic_hybrid
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import (
    SECONDS_PER_DAY,
    BaseState,
    Friction,
    base_state,
    divergence,
    gradient,
    to_interfaces,
    to_layers,
    wave_matrix,
)
from climlink.evaluation.stability.modes import column_modes, default_wavelengths, wave_spectrum
from climlink.wrappers.constants import GAS_CONSTANT_DRY_AIR, GRAVITY, HEAT_CAPACITY_DRY_AIR

N_PER_S = 0.01
DEPTH_M = 15000.0
NONE = Friction(rate_per_day=0.0, sponge_per_day=0.0)


def uniform(
    levels: int, *, scale_height_m: float | None = None, tracer: float = -1e-6
) -> BaseState:
    """Return a column of constant N² and temperature, with constant density or one that falls off
    exponentially.
    """
    thickness = np.full(levels, DEPTH_M / levels)
    height = np.arange(levels)[::-1] * thickness + 0.5 * thickness
    density = np.ones(levels) if scale_height_m is None else np.exp(-height / scale_height_m)
    temperature = np.full(levels, 270.0)
    pressure = 1e5 * np.exp(-height / 8000.0)
    gradients = {
        "state_t": N_PER_S**2 * temperature / GRAVITY,
        "state_q0001": np.full(levels, tracer),
    }
    return BaseState(pressure, density * thickness, thickness, temperature, gradients)


def zero(base: BaseState) -> np.ndarray:
    return np.zeros((2 * base.level_count,) * 2)


@pytest.mark.parametrize("scale_height_m", [None, 8000.0])
@pytest.mark.parametrize("wavelength_km", [50.0, 2000.0, 40000.0])
def test_free_waves_have_the_speeds_of_the_closed_form(
    scale_height_m: float | None, wavelength_km: float
) -> None:
    base = uniform(240, scale_height_m=scale_height_m)
    spectrum = wave_spectrum(base, zero(base), np.array([wavelength_km]), NONE)
    k = 2e-3 * np.pi / wavelength_km
    m = np.arange(1, 6) * np.pi / DEPTH_M
    stretch = 0.0 if scale_height_m is None else 0.25 / scale_height_m**2
    expected = N_PER_S / np.sqrt(k**2 + m**2 + stretch)
    found = np.sort(np.unique(np.round(spectrum.speed[0], 9)))[::-1][:5]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_long_waves_travel_at_n_h_over_n_pi() -> None:
    base = uniform(240)
    spectrum = wave_spectrum(base, zero(base), np.array([40000.0]), NONE)
    assert spectrum.speed.max() == pytest.approx(N_PER_S * DEPTH_M / np.pi, rel=1e-3)


def test_speeds_converge_with_the_square_of_the_level_spacing() -> None:
    exact = N_PER_S / np.sqrt((2e-6 * np.pi / 2.0) ** 2 + (np.pi / DEPTH_M) ** 2)
    errors = [
        abs(
            wave_spectrum(uniform(n), zero(uniform(n)), np.array([2000.0]), NONE).speed.max()
            - exact
        )
        for n in (15, 30, 60)
    ]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    levels=st.integers(2, 25),
    wavelength=st.floats(100.0, 40000.0),
)
def test_without_friction_and_response_every_mode_is_neutral(
    seed: int, levels: int, wavelength: float
) -> None:
    rng = np.random.default_rng(seed)
    base = BaseState(
        pressure=np.linspace(1e3, 1e5, levels),
        mass=rng.uniform(10.0, 300.0, levels),
        thickness=rng.uniform(50.0, 4000.0, levels),
        temperature=rng.uniform(200.0, 300.0, levels),
        gradients={
            "state_t": rng.uniform(1e-3, 2e-2, levels),
            "state_q0001": rng.normal(0.0, 1e-6, levels),
        },
    )
    spectrum = wave_spectrum(base, zero(base), np.array([wavelength]), NONE)
    frequency = spectrum.speed * 2e-3 * np.pi / wavelength * SECONDS_PER_DAY
    assert np.abs(spectrum.growth).max() < 1e-5 * max(1.0, frequency.max())


def test_the_operators_are_adjoint_so_that_energy_is_conserved() -> None:
    base = uniform(12, scale_height_m=7000.0)
    mu, mass = np.diag(base.interface_mass), np.diag(base.mass)
    np.testing.assert_allclose(mu @ to_interfaces(base), (mass @ to_layers(base)).T, rtol=1e-13)
    np.testing.assert_allclose(
        mu @ gradient(base), -(mass @ divergence(base)).T, rtol=1e-13, atol=1e-15
    )


def test_free_waves_share_their_energy_equally_and_friction_damps_them_at_half_its_rate() -> None:
    base = uniform(40)
    free = wave_spectrum(base, zero(base), np.array([3000.0]), NONE)
    waves = free.speed[0] > 1.0
    np.testing.assert_allclose(free.kinetic_share[0, waves], 0.5, rtol=1e-9)
    damped = wave_spectrum(
        base, zero(base), np.array([3000.0]), Friction(rate_per_day=0.2, sponge_per_day=0.0)
    )
    # u and w lose d, T nothing: energy is shared, so the wave loses d/2 where it is fast against d.
    np.testing.assert_allclose(damped.growth[0, damped.speed[0] > 5.0], -0.1, rtol=1e-6)


def test_the_sponge_damps_waves_and_leaves_none_growing() -> None:
    base = uniform(40)
    plain, sponge = Friction(0.0, 500.0, 0.0), Friction(0.0, 500.0, 20.0)
    assert (sponge.rates(base.pressure)[base.pressure > 5e4] == 0.0).all()
    assert sponge.rates(base.pressure).max() == pytest.approx(20.0 / SECONDS_PER_DAY)
    fast = wave_spectrum(base, zero(base), np.array([3000.0]), sponge)
    assert fast.growth.max() < 1e-6
    assert fast.growth[fast.speed > 5.0].max() < -0.2
    assert wave_spectrum(base, zero(base), np.array([3000.0]), plain).growth.max() < 1e-6


@pytest.mark.parametrize("remaining", [0.25, -0.25])
def test_a_weaker_stratification_slows_waves_and_a_negative_one_makes_them_grow(
    remaining: float,
) -> None:
    # What heating in proportion to w does (wave-CISK): it takes a part of the lapse, or more than
    # all of it, away.
    base = uniform(60)
    gradients = {**base.gradients, "state_t": remaining * base.gradients["state_t"]}
    spectrum = wave_spectrum(
        BaseState(base.pressure, base.mass, base.thickness, base.temperature, gradients),
        zero(base),
        np.array([2000.0]),
        NONE,
    )
    k, m = 1e-6 * np.pi, np.pi / DEPTH_M
    expected = 0.5 * N_PER_S / np.hypot(k, m)
    if remaining > 0.0:
        assert spectrum.speed.max() == pytest.approx(expected, rel=2e-3)
        assert np.abs(spectrum.growth).max() < 1e-5
    else:
        # The deepest mode obeys this; shorter ones are slower.
        assert spectrum.growth.max() == pytest.approx(SECONDS_PER_DAY * k * expected, rel=2e-3)


def test_a_planted_unstable_response_grows_as_in_an_independent_calculation() -> None:
    """Heating rate a T' everywhere: one wave obeys s² - a s + w0² = 0, so it grows at a/2 with
    almost its free speed.
    """
    base = uniform(120)
    a = 0.8 / SECONDS_PER_DAY
    response = zero(base)
    np.fill_diagonal(response[: base.level_count, : base.level_count], a)
    spectrum = wave_spectrum(base, response, np.array([3000.0]), NONE)
    k = 2e-6 * np.pi / 3.0
    frequency = k * N_PER_S / np.hypot(k, np.pi / DEPTH_M)
    roots = np.roots([1.0, -a, frequency**2])
    first = int(np.argmax(spectrum.speed[0]))
    assert spectrum.growth[0, first] == pytest.approx(SECONDS_PER_DAY * roots[0].real, rel=1e-6)
    assert spectrum.speed[0, first] == pytest.approx(abs(roots[0].imag) / k, rel=1e-3)
    assert spectrum.growth[0, first] == pytest.approx(0.4, rel=1e-6)
    mode = spectrum.mode(0, first)
    assert mode.name.startswith("growing at 0.4/day, 47.7 m/s, wavelength 3000 km, peak at")


def test_a_moisture_mode_grows_as_the_three_equations_of_its_vertical_mode() -> None:
    """Heating c q' and drying -c q' g/cp-free: with one vertical mode the problem is a 3 x 3
    matrix.
    """
    base = uniform(200, tracer=-2e-6)
    n = base.level_count
    heat, dry, cool = 2500.0 * 1.2 / SECONDS_PER_DAY, -1.2 / SECONDS_PER_DAY, -0.5 / SECONDS_PER_DAY
    response = zero(base)
    response[:n, n:] = heat * np.eye(n)
    response[n:, n:] = dry * np.eye(n)
    response[:n, :n] = cool * np.eye(n)
    length = 5000.0
    k, m = 2e-3 * np.pi / length, np.pi / DEPTH_M
    d = 0.2 / SECONDS_PER_DAY
    inertia = 1.0 + (m / k) ** 2
    small = np.array(
        [
            [-d, GRAVITY / 270.0 / inertia, 0.0],
            [-base.gradients["state_t"][0], cool, heat],
            [2e-6, 0.0, dry],
        ]
    )
    values = np.linalg.eigvals(small)
    spectrum = wave_spectrum(base, response, np.array([length]), Friction(0.2, 10.0, 0.0))
    found = spectrum.growth[0] + 1j * spectrum.speed[0] * k * SECONDS_PER_DAY
    for value in values * SECONDS_PER_DAY:
        wanted = value.real + 1j * abs(value.imag)
        assert np.abs(found - wanted).min() < 2e-3 * abs(wanted)


def test_a_damping_response_leaves_nothing_growing() -> None:
    base = uniform(40)
    response = -np.eye(80) / SECONDS_PER_DAY
    spectrum = wave_spectrum(base, response, default_wavelengths(count=6), Friction())
    assert spectrum.growth.max() < 0.0
    assert spectrum.fastest(faster_than=5.0, kinetic_above=0.02).growth < -0.5
    assert spectrum.fastest(faster_than=1e4, kinetic_above=0.0) is None


def test_column_modes_are_the_eigenvalues_of_the_response() -> None:
    base = uniform(3)
    rates = np.array([0.3, -0.2, -1.0, -2.0, -100.0, 0.1]) / SECONDS_PER_DAY
    mixing = np.random.default_rng(0).normal(size=(6, 6)) + 3.0 * np.eye(6)
    column = column_modes(base, mixing @ np.diag(rates) @ np.linalg.inv(mixing))
    assert column.growth_max == pytest.approx(0.3)
    assert column.amplification_max(86400.0 / 40.0) == pytest.approx(1.5)  # |1 - 100/40|
    assert column.amplification_max(864.0) == pytest.approx(
        1.003
    )  # 0.3/day over a hundredth of a day
    alone = column_modes(base, np.diag([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]) / SECONDS_PER_DAY)
    assert alone.peak() == ("T", pytest.approx(base.pressure[1] / 100.0))


def test_an_isothermal_base_state_has_the_textbook_stratification_and_heights() -> None:
    hybrid = synthetic_hybrid(60)
    t = np.full(60, 250.0)
    base = base_state(hybrid, 1e5, {"state_t": t, "state_q0001": np.zeros(60)})
    np.testing.assert_allclose(
        base.buoyancy_frequency_squared, GRAVITY**2 / (HEAT_CAPACITY_DRY_AIR * 250.0), rtol=1e-12
    )
    assert base.mass.sum() * GRAVITY == pytest.approx(
        1e5 - hybrid.p0_pa * hybrid.hyai[0] - 1e5 * hybrid.hybi[0]
    )
    expected = GAS_CONSTANT_DRY_AIR * 250.0 / GRAVITY * np.log(1e5 / base.pressure)
    lower = base.pressure > 2e4
    np.testing.assert_allclose(base.height[lower], expected[lower], rtol=0.02, atol=60.0)
    sloped = base_state(hybrid, 1e5, {"state_t": t, "state_q0001": 1e-9 * base.height})
    np.testing.assert_allclose(sloped.gradients["state_q0001"], 1e-9, rtol=1e-4)


def test_what_makes_no_sense_is_refused() -> None:
    base = uniform(4)
    with pytest.raises(EvaluationError, match=r"response must be \[8, 8\]"):
        wave_matrix(base, np.zeros((4, 4)), 1e-6, NONE)
    with pytest.raises(EvaluationError, match="not finite"):
        wave_matrix(base, np.full((8, 8), np.nan), 1e-6, NONE)
    with pytest.raises(EvaluationError, match="wavenumber must be above 0"):
        wave_matrix(base, zero(base), 0.0, NONE)
    with pytest.raises(EvaluationError, match="mass and thickness above 0"):
        BaseState(base.pressure, 0.0 * base.mass, base.thickness, base.temperature, base.gradients)
    with pytest.raises(EvaluationError, match="first gradient"):
        BaseState(
            base.pressure, base.mass, base.thickness, base.temperature, {"state_q0001": base.mass}
        )
    with pytest.raises(EvaluationError, match="one length"):
        BaseState(base.pressure[:2], base.mass, base.thickness, base.temperature, base.gradients)
    with pytest.raises(EvaluationError, match="must not be negative"):
        Friction(rate_per_day=-1.0)
    with pytest.raises(EvaluationError, match="wavelengths must go"):
        default_wavelengths(500.0, 400.0)
