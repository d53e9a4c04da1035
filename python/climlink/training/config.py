"""The configuration of a training run, strict: what ``climlink train CONFIG.yaml`` reads and what
the run directory records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from climlink.architectures.output_heads import HEADS
from climlink.config import ConfigError, merged
from climlink.training.architecture_config import ArchitectureConfig
from climlink.training.closure_config import ClosureConfig
from climlink.training.data_config import FurtherStore, ValidationConfig, problems_of_mix
from climlink.training.loss_config import Problem
from climlink.training.optimizer_config import PLATEAU
from climlink.training.stage_config import StageConfig, StageSettings
from climlink.wrappers.auxiliary import auxiliary_names, with_targets
from climlink.wrappers.catalogue import SHIPPED, Catalogue, read_catalogue
from climlink.wrappers.constraints import CONSTRAINTS, changed_entries
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry, NormalizationConfig
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.yaml_file import misfit, said

_HOST_SETS = ("input_set", "output_set")
_SETS = (*_HOST_SETS, "network_input_set", "network_output_set")
Place = tuple[str | int, ...]
"""Keys and list positions that lead to a value of a training file."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def default_constraints() -> list[ConstraintEntry]:
    """Return the whole fixed sequence except the rules that act on levels that only a user can
    name.
    """
    return [ConstraintEntry(name=name) for name, rule in CONSTRAINTS.items() if rule.by_default]


