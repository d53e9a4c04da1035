"""Members on held-out times: their errors' products, from which the R² of every weighting follows,
and their rows, from which a stack learns.

For weights w of sum 1 the error of a mean is sum_i w_i e_i, so its mean square is w' E w with E the
mean products of the members' errors: one pass over the store serves every search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.ensembles.build import ensemble_emulator, equal_weights, output_scaling
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.members import Member
from climlink.ensembles.network import EnsembleNetwork
from climlink.wrappers.constraints.water import Prune
from climlink.wrappers.input_scaling import ZERO_VARIANCE
from climlink.wrappers.wrapped_emulator import WrappedEmulator

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

BATCH_ROWS = 1536
"""Rows of a forward, a multiple of every batch granule."""


@dataclass(frozen=True)
class MemberBlock:
    """Some held-out times: members' network outputs [row, member, n] and the truth [row, n], in
    units of the output scale; ``first`` is the number of its first time among those asked for.
    """

    first: int
    times: int
    given: Array
    truth: Array


def member_blocks(
    members: Sequence[Member],
    store: ColumnStore,
    times: NDArray[np.int64],
    progress: Progress | None = None,
) -> Iterator[MemberBlock]:
    """Yield members' outputs and truth, block by block; EnsembleError for an output that is not
    finite.
    """
    network = ensemble_emulator(members, equal_weights(members)).network
    assert isinstance(network, EnsembleNetwork)
    offset, scale = (t.numpy() for t in output_scaling(members[0]))
    inputs, outputs = members[0].contract.inputs, members[0].outputs
    step = max(1, 2 * BATCH_ROWS // store.n_column)
    for first in range(0, len(times), step):
        part = times[first : first + step]
        rows = torch.from_numpy(store.pack(inputs, part))
        with torch.no_grad():
            given = torch.cat([network.member_rows(x) for x in rows.split(BATCH_ROWS)]).numpy()
        bad = ~np.isfinite(given).all(axis=2)
        if bad.any():
            row, member = np.argwhere(bad)[0]
            where = store.name_of(int(part[row // store.n_column]))
            raise EnsembleError(
                f"{members[member].name} gives NaN or infinity for column {row % store.n_column} "
                f"of {where}: leave it out"
            )
        truth = (store.targets(outputs, part) - offset) / scale
        yield MemberBlock(first, len(part), given, truth)
        if progress is not None:
            progress(first + len(part), len(times), "members on held-out times")


@dataclass(frozen=True)
class ErrorProducts:
    """Sums over the rows of each fold: ``products`` [fold, n, member, member] of errors, ``count``
    [fold] of rows, ``mean`` [fold, n] and ``spread`` [fold, n], sum (y - mean)², of the truth;
    ``scored`` [n] says which outputs count.
    """

    products: Array
    count: Array
    mean: Array
    spread: Array
    scored: NDArray[np.bool_]

    def of(self, folds: NDArray[np.bool_]) -> FoldSums:
        """Return the sums of some folds [fold] together."""
        count = self.count[folds, None]
        mean = (count * self.mean[folds]).sum(axis=0) / count.sum()
        spread = (self.spread[folds] + count * (self.mean[folds] - mean) ** 2).sum(axis=0)
        return FoldSums(self.products[folds].sum(axis=0), spread, self.scored)


@dataclass(frozen=True)
class FoldSums:
    """Sums over rows: products of errors [n, member, member] and the truth's spread [n]."""

    products: Array
    spread: Array
    scored: NDArray[np.bool_]

    def square_error(self, weights: Array) -> Array:
        """Return the summed square errors [n] of a mean with ``weights`` [n, member]."""
        return np.einsum("ti,tij,tj->t", weights, self.products, weights, optimize=True)

    def mean_skill(self, weights: Array) -> Array:
        """Return the mean of max(R², 0) over the scored outputs [candidate] for ``weights``
        [candidate, member], the same for all outputs.
        """
        products = self.products[self.scored]
        error = np.einsum("ci,tij,cj->ct", weights, products, weights, optimize=True)
        return np.maximum(1.0 - error / self.spread[self.scored], 0.0).mean(axis=1)

    def r2_of(self, output: int, weights: Array) -> Array:
        """Return R² of one output [candidate] for ``weights`` [candidate, member]."""
        error = np.einsum("ci,ij,cj->c", weights, self.products[output], weights)
        return np.asarray(1.0 - error / self.spread[output])


def floored_mean(error: Array, spread: Array, scored: NDArray[np.bool_]) -> float:
    """Return the mean of max(R², 0) over the scored outputs from square errors and spreads [n]."""
    return float(np.maximum(1.0 - error[scored] / spread[scored], 0.0).mean())


def error_products(
    members: Sequence[Member],
    store: ColumnStore,
    times: NDArray[np.int64],
    folds: NDArray[np.int64],
    progress: Progress | None = None,
) -> ErrorProducts:
    """Return the products of the members' errors by fold; ``folds`` [time] numbers them from 0."""
    count, width, number = int(folds.max()) + 1, members[0].outputs.width, len(members)
    products = np.zeros((count, width, number, number))
    rows, mean, spread = np.zeros(count), *np.zeros((2, count, width))
    for block in member_blocks(members, store, times, progress):
        fold_of_row = np.repeat(folds[block.first : block.first + block.times], store.n_column)
        for fold in np.unique(fold_of_row):
            here = fold_of_row == fold
            error = block.given[here] - block.truth[here, None]
            products[fold] += np.einsum("rit,rjt->tij", error, error, optimize=True)
            _add_moments(rows, mean, spread, fold, block.truth[here])
    together = ErrorProducts(products, rows, mean, spread, np.ones(width, dtype=bool))
    whole = together.of(np.ones(count, dtype=bool)).spread
    scored = scored_outputs(ensemble_emulator(members, equal_weights(members))) & (
        whole > rows.sum() * ZERO_VARIANCE**2
    )
    if not scored.any():
        raise EnsembleError(f"{store.path}: the truth of every output is constant at these times")
    return ErrorProducts(products, rows, mean, spread, scored)


def _add_moments(rows: Array, mean: Array, spread: Array, fold: int, truth: Array) -> None:
    """Add rows of truth [row, n] to a fold's moments (Chan, Golub and LeVeque 1983)."""
    n, m = rows[fold], len(truth)
    center = truth.mean(axis=0)
    step = center - mean[fold]
    spread[fold] += ((truth - center) ** 2).sum(axis=0) + step**2 * n * m / (n + m)
    mean[fold] += step * m / (n + m)
    rows[fold] = n + m


def scored_outputs(emulator: WrappedEmulator) -> NDArray[np.bool_]:
    """Return which network outputs count [n]: those that the rule ``prune`` takes away do not."""
    outputs = emulator.contract.network_outputs
    scored = np.ones(outputs.width, dtype=bool)
    for rule in emulator.constraints.rules:
        if isinstance(rule, Prune):
            for name in (n for n in rule.names if n in outputs):
                scored[outputs.slice(name)] &= rule.kept.numpy() > 0.0
    return scored
