"""Learning rates, batch by batch, against closed forms and torch's own schedules."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from climlink.training.errors import TrainingError
from climlink.training.optimizer_config import SCHEDULES, OptimizerConfig, ScheduleConfig
from climlink.training.schedule import RateSchedule

_PEAK = 0.1
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 0.01},
}
"""What a class cannot do without."""


def _schedule(steps: int, epochs: int, **fields: Any) -> RateSchedule:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=_PEAK)
    config = ScheduleConfig(**fields)
    rates = OptimizerConfig(learning_rate=_PEAK)
    return RateSchedule(optimizer, config, rates, steps=steps, epochs=epochs)


def _rates(
    schedule: RateSchedule, steps: range, per_epoch: int, skills: list[float] | None = None
) -> list[float]:
    """Return the rate of every batch, as parts of the peak, as training asks for them."""
    found = []
    for step in steps:
        schedule.before(step)
        found.append(schedule.optimizer.param_groups[0]["lr"] / _PEAK)
        schedule.optimizer.step()
        schedule.after_batch(step)
        if (step + 1) % per_epoch == 0:
            schedule.after_epoch(skills[step // per_epoch] if skills else None)
    return found


def test_a_cosine_rises_linearly_and_falls_to_its_end() -> None:
    schedule = _schedule(100, 10, warmup_fraction=0.1, arguments={"eta_min": 1e-3 * _PEAK})
    rates = _rates(schedule, range(100), 10)
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    falling = [1e-3 + 0.5 * (1 - 1e-3) * (1 + math.cos(math.pi * i / 90)) for i in range(90)]
    assert rates[10:] == pytest.approx(falling)


def test_a_staircase_by_epochs_is_the_published_one() -> None:
    steps = {"arguments": {"step_size": 3, "gamma": 0.05}, "interval": "epoch"}
    rates = _rates(_schedule(120, 12, name="StepLR", warmup_fraction=0, **steps), range(120), 10)
    assert rates == pytest.approx([0.05 ** (i // 30) for i in range(120)])
    # The rise goes by batches there too.
    rising = _rates(_schedule(120, 12, name="StepLR", warmup_fraction=0.1, **steps), range(120), 10)
    assert rising[:12] == pytest.approx([(i + 1) / 13 for i in range(12)])
    assert rising[12:] == pytest.approx(rates[12:])


def test_a_polynomial_reaches_zero_at_the_end_of_the_stage() -> None:
    rates = _rates(_schedule(50, 5, name="PolynomialLR", warmup_fraction=0), range(50), 10)
    assert rates == pytest.approx([1 - i / 50 for i in range(50)])


def test_restarts_come_back_to_the_peak() -> None:
    schedule = _schedule(
        44, 4, name="CosineAnnealingWarmRestarts", arguments={"T_0": 10}, warmup_fraction=4 / 44
    )
    rates = _rates(schedule, range(44), 11)
    assert [i for i, rate in enumerate(rates) if rate == pytest.approx(1.0)] == [4, 14, 24, 34]


def test_a_plateau_of_skill_lowers_the_rate() -> None:
    schedule = _schedule(
        12,
        6,
        name="ReduceLROnPlateau",
        interval="epoch",
        warmup_fraction=0,
        arguments={"patience": 1, "factor": 0.5},
    )
    # Two epochs without a better skill are one more than patience allows.
    rates = _rates(schedule, range(12), 2, skills=[0.1, 0.3, 0.2, 0.25, 0.4, 0.5])
    assert rates[::2] == pytest.approx([1, 1, 1, 1, 0.5, 0.5])


def test_one_cycle_is_torch_s() -> None:
    rates = _rates(_schedule(40, 4, name="OneCycleLR", warmup_fraction=0), range(40), 10)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=_PEAK)
    own = OneCycleLR(optimizer, max_lr=_PEAK, total_steps=40)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"] / _PEAK)
        optimizer.step()
        own.step()
    assert rates == pytest.approx(expected)
    assert max(rates) == pytest.approx(1.0)


def test_a_null_schedule_is_constant_behind_its_rise() -> None:
    rates = _rates(_schedule(20, 2, name=None, warmup_fraction=0.5), range(20), 10)
    assert rates == pytest.approx([*((i + 1) / 11 for i in range(10)), *[1.0] * 10])


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_goes_on_where_it_was_interrupted(name: str, interval: str) -> None:
    if name == "ReduceLROnPlateau" and interval == "step":
        with pytest.raises(ValueError, match="needs interval: epoch"):
            ScheduleConfig(name=name)
        return
    fields = {
        "name": name,
        "interval": interval,
        "warmup_fraction": 0.0 if name == "OneCycleLR" else 0.1,
        "arguments": _ARGUMENTS.get(name, {}),
    }
    skills = [0.1, 0.1, 0.1, 0.1]
    whole = _rates(_schedule(40, 4, **fields), range(40), 10, skills)
    begun = _schedule(40, 4, **fields)
    first = _rates(begun, range(20), 10, skills)
    resumed = _schedule(40, 4, **fields)
    resumed.load_state_dict(begun.state_dict())
    resumed.optimizer.load_state_dict(begun.optimizer.state_dict())
    assert first + _rates(resumed, range(20, 40), 10, skills) == whole


def test_one_batch_in_all_is_no_division_by_zero() -> None:
    for name in (*SCHEDULES, None):
        if name == "ReduceLROnPlateau":
            continue
        fields = {"warmup_fraction": 0} if name == "OneCycleLR" else {}
        arguments = _ARGUMENTS.get(name or "", {})
        assert _rates(_schedule(1, 1, name=name, arguments=arguments, **fields), range(1), 1)[0] > 0


def test_a_schedule_that_the_optimizer_cannot_follow_is_told() -> None:
    optimizer = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))], lr=_PEAK)
    config = ScheduleConfig(name="OneCycleLR", warmup_fraction=0)
    with pytest.raises(TrainingError, match="OneCycleLR cannot run over 9 steps of Adagrad"):
        RateSchedule(optimizer, config, OptimizerConfig(), steps=9, epochs=1)


def test_rates_only_fall_behind_a_peak_that_is_reached() -> None:
    for total in (3, 7, 10):
        rates = _rates(_schedule(total, 1, warmup_fraction=0.3), range(total), total)
        assert max(rates) == pytest.approx(1.0)
        peak = rates.index(max(rates))
        assert all(a > b for a, b in itertools.pairwise(rates[peak:]))
