"""What the training loss is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from climlink.config import StrictModel
from climlink.wrappers.errors import near_names

Problem = tuple[tuple[str | int, ...], str]
"""Keys of a training file, and what is wrong there."""

LossKind = Literal["huber", "smooth_l1", "mse", "mae", "mse_mae", "gaussian_nll"]
Weight = Annotated[float, Field(ge=0)]
Lag = Annotated[int, Field(ge=1, le=2)]


class LossConfig(StrictModel):
    """Loss on normalized outputs, summed over outputs, averaged over columns, divided by the number
    of network outputs (docs/losses.md).
    """

    kind: LossKind = Field(
        default="huber",
        description="of one value; gaussian_nll: squared error over a variance whose logarithm is "
        "the network's confidence (confidence-aware MSE)",
    )
    delta: float = Field(
        default=1.0,
        gt=0,
        description="where the loss turns from square to linear, in output scales (std): Huber's "
        "delta, SmoothL1's beta; of no meaning to the other kinds",
    )
    delta_of: dict[str, float] = Field(
        default_factory=dict, description="exceptions from delta by output name"
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
    outputs: list[str] = Field(
        default_factory=list,
        description="only these outputs count, of the network, the host and the auxiliary ones "
        "(fine-tuning of a group); empty: all",
    )
    masked: Literal["pruned", "score", "none"] = Field(
        default="pruned",
        description="what is left out: values that the constraints make zero on pruned levels; "
        "these and what the competition's score gives no weight; nothing (published)",
    )
    host_outputs: list[str] = Field(
        default_factory=list,
        description="host outputs that enter a second time as the host receives them, after every "
        "constraint",
    )
    host_weight: float = Field(
        default=1.0, gt=0, description="weight of the host outputs relative to the network's own"
    )
    level_differences: dict[Lag, Weight] = Field(
        default_factory=dict,
        description="lag in levels (1, 2): weight of the mean loss on differences of profiles over "
        "that many levels ({1: 1} published)",
    )
    confidence_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the Huber loss (delta 1) of the network's confidence against the "
        "loss of its output (1 published); needs a network with confidence",
    )
    auxiliary_weight_of: dict[str, Weight] = Field(
        default_factory=dict,
        description="exceptions from the weight 1 of one auxiliary value relative to one level of "
        "a profile, by auxiliary target",
    )

    @model_validator(mode="after")
    def _consistent(self) -> LossConfig:
        for key, values in (("delta_of", self.delta_of), ("weight_of", self.weight_of)):
            bad = [n for n, value in values.items() if value <= 0]
            if bad:
                raise ValueError(f"{key} must give positive numbers, not so to {', '.join(bad)}")
        for key in ("host_outputs", "outputs"):
            names = getattr(self, key)
            if len(set(names)) != len(names):
                raise ValueError(f"{key} must be different names; got {names}")
        if self.kind == "gaussian_nll" and self.confidence_weight > 0:
            raise ValueError(
                "gaussian_nll trains the confidence as a log variance: leave confidence_weight out"
            )
        return self

    @property
    def needs_confidence(self) -> bool:
        """Whether the network must give confidence."""
        return self.kind == "gaussian_nll" or self.confidence_weight > 0

    def unknown_names(
        self, host: Collection[str], network: Collection[str], auxiliary: Sequence[str] = ()
    ) -> Iterator[Problem]:
        """Yield the keys that name an output which neither host nor network has (``host_outputs``:
        the host; ``auxiliary``: targets that are predicted besides), and what is wrong.
        """
        either = sorted({*host, *network})
        for key, names, known in (
            ("delta_of", self.delta_of, [*either, *auxiliary]),
            ("weight_of", self.weight_of, either),
            ("outputs", self.outputs, [*either, *auxiliary]),
            ("host_outputs", self.host_outputs, list(host)),
            ("auxiliary_weight_of", self.auxiliary_weight_of, list(auxiliary)),
        ):
            unknown = [n for n in names if n not in known]
            if unknown:
                near = near_names(unknown[0], known)
                wrong = f"{', '.join(unknown)} is none{near}"
                expected = (
                    f"outputs out of {', '.join(known)}" if known else "no name: there are none"
                )
                yield ("loss", key), f"expected {expected}; {wrong}"
