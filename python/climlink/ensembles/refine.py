"""A second stage: gradient-boosted trees (LightGBM) correct the water tendencies of every level
from what the package read and predicts there.

It is for offline use: trees do not run in a graph, so no host gets it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from climlink.config import StrictModel
from climlink.data.files import make_folder, read_json, refusals, remove_folder, sha256_file
from climlink.data.store import ColumnStore
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import HeldOut
from climlink.ensembles.members import ENSEMBLE
from climlink.ensembles.weights import TimesEntry
from climlink.evaluation.offline.blocks import check_fit
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.wrappers.constraints.water import STATE_OF, PositivityParameters
from climlink.wrappers.contract import value_sets
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

RECORD = "refined.json"
PACKAGE = "wrap_model.pt"

NEIGHBOURS = (-1, 0, 1)
"""Levels beside its own that a model sees of every profile."""

_EXTRA = "the second stage needs LightGBM: pip install 'climlink[lightgbm]'"


@dataclass(frozen=True)
class RefineSettings:
    """How the trees of a level are fitted: shape, rate, how many at most, rounds without a gain
    that end it, the last share of the times that these are judged on, seed, columns at most.
    """

    leaves: int = 15
    least_rows: int = 50
    learning_rate: float = 0.05
    most_trees: int = 300
    patience: int = 20
    stopping_share: float = 0.25
    seed: int = 7
    most_rows: int = 100_000


class TreeModel(StrictModel):
    """The trees of one output on one level: file, digest, number of trees, and their mean square
    error on the stopping times beside that of the package, in units of its scale.
    """

    variable: str
    level: int
    file: str
    sha256: str
    trees: int = Field(ge=1)
    error: float
    error_before: float


class RefinedRecord(StrictModel):
    """What a second stage is made of; the trees of each level lie beside it as text."""

    kind: Literal["refined"] = "refined"
    package: str
    package_sha256: str
    lightgbm_version: str
    features: list[str]
    settings: dict[str, float]
    fitted_on: TimesEntry
    stopped_on: TimesEntry
    notes: list[str]
    models: list[TreeModel]


@dataclass(frozen=True)
class _Rows:
    """Host inputs and predictions of some columns, float32 [row, width]."""

    inputs: FloatRows
    outputs: FloatRows


class Features:
    """What a model of level k reads: every profile of inputs and predictions on k and its
    neighbours (an edge's own value where there is none), and all scalars of both.
    """

    def __init__(self, inputs: VariableSet, outputs: VariableSet) -> None:
        self._sets = (inputs, outputs)
        self._levels = outputs.level_count
        self.names = [
            f"{v.name}[{step:+d}]" if v.is_profile else v.name
            for s in self._sets
            for v in s.variables
            for step in (NEIGHBOURS if v.is_profile else (0,))
        ]

    def of(self, rows: _Rows, level: int) -> NDArray[np.float32]:
        """Return the features [row, feature] of one level."""
        parts = []
        for s, values in zip(self._sets, (rows.inputs, rows.outputs), strict=True):
            for v in s.variables:
                start = s.offset(v.name)
                steps = NEIGHBOURS if v.is_profile else (0,)
                levels = [min(max(level + n, 0), self._levels - 1) for n in steps]
                where = [start + k for k in levels] if v.is_profile else [start]
                parts.append(values[:, where])
        return np.concatenate(parts, axis=1)


def refine(
    package: EmulatorPackage,
    held: HeldOut,
    output: Path,
    settings: RefineSettings | None = None,
    progress: Progress | None = None,
) -> RefinedRecord:
    """Fit a second stage to a package's errors on held-out times, write it to a folder, and return
    its record.

    The last times end each model's training; a level whose trees do not lower the error there keeps
    the package's prediction. One thread and one seed: the same data give the same trees.
    EnsembleError without LightGBM, and for a package without water tendencies or a folder that
    holds something else.
    """
    s = settings or RefineSettings()
    _lightgbm()
    inputs, outputs = value_sets(package.manifest)
    water = [n for n in STATE_OF if n in outputs]
    if not water or package.manifest.carried:
        raise EnsembleError(
            f"{package.path} predicts none of {', '.join(STATE_OF)} from single columns: there is "
            "nothing to refine"
        )
    _refuse_others(output)
    times, stopping = _parts(held, s)
    fit, stop = (_read(package, held.store, t, s) for t in (times, stopping))
    features = Features(inputs, outputs)
    levels = range(package.manifest.pruned_levels or 0, outputs.level_count)
    jobs = [(name, level) for name in water for level in levels]
    scale = package.difference_scale.numpy()
    with _beside(output) as folder:
        models: list[TreeModel] = []
        for done, (name, level) in enumerate(jobs):
            feature = outputs.offset(name) + level
            made = _fit_level(features, (fit, stop), level, feature, scale[feature], s)
            if made is not None:
                models.append(_written(folder, name, level, *made))
            if progress is not None:
                progress(done + 1, len(jobs), f"{name} on level {level}")
        record = RefinedRecord(
            package=package.manifest.name,
            package_sha256=package.digest,
            lightgbm_version=_lightgbm().__version__,
            features=features.names,
            settings={k: float(v) for k, v in vars(s).items()},
            fitted_on=TimesEntry(**_named(held, times)),
            stopped_on=TimesEntry(**_named(held, stopping)),
            notes=[*held.notes, *_in_sample(package)],
            models=models,
        )
        shutil.copyfile(package.path, folder / PACKAGE)
        (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return record


def _lightgbm() -> Any:
    try:
        return import_module("lightgbm")
    except ImportError as error:
        raise EnsembleError(f"{_EXTRA} ({error})") from error


def _in_sample(package: EmulatorPackage) -> list[str]:
    made = package.manifest.provenance.training.get(ENSEMBLE, {})
    if made.get("fitted_on") is None:
        return []
    return [
        f"{package.manifest.name} was itself fitted to held-out times: where they are these, its "
        "errors are smaller than elsewhere"
    ]


def _named(held: HeldOut, times: NDArray[np.int64]) -> dict[str, Any]:
    return HeldOut(held.store, held.part, times, ()).record()


def _parts(held: HeldOut, s: RefineSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the times to fit to and those, later, that end the fitting."""
    count = max(1, round(s.stopping_share * len(held.times)))
    if count >= len(held.times):
        raise EnsembleError(
            f"{held.store.path}: {len(held.times)} held-out time(s); a second stage needs some to "
            "fit to and others to stop on"
        )
    return held.times[:-count], held.times[-count:]


@dataclass(frozen=True)
class _Sample:
    rows: _Rows
    truth: Array


def _read(
    package: EmulatorPackage, store: ColumnStore, times: NDArray[np.int64], s: RefineSettings
) -> _Sample:
    """Return predictions and truth of columns of some times, spread evenly."""
    check_fit(package.manifest, store, "train")
    inputs, outputs = value_sets(package.manifest)
    predictor = Predictor(package)
    kept = min(store.n_column, max(1, s.most_rows // len(times)))
    columns = np.unique(np.linspace(0, store.n_column - 1, kept).round().astype(np.int64))
    x, y, truth = [], [], []
    for first in range(0, len(times), store.time_chunk):
        part = times[first : first + store.time_chunk]
        rows = (np.arange(len(part))[:, None] * store.n_column + columns).ravel()
        x.append(store.pack(inputs, part)[rows])
        y.append(predictor.rows(x[-1])[:, : outputs.width])
        truth.append(store.targets(outputs, part)[rows])
    given = _Rows(np.concatenate(x), np.concatenate(y))
    if not np.isfinite(given.outputs).all():
        raise EnsembleError(f"{package.path} gives NaN or infinity on {store.path}")
    return _Sample(given, np.concatenate(truth))


def _fit_level(
    features: Features,
    samples: tuple[_Sample, _Sample],
    level: int,
    feature: int,
    scale: float,
    s: RefineSettings,
) -> tuple[Any, float, float] | None:
    """Return the trees of one level with the errors with and without them; None where they are of
    no use.
    """
    lightgbm = _lightgbm()
    x, residual = [], []
    for sample in samples:
        x.append(features.of(sample.rows, level))
        residual.append((sample.truth[:, feature] - sample.rows.outputs[:, feature]) / scale)
    before = float((residual[1] ** 2).mean())
    if not residual[0].any():
        return None
    fit = lightgbm.Dataset(x[0], residual[0], params=_parameters(s))
    stop = fit.create_valid(x[1], residual[1])
    booster = lightgbm.train(
        _parameters(s),
        fit,
        s.most_trees,
        valid_sets=[stop],
        callbacks=[lightgbm.early_stopping(s.patience, verbose=False)],
    )
    trees = int(booster.best_iteration)
    error = float(((residual[1] - booster.predict(x[1], num_iteration=trees)) ** 2).mean())
    return (booster, error, before) if trees > 0 and error < before else None


def _parameters(s: RefineSettings) -> dict[str, Any]:
    return {
        "objective": "regression",
        "num_leaves": s.leaves,
        "min_data_in_leaf": s.least_rows,
        "learning_rate": s.learning_rate,
        "seed": s.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def _written(
    folder: Path, name: str, level: int, booster: Any, error: float, before: float
) -> TreeModel:
    file = folder / f"{name}_{level:03d}.txt"
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    file.write_text(text, encoding="utf-8")
    return TreeModel(
        variable=name,
        level=level,
        file=file.name,
        sha256=sha256_file(file),
        trees=booster.best_iteration,
        error=error,
        error_before=before,
    )


def _refuse_others(output: Path) -> None:
    if output.exists() and not (output / RECORD).is_file() and any(output.iterdir()):
        raise EnsembleError(f"{output} holds something else: give a new or empty folder")


@contextmanager
def _beside(output: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of ``output`` on success and is removed on failure."""
    folder = output.with_name(f".{output.name}.part")
    if folder.exists():
        remove_folder(folder)
    make_folder(folder)
    try:
        with refusals(output):
            yield folder
            if output.exists():
                remove_folder(output)
            folder.rename(output)
    finally:
        if folder.exists():
            remove_folder(folder)


class Refined:
    """A second stage read from its folder: predicts as its package does, with the water tendencies
    of the levels that it knows corrected and, where the package keeps water positive, not below
    -q/dt.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read a second stage; EnsembleError where it is missing, damaged or incomplete."""
        lightgbm = _lightgbm()
        self.folder = Path(folder)
        self.record = _record(self.folder)
        self.package = EmulatorPackage.read(self.folder / PACKAGE, self.record.package_sha256)
        self.inputs, self.outputs = value_sets(self.package.manifest)
        self._features = Features(self.inputs, self.outputs)
        if self._features.names != self.record.features:
            raise EnsembleError(f"{folder}: its features are not those of this climlink: fit again")
        self._predictor = Predictor(self.package)
        self._scale = self.package.difference_scale.numpy()
        self._models = [(m, _booster(lightgbm, self.folder, m)) for m in self.record.models]
        self._positive = _kept_positive(self.package)

    def rows(self, inputs: FloatRows) -> Array:
        """Return refined values, float64 [row, n_value], for host rows [row, n_input]."""
        given = _Rows(inputs, self._predictor.rows(inputs)[:, : self.outputs.width])
        refined = given.outputs.astype(np.float64)
        for model, booster in self._models:
            feature = self.outputs.offset(model.variable) + model.level
            added = booster.predict(self._features.of(given, model.level), num_threads=1)
            refined[:, feature] += added * self._scale[feature]
            if model.variable in self._positive:
                state = self.inputs.offset(STATE_OF[model.variable]) + model.level
                water = inputs[:, state].astype(np.float64)
                floor = -water / self.package.manifest.require_time_step()
                refined[:, feature] = np.maximum(refined[:, feature], floor)
        return refined


def _kept_positive(package: EmulatorPackage) -> list[str]:
    """Return the water tendencies that the package's constraint ``positivity`` limits."""
    rules = [c for c in package.manifest.constraints or [] if c.name == "positivity"]
    return [n for c in rules for n in PositivityParameters.model_validate(c.parameters).tendencies]


def _record(folder: Path) -> RefinedRecord:
    try:
        return RefinedRecord.model_validate_json(json.dumps(read_json(folder / RECORD)))
    except OSError as error:
        raise EnsembleError(
            f"{folder} is no second stage: {RECORD} cannot be read ({error.strerror}); make one "
            "with `climlink ensemble refine`"
        ) from error
    except (ValueError, ValidationError) as error:
        raise EnsembleError(
            f"{folder / RECORD} is not a record of a second stage: {error}"
        ) from error


def _booster(lightgbm: Any, folder: Path, model: TreeModel) -> Any:
    file = folder / model.file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EnsembleError(f"{file} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise EnsembleError(f"{file} is damaged: its SHA-256 is not the recorded one")
    return lightgbm.Booster(model_str=content.decode("utf-8"))
