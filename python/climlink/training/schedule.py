"""Learning-rate schedules as plain functions of the batch number."""

from __future__ import annotations

import math

from climlink.training.optimizer_config import ScheduleConfig


def rate_factor(config: ScheduleConfig, step: int, total: int, steps_per_epoch: int) -> float:
    """Return the factor on the peak learning rate at batch ``step`` (from 0) of ``total``."""
    if config.kind == "constant":
        return 1.0
    if config.kind == "step":
        return float(config.step_factor ** (step // (config.step_epochs * steps_per_epoch)))
    rising = config.warmup_fraction * total
    if step < rising:
        if config.kind == "cosine":
            return min((step + 1) / rising, 1.0)
        return _half_cosine(config.initial_factor, 1.0, step / rising)
    return _half_cosine(1.0, config.final_factor, (step - rising) / max(total - 1 - rising, 1.0))


def _half_cosine(first: float, last: float, part: float) -> float:
    """Return the value at ``part`` (0 to 1) of half a cosine from ``first`` to ``last``."""
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * min(part, 1.0)))
