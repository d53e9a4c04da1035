"""The file of a healing: the hybrid, what is learned from its states, and the budget of a round."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from climlink.config import ConfigError, StrictModel, merged, validated
from climlink.installation import configuration_base, find_configuration
from climlink.wrappers.errors import near_names
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.yaml_file import parse_document, read_document

Positive = Annotated[float, Field(gt=0)]


class SamplingConfig(StrictModel):
    """Which states of a hybrid are labelled."""

    days: list[Positive] = Field(
        default=[5.0, 10.0, 20.0],
        min_length=1,
        description="from the start of a hybrid, the days that are sampled: of the first hybrids, "
        "of those of round 1, and so on, the last number for all further ones",
    )
    every_steps: int = Field(
        default=11,
        ge=1,
        description="steps between states; 11 of 20 minutes meet all times of day",
    )
    held_out_every_days: int = Field(
        default=5,
        ge=2,
        description="every so many-th day of a hybrid is held out whole: never trained on, scored",
    )


class KeptConfig(StrictModel):
    """Which labelled states are learned from: outside of these bounds it is no longer an atmosphere
    that the reference physics was made for. A state is left out whole, all its columns.
    """

    temperature_k: tuple[Positive, Positive] = Field(
        default=(150.0, 340.0), description="coldest and hottest air of a state, K"
    )
    last_hours: float = Field(
        default=12.0,
        ge=0,
        description="of a hybrid that died, hours before its last state that are left out: what "
        "kills it is in the days before, the end is two-level noise",
    )

    @model_validator(mode="after")
    def _ordered(self) -> KeptConfig:
        if self.temperature_k[0] >= self.temperature_k[1]:
            raise ValueError("temperature_k: the coldest comes first")
        return self


class MixConfig(StrictModel):
    """How many columns of each kind an epoch has, relative to each other."""

    original: Positive = Field(default=3.0, description="the data of the run's own training")
    hybrid: Positive = Field(default=1.0, description="states of hybrids, of all rounds together")
    older_rounds: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="weight of a round's states relative to those of the round after it",
    )


class FineTuningConfig(StrictModel):
    """The training of a round, the same for the network that heals and for its control."""

    steps: int = Field(default=1500, ge=1, description="optimizer steps")
    learning_rate: Positive = Field(default=2e-4, description="at the peak of the schedule")
    input_noise: float = Field(
        default=0.02, ge=0, description="std of normal noise added to normalized network inputs"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="further keys of a training file, such as device or batch_size",
    )


class HealConfig(StrictModel):
    """A healing. Paths are relative to the file (of a shipped one: to where the command runs)."""

    case: str = Field(
        default="aquaplanet_hybrid",
        description="case of the embedded model, a file or a shipped one by name: its settings, "
        "options of the emulator, and the restart that the hybrids begin from",
    )
    restart_from: Path | None = Field(
        default=None,
        description="restart instead of the case's; of a run folder of the embedded model, its "
        "newest",
    )
    days: Positive = Field(default=60.0, description="days of a hybrid run, from the restart")
    members: int = Field(
        default=1,
        ge=1,
        description="hybrid runs of a round; those after the first begin a little apart",
    )
    member_perturbation_k: Positive = Field(
        default=0.1, description="amplitude of the random perturbation of further members, K"
    )
    rounds: int = Field(default=3, ge=1, description="trainings, each followed by hybrid runs")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="which states of a hybrid are labelled"
    )
    kept: KeptConfig = Field(default=KeptConfig(), description="which of them are learned from")
    mix: MixConfig = Field(default=MixConfig(), description="what an epoch is made of")
    training: FineTuningConfig = Field(
        default=FineTuningConfig(), description="the training of a round, of both arms"
    )
    constraints: list[ConstraintEntry] = Field(
        default_factory=list,
        description="constraints that every package of the healing gets besides, or instead of its "
        "own of that name (range policy, closure)",
    )
    without_constraints: list[str] = Field(
        default_factory=list, description="names of constraints that no package of it has"
    )
    score_days: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 5, 10, 20, 30, 60],
        description="days of a run whose errors are told, as far as it is long",
    )
    output: Path = Field(default=Path("runs/heal"), description="folder of everything it makes")
    ranks: int | None = Field(default=None, ge=1, description="MPI ranks instead of the case's")

    @model_validator(mode="after")
    def _scores_something(self) -> HealConfig:
        if not self.scored_days:
            raise ValueError(f"score_days: none of them is within the {self.days:g} days of a run")
        return self

    @property
    def scored_days(self) -> list[int]:
        """The score days that a run can reach, ascending."""
        return sorted({d for d in self.score_days if d <= self.days})

    def sampled_days(self, number: int) -> float:
        """Return the days of the hybrids of a round that are sampled; round 0 has the first."""
        return min(self.days, self.sampling.days[min(number, len(self.sampling.days) - 1)])


FREE_ON_RESUME = ("output", "ranks", "rounds")
"""Keys that may differ between a healing and its continuation: the results do not depend on them,
or only become more.
"""


def load_heal(
    config: str | Path = "aquaplanet", settings: Sequence[str] = (), output: Path | None = None
) -> HealConfig:
    """Return a healing file, or a shipped one by name, with settings ``key=value`` over it; keys
    within others have a dot, values are YAML.

    ConfigError for what does not fit, with file or setting and key.
    """
    path = find_configuration("heal", config)
    values = read_document(path, HealConfig).values
    validated(values, HealConfig, str(path))
    base = configuration_base(path)
    for key in ("output", "restart_from"):
        if values.get(key) is not None:
            values[key] = base / values[key]
    if (base / str(values.get("case", ""))).is_file():
        values["case"] = str(base / values["case"])
    for text in settings:
        values = merged(values, _setting(text))
    if output is not None:
        values["output"] = output
    return validated(values, HealConfig, f"{path}, with what the command changes")


def _setting(text: str) -> dict[str, Any]:
    """Return the mapping that ``key=value`` stands for; ConfigError if it is none."""
    key, equals, value = text.partition("=")
    keys = key.split(".")
    if not equals or keys[0] not in HealConfig.model_fields:
        near = near_names(keys[0], HealConfig.model_fields)
        raise ConfigError(
            f"{text!r}: expected key=value with a key of a healing file, such as rounds=2 or "
            f"training.steps=500{near}"
        )
    found: Any = parse_document(f"value: {value}", HealConfig, text).values["value"]
    for part in reversed(keys):
        found = {part: found}
    return dict(found)
