"""The linear response of a package: derivatives of its outputs with regard to the host's state,
through the scripted graph.

Derivatives of one column are noisy: a network of ReLUs is linear in pieces, constraints clamp, and
the graph ends in float32. Averages over an ensemble of columns near a state are what the waves are
coupled to, as in Brenowitz et al. (2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import HUMIDITY, TEMPERATURE, Array
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage
from climlink.wrappers import thermodynamics
from climlink.wrappers.contract import value_sets
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate, PressureLevels

Rows = NDArray[np.float32]

DEFAULT_BATCH_ROWS = 1536
PROGNOSTIC = (TEMPERATURE, HUMIDITY)
CLOUD = ("state_q0002", "state_q0003")
_RELATIVE = "state_rh"


def tendency_name(field: str) -> str:
    """Return the tendency of a state variable, ``ptend_t`` for ``state_t``."""
    return "ptend_" + field.removeprefix("state_")


@dataclass(frozen=True)
class LinearizedPackage:
    """A package loaded for differentiation: its graph, its sets, and the scale of every output
    [width] in the outputs' units.
    """

    package: EmulatorPackage
    predictor: Predictor
    inputs: VariableSet
    outputs: VariableSet
    output_scale: Array

    @classmethod
    def load(cls, package: EmulatorPackage) -> LinearizedPackage:
        """Load the graph of a package on the CPU."""
        m = package.manifest
        inputs, outputs = value_sets(m)
        return cls(
            package,
            Predictor(package),
            inputs,
            outputs,
            package.difference_scale.numpy()[: outputs.width],
        )

    def predict(self, rows: Rows) -> Array:
        """Return the outputs, float64 [row, width], without confidence."""
        return self.predictor.rows(rows)[:, : self.outputs.width].astype(np.float64)

    def jacobians(
        self, rows: Rows, outputs: NDArray[np.int64], batch_rows: int = DEFAULT_BATCH_ROWS
    ) -> Iterator[Array]:
        """Yield the Jacobian of every row, float64 [output, n_input] in physical units, for the
        outputs at these positions.

        A column enters once per output, and one backward pass gives all of its rows.
        EvaluationError for a graph without derivatives.
        """
        chunk = max(1, batch_rows // len(outputs))
        for first in range(0, len(rows), chunk):
            part = torch.from_numpy(rows[first : first + chunk])
            x = part.repeat_interleave(len(outputs), dim=0).requires_grad_(True)
            wanted = torch.from_numpy(np.tile(outputs, len(part)))[:, None]
            # Called by hand: the prediction path keeps no gradients.
            y = self.predictor.module(x).gather(1, wanted)
            if not y.requires_grad:
                raise EvaluationError(
                    f"{self.package.path}: the graph has no derivative with regard to its inputs "
                    "(its outputs are constant, or it turns gradients off); the linear response "
                    "cannot be had"
                )
            (slope,) = torch.autograd.grad(y.sum(), x)
            yield from slope.reshape(len(part), len(outputs), -1).to(torch.float64).numpy()

    def positions(self, fields: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of the tendencies of state variables among the outputs, field by
        field.
        """
        return _positions(self.outputs, [tendency_name(name) for name in fields])

    def state_response(self, jacobian: Array, row: Rows, fields: Sequence[str]) -> Array:
        """Return d(tendencies)/d(fields), [field*level, field*level] per second, of one Jacobian of
        the tendencies of ``fields``.

        Where the host sends relative humidity, specific humidity is the field: RH = RH(T, q, p) is
        differentiated by the chain rule.
        """
        if HUMIDITY in self.inputs:
            return jacobian[:, _positions(self.inputs, fields)]
        by_field = {
            n: jacobian[:, self.inputs.slice(_RELATIVE if n == HUMIDITY else n)] for n in fields
        }
        rh_t, rh_q = self._humidity_slopes(row)
        by_field[TEMPERATURE] = by_field[TEMPERATURE] + by_field[HUMIDITY] * rh_t
        by_field[HUMIDITY] = by_field[HUMIDITY] * rh_q
        return np.concatenate([by_field[n] for n in fields], axis=1)

    def _humidity_slopes(self, row: Rows) -> tuple[Array, Array]:
        """Return dRH/dT per K and dRH/dq, [level], of a host row that holds RH."""
        p = self._pressure(row[None])
        t = torch.from_numpy(
            row[None, self.inputs.slice(TEMPERATURE)].astype(np.float64)
        ).requires_grad_(True)
        rh = torch.from_numpy(row[None, self.inputs.slice(_RELATIVE)].astype(np.float64))
        q = thermodynamics.specific_humidity(t.detach(), rh, p).requires_grad_(True)
        slopes = torch.autograd.grad(thermodynamics.relative_humidity(t, q, p).sum(), (t, q))
        return slopes[0][0].numpy(), slopes[1][0].numpy()

    def _pressure(self, rows: Rows) -> torch.Tensor:
        """Return midpoint pressure [row, level] in Pa of host rows; EvaluationError where the
        manifest does not know the coordinate.
        """
        entry = self.package.manifest.hybrid
        if entry is None:
            raise EvaluationError(
                f"{self.package.path}: the host sends RH and the manifest has no hybrid "
                "coefficients to turn it into q"
            )
        return PressureLevels(HybridCoordinate.from_manifest(entry))(
            torch.from_numpy(rows[:, self.inputs.offset("state_ps")])
        )

    def state(self, rows: Rows, fields: Sequence[str]) -> Array:
        """Return the fields of host rows, float64 [row, field*level]; specific humidity from RH
        where the host sends that.
        """
        values = {
            n: rows[:, self.inputs.slice(n)].astype(np.float64) for n in fields if n in self.inputs
        }
        if HUMIDITY not in self.inputs:
            t, rh = (
                torch.from_numpy(rows[:, self.inputs.slice(n)]) for n in (TEMPERATURE, _RELATIVE)
            )
            values[HUMIDITY] = thermodynamics.specific_humidity(t, rh, self._pressure(rows)).numpy()
        return np.concatenate([values[n] for n in fields], axis=1)

    def with_state(self, rows: Rows, state: Array, fields: Sequence[str]) -> Rows:
        """Return host rows with other values [row, field*level] of the fields."""
        changed = rows.copy()
        values = dict(zip(fields, np.split(state, len(fields), axis=1), strict=True))
        for name in fields:
            if name in self.inputs:
                changed[:, self.inputs.slice(name)] = values[name]
        if HUMIDITY not in self.inputs:
            t, q = (torch.from_numpy(values[n]) for n in (TEMPERATURE, HUMIDITY))
            changed[:, self.inputs.slice(_RELATIVE)] = thermodynamics.relative_humidity(
                t, q, self._pressure(rows)
            ).numpy()
        return changed


