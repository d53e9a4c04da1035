"""Which targets the score of the LEAP competition counts: those that the example submission gave a
weight, or, where no weights are known, all but 63 of 368 near the model top.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from climlink.data.derivations import DERIVED, ON_REQUEST
from climlink.data.errors import DataError
from climlink.wrappers.variable_sets import VariableSet, variable_set

TARGET_SET = "mmf368"
LEVEL_COUNT = 60
ZERO_WEIGHT_LEVELS = {
    "ptend_q0001": 12,
    "ptend_q0002": 15,
    "ptend_q0003": 12,
    "ptend_u": 12,
    "ptend_v": 12,
}
"""How many levels from the top have no weight."""

Weights = Mapping[str, NDArray[np.float64]]
"""Weights of the targets by variable, [level] or [1]."""


def counted(outputs: VariableSet, weights: Weights | None = None) -> NDArray[np.bool_]:
    """Return which values of some outputs count, [width]: those whose weight is not 0; a sum of
    targets, such as ptend_qn, counts where one of them does. What no host receives (toa_net) counts
    too: the score does not ask for it.

    DataError for outputs that the competition does not know.
    """
    targets = variable_set(TARGET_SET)
    parts = {v.name: _targets_of(v.name) for v in outputs.variables}
    unseen = {n: outputs.width_of(n) for n in parts if n in ON_REQUEST}
    strange = [
        n for n, needs in parts.items() if n not in unseen and any(t not in targets for t in needs)
    ]
    if strange or outputs.level_count != LEVEL_COUNT:
        raise DataError(
            f"the competition's score is of the {TARGET_SET} targets on {LEVEL_COUNT} levels; got "
            f"{', '.join(strange) or outputs.name} on {outputs.level_count} levels"
        )
    whole = (
        np.ones(unseen[n], dtype=bool)
        if n in unseen
        else np.any([_counts(t, weights) for t in needs], axis=0)
        for n, needs in parts.items()
    )
    return np.concatenate([np.zeros(0, dtype=bool), *whole])


def _targets_of(name: str) -> tuple[str, ...]:
    return DERIVED[name].needs if name in DERIVED else (name,)


def _counts(target: str, weights: Weights | None) -> NDArray[np.bool_]:
    """Return which levels of a target count, [level] or [1]."""
    if weights is not None:
        if target not in weights:
            raise DataError(f"the weights of the targets lack {target}; give all of {TARGET_SET}")
        return np.asarray(weights[target] != 0.0)
    width = variable_set(TARGET_SET).width_of(target)
    return np.arange(width) >= ZERO_WEIGHT_LEVELS.get(target, 0)
