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
    """Sensitivities of the columns: ``mean`` of |dy/dx| * spread(x) / scale(y), [output, input];
    ``tables`` [column, output variable, input variable]; ``shares`` [column], what comes from
    upper-level inputs. Columns without finite derivatives were ``left_out``."""

    mean: Array
    tables: Array
    shares: Array
    inputs: VariableSet
    outputs: VariableSet
    left_out: int

    @property
    def columns(self) -> int:
        """Number of columns that entered."""
        return len(self.tables)

    def by_variable(self) -> Array:
        """Return the median over columns of the tables, [output variable, input variable].

        A median, because a network that takes logarithms of cloud has slopes without bound where
        there is hardly any.
        """
        return np.asarray(np.median(self.tables, axis=0))

    @property
    def share_from_above(self) -> float:
        """Median over columns of ``share_from_above``; NaN where no column has one."""
        known = self.shares[np.isfinite(self.shares)]
        return float(np.median(known)) if known.size else float("nan")

    def strongest(self, output: str, count: int = 3) -> list[tuple[str, float]]:
        """Return the inputs that move an output most, with their sensitivity, largest first."""
        values = self.by_variable()[self.outputs.names.index(output)]
        return [(self.inputs.names[i], float(values[i])) for i in np.argsort(-values)[:count]]


def by_variable(scaled: Array, inputs: VariableSet, outputs: VariableSet) -> Array:
    """Return [output variable, input variable] of one column's sensitivities [output, input]: root
    of the mean over output levels of the sum over input levels of the squares.

    It is the standard deviation of an output when all levels of an input vary at once and
    independently of each other.
    """
    squares = scaled**2
    summed = np.stack([squares[:, inputs.slice(n)].sum(axis=1) for n in inputs.names], axis=1)
    return np.sqrt(np.stack([summed[outputs.slice(n)].mean(axis=0) for n in outputs.names]))


def share_from_above(
    scaled: Array, inputs: VariableSet, outputs: VariableSet, pressure_hpa: Array, above_hpa: float
) -> float:
    """Return the part, 0 to 1, of the squared sensitivity of all tendencies below a pressure that
    comes from profile inputs above it.

    Upper-level inputs move little in training and follow what lies below; a network that leans on
    them blew up in Brenowitz and Bretherton (2019, J. Adv. Model. Earth Syst. 11, 2728-2744). NaN
    where one of the sides has no level or nothing moves.
    """
    above = pressure_hpa < above_hpa
    squares = scaled**2
    rows = np.concatenate([squares[outputs.slice(v.name)][~above] for v in outputs.profiles])
    from_above = sum(float(rows[:, inputs.slice(v.name)][:, above].sum()) for v in inputs.profiles)
    total = sum(float(rows[:, inputs.slice(v.name)].sum()) for v in inputs.profiles)
    return from_above / total if above.any() and not above.all() and total > 0.0 else float("nan")


def input_spread(rows: Rows) -> Array:
    """Return the standard deviation of every input over rows, [n_input]; fill values (sea ice snow)
    do not count.
    """
    values = np.ma.masked_greater_equal(rows.astype(np.float64), FILL_THRESHOLD)
    return np.asarray(np.ma.filled(values.std(axis=0), 0.0))


def sensitivity(
    linear: LinearizedPackage,
    rows: Rows,
    spread: Array,
    pressure_hpa: Array,
    above_hpa: float,
    batch_rows: int = DEFAULT_BATCH_ROWS,
) -> Sensitivity:
    """Return the sensitivity of all outputs to all inputs over rows [row, n_input]; ``spread``
    [n_input] is that of the inputs.

    Outputs are in units of the manifest's difference scale, their standard deviation in training
    with a floor. ``pressure_hpa`` [level] and ``above_hpa`` part upper inputs from lower outputs.
    EvaluationError if no row has finite derivatives.
    """
    total = np.zeros((linear.outputs.width, linear.inputs.width))
    tables, shares = [], []
    for jacobian in linear.jacobians(rows, np.arange(linear.outputs.width), batch_rows):
        scaled = np.abs(jacobian) * spread / linear.output_scale[:, None]
        if np.isfinite(scaled).all():
            total += scaled
            tables.append(by_variable(scaled, linear.inputs, linear.outputs))
            shares.append(
                share_from_above(scaled, linear.inputs, linear.outputs, pressure_hpa, above_hpa)
            )
    if not tables:
        raise EvaluationError(
            f"{linear.package.path}: none of {len(rows)} columns has finite derivatives of all "
            "outputs"
        )
    used = len(tables)
    return Sensitivity(
        total / used,
        np.stack(tables),
        np.array(shares),
        linear.inputs,
        linear.outputs,
        len(rows) - used,
    )
