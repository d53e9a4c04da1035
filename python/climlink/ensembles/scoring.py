"""Single networks, their ensembles, stacks and second stages side by side on one split: the
competition's score and R² per output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.competition import LEVEL_COUNT, TARGET_SET
from climlink.data.store import ColumnStore
from climlink.ensembles.build import ensemble_emulator
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import time_record
from climlink.ensembles.members import ENSEMBLE, Member
from climlink.ensembles.products import BATCH_ROWS, Progress
from climlink.ensembles.refine import Refined
from climlink.ensembles.weights import WeightsFile
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.blocks import check_fit
from climlink.evaluation.offline.bootstrap import (
    HEADLINE,
    Difference,
    joined,
    paired_bootstrap,
    snapshot_moments,
)
from climlink.evaluation.offline.leap import leap_scores
from climlink.evaluation.offline.scores import table_of, without_variance
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.wrappers.contract import value_sets
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import variable_set

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """Something that is scored: a label, its kind, what gives values [row, n_value] for host rows
    [row, n_input], and the times that it was fitted to, where it records them.
    """

    label: str
    kind: str
    rows: Callable[[FloatRows], NDArray[np.floating]]
    manifest: Manifest
    fitted_on: dict[str, Any] | None = None


def of_package(package: EmulatorPackage) -> Candidate:
    """Return a package as a candidate: of kind ``single``, ``mean`` or ``stack``."""
    made = package.manifest.provenance.training.get(ENSEMBLE)
    predictor, width = Predictor(package), package.manifest.n_value
    return Candidate(
        package.manifest.name,
        "single" if made is None else str(made["kind"]),
        lambda x: predictor.rows(x)[:, :width],
        package.manifest,
        None if made is None else made.get("fitted_on"),
    )


def of_mean(
    members: Sequence[Member], weights: Tensor, file: WeightsFile | None = None
) -> Candidate:
    """Return members' mean with ``weights`` [member, n], which need no package of their own; the
    weights of a file are of kind ``weighted``.
    """
    emulator = ensemble_emulator(members, weights)
    manifest = members[0].package.manifest

    def rows(x: FloatRows) -> NDArray[np.floating]:
        parts = torch.from_numpy(x).split(BATCH_ROWS)
        with torch.no_grad():
            return torch.cat([emulator(p)[:, : manifest.n_value] for p in parts]).numpy()

    label = f"mean of {len(members)}"
    if file is None:
        return Candidate(label, "mean", rows, manifest)
    times = None if file.times is None else file.times.model_dump()
    return Candidate(f"{label}, {file.method} per {file.per}", "weighted", rows, manifest, times)


def of_refined(refined: Refined) -> Candidate:
    """Return a second stage as a candidate."""
    manifest = refined.package.manifest
    label = f"{manifest.name}, second stage"
    times = refined.record.fitted_on.model_dump()
    return Candidate(label, "refined", refined.rows, manifest, times)


@dataclass(frozen=True)
class Score:
    """What a candidate scores: ``leap.*`` of the competition where its targets are predicted, R² by
    output (median over levels not pruned) and the means over HEADLINE and over all outputs.
    """

    label: str
    kind: str
    leap: dict[str, float]
    r2: dict[str, float]
    mean: float | None
    skill: float | None
    rows: int
    left_out: int
    note: str | None


@dataclass(frozen=True)
class Comparison:
    """All scores, and the differences to the best single package by label where asked for."""

    split: str
    times: int
    scores: tuple[Score, ...]
    best_single: str | None
    differences: dict[str, dict[str, Difference]]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``climlink ensemble score --json`` prints; null where R² says nothing."""
        found: dict[str, Any] = asdict(self)
        return _finite(found)


