"""Kernels of online evaluation on analytic fields and against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.evaluation.online.kernels import (
    column_integral,
    energy_per_mass,
    intensity_histogram,
    mass_shares,
    net_rain_width,
    precipitation_centroid,
    trapezoid_residual,
    weighted_mean,
    weighted_rmse,
    weighted_std,
)
from climlink.evaluation.online.rain import INTENSITY_EDGES
from climlink.evaluation.weights import layer_thickness


def gaussian(latitudes: int) -> tuple[np.ndarray, np.ndarray]:
    sines, weights = np.polynomial.legendre.leggauss(latitudes)
    return np.rad2deg(np.arcsin(sines)), weights


def test_rmse_of_analytic_errors_over_the_mass_of_air() -> None:
    latitude, area = gaussian(16)
    hyai, hybi = np.array([0.002, 0.1, 0.0]), np.array([0.0, 0.3, 1.0])
    dp = layer_thickness(hyai, hybi, 1e5, np.full((2, 16), 1e5))
    shares = mass_shares(dp, area)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), 1.0, rtol=1e-14)
    np.testing.assert_allclose(weighted_rmse(np.full((2, 2, 16), -2.0), shares), 2.0, rtol=1e-14)
    # The mean square of the sine of latitude over a sphere is 1/3, which Gaussian weights integrate
    # exactly.
    error = 3.0 * np.sin(np.deg2rad(latitude)) * np.ones((2, 2, 1))
    np.testing.assert_allclose(weighted_rmse(error, shares), 3.0 / np.sqrt(3.0), rtol=1e-14)
    # An error in the upper layer alone counts with that layer's share of the mass.
    upper = np.zeros((2, 2, 16))
    upper[:, 0] = 1.0
    depth = np.array([0.1 + 0.3 - 0.002, 1.0 - 0.4])
    np.testing.assert_allclose(
        weighted_rmse(upper, shares), np.sqrt(depth[0] / depth.sum()), rtol=1e-13
    )


def test_column_integrals_and_energy_have_their_closed_forms() -> None:
    dp = layer_thickness(
        np.array([0.01, 0.05, 0.0]), np.array([0.0, 0.2, 1.0]), 1e5, np.array([1e5, 9e4])
    )
    np.testing.assert_allclose(
        column_integral(np.full((2, 2), 0.01), dp),
        0.01 * (np.array([1e5, 9e4]) - 1e3) / 9.80616,
        rtol=1e-14,
    )
    one = np.ones(1)
    energy = energy_per_mass(300.0 * one, 3.0 * one, 4.0 * one, 0.01 * one, 0.001 * one)
    assert energy[0] == pytest.approx(1004.64 * 300.0 + 12.5 + 2.501e4 - 333.7, rel=1e-15)


def test_area_mean_and_spread_agree_with_numpy() -> None:
    generator = np.random.default_rng(3)
    values, weights = generator.normal(280.0, 5.0, (4, 50)), generator.uniform(0.1, 2.0, 50)
    mean = np.array([np.average(row, weights=weights) for row in values])
    spread = np.array([np.sqrt(np.cov(row, aweights=weights, ddof=0)) for row in values])
    np.testing.assert_allclose(weighted_mean(values, weights), mean, rtol=1e-13)
    np.testing.assert_allclose(weighted_std(values, weights), spread, rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_intensities_agree_with_numpy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rain = generator.exponential(30.0, (5, 40)) - 5.0
    rain[0, :3] = (-2.0, 2.0, 178.0)
    weights = generator.uniform(0.0, 1.0, 40)
    found = intensity_histogram(rain, weights, INTENSITY_EDGES)
    kept = rain < INTENSITY_EDGES[-1]  # numpy closes its last bin at both edges
    expected = np.histogram(
        rain[kept], INTENSITY_EDGES, weights=np.broadcast_to(weights, rain.shape)[kept]
    )[0]
    np.testing.assert_allclose(found[1:-1], expected, rtol=1e-12, atol=1e-14)
    assert found.sum() == pytest.approx(5 * weights.sum(), rel=1e-12)
    assert len(INTENSITY_EDGES) == 46
    assert (INTENSITY_EDGES[0], INTENSITY_EDGES[-1]) == (-2.0, 178.0)


def test_the_centroid_halves_the_rain() -> None:
    latitude, area = gaussian(64)
    assert precipitation_centroid(np.ones(64), latitude, area) == pytest.approx(0.0, abs=1e-10)
    # Even rain north of the equator: half of it falls below the latitude whose sine is half of that
    # of 20 degrees.
    north = precipitation_centroid(np.where(latitude > 0, 1.0, 0.0), latitude, area)
    # Gaussian weights differ from the areas of bands that end halfway between latitudes by some
    # 1e-7 of the band.
    assert north == pytest.approx(np.rad2deg(np.arcsin(0.5 * np.sin(np.deg2rad(20.0)))), abs=1e-5)
    assert np.isnan(precipitation_centroid(np.zeros(64), latitude, area))
    # Rain poleward of 20 degrees does not count.
    assert precipitation_centroid(1.0 + 50.0 * (latitude > 25.0), latitude, area) == pytest.approx(
        0.0, abs=1e-10
    )


def test_the_centroid_of_a_smooth_band_is_found_within_the_grid() -> None:
    fine = np.linspace(-20.0, 20.0, 400_001)
    rain = np.exp(-(((fine - 7.3) / 6.0) ** 2))
    sums = np.cumsum(rain * np.cos(np.deg2rad(fine)))
    median = fine[np.searchsorted(sums, 0.5 * sums[-1])]
    latitude, area = gaussian(64)
    found = precipitation_centroid(np.exp(-(((latitude - 7.3) / 6.0) ** 2)), latitude, area)
    assert found == pytest.approx(median, abs=0.1)


def test_the_width_lies_between_the_zeros_of_net_rain() -> None:
    latitude, area = gaussian(48)
    net = 12.0 - np.abs(
        latitude - 3.0
    )  # zero at 9 S and 15 N, linear, so that interpolation is exact
    assert net_rain_width(net, latitude, area, 3.0) == pytest.approx(24.0, abs=0.4)
    inside = net_rain_width(net, latitude, area, float(latitude[np.argmin(np.abs(latitude - 3.0))]))
    assert inside == pytest.approx(24.0, abs=1e-9)
    assert np.isnan(net_rain_width(net, latitude, area, 40.0))
    assert np.isnan(net_rain_width(np.ones(48), latitude, area, 0.0))


def test_the_residual_vanishes_where_sources_are_linear() -> None:
    # Content of a quadratic c(t) with source c'(t), both as means over days: nothing is left.
    edges = np.arange(6.0)
    primitive = np.polynomial.Polynomial([4.0, -3.0, 2.0]).integ()
    content = np.diff(primitive(edges))
    source = np.diff(np.polynomial.Polynomial([4.0, -3.0, 2.0])(edges)) / 86400.0
    np.testing.assert_allclose(
        trapezoid_residual(content, source, edges[:-1] + 0.5), 0.0, atol=1e-18
    )
    np.testing.assert_allclose(
        trapezoid_residual(content, source + 2e-6, edges[:-1] + 0.5), -2e-6, rtol=1e-9
    )
