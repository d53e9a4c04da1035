"""The file of many runs: axes by settings with exceptions, expanded into training
configurations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from climlink.config import ConfigError, StrictModel, load_config
from climlink.installation import find_configuration
from climlink.training.composition import (
    Layer,
    compose,
    full_keys,
    in_a_name,
    run_name,
    setting,
)
from climlink.training.config import TrainingConfig
from climlink.wrappers.errors import near_names

JOBS_FOLDER = "jobs"
"""Beside the run folders: log, record and configuration of each run of a matrix."""

_IN_NAMES = ("architecture.name", "from_recipe", "recipe", "architecture.configuration.preset")
Settings = dict[str, Any]


class Block(StrictModel):
    """One run for every combination of the values of its axes."""

    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="key, as on the command line of `climlink train`, to its values"
    )
    settings: Settings = Field(
        default_factory=dict, description="keys that only the runs of this block are given"
    )


class ExceptionEntry(StrictModel):
    """Settings for those of the runs that have certain values."""

    when: Settings = Field(
        min_length=1, description="key to the value, or list of values, that a run must have"
    )
    set: Settings = Field(min_length=1, description="keys that these runs are given")


class SlurmConfig(StrictModel):
    """What a run needs of a Slurm cluster, for ``--submit slurm``."""

    machine: str = Field(
        default="slurm",
        description="of `climlink configs machines`, or a file: queue, account and modules",
    )
    minutes: int = Field(default=720, ge=1, description="time limit of one run")
    restarts: int = Field(
        default=10,
        ge=0,
        description="times that a run which the time limit ended is queued again, to go on",
    )
    nodes: int = Field(default=1, ge=1, description="nodes of one run")
    tasks_per_node: int = Field(
        default=1, ge=1, description="processes of one run on each node, one for each GPU"
    )
    gpus_per_node: int = Field(default=0, ge=0, description="GPUs of one run on each node")
    cpus_per_task: int = Field(default=1, ge=1, description="cores of each process")
    memory_gib: int | None = Field(
        default=None, ge=1, description="memory on each node; null: the cluster's default"
    )
    options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="further options of sbatch by name, such as constraint"
    )


class MatrixConfig(StrictModel):
    """Many training runs. Paths are relative to the directory the command runs in."""

    config: str | None = Field(
        default=None,
        description="training file beneath the settings, or a shipped one by name; null: the "
        "settings of the preset",
    )
    folder: Path = Field(default=Path("runs"), description="where the run folders are made")
    settings: Settings = Field(
        default_factory=dict,
        description="keys that all runs are given, as on the command line of `climlink train`",
    )
    blocks: list[Block] = Field(min_length=1, description="the runs")
    exceptions: list[ExceptionEntry] = Field(
        default_factory=list, description="in order; a later one wins"
    )
    slurm: SlurmConfig = Field(default_factory=SlurmConfig)


@dataclass(frozen=True)
class MatrixRun:
    """One run of a matrix."""

    config: TrainingConfig
    text: str
    """The configuration as YAML, with the source of each part."""
    folder: Path
    """Of all runs."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.config.name

    @property
    def directory(self) -> Path:
        """The run folder."""
        return self.config.run_directory

    @property
    def jobs(self) -> Path:
        """Where the log and the record of the run are."""
        return self.folder / JOBS_FOLDER / self.name


@dataclass(frozen=True)
class Matrix:
    """A matrix file and its runs."""

    path: Path
    config: MatrixConfig
    runs: tuple[MatrixRun, ...]


def load_matrix(path: str | Path, words: Sequence[Layer] = ()) -> Matrix:
    """Return a matrix file, or a shipped one by name, with its runs.

    ``words`` that give the key of an axis choose the runs with that value; others are given to all.
    ConfigError where a run does not fit, two differ under one name, or an exception meets no run.
    """
    path = find_configuration("ensembles", path)
    matrix = load_config(path, MatrixConfig)
    axes = {key for block in matrix.blocks for key in _full(block.axes, f"{path}: axes")}
    chosen = _chosen(path, matrix)
    for word in (w for w in words if ".".join(w.keys) in axes):
        chosen = _with_value(path, chosen, word)
    above = [w for w in words if ".".join(w.keys) not in axes]
    runs: dict[str, tuple[MatrixRun, Settings]] = {}
    for given, varied in chosen:
        run = _run(path, matrix, given, varied, above)
        first, by = runs.setdefault(run.name, (run, given))
        if first.config != run.config:
            differing = [k for k in {**by, **given} if by.get(k) != given.get(k)]
            raise ConfigError(
                f"{path}: two runs would be called {run.name}; they differ in "
                f"{', '.join(differing)}: make it an axis"
            )
    return Matrix(path, matrix, tuple(run for run, _ in runs.values()))