class TrainingConfig(StageSettings):
    """One training run. Paths are relative to the directory the command runs in."""

    name: str = Field(
        pattern=_NAME, description="name of the run and, by default, of its directory runs/NAME"
    )
    store: Path = Field(description="column store made by climlink data prepare")
    statistics: Path | None = Field(
        default=None,
        description="file of climlink data statistics; null: computed from the training split",
    )
    stores: dict[str, FurtherStore] = Field(
        default_factory=dict, description="further stores to mix columns in from, by name"
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
    more_constraints: list[ConstraintEntry] = Field(
        default_factory=list,
        description="constraints besides, each put at its place in the fixed order",
    )
    without_constraints: list[str] = Field(
        default_factory=list, description="names of constraints to leave out of the sequence"
    )
    closure: ClosureConfig | None = Field(
        default=None, description="let every column close in water and energy; null: not"
    )
    from_recipe: str | None = Field(
        default=None, description="the recipe that was merged beneath these settings"
    )
    architecture: ArchitectureConfig
    auxiliary: list[str] = Field(
        default_factory=list,
        description="auxiliary targets that the network predicts besides, for its training only: "
        + ", ".join(auxiliary_names()),
    )
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    stages: list[StageConfig] = Field(
        default_factory=list,
        description="trainings in a row, each with its own keys; none: one, with the run's keys",
    )
    initial_weights: Path | None = Field(
        default=None,
        description="run folder or checkpoint whose network the run begins with, of the same "
        "architecture, sets and statistics (fine-tuning); null: weights of the seed",
    )
    seed: int = Field(
        default=7, ge=0, description="of the initial weights and of the order of columns"
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="auto", description="where the network trains; auto: on a GPU where there is one"
    )
    devices: int | Literal["auto"] = Field(
        default=1,
        description="processes on each node, each with a GPU of its own; auto: one for every GPU",
    )
    nodes: int = Field(
        default=1, ge=1, description="machines; several are started with srun or torchrun"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"] = Field(
        default="32-true",
        description="of the network; derived inputs, normalization and constraints keep theirs",
    )
    tf32: bool = Field(
        default=False, description="let GPUs multiply float32 matrices in TF32 (published)"
    )
    sync_batchnorm: bool = Field(
        default=True, description="batch norms take their statistics over all processes (GPUs only)"
    )
    deterministic: bool = Field(
        default=False,
        description="only algorithms that give the same bits every time, where GPUs have others",
    )
    tensorboard: bool = Field(
        default=True, description="write the lines of metrics.csv for TensorBoard too"
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads; null leaves torch's own choice"
    )
    memory_limit_gib: float = Field(
        default=4.0,
        gt=0,
        description="training columns that need more than this are streamed from the store",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="processes that read streamed columns ahead; 0: a thread of the training",
    )
    shuffle_columns: int = Field(
        default=131_072,
        ge=1,
        description="columns that are shuffled among each other: those of blocks of neighbouring "
        "times, in shuffled order; streaming holds two such pools",
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
        inputs, outputs, network_inputs, network_outputs = found.values()
        both = [n for n in inputs.names if n in outputs]
        if both:
            wrong = f"{', '.join(both)} stand in output_set {outputs.name!r} too"
            yield ("input_set",), f"{wrong}: the truth would be an input"
        if self.closure is not None:
            yield from self.closure.problems(network_outputs.names, self.constraints)
            network_outputs = self.closure.network_outputs(network_outputs)
        try:
            with_targets(network_outputs, self.auxiliary)
        except ContractError as error:
            yield ("auxiliary",), str(error)
        for where, stage in self._with_places():
            for inside, wrong in (
                *stage.loss.unknown_names(outputs.names, network_outputs.names, self.auxiliary),
                *stage.augment.unknown_names(network_inputs.names),
            ):
                yield (*where, *inside), wrong

    @model_validator(mode="after")
    def _constraints_are_known(self) -> TrainingConfig:
        try:
            changed_entries(self.constraints, self.more_constraints, self.without_constraints)
        except ContractError as error:
            raise misfit([(("constraints",), str(error))]) from error
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> TrainingConfig:
        problems = list(self._problems_of_stages())
        if problems:
            raise misfit(problems)
        return self

    def _problems_of_stages(self) -> Iterator[Problem]:
        """Yield what is wrong with the stages, with its key."""
        names = [s.name for s in self.stages]
        for n, name in enumerate(names):
            if name in names[:n]:
                yield ("stages", n, "name"), f"two stages are called {name!r}"
        unscored = self.validation.source == "none"
        told: dict[str, float] = {}
        for n, stage in enumerate(self.stages):
            if stage.start_from == "best" and (n == 0 or unscored):
                wrong = "no stage is before it" if n == 0 else "validation.source is none"
                yield ("stages", n, "start_from"), f"there is no best checkpoint: {wrong}"
        for where, settings in self._with_places():
            told.update(settings.mix)
            for key, wrong in problems_of_mix(self.stores, settings.mix):
                if key[0] == "mix":
                    yield (*where, *key), wrong
            if settings.averaging.kind != "none" and self.precision == "bf16-true":
                wrong = "averages need weights in float32"
                yield (*where, "averaging"), f"{wrong}: use precision bf16-mixed"
            for unused in settings.keys_without_trajectories():
                wrong = "a trajectory is made of recorded columns of one store"
                yield (*where, unused), f"{wrong}: leave {unused} out of its stage"
            if settings.schedule.name == PLATEAU and unscored:
                wrong = f"{PLATEAU} watches held-out times, and validation.source is none"
                yield (*where, "schedule"), f"{wrong}: set it to cut or store"
        for key, wrong in problems_of_mix(self.stores, told):
            if key[0] == "stores":
                yield key, wrong

    def _with_places(self) -> Iterator[tuple[Place, TrainingConfig]]:
        """Yield what each stage trains with, and the keys that lead to it; a validator's error
        where the run's keys and a stage's do not go together.
        """
        if not self.stages:
            yield (), self
        for n in range(len(self.stages)):
            try:
                yield ("stages", n), self.stage(n)
            except ValidationError as error:
                raise misfit(
                    (("stages", n, *e["loc"]), said(e)) for e in error.errors(include_url=False)
                ) from error

    @property
    def stage_names(self) -> list[str]:
        """Names of the stages; the run's own where it is a single one."""
        return [s.name for s in self.stages] or [self.name]

    def stage(self, number: int) -> TrainingConfig:
        """Return what a stage, counted from 0, trains with: the run's keys under its own."""
        if not self.stages:
            return self
        run = self.model_dump(exclude={"stages"}, exclude_unset=True)
        whole = merged(run, self.stages[number].overrides)
        mix = whole.get("mix", {})
        whole["stores"] = {k: v for k, v in whole.get("stores", {}).items() if k in mix}
        return TrainingConfig.model_validate(whole)

    @model_validator(mode="before")
    @classmethod
    def _partition_of_total_cloud(cls, given: Any) -> Any:
        """Leave liquid_ice_partition out of the default sequence where liquid and ice are predicted
        apart.
        """
        if not isinstance(given, Mapping) or "constraints" in given:
            return given
        try:
            catalogue = (
                SHIPPED if not given.get("variables") else read_catalogue(given["variables"])
            )
            outputs = catalogue.members(given.get("network_output_set", "net308"))
        except (ConfigError, ContractError, TypeError):
            return given  # what is wrong with the sets is said below
        if not {"ptend_q0002", "ptend_q0003"} <= set(outputs):
            return given
        rules = [c for c in default_constraints() if c.name != "liquid_ice_partition"]
        return {**given, "constraints": rules}

    def _catalogue(self) -> Catalogue:
        return SHIPPED if self.variables is None else read_catalogue(self.variables)

    @property
    def run_directory(self) -> Path:
        """Where the run is written."""
        return self.output if self.output is not None else Path("runs") / self.name

    @property
    def every_constraint(self) -> list[ConstraintEntry]:
        """The sequence with further constraints and closures, without some."""
        closures = [] if self.closure is None else self.closure.constraints
        added = [*self.more_constraints, *closures]
        return changed_entries(self.constraints, added, self.without_constraints)

    def contract(self, hybrid: HybridCoordinate, time_step_s: float) -> EmulatorContract:
        """Return the contract of the emulator on a vertical grid, with a time step in seconds."""
        catalogue = self._catalogue()
        levels = hybrid.level_count
        sets = (catalogue.variable_set(getattr(self, key), levels) for key in _SETS)
        inputs, outputs, network_inputs, network_outputs = sets
        if self.closure is not None:
            network_outputs = self.closure.network_outputs(network_outputs)
        return EmulatorContract.of(
            inputs=inputs,
            outputs=outputs,
            network_inputs=network_inputs,
            network_outputs=with_targets(network_outputs, self.auxiliary),
            time_step_s=time_step_s,
            hybrid=hybrid,
            pruned_levels=self.pruned_levels,
            normalization=self.normalization,
            constraints=self.every_constraint,
        )

    @property
    def network_configuration(self) -> dict[str, Any]:
        """Configuration of the network, with the heads beside it."""
        heads = {} if self.closure is None else self.closure.heads
        return {**self.architecture.configuration, **({HEADS: heads} if heads else {})}

    def resolved(self) -> TrainingConfig:
        """Return the configuration with presets, and what stages leave out, replaced by explicit
        values.
        """
        stages = [stage.whole(self.stage(n)) for n, stage in enumerate(self.stages)]
        return self.model_copy(
            update={"architecture": self.architecture.resolved(), "stages": stages}
        )