def compare(
    candidates: Sequence[Candidate],
    store: ColumnStore,
    split: str,
    *,
    resamples: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Return the scores of all candidates on a split, in one pass over the store.

    Columns that one of them does not give a finite value for are left out of every score and
    counted. With ``resamples`` each candidate is compared with the best single package (see
    ``paired_bootstrap``). EnsembleError for candidates of other outputs or with one label,
    EvaluationError where a package and the store do not fit together.
    """
    _check(candidates, store, split)
    times = store.indices(split)
    moments, left_out = _moments(candidates, store, times, progress)
    scored_on = time_record(store, split, times)
    scores = tuple(
        _score(c, m, store, left_out, _warning(c, scored_on))
        for c, m in zip(candidates, moments, strict=True)
    )
    singles = [k for k, s in enumerate(scores) if s.kind == "single" and s.mean is not None]
    best = max(singles, key=lambda k: float(scores[k].mean or 0.0), default=None)
    differences: dict[str, dict[str, Difference]] = {}
    if resamples and best is not None:
        outputs = value_sets(candidates[0].manifest)[1]
        for k, c in enumerate(candidates):
            if k != best:
                differences[c.label] = paired_bootstrap(
                    moments[k],
                    moments[best],
                    outputs,
                    first_level=_first_level(c.manifest),
                    resamples=resamples,
                )
    label = None if best is None else scores[best].label
    return Comparison(split, len(times), scores, label, differences)


def _check(candidates: Sequence[Candidate], store: ColumnStore, split: str) -> None:
    labels = [c.label for c in candidates]
    twice = sorted({x for x in labels if labels.count(x) > 1})
    if twice:
        raise EnsembleError(
            f"two of what is scored are called {', '.join(twice)}: give a package once, and "
            "packages names of their own"
        )
    first = candidates[0]
    for c in candidates:
        check_fit(c.manifest, store, split)
        (x, y), (a, b) = value_sets(c.manifest), value_sets(first.manifest)
        if (x.names, y.names) != (a.names, b.names):
            raise EnsembleError(
                f"{c.label} takes or gives other variables ({x.name} -> {y.name}) than "
                f"{first.label} ({a.name} -> {b.name}); score them apart"
            )


def _moments(
    candidates: Sequence[Candidate],
    store: ColumnStore,
    times: NDArray[np.int64],
    progress: Progress | None,
) -> tuple[list[PairMoments], int]:
    """Return the moments [snapshot, width] of every candidate, and how many columns none counts."""
    inputs, outputs = value_sets(candidates[0].manifest)
    parts: list[list[PairMoments]] = [[] for _ in candidates]
    left_out = 0
    # Rows of a table know no time: a block of them stands for a snapshot.
    step = max(1, 2 * BATCH_ROWS // store.n_column)
    for first in range(0, len(times), step):
        part = times[first : first + step]
        snapshots = len(part) if store.has_place else 1
        x = store.pack(inputs, part)
        shape = (snapshots, -1, outputs.width)
        truth = store.targets(outputs, part).reshape(shape)
        given = [np.asarray(c.rows(x), dtype=np.float64).reshape(shape) for c in candidates]
        counted = np.all([np.isfinite(g).all(axis=2) for g in given], axis=0)
        left_out += int((~counted).sum())
        for moments, g in zip(parts, given, strict=True):
            known = np.where(counted[..., None], g, 0.0)
            moments.append(snapshot_moments(truth, known, counted.astype(np.float64)))
        if progress is not None:
            progress(first + len(part), len(times), "scoring")
    return [joined(p) for p in parts], left_out


def _score(
    c: Candidate, moments: PairMoments, store: ColumnStore, left_out: int, note: str | None
) -> Score:
    outputs = value_sets(c.manifest)[1]
    pooled = moments.over_columns()
    rows = int(pooled.weight[0, 0])
    if rows == 0:
        raise EnsembleError("not one column has finite predictions of all that is scored")
    r2 = table_of(pooled, outputs, first_level=_first_level(c.manifest), rows=rows).summary()
    leap: dict[str, float] = {}
    if outputs.names == variable_set(TARGET_SET).names and outputs.level_count == LEVEL_COUNT:
        constant = without_variance(pooled, outputs)[0]
        leap = leap_scores(pooled.r2()[0], constant, outputs, store.target_weights)
    known = [v for v in r2.values() if np.isfinite(v)]
    headline = [r2.get(n, np.nan) for n in HEADLINE]
    mean = float(np.mean(headline)) if np.isfinite(headline).all() else None
    skill = float(np.mean(known)) if known else None
    return Score(c.label, c.kind, leap, r2, mean, skill, rows, left_out, note)


def _first_level(manifest: Manifest) -> int:
    return min(manifest.pruned_levels or 0, manifest.level_count - 1)


def _warning(c: Candidate, scored_on: dict[str, Any]) -> str | None:
    """Return why a score flatters, None where nothing is known against it."""
    fitted, same = c.fitted_on, ("store_digest", "part")
    if fitted is None or any(fitted[k] != scored_on[k] for k in same):
        return None
    return f"{c.label} was fitted to {fitted['count']} of these times: its score flatters it"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
