"""Which column of a table is which value of which variable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from climlink.data.errors import DataError
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import variable

SAMPLE_ID = "sample_id"
_SHOWN = 6


def variables_of(given: str | Sequence[str], level_count: int) -> VariableSet:
    """Return a set by its name, or of variables in order; DataError names what is not known."""
    try:
        if isinstance(given, str):
            return variable_set(given, level_count)
        return VariableSet("given", tuple(variable(name) for name in given), {LEVEL: level_count})
    except ContractError as error:
        raise DataError(f"the columns of the table: {error}") from error


def column_names(variables: VariableSet) -> tuple[str, ...]:
    """Return the name of every value of a row: ``state_t_0`` to ``state_t_59`` for a profile,
    ``state_ps`` for a scalar.
    """
    names: list[str] = []
    for v in variables.variables:
        levels = range(variables.width_of(v.name))
        names += [f"{v.name}_{k}" for k in levels] if v.is_profile else [v.name]
    return tuple(names)


def match_columns(
    path: Path,
    header: Sequence[str],
    sets: Sequence[VariableSet],
    ignore: Sequence[str],
) -> tuple[VariableSet, ...]:
    """Return those of the sets that a header has whole.

    Raises DataError for columns that stand twice, are unknown and not ignored, or are missing of a
    set that is there in part.
    """
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        places = [str(i + 1) for i, name in enumerate(header) if name == twice[0]]
        problem = f"{path}: line 1: column(s) twice: {_listed(twice)}"
        raise DataError(f"{problem} ({twice[0]} is column {' and '.join(places)}); keep one")
    expected = {name for s in sets for name in column_names(s)}
    unknown = [n for n in header if n not in expected and n != SAMPLE_ID and n not in ignore]
    if unknown:
        near = near_names(unknown[0], expected)
        raise DataError(
            f"{path}: line 1: unknown column(s): {_listed(unknown)}{near}; expected {SAMPLE_ID} "
            f"and the columns of {' and '.join(s.name for s in sets)}; name the sets with --inputs "
            "and --outputs, or leave columns out with --ignore"
        )
    there = set(header)
    found = []
    for s in sets:
        names = column_names(s)
        missing = [n for n in names if n not in there]
        if missing and len(missing) < len(names):
            problem = f"{path}: line 1: missing column(s) of {s.name}:"
            raise DataError(f"{problem} {_listed(missing)}; {len(names)} are expected")
        if not missing:
            found.append(s)
    if not found:
        raise DataError(f"{path}: line 1: no column of {' or '.join(s.name for s in sets)}")
    return tuple(found)


def check_width(path: Path, width: int, variables: VariableSet, option: str) -> None:
    """Raise DataError unless an array has as many values per row as a set."""
    if width != variables.width:
        raise DataError(
            f"{path} has {width} values per row, {variables.name!r} has {variables.width}: name "
            f"the order they are in with {option}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
