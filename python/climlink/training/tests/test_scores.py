"""Skill against its formula, however the columns come: in batches, or shared out to processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from climlink.training.scores import RunningScores
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import variable

_SET = VariableSet(
    "small", tuple(variable(n) for n in ("ptend_t", "ptend_q0001", "cam_out_PRECC")), {"level": 4}
)
_PRUNED = 1


def _columns(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and truth [n, 9] of very different sizes and far means; the last level of
    q0001 is constant.
    """
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([1e-5] * 4 + [1e-10] * 4 + [1e-8], dtype=torch.float64)
    truth = (torch.randn(n, 9, generator=generator, dtype=torch.float64) + 100.0) * scale
    truth[:, 7] = 3e-10
    error = torch.randn(n, 9, generator=generator, dtype=torch.float64) * scale
    return truth + error * torch.linspace(0.1, 0.9, 9, dtype=torch.float64), truth


def _expected() -> dict[str, float]:
    p, t = (x.numpy() for x in _columns())
    r2 = 1 - ((p - t) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)
    values = {
        "r2_ptend_t": float(np.median(r2[1:4])),
        "r2_ptend_q0001": float(np.median(r2[5:7])),
        "r2_cam_out_PRECC": float(r2[8]),
    }
    return {**values, "skill": float(np.mean(list(values.values())))}


@pytest.mark.parametrize("pieces", [[60], [7] * 8 + [4], [1] * 60])
def test_skill_is_that_of_all_columns_at_once(pieces: list[int]) -> None:
    scores = RunningScores(_SET, _PRUNED)
    for p, t in zip(*(x.split(pieces) for x in _columns()), strict=True):
        scores.add(p, t)
    # Rounding of float64 sums about means a hundred times the spread.
    assert scores.values() == pytest.approx(_expected(), rel=1e-10)


def test_what_is_not_ranked_has_a_score_and_no_part_in_the_skill() -> None:
    scores = RunningScores(_SET, _PRUNED, unranked=("cam_out_PRECC",))
    scores.add(*_columns())
    expected = _expected()
    ranked = [expected["r2_ptend_t"], expected["r2_ptend_q0001"]]
    found = scores.values()
    # Rounding of float64 sums about means a hundred times the spread.
    assert found == pytest.approx({**expected, "skill": float(np.mean(ranked))}, rel=1e-10)


def test_skill_of_processes_is_that_of_all_columns_and_not_a_mean_of_means() -> None:
    prediction, truth = _columns()
    together = RunningScores(_SET, _PRUNED)
    shares = [slice(0, 3), slice(3, 3), slice(3, 60)]  # one process has nothing
    parts = []
    for share in shares:
        part = RunningScores(_SET, _PRUNED)
        part.add(prediction[share], truth[share])
        together.merge(part.sums)
        parts.append(part.values())
    assert together.values() == pytest.approx(_expected(), rel=1e-10)
    assert parts[1] == {}
    mean = (parts[0]["skill"] + parts[2]["skill"]) / 2
    assert abs(mean - _expected()["skill"]) > 0.01


def test_a_prediction_that_is_not_finite_is_no_skill() -> None:
    prediction, truth = _columns()
    prediction[5, 2:4] = math.nan  # two of three levels that count
    scores = RunningScores(_SET, _PRUNED)
    scores.add(prediction, truth)
    assert scores.values()["r2_ptend_t"] == -math.inf
    assert scores.values()["skill"] == -math.inf


def test_outputs_that_do_not_vary_are_left_out() -> None:
    _, truth = _columns()
    truth[:, 8] = 0.1 + 0.2
    scores = RunningScores(_SET, _PRUNED)
    scores.add(truth, truth)
    values = scores.values()
    assert math.isnan(values["r2_cam_out_PRECC"])
    assert values["skill"] == 1.0
    scores.reset()
    assert scores.values() == {}
