"""Named arrays as rows of a package, and its rows as named arrays: datasets, mappings and packed
arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from climlink.data.columns import derivable, derive, pack_inputs, source_names
from climlink.packages.prediction import PredictionError
from climlink.packages.read import FloatRows
from climlink.wrappers.contract import host_sets
from climlink.wrappers.errors import near_names
from climlink.wrappers.layout import START, Coordinate
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.units import same_units
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable, shipped_variables
from climlink.wrappers.vertical import HybridCoordinate

SAMPLE = "sample"
"""Dimension of samples where arrays have no names for theirs."""

SAME_COORDINATE = 1e-3
"""Part of the smallest distance between neighbours by which a coordinate in float32 may differ."""

Columns = Mapping[str, NDArray[Any]]


def as_dataset(data: Any, manifest: Manifest) -> xr.Dataset:
    """Return data as a dataset: as it is, a mapping of arrays by name, or packed rows [sample,
    n_input].

    Arrays without names of dimensions are [sample..., dims...] with a variable's own dims as the
    manifest has them. PredictionError for anything else.
    """
    if isinstance(data, xr.Dataset):
        return data
    inputs, outputs = host_sets(manifest)
    if isinstance(data, Mapping):
        known = shipped_variables() | {v.name: v for s in (outputs, inputs) for v in s.variables}
        chosen = {n: a for n, a in data.items() if n in known}
        named = {n: a for n, a in chosen.items() if isinstance(a, xr.DataArray)}
        if len(named) == len(chosen):
            arrays = xr.align(*named.values(), join="exact", copy=False)
            return xr.Dataset(dict(zip(named, arrays, strict=True)))
        if named:
            other = next(n for n in chosen if n not in named)
            raise PredictionError(
                f"{next(iter(named))} is a DataArray and {other} is not: give all in one way"
            )
        return _by_position(chosen, known)
    shape = tuple(getattr(data, "shape", ()))
    if isinstance(data, xr.DataArray) or len(shape) != 2 or shape[1] != inputs.width:
        raise PredictionError(
            "expected a Dataset, a mapping of arrays by name, a Store, or packed rows "
            f"[sample, {inputs.width}]; got {type(data).__name__}"
            + (f" {list(shape)}" if shape else "")
        )
    parts = {
        v.name: data[:, inputs.slice(v.name)].reshape(-1, *inputs.shape_of(v))
        for v in inputs.variables
    }
    return xr.Dataset({v.name: ((SAMPLE, *v.dims), parts[v.name]) for v in inputs.variables})


def _by_position(arrays: Mapping[str, Any], known: Mapping[str, Variable]) -> xr.Dataset:
    shaped = {n: a if hasattr(a, "shape") else np.asarray(a) for n, a in arrays.items()}
    leading = {n: a.shape[: max(0, len(a.shape) - len(known[n].dims))] for n, a in shaped.items()}
    first = next(iter(leading), "")
    for name, lead in leading.items():
        if lead != leading[first]:
            raise PredictionError(
                f"{name} has the shape {list(shaped[name].shape)}, so samples {list(lead)}; "
                f"expected {list(leading[first])} as {first} has, before its own dimensions "
                f"({', '.join(known[name].dims)})"
            )
    count = len(leading.get(first, ()))
    samples = (SAMPLE,) if count == 1 else tuple(f"{SAMPLE}_{k}" for k in range(count))
    for name, array in shaped.items():
        if len(array.shape) != count + len(known[name].dims):
            raise PredictionError(
                f"{name} has the shape {list(array.shape)}; expected the dimensions "
                f"({', '.join(known[name].dims)})"
            )
    return xr.Dataset({n: ((*samples, *known[n].dims), a) for n, a in shaped.items()})


@dataclass(frozen=True)
class RowPacker:
    """Makes rows of a package from arrays of ``variables``, in this order; ``derived`` inputs are
    computed from them.

    Inputs that are ``absent`` (start, carried state) are zero. ``dims`` names the dimensions of
    samples.
    """

    inputs: VariableSet
    variables: tuple[Variable, ...]
    derived: tuple[str, ...]
    absent: tuple[str, ...]
    hybrid: HybridCoordinate | None
    dims: tuple[str, ...]

    def flat(
        self, arrays: Sequence[NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], tuple[int, ...]]:
        """Return arrays [sample..., dims...] as [row, dims...] by name, and the sizes of the
        samples' dimensions."""
        own = [a.shape[a.ndim - len(v.dims) :] for v, a in zip(self.variables, arrays, strict=True)]
        shape = np.broadcast_shapes(
            *(a.shape[: a.ndim - len(o)] for a, o in zip(arrays, own, strict=True))
        )
        whole = (
            np.broadcast_to(a, (*shape, *o)).reshape(-1, *o)
            for a, o in zip(arrays, own, strict=True)
        )
        return dict(zip((v.name for v in self.variables), whole, strict=True)), shape

    def rows(self, columns: Columns, shape: tuple[int, ...], part: slice) -> FloatRows:
        """Return the rows of a part of flat arrays, float32 [row, n_input]; PredictionError for
        what is not finite, and where."""
        # A part that cannot be written to is copied: torch takes no others.
        taken = self._begun({n: np.require(a[part], requirements="W") for n, a in columns.items()})
        for v in self.variables:
            self._require_finite(v, taken[v.name], shape, part.start)
        count = len(taken[self.variables[0].name])
        if self.derived:
            taken |= derive(self.derived, taken, self.hybrid)
        taken |= {
            n: np.zeros((count, *self.inputs.shape_of(self.inputs[n])), dtype=np.float32)
            for n in self.absent
        }
        return pack_inputs(taken, self.inputs)

    def _begun(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return columns whose carried state is zero where a sample begins, whatever was left over
        there."""
        if START not in columns:
            return columns
        begins = columns[START] == 1.0
        for name in self.inputs.of_role("carried").names:
            if name in columns:
                wide = begins.reshape(-1, *[1] * (columns[name].ndim - 1))
                columns[name] = np.where(wide, 0.0, columns[name])
        return columns

    def _require_finite(
        self, v: Variable, values: NDArray[Any], shape: tuple[int, ...], first: int
    ) -> None:
        bad = ~np.isfinite(values)
        if not bad.any():
            return
        row, *own = np.argwhere(bad)[0]
        place = [*np.unravel_index(first + int(row), shape or (1,)), *own]
        where = ", ".join(
            f"{d} {int(k)}"
            for d, k in zip((*(self.dims or (SAMPLE,)), *v.dims), place, strict=True)
        )
        raise PredictionError(
            f"{v.name}: {int(bad.sum())} values are not finite; the first, "
            f"{values[tuple(np.argwhere(bad)[0])]}, at {where} (counted from 0 in its chunk): fill "
            "or leave out such samples"
        )


@dataclass(frozen=True)
class Sources:
    """What of a dataset goes into a package: arrays [sample dims..., own dims...] in the order of
    the packer's variables."""

    packer: RowPacker
    arrays: tuple[xr.DataArray, ...]

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of samples."""
        return self.packer.dims

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the samples' dimensions."""
        return {d: next(int(a.sizes[d]) for a in self.arrays if d in a.dims) for d in self.dims}


def find_sources(dataset: xr.Dataset, manifest: Manifest, may_lack: Sequence[str] = ()) -> Sources:
    """Return what a package takes out of a dataset; other variables are ignored.

    Inputs that are not there and follow from others (relative humidity from T, q and ps) are
    derived. PredictionError names what is missing, in other units, of other dimensions or sizes, on
    another grid, or no number.
    """
    inputs = host_sets(manifest)[0]
    _check_grid(dataset, manifest)
    given = [v for v in inputs.variables if v.name in dataset.variables]
    absent = tuple(n for n in inputs.names if n not in dataset.variables and n in may_lack)
    missing = [n for n in inputs.names if n not in dataset.variables and n not in absent]
    known = [v for v in shipped_variables().values() if v.name in dataset.variables]
    possible = derivable(known, has_pressure=manifest.hybrid is not None)
    lacking = [n for n in missing if n not in possible]
    if lacking:
        raise PredictionError(_lacking(lacking, inputs, dataset, manifest))
    derived_from = set(source_names(missing, known)) - {v.name for v in given} if missing else set()
    variables = (*given, *(v for v in known if v.name in derived_from))
    arrays = tuple(checked_array(dataset[v.name], v, manifest.dims) for v in variables)
    own = {v.name: v.dims for v in variables}
    dims = dict.fromkeys(str(d) for a in arrays for d in a.dims if d not in own[str(a.name)])
    hybrid = None if manifest.hybrid is None else HybridCoordinate.from_manifest(manifest.hybrid)
    return Sources(
        RowPacker(inputs, variables, tuple(missing), absent, hybrid, tuple(dims)), arrays
    )


def checked_array(array: xr.DataArray, v: Variable, sizes: Mapping[str, int]) -> xr.DataArray:
    """Return the array of a variable with its own dims last, in their order, in one chunk each.

    PredictionError for dims that are missing, of other sizes, or of another variable; other units;
    values that are no numbers.
    """
    expected = "(" + ", ".join(f"{d}: {sizes[d]}" for d in v.dims) + ")"
    came = "(" + ", ".join(f"{d}: {n}" for d, n in array.sizes.items()) + ")"
    absent = [d for d in v.dims if d not in array.dims]
    if absent:
        alike = [
            str(d) for d, n in array.sizes.items() if n == sizes[absent[0]] and d not in v.dims
        ]
        hint = (
            f"; if {alike[0]!r} is meant, rename it: .rename({alike[0]}={absent[0]!r})"
            if alike
            else ""
        )
        raise PredictionError(
            f"{v.name} has the dimensions {came}, expected {expected} besides those of "
            f"samples{hint}"
        )
    foreign = [str(d) for d in array.dims if d in sizes and d not in v.dims]
    wrong = [d for d in v.dims if array.sizes[d] != sizes[d]]
    if foreign or wrong:
        raise PredictionError(
            f"{v.name} has the dimensions {came}, expected {expected} besides those of samples, "
            f"{(foreign + wrong)[0]!r} differs"
        )
    units = array.attrs.get("units")
    if units is not None and not same_units(str(units), v.units):
        raise PredictionError(
            f"{v.name} is in {str(units)!r}, the package has it in {v.units!r}: convert the values "
            "and set .attrs['units']"
        )
    if array.dtype.kind not in "fiub":
        raise PredictionError(f"{v.name} must hold numbers, it is of type {array.dtype}")
    ordered = array.transpose(..., *v.dims)
    return ordered if ordered.chunks is None else ordered.chunk(dict.fromkeys(v.dims, -1))


def _lacking(
    names: Sequence[str], inputs: VariableSet, dataset: xr.Dataset, manifest: Manifest
) -> str:
    there = [str(n) for n in dataset.variables]
    wanted = ", ".join(f"{n} ({', '.join(inputs[n].dims)}) in {inputs[n].units!r}" for n in names)
    text = f"the data lack {wanted}, which {manifest.name!r} takes{near_names(names[0], there)}"
    if any(inputs[n].role != "value" for n in names):
        text += (
            "; it carries state from step to step: to roll it out along a dimension give dim=, "
            "such as dim='time'"
        )
    return text


def _check_grid(dataset: xr.Dataset, manifest: Manifest) -> None:
    """Raise PredictionError where a coordinate of the data differs from the package's."""
    for dim, expected in manifest.coordinates.items():
        if dim not in dataset.coords or dataset[dim].dims != (dim,):
            continue
        units = dataset[dim].attrs.get("units")
        if units is not None and not same_units(str(units), expected.units):
            raise PredictionError(
                f"coordinate {dim} is in {str(units)!r}, the package has it in {expected.units!r}"
            )
        _check_coordinate(dim, np.asarray(dataset[dim].values, dtype=np.float64), expected)


def _check_coordinate(dim: str, came: NDArray[np.float64], expected: Coordinate) -> None:
    values = np.array(expected.values)
    if came.shape != values.shape:
        raise PredictionError(
            f"coordinate {dim} has {len(came)} values, the package has {len(values)}"
        )
    one = SAME_COORDINATE * SAME_COORDINATE * np.abs(values)
    near = SAME_COORDINATE * np.abs(np.diff(values)).min() if len(values) > 1 else one
    far = ~(np.abs(came - values) <= near)
    if far.any():
        k = int(np.argmax(far))
        turned = "; it is the other way round" if np.allclose(came[::-1], values) else ""
        raise PredictionError(
            f"coordinate {dim}[{k}] is {came[k]:g}, the package was made for {values[k]:g}{turned}"
        )
