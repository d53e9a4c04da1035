"""The score of the LEAP competition: R² of its 368 targets, averaged by weight.

Rules as its participants' public code records them: every target is multiplied by a weight close to
one over its standard deviation, or by 0 where the example submission has 0, and R² is taken per
target and averaged. A factor that is not 0 leaves R² as it is. A store may hold the weights
(``climlink data prepare --weights``); without them the targets without weight are those of water
vapour, ice and both winds on levels 0 to 11, and of cloud liquid on levels 0 to 14: 63 of 368
targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from climlink.data.competition import LEVEL_COUNT, TARGET_SET, Weights, counted
from climlink.evaluation.errors import EvaluationError
from climlink.wrappers.variable_sets import VariableSet, variable_set


def has_weight(outputs: VariableSet, weights: Weights | None = None) -> NDArray[np.bool_]:
    """Return which of the targets count, [width]: those whose given weight is not 0, or those of
    the module's rule.

    EvaluationError for outputs that are not the competition's.
    """
    if outputs.names != variable_set(TARGET_SET).names or outputs.level_count != LEVEL_COUNT:
        raise EvaluationError(
            f"the competition's score is of the {TARGET_SET} targets on {LEVEL_COUNT} levels, not "
            f"of {outputs.name!r}"
        )
    return counted(outputs, weights)


def leap_scores(
    r2: NDArray[np.float64],
    constant: NDArray[np.bool_],
    outputs: VariableSet,
    weights: Weights | None = None,
) -> dict[str, float]:
    """Return the competition's scores from R² [width], where the truth is constant [width], and the
    weights of the targets if known.

    ``leap.score``: mean R² of the targets with weight. ``leap.score_floored``: the same with every
    R² below 0 as 0, which is what a prediction of the mean would have had. ``leap.score_368``: over
    all 368, those without weight counted as exact, as an R² of two columns of zeros is in
    scikit-learn. Truth without variance is left out of all three; its number is
    ``leap.targets_left_out``. ``leap.targets_below_0`` counts the targets that the mean would have
    beaten.
    """
    weighted = has_weight(outputs, weights)
    chosen = r2[weighted & ~constant]
    if chosen.size == 0:
        raise EvaluationError(
            "every target with weight is constant: the competition's score says nothing"
        )
    mean = float(chosen.mean())
    without = int((~weighted).sum())
    return {
        "leap.score": mean,
        "leap.score_floored": float(np.maximum(chosen, 0.0).mean()),
        "leap.score_368": (mean * chosen.size + without) / (chosen.size + without),
        "leap.targets_below_0": float((chosen < 0.0).sum()),
        "leap.targets_left_out": float((weighted & constant).sum()),
    }
