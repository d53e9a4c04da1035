"""The coefficients of the constraint ``stable_top``, fitted to the times that a run trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.optimize import lsq_linear

from climlink.data.moments import Moments
from climlink.data.store import ColumnStore
from climlink.training.column_data import split_times
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.wrappers.constraints.top import (
    COEFFICIENTS,
    LEAST_DAMPING_PER_S,
    StableTopParameters,
)
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.yaml_file import fault

Array = NDArray[np.float64]

_NAMES = ("state_t", "pbuf_SOLIN", "pbuf_COSZRS", "ptend_t")
_TERMS = len(COEFFICIENTS)

COLLINEAR = 1e-2
"""COSZRS gets no coefficient where less than this part of its spread is not that of SOLIN. The
orbit makes 3e-2 in a year and 1e-3 in two weeks, where two coefficients would all but cancel.
"""


def with_coefficients(
    entry: ConstraintEntry, store: ColumnStore, validation: ValidationConfig
) -> ConstraintEntry:
    """Return a ``stable_top`` that only names its levels with coefficients, as it is where it has
    them; TrainingError where no level lies that high, or parameters do not fit together.
    """
    try:
        asked = StableTopParameters.model_validate(entry.parameters)
    except ValidationError as error:
        raise TrainingError(f"constraint {entry.name!r}: {fault(error)}") from error
    if asked.fitted:
        return entry
    levels = _levels(asked, store)
    trained, held = split_times(store, validation)
    found = _fit(store, levels, trained)
    names = dict(zip(COEFFICIENTS, found.T.tolist(), strict=True))
    r2 = None if held.size == 0 else _r2(store, levels, found, held)
    fitted = asked.model_copy(update={"levels": levels, "held_out_r2": r2, **names})
    return ConstraintEntry(name=entry.name, parameters=fitted.model_dump(mode="json"))


def _levels(asked: StableTopParameters, store: ColumnStore) -> list[int]:
    if asked.above_pa is None:
        outside = [k for k in asked.levels if k >= store.level_count]
        if outside:
            raise TrainingError(
                f"stable_top: levels {outside} are outside 0..{store.level_count - 1} of "
                f"{store.path}"
            )
        return asked.levels
    count = store.hybrid.levels_above(asked.above_pa)
    if count == 0:
        raise TrainingError(
            f"stable_top: no level of {store.path} lies above {asked.above_pa:g} Pa; give a higher "
            "pressure, in Pa"
        )
    return list(range(count))


def _fit(store: ColumnStore, levels: list[int], times: NDArray[np.int64]) -> Array:
    """Return coefficients [level, term], least squares over columns and times with the damping of
    a temperature between 1/(30 days) and 1/dt.

    Blocks are reduced by QR (Golub and Van Loan 2013, section 5.3), which is exact and keeps a
    triangle per level whatever the number of columns.
    """
    triangles = [np.zeros((0, _TERMS + 1)) for _ in levels]
    for block in store.blocks_of(times):
        for k, rows in enumerate(_rows(store, levels, block)):
            whole = np.concatenate([triangles[k], rows])
            triangles[k] = np.asarray(np.linalg.qr(whole, mode="r"), dtype=np.float64)
    bounds = (-1.0 / store.time_step_s, -LEAST_DAMPING_PER_S)
    return np.array([_bounded(triangle, *bounds) for triangle in triangles])


def _rows(store: ColumnStore, levels: list[int], times: NDArray[np.int64]) -> Iterator[Array]:
    """Yield [row, term and target] for every level: 1, T, SOLIN, COSZRS, ptend_t."""
    read = store.read(_NAMES, times)
    t, solin, coszrs, target = (read[n].astype(np.float64) for n in _NAMES)
    for level in levels:
        yield np.column_stack([np.ones_like(solin), t[:, level], solin, coszrs, target[:, level]])


def _bounded(triangle: Array, lowest: float, highest: float) -> Array:
    """Return the coefficients [term] that minimize the residual of a triangle [row, term and
    target], the second of them between two bounds.
    """
    # The first column is the intercept, so what follows below the first row is centred.
    slopes, target = triangle[1:, 1:_TERMS], triangle[1:, _TERMS]
    norm = np.linalg.norm(slopes, axis=0)
    # The last row holds what COSZRS has besides the others. A fit to its rounding would be large
    # coefficients of opposite sign, for another orbit to disagree with.
    follows = np.abs(slopes[_TERMS - 2 :, -1]).max(initial=0.0) <= COLLINEAR * norm[-1]
    used = _TERMS - 1 - int(follows)
    scale = np.where(norm > 0.0, norm, 1.0)[:used]
    low, high = np.full(used, -np.inf), np.full(used, np.inf)
    low[0], high[0] = lowest * scale[0], highest * scale[0]
    solved = lsq_linear(slopes[:, :used] / scale, target, (low, high), method="bvls", tol=1e-14)
    found = np.zeros(_TERMS - 1)
    found[:used] = solved.x / scale
    found[0] = np.clip(found[0], lowest, highest)  # scaling back rounds
    intercept = (triangle[0, _TERMS] - triangle[0, 1:_TERMS] @ found) / triangle[0, 0]
    return np.array([intercept, *found])


def _r2(
    store: ColumnStore, levels: list[int], found: Array, times: NDArray[np.int64]
) -> list[float | None]:
    """Return R² per level over columns and times, None where the truth does not vary."""
    truth, error = Moments(len(levels)), np.zeros(len(levels))
    for block in store.blocks_of(times):
        rows = np.stack(list(_rows(store, levels, block)), axis=1)
        target = rows[:, :, _TERMS]
        error += (((rows[:, :, :_TERMS] * found).sum(axis=2) - target) ** 2).sum(axis=0)
        truth.add(target)
    spread = truth.statistics().std.square().numpy() * truth.count
    return [float(1.0 - e / s) if s > 0.0 else None for e, s in zip(error, spread, strict=True)]
