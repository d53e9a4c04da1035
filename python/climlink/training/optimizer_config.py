"""The optimizer and the schedule of its learning rate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel


class OptimizerConfig(StrictModel):
    """AdamW."""

    learning_rate: float = Field(default=1e-3, gt=0, description="at the peak of the schedule")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's decoupled decay")
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="decay rates of the two moment averages"
    )
    decayed: Literal["matrices", "all"] = Field(
        default="matrices", description="decay weights only, or biases and norms too (published)"
    )


class ScheduleConfig(StrictModel):
    """Learning rate over the run, as a factor on the peak, changed after every batch."""

    kind: Literal["cosine", "one_cycle", "step", "constant"] = Field(
        default="cosine",
        description="cosine: linear warm-up, then a half cosine down; one_cycle: a half cosine up, "
        "another down; step: published",
    )
    warmup_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="part of all batches spent on rising (cosine, one_cycle)",
    )
    initial_factor: float = Field(
        default=0.04, ge=0, le=1, description="factor at the first batch (one_cycle)"
    )
    final_factor: float = Field(
        default=1e-3, ge=0, le=1, description="factor at the last batch (cosine, one_cycle)"
    )
    step_epochs: int = Field(default=3, ge=1, description="epochs between drops (step)")
    step_factor: float = Field(default=0.05, gt=0, le=1, description="factor of each drop (step)")
