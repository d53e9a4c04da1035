"""The configuration of a training run, strict: what ``climlink train CONFIG.yaml`` reads and what
the run directory records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from climlink.config import ConfigError, StrictModel, merged
from climlink.training.architecture_config import ArchitectureConfig
from climlink.training.data_config import ValidationConfig
from climlink.training.loss_config import LossConfig, Problem
from climlink.training.optimizer_config import OptimizerConfig, ScheduleConfig
from climlink.wrappers.catalogue import SHIPPED, Catalogue, read_catalogue
from climlink.wrappers.constraints import CONSTRAINTS
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry, NormalizationConfig
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.yaml_file import misfit

_HOST_SETS = ("input_set", "output_set")
_SETS = (*_HOST_SETS, "network_input_set", "network_output_set")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def default_constraints() -> list[ConstraintEntry]:
    """Return the whole fixed sequence except output_mask, which acts on levels that only a user can
    name.
    """
    return [ConstraintEntry(name=name) for name in CONSTRAINTS if name != "output_mask"]


class TrainingConfig(StrictModel):
    """One training run. Paths are relative to the directory the command runs in."""

    name: str = Field(
        pattern=_NAME, description="name of the run and, by default, of its directory runs/NAME"
    )
    store: Path = Field(description="column store made by climlink data prepare")
    statistics: Path | None = Field(
        default=None,
        description="file of climlink data statistics; null: computed from the training split",
    )
    output: Path | None = Field(default=None, description="run directory; null means runs/NAME")
    variables: Path | None = Field(default=None, description="YAML file of own variables and sets")
    input_set: str = Field(default="host_v2_q", description="what the host sends")
    output_set: str = Field(default="mmf368", description="what the host receives")
    network_input_set: str = Field(default="net_v2_mc", description="what the network reads")
    network_output_set: str = Field(default="net308", description="what the network writes")
    pruned_levels: int = Field(
        default=15, ge=0, description="levels from the top whose water and wind tendencies are zero"
    )
    normalization: NormalizationConfig = Field(default_factory=NormalizationConfig)
    constraints: list[ConstraintEntry] = Field(
        default_factory=default_constraints, description="physical constraints in their fixed order"
    )
    from_recipe: str | None = Field(
        default=None, description="the recipe that was merged beneath these settings"
    )
    architecture: ArchitectureConfig
    loss: LossConfig = Field(default_factory=LossConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    epochs: int = Field(ge=1, description="passes over the training times; the schedule spans them")
    batch_size: int = Field(default=256, ge=1, description="columns per step")
    seed: int = Field(
        default=7, ge=0, description="of the initial weights and of the order of columns"
    )
    mirror_winds: bool = Field(
        default=False,
        description="reverse zonal and meridional winds of random columns: column physics knows "
        "neither east nor north",
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, description="largest norm of the whole gradient; null: no clipping"
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="average weights with this decay per batch and keep the average",
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="auto", description="where the network trains; auto: on a GPU where there is one"
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads; null leaves torch's own choice"
    )
    memory_limit_gib: float = Field(
        default=4.0,
        gt=0,
        description="training columns that need more than this are streamed from the store",
    )

    @model_validator(mode="after")
    def _sets_fit(self) -> TrainingConfig:
        problems = list(self._problems_of_sets())
        if problems:
            raise misfit(problems)
        return self

    def _problems_of_sets(self) -> Iterator[Problem]:
        """Yield what is wrong with the sets and with what the loss says of them, with its key."""
        found: dict[str, VariableSet] = {}
        try:
            catalogue = self._catalogue()
        except ConfigError as error:
            yield ("variables",), str(error)
            return
        for key in _SETS:
            try:
                found[key] = catalogue.variable_set(getattr(self, key))
            except ContractError as error:
                yield (key,), str(error)
        for key in (k for k in _HOST_SETS if k in found):
            encoded = [v.name for v in found[key].variables if v.representation]
            if encoded:
                wrong = f"a host does not send or take {encoded[0]}"
                yield (key,), f"{wrong}: representations are made in the graph"
        if len(found) < len(_SETS):
            return
        inputs, outputs, _, network_outputs = found.values()
        both = [n for n in inputs.names if n in outputs]
        if both:
            wrong = f"{', '.join(both)} stand in output_set {outputs.name!r} too"
            yield ("input_set",), f"{wrong}: the truth would be an input"
        yield from self.loss.unknown_names(outputs.names, network_outputs.names)

    def _catalogue(self) -> Catalogue:
        return SHIPPED if self.variables is None else read_catalogue(self.variables)

    @property
    def run_directory(self) -> Path:
        """Where the run is written."""
        return self.output if self.output is not None else Path("runs") / self.name

    def contract(self, hybrid: HybridCoordinate, time_step_s: float) -> EmulatorContract:
        """Return the contract of the emulator on a vertical grid, with a time step in seconds."""
        catalogue = self._catalogue()
        levels = hybrid.level_count
        sets = (catalogue.variable_set(getattr(self, key), levels) for key in _SETS)
        inputs, outputs, network_inputs, network_outputs = sets
        return EmulatorContract.of(
            inputs=inputs,
            outputs=outputs,
            network_inputs=network_inputs,
            network_outputs=network_outputs,
            time_step_s=time_step_s,
            hybrid=hybrid,
            pruned_levels=self.pruned_levels,
            normalization=self.normalization,
            constraints=self.constraints,
        )

    def resolved(self) -> TrainingConfig:
        """Return the configuration with presets replaced by explicit numbers."""
        return self.model_copy(update={"architecture": self.architecture.resolved()})

    def overridden(self, overrides: Mapping[str, Any]) -> TrainingConfig:
        """Return the configuration with some keys replaced; mappings are merged key by key.
        ConfigError names a key that does not fit.
        """
        try:
            return TrainingConfig.model_validate(merged(self.model_dump(), overrides))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(
                f"override of {'.'.join(map(str, first['loc'])) or 'the configuration'}: "
                f"{first['msg']}"
            ) from error
