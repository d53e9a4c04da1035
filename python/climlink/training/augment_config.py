"""What is done to training batches before their loss."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from pydantic import Field

from climlink.config import StrictModel
from climlink.training.loss_config import Problem, Weight
from climlink.wrappers.errors import near_names


class DropAloft(StrictModel):
    """Zeroes what the network reads near the model top, in random columns."""

    levels: int = Field(ge=1, description="levels from the top whose inputs become zero")
    probability: float = Field(gt=0, le=1, description="share of columns")


class TargetClip(StrictModel):
    """Limits normalized targets, so that single columns do not rule the loss."""

    limit: float = Field(
        gt=0, description="size up to which a target is left as it is, in output scales (std)"
    )
    kind: Literal["hard", "soft"] = Field(
        default="hard",
        description="beyond the limit L - hard: L; soft: L (1 + tanh(|y|/L - 1)), below 2 L",
    )


class AugmentConfig(StrictModel):
    """What is done to training batches, in this order; validation sees none of it."""

    mirror_winds: bool = Field(
        default=False,
        description="reverse zonal and meridional winds of random columns: column physics knows "
        "neither east nor north",
    )
    input_noise: Weight = Field(
        default=0.0, description="std of normal noise added to normalized network inputs"
    )
    input_noise_of: dict[str, Weight] = Field(
        default_factory=dict, description="exceptions from input_noise by network input"
    )
    drop_aloft: DropAloft | None = Field(
        default=None, description="inputs near the model top that are zero in random columns"
    )
    target_clip: TargetClip | None = Field(default=None, description="limit of normalized targets")

    def unknown_names(self, network_inputs: Collection[str]) -> Iterator[Problem]:
        """Yield the key that names an input which the network does not read, and what is wrong."""
        unknown = [n for n in self.input_noise_of if n not in network_inputs]
        if unknown:
            near = near_names(unknown[0], network_inputs)
            wrong = f"{', '.join(unknown)} is none{near}"
            yield (
                ("augment", "input_noise_of"),
                f"expected inputs out of {', '.join(network_inputs)}; {wrong}",
            )
