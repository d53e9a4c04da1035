"""From the normalized values of ClimSim's arrays back to physical ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns
from climlink.data.errors import DataError
from climlink.data.files import sha256_file
from climlink.data.published import read_arrays
from climlink.data.tables.config import Normalization
from climlink.wrappers.variable_sets import VariableSet

Numbers = NDArray[np.float64]


class Denormalizer:
    """Undoes x' = (x - mean) / (max - min) of inputs and y' = y * scale of outputs.

    Where max equals min the published code divides by 0 and writes 0: there the value is the mean.
    Source: Yu et al. 2023, arXiv 2306.08754, and the files' own arithmetic.
    """

    def __init__(
        self,
        files: Normalization,
        inputs: VariableSet,
        outputs: VariableSet | None,
    ) -> None:
        paths = [Path(files.input_mean), Path(files.input_max), Path(files.input_min)]
        self.offset: dict[str, Numbers] = {}
        self.factor: dict[str, Numbers] = {}
        mean, high, low = (_values(path, inputs) for path in paths)
        for name in inputs.names:
            self.offset[name], self.factor[name] = mean[name], high[name] - low[name]
        if outputs is not None:
            if files.output_scale is None:
                problem = "the normalized targets need output_scale,"
                raise DataError(f"{problem} the file that they were multiplied by")
            paths.append(Path(files.output_scale))
            for name, scale in _values(paths[-1], outputs).items():
                if not (scale > 0.0).all():
                    problem = f"{paths[-1]}: the scale of {name} is {scale.min():g} somewhere,"
                    raise DataError(f"{problem} expected a positive one")
                self.offset[name], self.factor[name] = np.zeros(1), 1.0 / scale
        self.sha256 = " ".join(sha256_file(path) for path in paths)

    def undo(self, columns: Columns) -> Columns:
        """Return physical values of normalized ones, profiles [row, level], scalars [row]."""
        return {n: c * _of(self.factor[n], c) + _of(self.offset[n], c) for n, c in columns.items()}


def _of(numbers: Numbers, column: Numbers) -> Numbers | np.float64:
    return numbers if column.ndim == 2 else numbers[0]


def _values(path: Path, variables: VariableSet) -> dict[str, Numbers]:
    """Return the numbers of a set's variables in a file, [level] or [1]."""
    there = read_arrays(path)
    for name in variables.names:
        if name not in there:
            problem = f"{path}: no variable {name}, which {variables.name!r} has:"
            raise DataError(f"{problem} values of another set, or another normalization")
        if there[name].size not in (1, variables.width_of(name)):
            problem = f"{path}: {name} has {there[name].size} values,"
            raise DataError(f"{problem} expected {variables.width_of(name)}")
    return {name: there[name] for name in variables.names}