def _positions(variables: VariableSet, names: Sequence[str]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(variables.width)[variables.slice(name)] for name in names])


@dataclass(frozen=True)
class MeanResponse:
    """Responses of an ensemble: their mean [field*level, field*level] per second, each column's own
    [column, ...], and how many columns were left out because their derivative is not finite."""

    mean: Array
    each: Array
    left_out: int


def mean_response(
    linear: LinearizedPackage,
    rows: Rows,
    fields: Sequence[str],
    batch_rows: int = DEFAULT_BATCH_ROWS,
) -> MeanResponse:
    """Return the response averaged over rows [row, n_input]; EvaluationError if no row has a finite
    derivative.
    """
    jacobians = linear.jacobians(rows, linear.positions(fields), batch_rows)
    responses = [
        linear.state_response(j, row, fields) for j, row in zip(jacobians, rows, strict=True)
    ]
    finite = [r for r in responses if np.isfinite(r).all()]
    if not finite:
        raise EvaluationError(
            f"{linear.package.path}: none of {len(rows)} columns has a finite derivative"
        )
    each = np.stack(finite)
    return MeanResponse(each.mean(axis=0), each, len(rows) - len(finite))


def directional_error(
    linear: LinearizedPackage,
    rows: Rows,
    fields: Sequence[str],
    response: MeanResponse,
    spread: Array,
    size: float = 0.05,
    seed: int = 0,
) -> float:
    """Return how far the response is from finite differences: |J d - difference| / |difference|,
    outputs in units of their scale.

    d is a random perturbation of all fields, ``size`` times ``spread`` [field*level] (their
    standard deviations), the same in every column, and the difference is (f(x + d) - f(x - d)) / 2,
    averaged over the columns. Near 0 where the emulator is smooth on the scale of d; of order 1
    where kinks and clamps within reach of d matter as much as the slope.
    """
    if response.left_out:
        return float("nan")
    d = size * spread * np.random.default_rng(seed).standard_normal(spread.shape)
    state, outputs = linear.state(rows, fields), linear.positions(fields)
    up, down = (linear.with_state(rows, state + sign * d, fields) for sign in (1.0, -1.0))
    # What the casts to float32 made of d is what the differences are of.
    taken = 0.5 * (linear.state(up, fields) - linear.state(down, fields))
    scale = linear.output_scale[outputs]
    difference = 0.5 * (linear.predict(up) - linear.predict(down))[:, outputs].mean(axis=0) / scale
    linearized = np.einsum("coi,ci->o", response.each, taken) / len(rows) / scale
    size_of = float(np.linalg.norm(difference))
    return (
        float(np.linalg.norm(linearized - difference)) / size_of
        if size_of > 0.0
        else float(np.linalg.norm(linearized))
    )
