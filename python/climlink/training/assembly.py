"""What a run is made of: store, statistics, fitted emulator, and the batches and objective of a
stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from climlink.data.columns import source_names
from climlink.data.errors import DataError
from climlink.data.statistics import compute_statistics, read_statistics
from climlink.data.store import ColumnStore
from climlink.packages.scripting import scripted
from climlink.training.augment import Augmentation
from climlink.training.auxiliary import require_auxiliary, with_auxiliary
from climlink.training.checkpoint import CheckpointRecord, Progress, load_network
from climlink.training.closure import require_closed_columns
from climlink.training.column_data import ColumnData, StageData
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder, HostOutputs, host_outputs
from climlink.training.errors import TrainingError
from climlink.training.features import with_features
from climlink.training.fits import with_fits
from climlink.training.losses import ColumnLoss
from climlink.training.module import ColumnTraining
from climlink.training.trajectory.data import TrajectoryData
from climlink.training.trajectory.loss import TrajectoryLoss
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.recorded_statistics import difference_scale, training_ranges
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.wrapped_emulator import WrappedEmulator


@dataclass(frozen=True)
class Stage:
    """One stage of a run: where it lies in the run, its settings and its batches."""

    name: str
    start_from: str
    config: TrainingConfig
    data: StageData
    begun: Progress
    """What is behind the run when it begins, as far as it is known beforehand."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        whole = self.config.epochs * self.data.steps_per_epoch
        return whole if self.config.max_steps is None else min(whole, self.config.max_steps)

    @property
    def epochs(self) -> int:
        """Epochs, the last of which ``max_steps`` may cut short."""
        return -(-self.steps // self.data.steps_per_epoch)


@dataclass(frozen=True)
class Parts:
    """A run before it begins."""

    store: ColumnStore
    statistics: Statistics
    record: CheckpointRecord
    emulator: WrappedEmulator
    host: HostOutputs
    stages: list[Stage]

    def module(self, stage: Stage, best_skill: float | None) -> ColumnTraining:
        """Return a stage's Lightning module."""
        begun = stage.begun.model_copy(update={"best_skill": best_skill})
        return ColumnTraining(
            self.emulator,
            stage.config,
            self.record.model_copy(update={"progress": begun}),
            self._objective(stage.config),
            None
            if stage.config.trajectory
            else Augmentation(stage.config.augment, self.emulator, self.host),
            steps=stage.steps,
            epochs=stage.epochs,
        )

    def _objective(self, config: TrainingConfig) -> ColumnLoss | TrajectoryLoss:
        loss = ColumnLoss(config.loss, self.emulator, self.host, self.store.target_weights)
        return TrajectoryLoss(config, self.emulator, loss) if config.trajectory else loss


def assemble(config: TrainingConfig) -> Parts:
    """Return store, statistics and fitted emulator of a run; its network has the weights that the
    seed gives, or those of ``initial_weights``. Raises TrainingError, ContractError or DataError
    where they do not fit each other.
    """
    store = ColumnStore.open(config.store)
    contract = config.contract(store.hybrid, store.time_step_s)
    entries = with_fits(contract.constraints, store, config.validation)
    contract = contract.model_copy(update={"constraints": entries})
    _require_variables(store, contract)
    architecture = config.architecture.find()
    network = architecture.build_for(contract, config.network_configuration)
    emulator = WrappedEmulator(contract, network)
    if architecture.origin.kind != "built_in":
        scripted(emulator)  # now, not at export, after hours of training
    statistics = _statistics(config, store, emulator)
    emulator.fit(statistics)
    if config.initial_weights is not None:
        load_network(emulator, config.initial_weights)
    configs = [config.stage(n) for n in range(len(config.stage_names))]
    host = _host_outputs(configs, contract, statistics)
    stages = list(_stages(config, configs, Encoder(store, emulator, host)))
    record = CheckpointRecord(
        contract=contract,
        architecture=architecture.name,
        architecture_origin=architecture.origin,
        architecture_configuration=config.network_configuration,
        seed=config.seed,
        data_digest=store.digest,
        statistics_digest=statistics.digest,
        training=config.model_dump(mode="json"),
        training_ranges=training_ranges(contract, statistics),
        difference_scale=difference_scale(contract, statistics),
        budget=sum(stage.epochs for stage in stages),
    )
    return Parts(store, statistics, record, emulator, host, stages)


def _host_outputs(
    configs: list[TrainingConfig], contract: EmulatorContract, statistics: Statistics
) -> HostOutputs:
    """Return the host outputs that the loss of any stage needs."""
    names = list(dict.fromkeys(n for c in configs for n in c.loss.host_outputs))
    chosen = host_outputs(names, contract.outputs)
    nothing = torch.zeros(0, dtype=torch.float64)
    return HostOutputs(chosen, output_scale(chosen, statistics) if names else nothing)


def _stages(
    run: TrainingConfig, configs: list[TrainingConfig], encoder: Encoder
) -> Iterator[Stage]:
    """Yield the stages, each where the one before ends."""
    begun = Progress()
    starts = [s.start_from for s in run.stages] or ["last"]
    for number, config in enumerate(configs):
        begun = begun.model_copy(update={"stage": number})
        kind = TrajectoryData if config.trajectory else ColumnData
        data = kind(encoder, config, first_epoch=begun.epochs)
        stage = Stage(run.stage_names[number], starts[number], config, data, begun)
        yield stage
        behind = {"epochs": begun.epochs + stage.epochs, "steps": begun.steps + stage.steps}
        begun = begun.model_copy(update=behind)


def _require_variables(store: ColumnStore, contract: EmulatorContract) -> None:
    """Raise TrainingError naming the set whose variables the store neither holds nor can derive."""
    for what, variables in (
        ("input_set", contract.inputs),
        ("output_set", contract.outputs),
        ("network_output_set", contract.network_outputs),
    ):
        try:
            source_names(variables.names, store.variables)
        except DataError as error:
            cannot = f"{store.path} cannot serve {what} {variables.name!r}"
            raise TrainingError(f"{cannot}: {error}") from error
    require_auxiliary(store, contract)
    require_closed_columns(store, contract)


def _statistics(
    config: TrainingConfig, store: ColumnStore, emulator: WrappedEmulator
) -> Statistics:
    """Return statistics of every input and output: read or computed, and completed with the graph's
    own features.
    """
    statistics = (
        compute_statistics(store)
        if config.statistics is None
        else read_statistics(config.statistics)
    )
    if statistics.data_digest not in (None, store.digest):
        raise TrainingError(
            f"{config.statistics}: statistics of other data (digest "
            f"{statistics.data_digest:.12}...) than {store.path} ({store.digest:.12}...); compute "
            "them again or leave statistics out"
        )
    contract, times = emulator.contract, store.indices("train")
    statistics = with_auxiliary(statistics, store, contract)
    size = store.read_together
    parts = (times[i : i + size] for i in range(0, len(times), size))
    blocks = (torch.from_numpy(store.pack(contract.inputs, part)) for part in parts)
    return with_features(statistics, emulator.fields, contract.network_inputs, blocks)
