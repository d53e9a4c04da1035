"""A stack: a small convolutional network over (network, target) along the levels, fitted to
out-of-sample outputs of the members and blended with their mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from climlink.ensembles.build import ensemble_emulator, equal_weights
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import HeldOut
from climlink.ensembles.members import Member
from climlink.ensembles.products import Progress, member_blocks, scored_outputs
from climlink.ensembles.weights import BLENDS
from climlink.wrappers.input_scaling import ZERO_VARIANCE
from climlink.wrappers.packing import Packing
from climlink.wrappers.variable_sets import VariableSet

MOST_ROWS = 200_000
"""Held-out columns that are kept in memory, float32: of six members of 308 outputs 1.7 GB."""


@dataclass(frozen=True)
class StackSettings:
    """How a stack is fitted: folds of times, channels of its layers, passes over the columns, rows
    of a step, learning rate, seed.
    """

    folds: int = 10
    width: int = 32
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 2e-3
    seed: int = 7
    most_rows: int = MOST_ROWS


class StackColumns(nn.Module):
    """What a stack adds to the mean: three convolutions along levels over all members' profiles,
    and their scalars repeated; it begins as nothing.
    """

    def __init__(self, outputs: VariableSet, members: int, width: int) -> None:
        super().__init__()
        self.packing = Packing(outputs)
        profiles, scalars = len(outputs.profiles), len(outputs.scalars)
        self.levels: int = outputs.level_count
        self.inner = nn.Sequential(
            nn.Conv1d(members * (profiles + scalars), width, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
        )
        self.profiles = nn.Conv1d(width, profiles, 1)
        self.scalars = nn.Linear(width, scalars)
        for parameter in (*self.profiles.parameters(), *self.scalars.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, given: Tensor) -> Tensor:
        """Return the addition [batch, n] for members' outputs [batch, member, n], float32, in units
        of the output scale.
        """
        batch = given.shape[0]
        # Tails of a hundred standard deviations would rule the first layer.
        profiles, scalars = self.packing.split(torch.asinh(given).flatten(0, 1))
        repeated = scalars.reshape(batch, -1, 1).expand(-1, -1, self.levels)
        h = self.inner(torch.cat([profiles.reshape(batch, -1, self.levels), repeated], dim=1))
        return self.packing.join(self.profiles(h), self.scalars(h.mean(dim=2)))


class Stack(nn.Module):
    """The members' mean and a share of the mean addition of the networks of all folds."""

    def __init__(self, networks: Sequence[StackColumns], share: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.share: float = share
        self.count: int = len(networks)

    def forward(self, given: Tensor, mean: Tensor) -> Tensor:
        """Return mean [batch, n] plus the addition; ``given`` is [batch, member, n], float64."""
        rows = given.to(torch.float32)
        added = torch.zeros_like(mean)
        for network in self.networks:
            added = added + network(rows).to(torch.float64)
        return mean + (self.share / self.count) * added


@dataclass(frozen=True)
class Columns:
    """Members' outputs [row, member, n] and truth [row, n], float32, in units of the output scale,
    the fold of each row, and which outputs count [n].
    """

    given: Tensor
    truth: Tensor
    fold: Tensor
    scored: Tensor


def fit_stack(
    members: Sequence[Member],
    held: HeldOut,
    settings: StackSettings,
    progress: Progress | None = None,
) -> tuple[Stack, dict[str, Any]]:
    """Return a stack fitted on held-out times (see ``fit_columns``), and its record for the
    manifest.

    EnsembleError for outputs without profiles, and fewer times than folds.
    """
    outputs = members[0].outputs
    if not outputs.profiles:
        raise EnsembleError("a stack goes along levels, and the members predict no profile")
    columns = _read(members, held, settings, progress)
    networks, share, scores = fit_columns(columns, outputs, settings, progress)
    record = {
        "folds": settings.folds,
        "share": share,
        "seed": settings.seed,
        "rows": len(columns.truth),
        "fitted_on": held.record(),
        "notes": list(held.notes),
        "scores": scores,
    }
    return Stack(networks, share), record


def fit_columns(
    columns: Columns,
    outputs: VariableSet,
    settings: StackSettings,
    progress: Progress | None = None,
) -> tuple[list[StackColumns], float, dict[str, float]]:
    """Return a network per fold that has learned from the other folds, their share beside the mean,
    and scores: means of max(R², 0) over outputs.

    The share is the one of BLENDS that is best where each fold is scored by the network that has
    not seen it; at 0 the stack is the mean. The same columns and seed give the same stack.
    """
    networks, added = [], torch.zeros_like(columns.truth)
    for fold in range(settings.folds):
        here = columns.fold == fold
        network = _fitted(columns, ~here, outputs, settings, fold)
        with torch.no_grad():
            added[here] = torch.cat([network(g) for g in columns.given[here].split(4096)])
        networks.append(network)
        if progress is not None:
            progress(fold + 1, settings.folds, "folds of the stack")
    mean = columns.given.mean(dim=1)
    scores = [_score(columns, mean + share * added) for share in BLENDS]
    best = int(np.argmax(scores))
    return networks, BLENDS[best], {"out_of_fold": scores[best], "equal_weights": scores[0]}


def _read(
    members: Sequence[Member], held: HeldOut, settings: StackSettings, progress: Progress | None
) -> Columns:
    fold = held.folds(settings.folds)
    kept = max(1, settings.most_rows // max(1, len(held.times)))
    given, truth, folds = [], [], []
    columns = held.store.n_column
    chosen = np.unique(np.linspace(0, columns - 1, min(columns, kept)).round().astype(np.int64))
    for block in member_blocks(members, held.store, held.times, progress):
        rows = _rows(block.times, columns, chosen)
        given.append(torch.from_numpy(block.given[rows]).to(torch.float32))
        truth.append(torch.from_numpy(block.truth[rows]).to(torch.float32))
        folds.append(np.repeat(fold[block.first : block.first + block.times], len(chosen)))
    scored = torch.from_numpy(scored_outputs(ensemble_emulator(members, equal_weights(members))))
    y = torch.cat(truth)
    scored &= y.std(dim=0) > ZERO_VARIANCE
    return Columns(torch.cat(given), y, torch.from_numpy(np.concatenate(folds)), scored)


def _rows(times: int, columns: int, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a block whose columns are chosen."""
    return (np.arange(times)[:, None] * columns + chosen).ravel()


def _fitted(
    columns: Columns, used: Tensor, outputs: VariableSet, settings: StackSettings, fold: int
) -> StackColumns:
    """Return a network fitted to some rows, in evaluation mode; the random state of torch is left
    as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed * 1000 + fold)
        network = StackColumns(outputs, columns.given.shape[1], settings.width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
        rows = torch.nonzero(used).flatten()
        steps = settings.epochs * -(-len(rows) // settings.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for batch in _batches(rows, settings):
            given = columns.given[batch]
            wanted = columns.truth[batch] - given.mean(dim=1)
            error = (network(given) - wanted)[:, columns.scored]
            loss = error.square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


def _batches(rows: Tensor, settings: StackSettings) -> Iterator[Tensor]:
    for _ in range(settings.epochs):
        yield from rows[torch.randperm(len(rows))].split(settings.batch_size)


def _score(columns: Columns, predicted: Tensor) -> float:
    """Return the mean of max(R², 0) over the scored outputs."""
    y = columns.truth[:, columns.scored].to(torch.float64)
    error = (predicted[:, columns.scored].to(torch.float64) - y).square().sum(dim=0)
    spread = (y - y.mean(dim=0)).square().sum(dim=0)
    return float((1.0 - error / spread).clamp(min=0.0).mean())
