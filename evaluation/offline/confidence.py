"""What a package says of its own error, against the error it makes.

A confidence value is the network's estimate of its normalized Huber loss, one per network output.
It is read here as the normal distribution about the prediction that has this loss on average,
scored by its CRPS; compared, value by value, with the loss that came; and used to leave columns
out, the least confident first. Errors are those of what the host receives, over the scale of the
output. The confidence of an ensemble is the standard deviation between its members, which is read
as that of the distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from climlink.evaluation.kernels.bins import LogBins, equal_parts, gather, sums_by_bin
from climlink.evaluation.kernels.probability import (
    expected_huber,
    gaussian_crps,
    huber,
    sigma_of_loss,
)
from climlink.wrappers.variable_sets import VariableSet

Array = NDArray[np.float64]

PARTS = 10
_LOSS_BINS = LogBins(-8, 4, 50)
_ERROR_BINS = LogBins(-8, 4, 50)
_SMALLEST_SCALE_SHARE = 1e-12
_SMALLEST_SPREAD = 1e-30


@dataclass(frozen=True)
class ScaledOutputs:
    """The network outputs that carry a confidence, from host outputs: the scale of each [width], 0
    where no error is asked of it.
    """

    variables: VariableSet
    host: VariableSet
    scale: Array

    def of(self, rows: Array) -> Array:
        """Return normalized network outputs [row, width] from host outputs [row, host width]; 0
        where the scale is 0, as it must be for what no host receives.
        """
        parts = []
        for name in self.variables.names:
            if name == "ptend_qn":
                parts.append(
                    rows[:, self.host.slice("ptend_q0002")]
                    + rows[:, self.host.slice("ptend_q0003")]
                )
            elif name in self.host:
                parts.append(rows[:, self.host.slice(name)])
            else:
                parts.append(np.zeros((len(rows), self.variables.width_of(name))))
        values = np.concatenate(parts, axis=1)
        return np.divide(values, self.scale, out=np.zeros_like(values), where=self.scale > 0.0)


@dataclass(frozen=True)
class Calibration:
    """Predicted and actual normalized loss of one output, [part], over parts of about equal size
    from most to least confident.
    """

    predicted: Array
    actual: Array
    count: Array


@dataclass(frozen=True)
class ConfidenceResult:
    """What a confidence is worth, by network output.

    ``crps`` of the distribution it stands for, ``crps_constant`` of the best single spread in
    hindsight and ``mae``, which is the CRPS of no spread at all, all normalized. ``kept`` [part] is
    the share of columns kept, and ``kept_r2`` {output: [part]} (median over levels) and
    ``kept_loss`` [part] the scores of these. ``not_positive`` is the share of confidence values at
    or below 0.
    """

    crps: dict[str, float]
    crps_constant: dict[str, float]
    mae: dict[str, float]
    calibration: dict[str, Calibration]
    kept: Array
    kept_r2: dict[str, Array]
    kept_loss: Array
    not_positive: float


class ConfidenceScores:
    """Running sums for ConfidenceResult; ``delta`` is the Huber loss's where its square part ends,
    in normalized units. With ``spread`` the confidence is a standard deviation, not a loss.
    """

    def __init__(
        self, outputs: ScaledOutputs, delta: dict[str, float], *, spread: bool = False
    ) -> None:
        self._outputs = outputs
        self._delta = delta
        self._spread = spread
        v, n = outputs.variables, _LOSS_BINS.count
        self._used = outputs.scale > 0.0
        self._pairs = {name: np.zeros((n, 3)) for name in v.names}  # count, predicted, actual
        self._errors = {name: np.zeros(_ERROR_BINS.count) for name in v.names}
        self._crps = dict.fromkeys(v.names, 0.0)
        self._size = dict.fromkeys(v.names, 0.0)
        self._kept = np.zeros(
            (n, 3, v.width)
        )  # sum, square of truth about the first row; square of error
        self._kept_rows = np.zeros(n)
        self._kept_loss = np.zeros(n)
        self._origin: Array | None = None
        self._values = 0
        self._not_positive = 0

    def add(self, truth: Array, prediction: Array, confidence: Array, counted: Array) -> None:
        """Add host rows [row, width] and their confidence [row, n]; rows with ``counted`` [row] 0
        are left out.
        """
        keep = counted > 0.0
        y, p = self._outputs.of(truth[keep]), self._outputs.of(prediction[keep])
        c = self._as_loss(confidence[keep])
        if len(y) == 0:
            return
        self._values += int(c[:, self._used].size)
        self._not_positive += int((c[:, self._used] <= 0.0).sum())
        losses = np.zeros_like(y)
        for name in self._outputs.variables.names:
            where = self._outputs.variables.slice(name)
            used = np.flatnonzero(self._used[where]) + where.start
            losses[:, used] = self._add_output(name, p[:, used] - y[:, used], c[:, used])
        self._add_rows(y, p, c, losses)

    def _as_loss(self, confidence: Array) -> Array:
        """Return confidence [row, n] as the normalized loss that it expects."""
        if not self._spread:
            return confidence
        loss = np.zeros_like(confidence)
        for name in self._outputs.variables.names:
            where = self._outputs.variables.slice(name)
            sigma = np.maximum(confidence[:, where], _SMALLEST_SPREAD)
            loss[:, where] = expected_huber(sigma, self._delta[name])
        return loss

    def _add_output(self, name: str, error: Array, confidence: Array) -> Array:
        loss = huber(error, self._delta[name])
        index = _LOSS_BINS.of(confidence).ravel()
        n = _LOSS_BINS.count
        for k, weights in enumerate((None, confidence.ravel(), loss.ravel())):
            self._pairs[name][:, k] += np.bincount(index, weights=weights, minlength=n)
        self._errors[name] += np.bincount(
            _ERROR_BINS.of(np.abs(error)).ravel(), minlength=_ERROR_BINS.count
        )
        self._crps[name] += float(
            gaussian_crps(error, sigma_of_loss(confidence, self._delta[name])).sum()
        )
        self._size[name] += float(np.abs(error).sum())
        return loss

    def _add_rows(self, y: Array, p: Array, c: Array, losses: Array) -> None:
        if self._origin is None:
            self._origin = y[0].copy()
        d = y - self._origin
        index = _LOSS_BINS.of(c[:, self._used].mean(axis=1))
        ones = np.ones(len(y))
        n = _LOSS_BINS.count
        for k, values in enumerate((d, d**2, (p - y) ** 2)):
            self._kept[:, k] += sums_by_bin(index, n, values, ones)
        self._kept_rows += np.bincount(index, minlength=n)
        self._kept_loss += np.bincount(
            index, weights=losses[:, self._used].mean(axis=1), minlength=n
        )

    def result(self) -> ConfidenceResult:
        """Return the scores of everything added."""
        names = [n for n in self._outputs.variables.names if self._pairs[n][:, 0].any()]
        count = {n: float(self._pairs[n][:, 0].sum()) for n in names}
        kept, kept_r2, kept_loss = self._kept_scores()
        return ConfidenceResult(
            crps={n: self._crps[n] / count[n] for n in names},
            crps_constant={n: best_constant_crps(self._errors[n]) for n in names},
            mae={n: self._size[n] / count[n] for n in names},
            calibration={n: _calibration(self._pairs[n]) for n in names},
            kept=kept,
            kept_r2={n: r2 for n, r2 in kept_r2.items() if n in names},
            kept_loss=kept_loss,
            not_positive=self._not_positive / max(self._values, 1),
        )

    def _kept_scores(self) -> tuple[Array, dict[str, Array], Array]:
        """Return share kept, R² by output and mean loss, [part], from the most confident part to
        all.
        """
        parts = equal_parts(self._kept_rows, PARTS)
        present = np.unique(parts[self._kept_rows > 0])
        rows = np.cumsum(gather(parts, PARTS, self._kept_rows))[present]
        sums = np.cumsum(gather(parts, PARTS, self._kept), axis=0)[present]
        loss = np.cumsum(gather(parts, PARTS, self._kept_loss))[present] / rows
        spread = sums[:, 1] - sums[:, 0] ** 2 / rows[:, None]
        varies = spread > _SMALLEST_SCALE_SHARE * sums[:, 1]
        r2 = 1.0 - np.divide(
            sums[:, 2], spread, out=np.full_like(spread, np.nan), where=varies & self._used
        )
        v = self._outputs.variables
        scores = {n: np.array([_median(row) for row in r2[:, v.slice(n)]]) for n in v.names}
        return rows / rows[-1], scores, loss


def best_constant_crps(counts: Array) -> float:
    """Return the smallest mean CRPS that one sigma for all could have had, from a histogram of
    |error| in the error bins.

    Bins are 4.7 % wide and an error stands in the middle of its bin, so this is exact to about 1e-3
    of itself.
    """
    errors = _ERROR_BINS.centres

    def score(logarithm: float) -> float:
        return float(
            counts @ gaussian_crps(errors, np.full_like(errors, 10.0**logarithm)) / counts.sum()
        )

    return float(
        minimize_scalar(score, bounds=(_ERROR_BINS.first, _ERROR_BINS.last), method="bounded").fun
    )


def _calibration(pairs: Array) -> Calibration:
    sums = gather(equal_parts(pairs[:, 0], PARTS), PARTS, pairs)
    sums = sums[sums[:, 0] > 0.0]
    return Calibration(sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0], sums[:, 0])


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
