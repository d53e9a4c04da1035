"""What the training loss is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import Field, model_validator

from climlink.config import StrictModel
from climlink.wrappers.errors import near_names

Problem = tuple[tuple[str | int, ...], str]
"""Keys of a training file, and what is wrong there."""


class LossConfig(StrictModel):
    """Huber loss on normalized outputs, summed over outputs, averaged over columns, divided by the
    number of network outputs.

    Outputs on pruned levels that a constraint zeroes anyway are left out.
    """

    huber_delta: float = Field(
        default=1.0,
        gt=0,
        description="where the loss turns from square to linear, in output scales (std)",
    )
    huber_delta_of: dict[str, float] = Field(
        default_factory=dict, description="exceptions from huber_delta by output name"
    )
    scalar_weight: float = Field(
        default=1.0,
        gt=0,
        description="weight of each of the scalar outputs relative to one level of a profile",
    )
    weight_of: dict[str, float] = Field(
        default_factory=dict,
        description="exceptions from the weights 1 and scalar_weight by output name",
    )
    host_outputs: list[str] = Field(
        default_factory=list,
        description="host outputs that enter a second time as the host receives them, after every "
        "constraint",
    )
    host_weight: float = Field(
        default=1.0, gt=0, description="weight of the host outputs relative to the network's own"
    )
    level_difference_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the same loss on differences between neighbouring levels (1 in one "
        "published recipe)",
    )

    @model_validator(mode="after")
    def _positive(self) -> LossConfig:
        for key, values in (("huber_delta_of", self.huber_delta_of), ("weight_of", self.weight_of)):
            bad = [n for n, value in values.items() if value <= 0]
            if bad:
                raise ValueError(f"{key} must give positive numbers, not so to {', '.join(bad)}")
        if len(set(self.host_outputs)) != len(self.host_outputs):
            raise ValueError(f"host_outputs must be different names; got {self.host_outputs}")
        return self

    def unknown_names(self, host: Collection[str], network: Collection[str]) -> Iterator[Problem]:
        """Yield the keys that name an output which neither host nor network has (``host_outputs``:
        the host), and what is wrong.
        """
        either = sorted({*host, *network})
        for key, names, known in (
            ("huber_delta_of", self.huber_delta_of, either),
            ("weight_of", self.weight_of, either),
            ("host_outputs", self.host_outputs, list(host)),
        ):
            unknown = [n for n in names if n not in known]
            if unknown:
                near = near_names(unknown[0], known)
                wrong = f"{', '.join(unknown)} is none{near}"
                yield ("loss", key), f"expected outputs out of {', '.join(known)}; {wrong}"
