"""Weights on analytic fields."""

from __future__ import annotations

import numpy as np
import pytest

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.weights import area_weights, layer_thickness, mass_weights, zonal_weights


def gauss_grid(n_latitude: int = 32, n_longitude: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude in degrees and area [column] of a Gaussian grid."""
    nodes, weights = np.polynomial.legendre.leggauss(n_latitude)
    return np.repeat(np.degrees(np.arcsin(nodes)), n_longitude), np.repeat(
        weights * 2 * np.pi / n_longitude, n_longitude
    )


def test_layers_add_up_to_the_surface_pressure_above_the_top() -> None:
    ps = np.array([[1e5, 9e4], [8e4, 1.02e5]])
    dp = layer_thickness(np.array([0.01, 0.05, 0.0]), np.array([0.0, 0.4, 1.0]), 1e5, ps)
    assert dp.shape == (2, 2, 2)
    np.testing.assert_allclose(dp.sum(axis=1), ps - 1e3, rtol=1e-15)


def test_mass_weights_by_hand() -> None:
    weights = mass_weights(
        np.array([1.0, 3.0]),
        np.array([0.1, 0.0, 0.0]),
        np.array([0.0, 0.5, 1.0]),
        1e5,
        np.array([1e5, 0.9e5]),
    )
    mass = np.array([[0.4e5, 3 * (0.45e5 - 0.1e5)], [0.5e5, 3 * 0.45e5]])
    np.testing.assert_allclose(weights, mass / mass.sum(), rtol=1e-14)  # a few roundings of float64


def test_area_weights_integrate_a_polynomial_of_sine_latitude_exactly() -> None:
    latitude, area = gauss_grid()
    x = np.sin(np.radians(latitude))
    assert area_weights(area) @ (3 * x**2 + x) == pytest.approx(
        1.0, abs=1e-14
    )  # mean of 3 x² over the sphere
    with pytest.raises(EvaluationError, match=r"column 1 has 0\.0"):
        area_weights(np.array([1.0, 0.0]))


def test_zonal_means_of_a_zonal_step_function_are_its_values() -> None:
    latitude, area = gauss_grid()
    centres, weights = zonal_weights(latitude, area)
    np.testing.assert_array_equal(centres, np.arange(-85.0, 90.0, 10.0))
    field = np.floor(latitude / 10.0)
    filled = weights.sum(axis=1) > 0
    np.testing.assert_allclose(
        (weights @ field)[filled], np.floor(centres / 10.0)[filled], rtol=1e-14
    )
    np.testing.assert_allclose(weights.sum(axis=1)[filled], 1.0, rtol=1e-14)


def test_poles_belong_to_the_outer_bins_and_an_empty_bin_has_no_weight() -> None:
    _, weights = zonal_weights(np.array([-90.0, 90.0, 0.0]), np.ones(3))
    assert weights[0, 0] == weights[17, 1] == weights[9, 2] == 1.0
    assert weights.sum() == 3.0
