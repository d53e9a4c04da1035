"""Further stores that a run mixes columns in from: what they must share with its own, and targets
that a package predicts (pseudo-labels).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.columns import derive, pack_targets, source_names
from climlink.data.errors import DataError, StoreError
from climlink.data.store import ColumnStore
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage
from climlink.training.closure import require_closed_columns
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder
from climlink.training.errors import TrainingError
from climlink.wrappers.contract import value_sets
from climlink.wrappers.variable_sets import VariableSet

_SHOWN = 5


class PackageLabels:
    """Targets of a store's columns as a package predicts them; what physics does not give, such as
    auxiliary targets, comes from the store.
    """

    def __init__(self, path: Path, store: ColumnStore) -> None:
        """TrainingError where the package is of another grid or time step, or carries state."""
        package = EmulatorPackage.read(path)
        manifest = package.manifest
        if manifest.carried:
            raise TrainingError(f"{path}: labels of a package that carries state need its rollout")
        if manifest.time_step_s not in (None, store.time_step_s):
            raise TrainingError(
                f"{path} is made for steps of {manifest.time_step_s} s, {store.path} has "
                f"{store.time_step_s:g} s"
            )
        if manifest.hybrid not in (None, store.hybrid.entry()):
            raise TrainingError(f"{path} is made for another vertical grid than {store.path}")
        self._store = store
        self._predictor = Predictor(package)
        self._inputs, self._outputs = value_sets(manifest)
        self.digest = package.digest

    def require(self, outputs: Sequence[VariableSet]) -> None:
        """Raise TrainingError if the store lacks what the package reads, or the package predicts
        too little.
        """
        wanted = [v.name for s in outputs for v in s.variables if v.role == "value"]
        try:
            source_names(self._inputs.names, self._store.variables)
            source_names(wanted, self._outputs.variables)
        except DataError as error:
            path = self._predictor.package.path
            raise TrainingError(f"{path} cannot label {self._store.path}: {error}") from error

    def targets(self, variables: VariableSet, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return target rows, float64 [row, width], as ColumnStore.targets does."""
        rows = self._predictor.rows(self._store.pack(self._inputs, times)).astype(np.float64)
        columns = {v.name: rows[:, self._outputs.slice(v.name)] for v in self._outputs.variables}
        given = {n: c if self._outputs[n].dims else c[:, 0] for n, c in columns.items()}
        targets = np.empty((len(rows), variables.width))
        for part, is_predicted in _halves(variables):
            if is_predicted:
                found = derive(part.names, given, self._store.known_hybrid)
                values = pack_targets(found, part)
            else:
                values = self._store.targets(part, times)
            for name in part.names:
                targets[:, variables.slice(name)] = values[:, part.slice(name)]
        return targets


def _halves(variables: VariableSet) -> Iterator[tuple[VariableSet, bool]]:
    """Yield what a package predicts of a set, and what only a store can say, if there is any."""
    for is_predicted in (True, False):
        chosen = tuple(v for v in variables.variables if (v.role == "value") == is_predicted)
        if chosen:
            yield VariableSet(variables.name, chosen, variables.sizes), is_predicted


class FurtherStores:
    """The stores that a run names beside its own, opened and checked: encoders by name, and the
    times of their training splits that the run does not hold out.
    """

    def __init__(self, config: TrainingConfig, main: Encoder, held_out: NDArray[np.int64]) -> None:
        """``held_out`` are times of the main store. StoreError names a store that does not fit it,
        or would train on what it tests; TrainingError names a package that cannot label one.
        """
        self.encoders: dict[str, Encoder] = {}
        self.times: dict[str, NDArray[np.int64]] = {}
        self.digests: dict[str, list[str]] = {}
        tested = [main.store.indices("test"), main.store.indices("later")]
        if config.validation.source == "store":
            tested.append(held_out)
        for name, further in config.stores.items():
            store = ColumnStore.open(further.store)
            labels = None if further.labels is None else PackageLabels(further.labels, store)
            _require_alike(name, store, main, labels)
            if labels is None:
                require_closed_columns(store, main.contract)
            train = store.indices("train")
            _require_apart(name, store, main.store, train, np.concatenate(tested))
            self.encoders[name] = main.of(store, labels)
            self.times[name] = np.setdiff1d(train, _in_common(store, main.store, held_out))
            self.digests[name] = [store.digest, *([labels.digest] if labels else [])]
            if self.times[name].size == 0:
                problem = f"stores.{name}: {store.path} has no time of the training split"
                raise StoreError(f"{problem} that is not held out; declare one when preparing it")


def _require_alike(
    name: str, store: ColumnStore, main: Encoder, labels: PackageLabels | None
) -> None:
    """Raise StoreError unless a store has the levels, time step and variables of the main one."""
    own, contract = main.store, main.contract
    where = f"stores.{name}: {store.path}"
    if store.time_step_s != own.time_step_s:
        raise StoreError(
            f"{where} has a time step of {store.time_step_s:g} s, {own.path} of "
            f"{own.time_step_s:g} s; tendencies of the two are not mixed"
        )
    if store.hybrid.entry() != own.hybrid.entry():
        raise StoreError(f"{where} has another vertical grid than {own.path}")
    outputs = [contract.outputs, contract.network_outputs]
    try:
        source_names(contract.inputs.names, store.variables)
        if labels is None:
            source_names([n for s in outputs for n in s.names], store.variables)
    except DataError as error:
        raise StoreError(f"{where} lacks variables that {own.path} has: {error}") from error
    if labels is not None:
        labels.require(outputs)


def _require_apart(
    name: str,
    store: ColumnStore,
    main: ColumnStore,
    train: NDArray[np.int64],
    tested: NDArray[np.int64],
) -> None:
    """Raise StoreError if times that a store trains on are tested on, or held out, in the main
    one.
    """
    both = np.intersect1d(train, _in_common(store, main, tested))
    if both.size:
        shown = ", ".join(store.name_of(int(i)) for i in both[:_SHOWN])
        more = f" and {both.size - _SHOWN} more" if both.size > _SHOWN else ""
        raise StoreError(
            f"stores.{name}: {store.path} trains on {both.size} time(s) that {main.path} holds out "
            f"for validation or test: {shown}{more}; prepare one of them with another split"
        )


def _in_common(
    store: ColumnStore, main: ColumnStore, times: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the times of a store that are the given ones of the main store: those of the same
    stamps where the columns are the same, the same rows of the same table; none where nothing says
    so.
    """
    if store.has_stamps and main.has_stamps:
        same = all(
            np.array_equal(getattr(store, place), getattr(main, place))
            for place in ("latitude", "longitude")
        )
        if not same:
            return times[:0]
        seconds = [np.array([s.seconds for s in one.stamps]) for one in (store, main)]
        return np.flatnonzero(np.isin(seconds[0], seconds[1][times]))
    return times if store.digest == main.digest and store.n_time == main.n_time else times[:0]
