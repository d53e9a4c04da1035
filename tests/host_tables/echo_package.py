"""A package that shows a host what it sent and what it takes: echo_package.py FILE NAME...

Its inputs are the variables NAME; its outputs those of mmf368, each a number of its own that grows
by a thousandth per level (level 1: the number itself), then every input again, as `echo_NAME`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import climlink
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.variables import variable

LEVELS = 60
PER_LEVEL = 0.001


class Echo(torch.nn.Module):
    """Rows [row, n_input] -> the fixed numbers, then the row."""

    def __init__(self, numbers: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.numbers.expand(rows.shape[0], -1), rows], dim=1)


def answers() -> dict[str, np.ndarray]:
    """Return what the package gives for each variable of mmf368: [level], or [1]."""
    fixed = variable_set("mmf368", LEVELS)
    return {
        v.name: k + PER_LEVEL * np.arange(LEVELS if v.dims else 1)
        for k, v in enumerate(fixed.variables, 1)
    }


def write(path: Path, names: list[str]) -> None:
    """Write the package for a host that gives these variables."""
    given = tuple(variable(name) for name in names)
    echoes = tuple(climlink.Variable(f"echo_{v.name}", v.units, dims=v.dims) for v in given)
    fixed = variable_set("mmf368", LEVELS).variables
    sizes = {LEVEL: LEVELS}
    inputs = climlink.VariableSet("given", given, sizes)
    outputs = climlink.VariableSet("answers", (*fixed, *echoes), sizes)
    numbers = torch.tensor(np.concatenate(list(answers().values())), dtype=torch.float32)
    width = sum(LEVELS if v.dims else 1 for v in given)
    rows = np.random.default_rng(0).uniform(0.1, 1.0, (32, width)).astype("float32")
    climlink.package(
        Echo(numbers),
        name="echo",
        inputs=inputs,
        outputs=outputs,
        golden=rows,
        time_step_s=1200.0,
        output=path,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:])
