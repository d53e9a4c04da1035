"""What a stage of training may set for itself, and the run for all its stages."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from climlink.config import StrictModel
from climlink.training.augment_config import AugmentConfig
from climlink.training.loss_config import LossConfig
from climlink.training.optimizer_config import AveragingConfig, OptimizerConfig, ScheduleConfig
from climlink.training.trajectory.config import TrajectoryConfig

STAGE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class StageSettings(StrictModel):
    """Keys of a run that a stage may have too: a stage takes what it leaves out from the run."""

    loss: LossConfig = Field(default_factory=LossConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    averaging: AveragingConfig = Field(default_factory=AveragingConfig)
    trajectory: TrajectoryConfig | None = Field(
        default=None,
        description="train through recorded consecutive steps instead of single ones",
    )
    mix: dict[str, float] = Field(
        default_factory=dict,
        description="relative number of columns per epoch, by name of a store; main is the run's "
        "own, which is passed over once (without it the first one is); nothing: main alone",
    )
    epochs: int = Field(
        default=12, ge=1, description="passes over the training times; the schedule spans them"
    )
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="most optimizer steps, where the epochs have more; the schedule spans them",
    )
    batch_size: int = Field(
        default=256, ge=1, description="columns per step, over all processes together"
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, description="largest gradient; null: no clipping"
    )
    gradient_clip_by: Literal["norm", "value"] = Field(
        default="norm", description="what is clipped: the norm of the whole gradient, or each value"
    )
    keep_checkpoints: int = Field(
        default=0,
        ge=0,
        description="epochs, the newest, whose checkpoints stay as epoch_<n>.ckpt beside last.ckpt "
        "and best.ckpt",
    )

    def keys_without_trajectories(self) -> list[str]:
        """Return the keys that are set and mean nothing to a stage of trajectories."""
        if self.trajectory is None:
            return []
        augmented = self.augment != AugmentConfig()
        return [key for key, is_set in (("augment", augmented), ("mix", bool(self.mix))) if is_set]


class StageConfig(StageSettings):
    """One of several trainings in a row, with a fresh optimizer each. What it leaves out is the
    run's; mappings are merged key by key.
    """

    name: str = Field(pattern=STAGE_NAME, description="as metrics.csv calls it")
    start_from: Literal["last", "best"] = Field(
        default="last",
        description="what the stage begins from: the last weights of the stage before (averaged, "
        "where it averaged), or those of the best checkpoint so far",
    )

    @property
    def overrides(self) -> dict[str, Any]:
        """What it sets of the run's keys."""
        given = self.model_dump(exclude_unset=True)
        return {k: v for k, v in given.items() if k in StageSettings.model_fields}

    def whole(self, settings: StageSettings) -> StageConfig:
        """Return the stage with nothing left out: what it trains with is ``settings``."""
        return self.model_copy(update={k: getattr(settings, k) for k in StageSettings.model_fields})
