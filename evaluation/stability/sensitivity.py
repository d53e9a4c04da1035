"""Which inputs move which outputs, in units of their own variability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import Array
from climlink.evaluation.stability.response import DEFAULT_BATCH_ROWS, LinearizedPackage, Rows
from climlink.wrappers.statistics import FILL_THRESHOLD
from climlink.wrappers.variable_sets import VariableSet


@dataclass(frozen=True)
class Sensitivity:
    """Root mean square over columns of dy/dx * spread(x) / scale(y), [output, input], and how many columns entered or were left out."""

    scaled: Array
    inputs: VariableSet
    outputs: VariableSet
    columns: int
    left_out: int

    def by_variable(self) -> Array:
        """Return [output variable, input variable]: root of the mean over output levels of the sum over input levels of the squares.

        It is the standard deviation of an output when all levels of an input vary at once and independently of each other.
        """
        squares = self.scaled**2
        summed = np.stack([squares[:, self.inputs.slice(n)].sum(axis=1) for n in self.inputs.names], axis=1)
        return np.sqrt(np.stack([summed[self.outputs.slice(n)].mean(axis=0) for n in self.outputs.names]))

    def share_from_above(self, pressure_hpa: Array, above_hpa: float) -> float:
        """Return the part, 0 to 1, of the squared sensitivity of all tendencies below a pressure that comes from profile inputs above it.

        Upper-level inputs move little in training and are correlated with what lies below; a network that leans on them blew up in
        Brenowitz and Bretherton (2019). NaN where there is no level on one of the sides or no sensitivity.
        """
        above = pressure_hpa < above_hpa
        squares = self.scaled**2
        tendencies = [n for n in self.outputs.names if self.outputs.width_of(n) == len(pressure_hpa)]
        profiles = [n for n in self.inputs.names if self.inputs.width_of(n) == len(pressure_hpa)]
        rows = np.concatenate([squares[self.outputs.slice(n)][~above] for n in tendencies])
        from_above = sum(float(rows[:, self.inputs.slice(n)][:, above].sum()) for n in profiles)
        total = sum(float(rows[:, self.inputs.slice(n)].sum()) for n in profiles)
        return from_above / total if above.any() and not above.all() and total > 0.0 else float("nan")

    def strongest(self, output: str, count: int = 3) -> list[tuple[str, float]]:
        """Return the inputs that move an output most, with their sensitivity, largest first."""
        values = self.by_variable()[self.outputs.names.index(output)]
        return [(self.inputs.names[i], float(values[i])) for i in np.argsort(-values)[:count]]


def input_spread(rows: Rows) -> Array:
    """Return the standard deviation of every input over rows, [n_input]; fill values (sea ice snow) do not count."""
    values = np.ma.masked_greater_equal(rows.astype(np.float64), FILL_THRESHOLD)
    return np.ma.filled(values.std(axis=0), 0.0)


def sensitivity(linear: LinearizedPackage, rows: Rows, spread: Array, batch_rows: int = DEFAULT_BATCH_ROWS) -> Sensitivity:
    """Return the sensitivity of all outputs to all inputs over rows [row, n_input]; ``spread`` [n_input] is that of the inputs.

    Outputs are in units of the manifest's difference scale, their standard deviation in training with a floor. EvaluationError if no row
    has finite derivatives.
    """
    total = np.zeros((linear.outputs.width, linear.inputs.width))
    used = 0
    for jacobian in linear.jacobians(rows, np.arange(linear.outputs.width), batch_rows):
        scaled = jacobian * spread / linear.output_scale[:, None]
        if np.isfinite(scaled).all():
            total += scaled**2
            used += 1
    if used == 0:
        raise EvaluationError(f"{linear.package.path}: none of {len(rows)} columns has finite derivatives of all outputs")
    return Sensitivity(np.sqrt(total / used), linear.inputs, linear.outputs, used, len(rows) - used)
