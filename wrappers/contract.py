"""What a WrappedEmulator is made of besides its network and its buffers; a manifest records it, a checkpoint carries it."""

from __future__ import annotations

from pydantic import Field, model_validator

from climlink.wrappers.column_emulator import ColumnShape
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry, HybridCoefficients, Manifest, NormalizationConfig, Strict, VariableLayout
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names
from climlink.wrappers.vertical import HybridCoordinate


class EmulatorContract(Strict):
    """Variable sets, vertical grid, time step in seconds, normalization choices and the ordered physical constraints."""

    input_set: str
    output_set: str = "mmf368"
    network_input_set: str
    network_output_set: str
    level_count: int = Field(ge=1)
    time_step_s: float = Field(gt=0)
    calendar: str = "noleap"
    hybrid: HybridCoefficients
    pruned_levels: int = Field(ge=0)
    normalization: NormalizationConfig
    constraints: list[ConstraintEntry]

    @model_validator(mode="after")
    def _known_sets(self) -> EmulatorContract:
        for role, name in (
            ("host_input", self.input_set),
            ("host_output", self.output_set),
            ("network_input", self.network_input_set),
            ("network_output", self.network_output_set),
        ):
            if name not in variable_set_names(role):
                raise ValueError(f"{name!r} is not a {role} set; choose one of {', '.join(variable_set_names(role))}")
        if len(self.hybrid.hyam) != self.level_count:
            raise ValueError(f"level_count is {self.level_count} but the hybrid coefficients have {len(self.hybrid.hyam)} levels")
        return self

    @property
    def inputs(self) -> VariableSet:
        """What the host sends."""
        return variable_set(self.input_set, self.level_count)

    @property
    def outputs(self) -> VariableSet:
        """What the host receives."""
        return variable_set(self.output_set, self.level_count)

    @property
    def network_inputs(self) -> VariableSet:
        """What the network reads."""
        return variable_set(self.network_input_set, self.level_count)

    @property
    def network_outputs(self) -> VariableSet:
        """What the network writes."""
        return variable_set(self.network_output_set, self.level_count)

    @property
    def coordinate(self) -> HybridCoordinate:
        """The vertical grid."""
        return HybridCoordinate.from_manifest(self.hybrid)

    @property
    def network_shape(self) -> ColumnShape:
        """Channels and levels of the network."""
        i, o = self.network_inputs, self.network_outputs
        return ColumnShape(len(i.profiles), len(i.scalars), len(o.profiles), len(o.scalars), self.level_count)

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> EmulatorContract:
        """Return the contract that a manifest records.

        ContractError if this climlink's sets of those names are laid out otherwise, or for an imported graph.
        """
        if (
            manifest.network_inputs is None
            or manifest.network_outputs is None
            or manifest.hybrid is None
            or manifest.pruned_levels is None
            or manifest.normalization is None
            or manifest.constraints is None
        ):
            raise ContractError(
                f"{manifest.name!r} is an imported graph: its normalization and constraints are inside it and unknown, so it cannot be "
                "taken apart; use a package made by `climlink export` here"
            )
        contract = cls(
            input_set=manifest.inputs.set,
            output_set=manifest.outputs.set,
            network_input_set=manifest.network_inputs.set,
            network_output_set=manifest.network_outputs.set,
            level_count=manifest.level_count,
            time_step_s=manifest.time_step_s,
            calendar=manifest.calendar,
            hybrid=manifest.hybrid,
            pruned_levels=manifest.pruned_levels,
            normalization=manifest.normalization.configuration,
            constraints=manifest.constraints,
        )
        host_sets(manifest)
        for layout in (manifest.network_inputs, manifest.network_outputs):
            _known_set(manifest, layout)
        return contract


def host_sets(manifest: Manifest) -> tuple[VariableSet, VariableSet]:
    """Return what the host of a package sends and receives; ContractError if this climlink's sets of those names are laid out otherwise."""
    return _known_set(manifest, manifest.inputs), _known_set(manifest, manifest.outputs)


def _known_set(manifest: Manifest, layout: VariableLayout) -> VariableSet:
    known = variable_set(layout.set, manifest.level_count)
    if _order(layout) != _order(known.layout()):
        raise ContractError(
            f"the manifest of {manifest.name!r} lays out set {layout.set!r} otherwise than this climlink does (names, units, "
            "widths or lags differ); read it with the climlink version that wrote it"
        )
    return known


def _order(layout: VariableLayout) -> list[tuple[str, str, int, int, int]]:
    return [(v.name, v.units, v.width, v.offset, v.lag) for v in layout.variables]
