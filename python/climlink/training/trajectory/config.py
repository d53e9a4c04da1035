"""How a trajectory loss is formed."""

from __future__ import annotations

from pydantic import Field, model_validator

from climlink.config import StrictModel

LONGEST = 72
"""Steps of a trajectory at most: one day of 20-minute steps."""


class TrajectoryConfig(StrictModel):
    """A loss through recorded consecutive steps: the emulator's tendencies move the state, recorded
    dynamics and boundary values do the rest.

    A batch has ``batch_size`` columns of one step each or ``batch_size / steps`` of a whole
    trajectory: what an epoch costs does not depend on ``steps``.
    """

    steps: int = Field(ge=2, le=LONGEST, description="recorded steps that are run through")
    truncate: int = Field(
        default=6,
        ge=1,
        description="steps after which gradients are cut: earlier steps are not changed for the "
        "sake of later ones",
    )
    windows: int = Field(
        default=4,
        ge=1,
        description="times at which trajectories of one batch begin; its columns are shared out",
    )

    @model_validator(mode="after")
    def _within(self) -> TrajectoryConfig:
        if self.truncate > self.steps:
            raise ValueError(f"truncate ({self.truncate}) is beyond steps ({self.steps})")
        return self
