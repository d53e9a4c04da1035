"""What stands for the reference physics where columns run without dynamics: heating as a linear
function of temperature and sun, fitted to the recorded tendencies.

Above 100 hPa the heating of a level is nearly such a function: the level cools to space and absorbs
the sun. Its slope is the damping of the reference physics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.evaluation.stability.dynamics import TEMPERATURE, Array
from climlink.evaluation.stability.records import COSINE, SUNLIGHT
from climlink.evaluation.stability.response import tendency_name
from climlink.evaluation.stability.semi_online import no_tendencies


@dataclass(frozen=True)
class FittedHeating:
    """Heating in K/s on ``levels`` [level], zero elsewhere: ``coefficients`` [term, level] of 1, T
    in K, and the ``sun`` inputs. ``explained`` [level] is the share of the variance of the recorded
    tendencies (R²) in the columns that it was fitted to, NaN elsewhere.
    """

    levels: NDArray[np.bool_]
    sun: tuple[str, ...]
    coefficients: Array
    explained: Array

    @property
    def damping_per_day(self) -> Array:
        """The slope against temperature, per day [level]; below 0 where heating damps."""
        return np.asarray(np.where(self.levels, self.coefficients[1] * SECONDS_PER_DAY, np.nan))

    def __call__(self, columns: Columns) -> Columns:
        """Return tendencies per second of every state variable."""
        terms = _terms(columns, self.sun)
        heating = np.einsum("tcl,tl->cl", terms, self.coefficients)
        return no_tendencies(columns) | {TEMPERATURE: np.where(self.levels, heating, 0.0)}


def _terms(columns: Columns, sun: tuple[str, ...]) -> Array:
    """Return the terms of the fit, [term, column, level]."""
    t = columns[TEMPERATURE]
    return np.stack(
        [np.ones_like(t), t, *(np.broadcast_to(columns[n][:, None], t.shape) for n in sun)]
    )


def fit_heating(
    store: ColumnStore, places: NDArray[np.int64], levels: NDArray[np.bool_]
) -> FittedHeating | None:
    """Return the least-squares fit over columns of a store, ``places`` [column, 2] the numbers of
    their time and column; None where the store does not hold the tendency of temperature.
    """
    stored = {v.name for v in store.variables}
    target = tendency_name(TEMPERATURE)
    if target not in stored:
        return None
    sun = tuple(n for n in (SUNLIGHT, COSINE) if n in stored)
    parts = []
    for time in np.unique(places[:, 0]):
        chosen = places[places[:, 0] == time, 1]
        values = store.read((TEMPERATURE, target, *sun), [int(time)])
        parts.append({n: v[chosen].astype(np.float64) for n, v in values.items()})
    columns = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    return _fitted(columns, target, sun, levels)


def _fitted(
    columns: Columns, target: str, sun: tuple[str, ...], levels: NDArray[np.bool_]
) -> FittedHeating:
    terms = _terms(columns, sun)
    coefficients = np.zeros((len(terms), len(levels)))
    explained = np.full(len(levels), np.nan)
    for level in np.flatnonzero(levels):
        x, y = terms[:, :, level].T, columns[target][:, level]
        # Deviations in units of their spread, so that the least-norm answer of collinear sun terms
        # does not hang on units.
        spread = x[:, 1:].std(axis=0)
        unit = np.where(spread > 0.0, spread, 1.0)
        deviation = (x[:, 1:] - x[:, 1:].mean(axis=0)) / unit
        slope = np.linalg.lstsq(deviation, y - y.mean(), rcond=None)[0]
        coefficients[1:, level] = slope / unit
        coefficients[0, level] = y.mean() - x[:, 1:].mean(axis=0) @ coefficients[1:, level]
        left = y - y.mean() - deviation @ slope
        explained[level] = 1.0 - left.var() / y.var() if y.var() > 0.0 else np.nan
    return FittedHeating(levels, sun, coefficients, explained)
