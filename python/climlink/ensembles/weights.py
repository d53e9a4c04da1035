"""Weights of members: searched in folds of held-out times, blended with equal weights, and kept in
a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import yaml
from pydantic import Field

from climlink.config import StrictModel, load_config
from climlink.data.files import replacing
from climlink.ensembles.build import weights_by_output
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import HeldOut
from climlink.ensembles.members import Member
from climlink.ensembles.products import (
    Array,
    ErrorProducts,
    FoldSums,
    Progress,
    error_products,
    floored_mean,
)
from climlink.ensembles.search import Score, hill_climbing, nelder_mead

Method = Literal["nelder-mead", "hill-climbing"]
Per = Literal["all", "target"]
METHODS: tuple[Method, ...] = get_args(Method)
PER: tuple[Per, ...] = get_args(Per)

BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of equal weights that are tried."""

_SEARCHES: dict[Method, Callable[[Score, int], Array]] = {
    "nelder-mead": nelder_mead,
    "hill-climbing": hill_climbing,
}


class MemberWeight(StrictModel):
    """A member and its weight: one number, or lists by network output."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    weight: float | dict[str, list[float]]


class TimesEntry(StrictModel):
    """Which times of which store something was fitted to."""

    store_digest: str
    part: str
    count: int = Field(ge=1)
    first: str
    last: str
    sha256: str


class WeightsFile(StrictModel):
    """What ``climlink ensemble weights`` writes: weights and where they come from.

    ``scores`` are means of max(R², 0) over network outputs before the constraints: of the blended
    weights out of fold, of equal weights, and of the best single member.
    """

    method: Method | Literal["given"]
    per: Per = "all"
    folds: int | None = None
    blend: float | None = Field(default=None, description="share of equal weights in the weights")
    scores: dict[str, float] = Field(default_factory=dict)
    times: TimesEntry | None = None
    notes: list[str] = Field(default_factory=list)
    members: list[MemberWeight] = Field(min_length=2)

    @classmethod
    def of_numbers(cls, members: Sequence[Member], weights: torch.Tensor) -> WeightsFile:
        """Return weights [member, n] that someone gave."""
        return cls(method="given", members=_entries(members, weights))


@dataclass(frozen=True)
class Fitted:
    """Weights [n, member], the share of equal weights in them, and scores (see WeightsFile)."""

    weights: Array
    blend: float
    scores: dict[str, float]


def fit_weights(
    members: Sequence[Member],
    held: HeldOut,
    *,
    method: Method,
    per: Per = "all",
    folds: int = 5,
    progress: Progress | None = None,
) -> WeightsFile:
    """Return weights chosen on held-out times (see ``search_weights``), ready to be written.

    EnsembleError for an unknown method, and where there are fewer times than folds.
    """
    products = error_products(members, held.store, held.times, held.folds(folds), progress)
    fitted = search_weights(products, method=method, per=per)
    return WeightsFile(
        method=method,
        per=per,
        folds=folds,
        blend=fitted.blend,
        scores=fitted.scores,
        times=TimesEntry(**held.record()),
        notes=list(held.notes),
        members=_entries(members, torch.from_numpy(fitted.weights.T.copy())),
    )


def _entries(members: Sequence[Member], weights: torch.Tensor) -> list[MemberWeight]:
    return [
        MemberWeight(
            name=m.package.manifest.name,
            sha256=m.package.digest,
            weight=weights_by_output(m, row),
        )
        for m, row in zip(members, weights, strict=True)
    ]


def search_weights(products: ErrorProducts, *, method: Method, per: Per) -> Fitted:
    """Return the mean of the weights found with each fold left out, blended with equal weights.

    The share of equal weights is the one of BLENDS that is best where each fold is scored by the
    weights that were found without it. Outputs that are not scored keep equal weights.
    """
    for given, known in ((method, METHODS), (per, PER)):
        if given not in known:
            raise EnsembleError(f"unknown {given!r}; known: {', '.join(known)}")
    folds, members = len(products.count), products.products.shape[2]
    every = np.ones(folds, dtype=bool)
    found = np.stack(
        [
            _search(products.of(every & (np.arange(folds) != f)), _SEARCHES[method], per)
            for f in range(folds)
        ]
    )
    whole, equal = products.of(every), np.full(found.shape[1:], 1.0 / members)
    scores = [
        _out_of_fold(products, (1.0 - share) * found + share * equal, whole) for share in BLENDS
    ]
    best = int(np.argmax(scores))
    blend = BLENDS[best]
    singles = whole.mean_skill(np.eye(members))
    return Fitted(
        (1.0 - blend) * found.mean(axis=0) + blend * equal,
        blend,
        {
            "out_of_fold": scores[best],
            "equal_weights": float(whole.mean_skill(equal[:1])[0]),
            "best_member": float(singles.max()),
        },
    )


def _search(sums: FoldSums, search: Callable[[Score, int], Array], per: Per) -> Array:
    """Return weights [n, member] for some folds."""
    width, members = sums.products.shape[:2]
    weights = np.full((width, members), 1.0 / members)
    if per == "all":
        weights[:] = search(sums.mean_skill, members)
        return weights
    for output in np.flatnonzero(sums.scored & (sums.spread > 0.0)):
        weights[output] = search(partial(sums.r2_of, int(output)), members)
    return weights


def _out_of_fold(products: ErrorProducts, weights: Array, whole: FoldSums) -> float:
    """Return the score where fold f has ``weights[f]`` [n, member]."""
    folds = np.eye(len(products.count), dtype=bool)
    error = sum(products.of(f).square_error(w) for f, w in zip(folds, weights, strict=True))
    return floored_mean(np.asarray(error), whole.spread, products.scored)


def write_weights(weights: WeightsFile, output: Path) -> None:
    """Write weights as YAML, beside and then under their name."""
    text = yaml.safe_dump(weights.model_dump(mode="json", exclude_none=True), sort_keys=False)
    with replacing(output) as beside:
        beside.write_text(text, encoding="utf-8")


def read_weights(path: Path) -> WeightsFile:
    """Return the weights in a file; ConfigError names file, line and key of what does not fit."""
    return load_config(path, WeightsFile)


def weights_of(file: WeightsFile, members: Sequence[Member]) -> torch.Tensor:
    """Return the weights [member, n] of members, found by their digests, in their order.

    EnsembleError where the file is of other members or other outputs.
    """
    known = {m.sha256: m for m in file.members}
    lacking = [m.name for m in members if m.package.digest not in known]
    others = [m.name for m in file.members if m.sha256 not in {x.package.digest for x in members}]
    if lacking or others:
        told = [f"it lacks {', '.join(lacking)}"] * bool(lacking)
        told += [f"it weighs {', '.join(others)} besides"] * bool(others)
        raise EnsembleError(f"the weights are of other members: {' and '.join(told)}")
    return torch.stack([_row(known[m.package.digest], m) for m in members])


def _row(entry: MemberWeight, member: Member) -> torch.Tensor:
    outputs = member.outputs
    if isinstance(entry.weight, float):
        return torch.full((outputs.width,), entry.weight, dtype=torch.float64)
    widths = {n: outputs.width_of(n) for n in outputs.names}
    if {n: len(w) for n, w in entry.weight.items()} != widths:
        raise EnsembleError(f"the weights of {entry.name} must be lists of the lengths {widths}")
    parts = [torch.tensor(entry.weight[n], dtype=torch.float64) for n in outputs.names]
    return torch.cat(parts)


def given_weights(numbers: Sequence[float], members: Sequence[Member]) -> torch.Tensor:
    """Return weights [member, n] from one number per member, of which the sum is made 1.

    EnsembleError for another number of them, a negative one, or none above 0.
    """
    w = torch.tensor(list(numbers), dtype=torch.float64)
    if len(w) != len(members) or not bool(
        (w >= 0.0).all() & torch.isfinite(w).all() & (w > 0).any()
    ):
        raise EnsembleError(
            f"--weights needs {len(members)} numbers that are not negative, one per member and one "
            f"of them above 0; got {list(numbers)}"
        )
    return (w / w.sum())[:, None].expand(-1, members[0].outputs.width).clone()
