"""The configuration of a training run, strict: what ``climlink train CONFIG.yaml`` reads and what
the run directory records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from climlink.architectures import Architecture, ArchitectureError, find
from climlink.config import ConfigError, StrictModel, load_config
from climlink.installation import find_configuration
from climlink.wrappers.catalogue import SHIPPED, Catalogue, read_catalogue
from climlink.wrappers.constraints import CONSTRAINTS
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.manifest import ConstraintEntry, NormalizationConfig
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.yaml_file import misfit

_Problem = tuple[tuple[str, ...], str]
"""Keys of a training file, and what is wrong there."""
_HOST_SETS = ("input_set", "output_set")
_SETS = (*_HOST_SETS, "network_input_set", "network_output_set")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def default_constraints() -> list[ConstraintEntry]:
    """Return the whole fixed sequence except output_mask, which acts on levels that only a user can
    name.
    """
    return [ConstraintEntry(name=name) for name in CONSTRAINTS if name != "output_mask"]


class ArchitectureConfig(StrictModel):
    """Which network, by name, and its configuration (``preset`` and any field of it)."""

    name: str = Field(
        description="as `climlink configs architectures` lists it, or as ``file`` registers it"
    )
    file: Path | None = Field(
        default=None, description="Python file that registers an own architecture"
    )
    configuration: dict[str, Any] = Field(
        default_factory=dict, description="fields of the architecture; preset: standard or small"
    )

    @model_validator(mode="after")
    def _resolves(self) -> ArchitectureConfig:
        try:
            self.find().resolved(self.configuration)
        except ArchitectureError as error:
            raise ValueError(str(error)) from error
        return self

    def find(self) -> Architecture:
        """Return the architecture; ArchitectureError if there is none of that name."""
        return find(self.name, self.file)

    def resolved(self) -> ArchitectureConfig:
        """Return the same architecture with its preset replaced by explicit numbers."""
        explicit = self.find().resolved(self.configuration).model_dump()
        return self.model_copy(update={"configuration": explicit})


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

    def unknown_names(self, host: Collection[str], network: Collection[str]) -> Iterator[_Problem]:
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


class ValidationConfig(StrictModel):
    """Which times are held out to measure R2 after each epoch and to choose the best checkpoint.

    ``none``: every training time is trained on and the last checkpoint is the result. ``store``:
    the store's validation split. ``cut``: every ``every``-th time of the training split, from
    ``offset``, is held out of training.
    """

    source: Literal["none", "store", "cut"] = "none"
    every: int = Field(default=5, ge=2)
    offset: int = Field(default=2, ge=0)


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
    device: Literal["cpu", "cuda", "auto"] = "auto"
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

    def _problems_of_sets(self) -> Iterator[_Problem]:
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
            return TrainingConfig.model_validate(_merged(self.model_dump(), overrides))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(
                f"override of {'.'.join(map(str, first['loc'])) or 'the configuration'}: "
                f"{first['msg']}"
            ) from error


def load_training(
    config: str | Path | TrainingConfig, overrides: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """Return a training configuration, a file or a shipped one by name, with some keys replaced;
    ConfigError where one does not fit.
    """
    read = (
        config
        if isinstance(config, TrainingConfig)
        else load_config(find_configuration("training", config), TrainingConfig)
    )
    return read.overridden(overrides) if overrides else read


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = (
            _merged(old, value)
            if isinstance(old, Mapping) and isinstance(value, Mapping)
            else value
        )
    return merged
