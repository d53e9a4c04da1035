"""A user's own variables in mli/mlo pairs: where they stand, and their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from climlink.data.climsim import Columns, Pair, is_tendency, read_variables, state_name
from climlink.data.errors import DataError
from climlink.data.grid import Grid
from climlink.data.netcdf import open_netcdf
from climlink.wrappers.catalogue import Catalogue
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.variables import Variable


@dataclass(frozen=True)
class OwnVariables:
    """Variables read from mli, from mlo, and tendencies with the states whose change they are."""

    before: tuple[Variable, ...] = ()
    after: tuple[Variable, ...] = ()
    tendencies: tuple[tuple[Variable, Variable], ...] = ()
    dims: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def find(cls, catalogue: Catalogue, stored: Sequence[Variable], first: Pair) -> OwnVariables:
        """Return the variables of a catalogue that are not stored anyway.

        ``ptend_X`` is the change of ``state_X``; any other stands in mli, or in mlo where mli lacks
        it. DataError names one that the files of the first pair lack.
        """
        known = {v.name for v in stored}
        own = [v for v in catalogue.variables if v.name not in known]
        plain = [v for v in own if not is_tendency(v.name)]
        with open_netcdf(first.mli) as mli, open_netcdf(first.mlo) as mlo:
            before = tuple(v for v in plain if v.name in mli.variables)
            after = tuple(v for v in plain if v.name in mlo.variables and v not in before)
            there = [*mli.variables, *mlo.variables]
        for v in (v for v in plain if v not in before + after):
            where = f"neither in {first.mli} nor in {first.mlo.name}"
            raise DataError(f"own variable {v.name} is {where}{near_names(v.name, there)}")
        tendencies = tuple((v, _state_of(v, catalogue)) for v in own if is_tendency(v.name))
        return cls(before, after, tendencies, catalogue.dims)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All of them, inputs first."""
        return self.before + self.after + tuple(v for v, _ in self.tendencies)

    def read(self, pair: Pair, grid: Grid, time_step_s: float, allowed: Collection[str]) -> Columns:
        """Return the values [column, dims...] of a pair by name, float64; refusals as in
        read_inputs.
        """
        if not self.variables:
            return {}
        states = tuple(state for _, state in self.tendencies)
        begins = read_variables(
            pair.mli, self.before + states, grid, pair.stamp, allowed, self.dims
        )
        ended = read_variables(pair.mlo, self.after + states, grid, pair.stamp, allowed, self.dims)
        columns = {v.name: begins[v.name] for v in self.before}
        columns |= {v.name: ended[v.name] for v in self.after}
        for v, state in self.tendencies:
            columns[v.name] = (ended[state.name] - begins[state.name]) / time_step_s
        return columns


def _state_of(tendency: Variable, catalogue: Catalogue) -> Variable:
    """Return the state whose change a tendency is; DataError if the catalogue lacks it."""
    name = state_name(tendency.name)
    try:
        state = catalogue.variable(name)
    except ContractError as error:
        what = f"own variable {tendency.name} is the change of {name}"
        raise DataError(f"{what}, which is not declared: {error}") from error
    if state.dims != tendency.dims:
        both = f"{tendency.name} has dims {list(tendency.dims)}, {name} has {list(state.dims)}"
        raise DataError(f"{both}: a tendency has those of its state")
    return state


NOTHING_OWN = OwnVariables()
"""What there is without a catalogue."""
