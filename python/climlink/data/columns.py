"""From named columns to packed rows: stored and derived variables, and packing in a variable set's
order.

Everything that turns data into rows goes through here, from a store or from files, so there is one
order and one arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.climsim import (
    TIME_STEP_S,
    Pair,
    find_pairs,
    read_pair,
    stored_variables,
)
from climlink.data.derivations import DERIVED, ON_REQUEST, Derivation, Given, PlaceAndTime
from climlink.data.errors import DataError
from climlink.data.grid import Grid, find_grid, read_grid
from climlink.data.lags import LaggedReader, needs_lags, with_history
from climlink.data.stamp import Stamp
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

Named = Mapping[str, NDArray[np.floating]]


def derivable(stored: Iterable[Variable], *, has_pressure: bool = True) -> tuple[str, ...]:
    """Return the variables that are not stored but can be computed, in float64."""
    there = {v.name for v in stored}
    possible = {n: d for n, d in DERIVED.items() if n not in there and there.issuperset(d.needs)}
    return tuple(n for n, d in possible.items() if has_pressure or not d.needs_pressure)


def source_names(names: Iterable[str], stored: Iterable[Variable]) -> tuple[str, ...]:
    """Return the ``stored`` variables needed for ``names``; DataError names those that neither
    exist nor can be derived.
    """
    stored = tuple(stored)
    there = {v.name for v in stored}
    wanted = tuple(names)
    possible = there.union(derivable(stored))
    possible |= {n for n, d in ON_REQUEST.items() if there.issuperset(d.needs)}
    impossible = [n for n in wanted if n not in possible]
    if impossible:
        raise DataError(
            f"{', '.join(impossible)}: not in the data and not derived from one time step; inputs "
            "of earlier steps (such as the v4 and v6 sets take) need consecutive files, prepared "
            "with lags: true"
        )
    needed = [m for n in wanted for m in ((n,) if n in there else _derivation(n).needs)]
    return tuple(dict.fromkeys(needed))


def _derivation(name: str) -> Derivation:
    return ON_REQUEST[name] if name in ON_REQUEST else DERIVED[name]


def derive(
    names: Iterable[str],
    stored: Named,
    hybrid: HybridCoordinate | None,
    where: PlaceAndTime | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Return the named variables: stored ones as they are, derived ones in float64.

    Profiles [row, level], scalars [row]; DataError for one that needs pressure without ``hybrid``,
    and for what is computed on request without ``where`` or of unknown place or time.
    """
    columns: dict[str, NDArray[np.floating]] = {}
    for name in names:
        if name not in stored:
            how = _derivation(name)
            needed = {n: np.ascontiguousarray(stored[n], dtype=np.float64) for n in how.needs}
            columns[name] = how.formula(Given(needed, hybrid, where))
        else:
            columns[name] = stored[name]
    return columns


def pack_inputs(columns: Named, variables: VariableSet) -> NDArray[np.float32]:
    """Return input rows, float32 [row, width], in the order of a variable set; the cast is the last
    thing done.
    """
    return np.asarray(_pack(columns, variables, torch.float32), dtype=np.float32)


def pack_targets(columns: Named, variables: VariableSet) -> NDArray[np.float64]:
    """Return target rows, float64 [row, width], in the order of a variable set."""
    return np.asarray(_pack(columns, variables, torch.float64), dtype=np.float64)


def _pack(columns: Named, variables: VariableSet, dtype: torch.dtype) -> NDArray[np.floating]:
    """Pack and cast; DataError names a variable that the cast overflows."""
    tensors = {}
    for name in variables.names:
        tensors[name] = torch.from_numpy(np.ascontiguousarray(columns[name])).to(dtype)
        if not bool(torch.isfinite(tensors[name]).all()):
            raise DataError(
                f"{name} holds values that are not finite in {str(dtype).removeprefix('torch.')}"
            )
    return np.asarray(variables.pack(tensors).numpy())


@dataclass(frozen=True)
class Rows:
    """Packed real columns: ``inputs`` float32 [row, n_input], ``targets`` float64 [row, n_output];
    row = time * n_column + column.
    """

    stamps: tuple[Stamp, ...]
    n_column: int
    inputs: NDArray[np.float32]
    targets: NDArray[np.float64]


def select_pairs(pairs: Sequence[Pair], stamps: Iterable[Stamp | str] | None) -> list[Pair]:
    """Return the pairs of the given stamps in that order (all of them for None); DataError lists
    the stamps that have none.
    """
    if stamps is None:
        return list(pairs)
    known = {p.stamp: p for p in pairs}
    wanted = [Stamp.parse(s) if isinstance(s, str) else s for s in stamps]
    absent = [str(s) for s in wanted if s not in known]
    if absent:
        raise DataError(f"no mli/mlo pair for {', '.join(absent)}")
    return [known[s] for s in wanted]


def read_columns(
    source: str | Path | Sequence[Pair],
    inputs: VariableSet,
    outputs: VariableSet,
    *,
    stamps: Iterable[Stamp | str] | None = None,
    grid: str | Path | Grid | None = None,
    time_step_s: float = TIME_STEP_S,
) -> Rows:
    """Return real mli/mlo pairs as packed rows without a store.

    ``source`` is a folder with the pairs (flat or monthly) or a list of pairs; ``stamps`` selects
    and orders. The grid file is looked for in the folder unless given. Inputs are cast to float32
    last, targets stay float64. Where the set has inputs of earlier steps, the pairs of the two
    steps before must be in ``source`` too; without ``stamps`` pairs that lack them are left out.
    """
    if isinstance(source, str | Path):
        grid = grid if isinstance(grid, Grid) else read_grid(find_grid(Path(source), grid))
        known: Sequence[Pair] = find_pairs(source)
    else:
        if grid is None:
            raise DataError("a list of pairs needs a grid file: pass grid=")
        grid = grid if isinstance(grid, Grid) else read_grid(grid)
        known = source
    lags = needs_lags(inputs.names, grid.level_count)
    pairs = select_pairs(
        with_history(known, time_step_s) if lags and stamps is None else known, stamps
    )
    if not pairs:
        raise DataError(f"no pairs to read in {source}")
    reader = LaggedReader(known, grid, time_step_s)
    blocks = [reader.read(pair) if lags else read_pair(pair, grid, time_step_s) for pair in pairs]
    names = source_names((*inputs.names, *outputs.names), stored_variables(grid.level_count, lags))
    stored = {name: np.concatenate([b[name] for b in blocks]) for name in names}
    return Rows(
        stamps=tuple(p.stamp for p in pairs),
        n_column=grid.n_column,
        inputs=pack_inputs(derive(inputs.names, stored, grid.hybrid), inputs),
        targets=pack_targets(derive(outputs.names, stored, grid.hybrid), outputs),
    )