def _full(settings: Mapping[str, Any], origin: str) -> Settings:
    """Return settings under their full keys; ConfigError for an unknown one."""
    return {".".join(full_keys(key, value, origin)): value for key, value in settings.items()}


def _chosen(path: Path, matrix: MatrixConfig) -> list[tuple[Settings, tuple[str, ...]]]:
    """Return of each run the settings by full key, and the keys of its axes."""
    exceptions = [
        (_full(e.when, f"{path}: exceptions[{i}].when"), _full(e.set, f"{path}: exceptions[{i}]"))
        for i, e in enumerate(matrix.exceptions)
    ]
    met = [False] * len(exceptions)
    runs = []
    for block in matrix.blocks:
        axes = _full(block.axes, f"{path}: axes")
        common = {
            **_full(matrix.settings, f"{path}: settings"),
            **_full(block.settings, f"{path}: settings"),
        }
        for values in itertools.product(*axes.values()):
            given = {**common, **dict(zip(axes, values, strict=True))}
            for i, (when, change) in enumerate(exceptions):
                if all(_is(given.get(k), v) for k, v in when.items()):
                    met[i] = True
                    given.update(change)
            runs.append((given, tuple(axes)))
    if not all(met):
        raise ConfigError(_never(path, runs, met.index(False), exceptions))
    return runs


def _never(
    path: Path,
    runs: Sequence[tuple[Settings, Any]],
    number: int,
    exceptions: Sequence[tuple[Settings, Settings]],
) -> str:
    when = exceptions[number][0]
    for key, wanted in when.items():
        there = _values_of(runs, key)
        absent = [str(v) for v in _listed(wanted) if str(v) not in there]
        if absent:
            near = near_names(absent[0], there)
            return (
                f"{path}: exceptions[{number}]: no run has {key} {absent[0]}{near}; there are "
                f"{', '.join(there) or 'none'}"
            )
    return f"{path}: exceptions[{number}]: no run has {when} together; remove it"


def _with_value(
    path: Path, runs: Sequence[tuple[Settings, Any]], word: Layer
) -> list[tuple[Settings, Any]]:
    """Return the runs that have a value on an axis; ConfigError if there is none."""
    key = ".".join(word.keys)
    wanted: Any = word.values
    for part in word.keys:
        wanted = wanted[part]
    kept = [run for run in runs if _is(run[0].get(key), wanted)]
    if not kept:
        there = _values_of(runs, key)
        near = near_names(str(wanted), there)
        raise ConfigError(
            f"{word.origin}: {path.stem} has no such run{near}; {key}: {', '.join(there)}"
        )
    return kept


def _values_of(runs: Iterable[tuple[Settings, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(str(given[key]) for given, _ in runs if key in given))


def _run(
    path: Path,
    matrix: MatrixConfig,
    given: Settings,
    varied: Sequence[str],
    above: Sequence[Layer],
) -> MatrixRun:
    """Return a run, called after its parts and the axes that these do not tell."""
    ours = {".".join(word.keys) for word in above}
    layers = [setting(k, v, f"{path.stem}: {k}") for k, v in given.items() if k not in ours]
    composed = compose(matrix.config, [*layers, *above])
    config = composed.config
    others = [k for k in varied if k not in (*_IN_NAMES, "seed")]
    name = "_".join(
        [run_name(config.model_dump()), *(_label(k, given[k], matrix.blocks) for k in others)]
    )
    config = config.model_copy(update={"name": name, "output": matrix.folder / name})
    return MatrixRun(config, replace(composed, config=config).text(), matrix.folder)


def _label(key: str, value: Any, blocks: Sequence[Block]) -> str:
    """Return what a value of an axis adds to a name: a number for what has no short text."""
    short = key.rpartition(".")[2].replace("_", "")
    if isinstance(value, list | Mapping) or value is None:
        positions = (_full(b.axes, "")[key].index(value) for b in _with_axis(blocks, key, value))
        value = next(positions) + 1
    return in_a_name(f"{short}{value}")


def _with_axis(blocks: Sequence[Block], key: str, value: Any) -> Iterator[Block]:
    return (b for b in blocks if value in _full(b.axes, "").get(key, ()))


def _is(value: Any, wanted: Any) -> bool:
    """Tell whether a value is the wanted one, or one of those."""
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
