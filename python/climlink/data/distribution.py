"""One-pass quantile sketches and covariance of blocks, merged exactly (counts) or to rounding
(moments): wrappers/distribution.py says of what.

Own code, for no library that is kept up has a sketch whose parts merge without random choices and
without regard to their order; a histogram of logarithms has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.moments import Moments
from climlink.wrappers.distribution import LARGEST, LOG_FACTOR, SIDE, SMALLEST, Distribution
from climlink.wrappers.statistics import FILL_THRESHOLD, FILLED_VARIABLES

Block = Mapping[str, NDArray[np.float64]]
"""Rows [row, width] of every variable, float64, the same columns in all."""


@dataclass(frozen=True)
class Frame:
    """Center and unit of a variable's values, float64 [width], physical units: parts that are to be
    merged share them.
    """

    center: NDArray[np.float64]
    unit: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments) -> Frame:
        """Return mean and standard deviation of a sample; a value that does not vary in it gets the
        spread of the others, or the size of its mean, or 1.
        """
        s = moments.statistics()
        center, spread = s.mean.numpy(), s.std.numpy()
        others = float(np.sqrt(np.mean(np.square(spread))))
        fallback = np.where(others > 0, others, np.abs(center))
        unit = np.where(spread > 1e-6 * np.abs(center), spread, fallback)
        return cls(center, np.where(unit > 0, unit, 1.0))

    def standardized(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (x - center) / unit."""
        return (rows - self.center) / self.unit


class Distributed:
    """Running sketches of variables and covariance of some of them."""

    def __init__(self, frames: Mapping[str, Frame], inputs: Iterable[str]) -> None:
        self.frames = dict(frames)
        self.inputs = tuple(inputs)
        widths = {name: len(frame.center) for name, frame in self.frames.items()}
        n = sum(widths[name] for name in self.inputs)
        self._counts = {n: np.zeros((w, 2 * SIDE + 1), dtype=np.int64) for n, w in widths.items()}
        self.count = 0
        self._mean = np.zeros(n)
        self._comoment = np.zeros((n, n))

    def add(self, block: Block) -> None:
        """Add rows; fill values are left out of the sketches, and are the center in the
        covariance.
        """
        standardized = []
        for name, rows in block.items():
            z = self.frames[name].standardized(rows)
            given = _given(name, rows)
            self._counts[name] += bucket_counts(z if given is None else z[given])
            if name in self.inputs:
                standardized.append(z if given is None else np.where(given[:, None], z, 0.0))
        if standardized:
            together = np.concatenate(standardized, axis=1)
            mean = together.mean(axis=0)
            apart = together - mean
            self._merge_moments(len(together), mean, apart.T @ apart)

    def merge(self, other: Distributed) -> None:
        """Add what another pass found in other rows; DataError if it has other centers or units."""
        if self.inputs != other.inputs or self.frames.keys() != other.frames.keys():
            raise DataError("distributions of other variables cannot be merged")
        for name, frame in self.frames.items():
            theirs = other.frames[name]
            if not (
                np.array_equal(frame.center, theirs.center)
                and np.array_equal(frame.unit, theirs.unit)
            ):
                raise DataError(
                    f"distributions of {name} about other centers cannot be merged; make the parts "
                    "with the same frames"
                )
            self._counts[name] += other._counts[name]
        self._merge_moments(other.count, other._mean, other._comoment)

    def _merge_moments(
        self, count: int, mean: NDArray[np.float64], comoment: NDArray[np.float64]
    ) -> None:
        """Chan, Golub and LeVeque (1983), for all pairs of values at once."""
        if count == 0:
            return
        total = self.count + count
        step = mean - self._mean
        self._comoment += comoment
        self._comoment += np.outer(step, step * (self.count * count / total))
        self._mean += step * (count / total)
        self.count = total

    def result(self) -> Distribution:
        """Return what was found."""
        frames = self.frames.values()
        return Distribution(
            widths={name: len(frame.center) for name, frame in self.frames.items()},
            center=torch.from_numpy(np.concatenate([f.center for f in frames])),
            unit=torch.from_numpy(np.concatenate([f.unit for f in frames])),
            counts=torch.from_numpy(np.concatenate([*self._counts.values()])),
            inputs=self.inputs,
            count=self.count,
            mean=torch.from_numpy(self._mean.copy()),
            comoment=torch.from_numpy(self._comoment.copy()),
        )


def bucket_counts(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many rows of z [row, width] are in each bucket, [width, bucket]."""
    size = np.clip(np.abs(z), SMALLEST, LARGEST) / SMALLEST
    bucket = np.minimum(np.ceil(np.log(size) / LOG_FACTOR), SIDE).astype(np.int64)
    bucket = np.where(z < 0, -bucket, bucket) + SIDE
    n = 2 * SIDE + 1
    flat = bucket + n * np.arange(z.shape[1])
    return np.bincount(flat.ravel(), minlength=n * z.shape[1]).reshape(z.shape[1], n)


def _given(name: str, rows: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return which rows hold a value, None where all do."""
    return rows[:, 0] < FILL_THRESHOLD if name in FILLED_VARIABLES else None


def digest_of(distribution: Distribution) -> str:
    """Return the SHA-256 over names and the bits of every number."""
    d = distribution
    sha = hashlib.sha256(repr((d.widths, d.inputs, d.count)).encode())
    for values in (d.center, d.unit, d.counts, d.mean, d.comoment):
        sha.update(np.ascontiguousarray(values.numpy()).tobytes())
    return sha.hexdigest()
