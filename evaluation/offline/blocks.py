"""A store as blocks of truth and prediction: the one loop over time that every score of a package
hangs on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from climlink.data.columns import pack_inputs, pack_targets
from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.weights import area_weights, layer_thickness
from climlink.packages.prediction import Changes, Predictor
from climlink.wrappers.column_budgets import ENERGY_STATE
from climlink.wrappers.contract import value_sets
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

BLOCK_ROWS = 8192
"""Rows of a block: what is in memory does not grow with the store."""

LEAN_BLOCK_ROWS = 3072
"""Rows of a block where memory counts more than time: half a chunk of ClimSim's low-resolution
grid.
"""

_STATE = ("state_ps", "state_u", "state_v")
_COORDINATE_TOLERANCE = 1e-6
_MISSES_NAMED = 20


@dataclass(frozen=True)
class Block:
    """Some times of a store with what the package says about them.

    ``truth`` and ``prediction`` [time, column, width of the outputs]; ``confidence`` [time, column,
    n] or None; ``counted`` [time, column] is 0 where the prediction is not finite (it is 0 there),
    else 1; ``thickness`` dp in Pa [time, column, level]; ``wind`` speed of the input state in m/s,
    the same shape; ``state`` [row, width] inputs by name, those of ENERGY_STATE that the store has;
    ``changes`` what constraints added, {"constraint/output": [row, width]}, or None; ``range_use``
    how much the range policy holds [row, 3], or None. Row is time * n_column + column.
    """

    truth: Array
    prediction: Array
    confidence: Array | None
    counted: Array
    thickness: Array
    wind: Array
    state: dict[str, Array]
    changes: Changes | None
    range_use: Array | None

    @property
    def row_weights(self) -> Array:
        """``counted`` as [row]."""
        return self.counted.reshape(-1)

    def rows(self, values: Array) -> Array:
        """Return [time, column, feature] as [row, feature]."""
        return values.reshape(-1, values.shape[-1])


class Misses:
    """Predictions that are not finite: how many rows, and the first places by name."""

    def __init__(self, outputs: VariableSet) -> None:
        self._names = [
            (v.name, k if v.is_profile else None)
            for v in outputs.variables
            for k in range(outputs.width_of(v.name))
        ]
        self.rows = 0
        self.places: list[str] = []

    def note(self, prediction: Array, stamps: list[str]) -> None:
        """Take note of the values of prediction [time, column, width] that are not finite."""
        bad = ~np.isfinite(prediction)
        self.rows += int(bad.any(axis=2).sum())
        for time, column in np.argwhere(bad.any(axis=2))[
            : max(_MISSES_NAMED - len(self.places), 0)
        ]:
            feature = int(np.argmax(bad[time, column]))
            name, level = (
                self._names[feature] if feature < len(self._names) else ("confidence", None)
            )
            where = "" if level is None else f" on level {level}"
            others = int(bad[time, column].sum()) - 1
            self.places.append(
                f"{stamps[time]}, column {column}: {name}{where} is "
                f"{prediction[time, column, feature]}"
                + (f", and {others} other values" if others else "")
            )


class Blocks:
    """Iterates over a split of a store, block by block; ``misses`` and ``times_done`` fill.

    ``area`` [column] weighs the columns; of a table, where it is not known, it is 1.
    """

    def __init__(
        self, predictor: Predictor, store: ColumnStore, split: str, *, changes: bool = True
    ) -> None:
        """Check package and store against each other; EvaluationError says what does not fit.

        Without ``changes`` blocks do not tell what constraints added, are smaller, and need a
        fraction of the memory.
        """
        manifest = predictor.package.manifest
        check_fit(manifest, store, split)
        self.inputs, self.outputs = value_sets(manifest)
        self.store = store
        self.indices = store.indices(split)
        self.area = store.area if store.has_place else np.ones(1)
        there = {v.name for v in store.variables}
        self.state_names = [n for n in ENERGY_STATE if n in there]
        self.misses = Misses(self.outputs)
        self.times_done = 0
        self._predictor = predictor
        self.tells_changes = changes and predictor.splits_constraints
        self._block_rows = BLOCK_ROWS if changes else LEAN_BLOCK_ROWS
        self._n_confidence = manifest.outputs.width_of("confidence")

    def __iter__(self) -> Iterator[Block]:
        step = min(self.store.time_chunk, max(1, self._block_rows // self.store.n_column))
        for first in range(0, len(self.indices), step):
            part = self.indices[first : first + step]
            yield self._block(part)
            self.times_done += len(part)

    def _block(self, times: NDArray[np.int64]) -> Block:
        columns = self.store.read(
            dict.fromkeys((*self.inputs.names, *self.outputs.names, *_STATE, *self.state_names)),
            times,
        )
        shape = (len(times), self.store.n_column)
        inputs = pack_inputs({n: columns[n] for n in self.inputs.names}, self.inputs)
        truth = pack_targets({n: columns[n] for n in self.outputs.names}, self.outputs)
        rows, changes = (
            self._predictor.rows_and_changes(inputs)
            if self.tells_changes
            else (self._predictor.rows(inputs), None)
        )
        predicted = rows.astype(np.float64).reshape(*shape, -1)
        self.misses.note(predicted, [self.store.name_of(int(i)) for i in times])
        counted = np.asarray(np.isfinite(predicted).all(axis=2), dtype=np.float64)
        predicted = np.where(counted[..., None] > 0.0, predicted, 0.0)
        hybrid = self.store.hybrid
        pressure = np.asarray(columns["state_ps"], dtype=np.float64).reshape(shape)
        thickness = layer_thickness(
            np.array(hybrid.hyai), np.array(hybrid.hybi), hybrid.p0_pa, pressure
        )
        state = {
            n: columns[n].astype(np.float64).reshape(len(inputs), -1) for n in self.state_names
        }
        wind = np.hypot(
            columns["state_u"].astype(np.float64), columns["state_v"].astype(np.float64)
        )
        width = self.outputs.width
        return Block(
            truth=truth.reshape(*shape, -1),
            prediction=predicted[..., :width],
            confidence=predicted[..., width : width + self._n_confidence]
            if self._n_confidence
            else None,
            counted=counted,
            thickness=np.moveaxis(thickness, 1, 2),
            wind=wind.reshape(*shape, -1),
            state=state,
            changes=changes,
            range_use=self._predictor.range_use(inputs) if self.tells_changes else None,
        )


def check_fit(manifest: Manifest, store: ColumnStore, split: str) -> None:
    """Raise EvaluationError unless levels, time step and vertical grid of package and store agree
    and the split has times.
    """
    if manifest.carried:
        raise EvaluationError(
            f"{manifest.name!r} carries state from step to step: give Package.score of climlink "
            "consecutive times in a dataset, such as store.to_xarray(split), with dim='time'"
        )
    if manifest.level_count != store.level_count:
        raise EvaluationError(
            f"{manifest.name!r} was made for {manifest.level_count} levels, {store.path} has "
            f"{store.level_count}; give a store of the grid it was trained on"
        )
    if manifest.time_step_s is not None and manifest.time_step_s != store.time_step_s:
        raise EvaluationError(
            f"{manifest.name!r} was made for a time step of {manifest.time_step_s:g} s, the "
            f"tendencies of {store.path} are over {store.time_step_s:g} s"
        )
    if manifest.hybrid is not None:
        for name in ("hyam", "hybm", "hyai", "hybi"):
            ours, theirs = (
                np.array(getattr(manifest.hybrid, name)),
                np.array(getattr(store.hybrid, name)),
            )
            level = int(np.argmax(np.abs(ours - theirs)))
            if abs(ours[level] - theirs[level]) > _COORDINATE_TOLERANCE:
                raise EvaluationError(
                    f"{manifest.name!r} was made for another vertical grid than {store.path}: "
                    f"{name}[{level}] is {ours[level]:.6g} in the package, {theirs[level]:.6g} in "
                    "the store"
                )
    if len(store.indices(split)) == 0:
        raise EvaluationError(
            f"{store.path} has no times in its split {split!r}; choose another with --split"
        )
    if store.has_place:
        area_weights(store.area)
