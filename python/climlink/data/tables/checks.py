"""What the values of a table must be to be what their names say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from climlink.data.climsim import Columns, is_tendency, state_name
from climlink.data.errors import DataError
from climlink.data.store import StoreConfig
from climlink.wrappers.statistics import FILL_THRESHOLD, FILLED_VARIABLES
from climlink.wrappers.variables import variable

_SLACK = 1e-6
"""Of the width of a range: tables are often float32, whose rounding may lead a value at the end of
its range out of it.
"""


def check_values(
    columns: Columns,
    config: StoreConfig,
    where: Callable[[str, int], str],
) -> None:
    """Raise DataError for values outside the plausible range of their variable, and for tendencies
    that lead a state out of it.

    ``where`` says how people find a row of a variable. Normalized values, other units and weighted
    targets are noticed here.
    """
    for name, values in columns.items():
        if is_tendency(name) and state_name(name) in columns:
            state = state_name(name)
            after = columns[state] + config.time_step_s * values
            why = f"takes {state} within {config.time_step_s:g} s to {{value:.4g}}"
            remedy = "is it a tendency per second, and neither normalized nor weighted?"
            _check(name, state, after, config, where, why, remedy)
        else:
            remedy = "are its units those of the catalogue, and is it not normalized?"
            _check(name, name, values, config, where, "is {value:.4g}", remedy)


def _check(
    name: str,
    ranged: str,
    values: NDArray[np.float64],
    config: StoreConfig,
    where: Callable[[str, int], str],
    why: str,
    remedy: str,
) -> None:
    """Raise DataError at the first value outside the plausible range of the variable ``ranged``."""
    limits = variable(ranged).plausible
    if limits is None or ranged in config.allow_implausible:
        return
    low, high = limits
    slack = _SLACK * (high - low)
    bad = (values < low - slack) | (values > high + slack)
    if ranged in FILLED_VARIABLES:
        bad &= ~(values >= FILL_THRESHOLD)
    if not bad.any():
        return
    first = tuple(np.argwhere(bad)[0])
    column = f"{name}_{first[1]}" if len(first) == 2 else name
    found = why.format(value=values[first])
    raise DataError(
        f"{where(name, int(first[0]))}, column {column}: {found}, "
        f"outside the plausible range {low:g} to {high:g} of {ranged} "
        f"({int(bad.sum())} value(s) of the block): {remedy} "
        f"Such values are kept and counted with --allow-implausible {ranged}"
    )
