"""Scores of a predicted spread: a normal distribution with a given expected Huber loss, and its
continuous ranked probability score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

_GRID = np.logspace(-8, 8, 4001)


def huber(error: Array, delta: Array | float) -> Array:
    """Return e²/2 where |e| <= delta, and delta (|e| - delta/2) beyond (Huber 1964)."""
    near = np.minimum(np.abs(error), delta)
    return np.asarray(near * (np.abs(error) - 0.5 * near))


def expected_huber(sigma: Array, delta: float) -> Array:
    """Return the expected Huber loss of an error e ~ N(0, sigma²).

    With a = delta/sigma, phi and Phi the standard normal density and distribution:
    sigma² (Phi(a) - 1/2 - a phi(a)) + 2 delta sigma phi(a) - delta² (1 - Phi(a)).
    """
    a = delta / sigma
    density = np.exp(-0.5 * a**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(
        sigma**2 * (ndtr(a) - 0.5 - a * density)
        + 2.0 * delta * sigma * density
        - delta**2 * ndtr(-a)
    )


def sigma_of_loss(loss: Array, delta: float) -> Array:
    """Return the sigma whose expected Huber loss is ``loss``, to 1e-5 of it; a loss of 0 or less
    has sigma 0.
    """
    positive = np.maximum(loss, 0.0)
    expected = expected_huber(_GRID * delta, delta)
    with np.errstate(divide="ignore"):
        sigma = delta * np.exp(
            np.interp(np.log(positive), np.log(expected), np.log(_GRID), left=-np.inf)
        )
    return np.where(positive > 0.0, sigma, 0.0)


def gaussian_crps(error: Array, sigma: Array) -> Array:
    """Return the continuous ranked probability score of N(0, sigma²) for the error e, in its units;
    |e| where sigma is 0.

    sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)) with z = e/sigma (Gneiting and Raftery 2007,
    equation 21).
    """
    z = np.divide(
        error, sigma, out=np.zeros(np.broadcast_shapes(error.shape, sigma.shape)), where=sigma > 0.0
    )
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    score = sigma * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))
    return np.where(sigma > 0.0, score, np.abs(error))
