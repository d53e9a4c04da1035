"""What a WrappedEmulator is made of besides its network and its buffers; a manifest records it, a
checkpoint carries it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from climlink.wrappers.column_emulator import ColumnShape, RowShape
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import (
    LEVEL,
    CarriedPair,
    Coordinate,
    Size,
    Strict,
    VariableLayout,
    check_network_rows,
    check_rows,
)
from climlink.wrappers.manifest import (
    ConstraintEntry,
    HybridCoefficients,
    Manifest,
    NormalizationConfig,
)
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable
from climlink.wrappers.vertical import HybridCoordinate

COLUMN_GRANULE = 16
"""Rows to whose multiple a forward of columns is filled up: batches of 2 and more give the same
bits, single rows do not.
"""


class EmulatorContract(Strict):
    """Rows of host and network, dimensions, vertical grid, time step in seconds, normalization
    choices and ordered constraints.

    ``outputs`` are values, then carried state; confidence belongs to the network and is added by
    the emulator that has one.
    """

    dims: dict[str, Size]
    coordinates: dict[str, Coordinate] = Field(default_factory=dict)
    input_layout: VariableLayout
    output_layout: VariableLayout
    network_input_layout: VariableLayout
    network_output_layout: VariableLayout
    carried: list[CarriedPair] = Field(default_factory=list)
    batch_granule: int = Field(default=COLUMN_GRANULE, ge=1)
    time_step_s: Annotated[float, Field(gt=0)] | None = None
    calendar: str = "noleap"
    hybrid: HybridCoefficients | None = None
    pruned_levels: int = Field(default=0, ge=0)
    normalization: NormalizationConfig = Field(default_factory=NormalizationConfig)
    constraints: list[ConstraintEntry] = Field(default_factory=list)

    @classmethod
    def of(
        cls,
        *,
        inputs: VariableSet,
        outputs: VariableSet,
        network_inputs: VariableSet | None = None,
        network_outputs: VariableSet | None = None,
        hybrid: HybridCoordinate | None = None,
        **others: Any,
    ) -> EmulatorContract:
        """Return the contract of some sets; a network that sees what the host sends, in its order,
        needs no sets of its own.

        Raises ContractError where a dimension has two sizes, pydantic's ValidationError where parts
        do not fit together.
        """
        network_inputs = network_inputs or without_start(inputs)
        network_outputs = network_outputs or outputs
        return cls(
            dims=_sizes_used(inputs, outputs, network_inputs, network_outputs)
            | ({} if hybrid is None else {LEVEL: hybrid.level_count}),
            input_layout=inputs.layout(),
            output_layout=outputs.layout(),
            network_input_layout=network_inputs.layout(),
            network_output_layout=network_outputs.layout(),
            hybrid=None if hybrid is None else hybrid.entry(),
            **others,
        )

    @model_validator(mode="after")
    def _fits(self) -> EmulatorContract:
        layouts = (
            self.input_layout,
            self.output_layout,
            self.network_input_layout,
            self.network_output_layout,
        )
        for layout in layouts:
            layout.check_dims(self.dims)
            places = [v.role == "carried" for v in layout.variables]
            if layout is not self.input_layout and places != sorted(places):
                raise ValueError(f"carried variables must stand last in set {layout.set!r}")
        check_rows(self.input_layout, self.output_layout, self.carried)
        check_network_rows(self.network_input_layout, self.network_output_layout)
        for host, network in ((layouts[0], layouts[2]), (layouts[1], layouts[3])):
            if [v.name for v in host.of_role("carried")] != [
                v.name for v in network.of_role("carried")
            ]:
                raise ValueError(
                    f"sets {host.set!r} and {network.set!r} must have the same carried variables "
                    "in one order"
                )
        if self.hybrid is not None and len(self.hybrid.hyam) != self.level_count:
            raise ValueError(
                f"there are {self.level_count} levels but the hybrid coefficients have "
                f"{len(self.hybrid.hyam)}"
            )
        return self

    @property
    def level_count(self) -> int:
        """Number of levels; 0 where there is no vertical dimension."""
        return self.dims.get(LEVEL, 0)

    @property
    def inputs(self) -> VariableSet:
        """What the host sends."""
        return VariableSet.from_layout(self.input_layout, self.dims)

    @property
    def outputs(self) -> VariableSet:
        """What the host receives, without confidence."""
        return VariableSet.from_layout(self.output_layout, self.dims)

    @property
    def network_inputs(self) -> VariableSet:
        """What the network reads."""
        return VariableSet.from_layout(self.network_input_layout, self.dims)

    @property
    def network_outputs(self) -> VariableSet:
        """What the network writes."""
        return VariableSet.from_layout(self.network_output_layout, self.dims)

    @property
    def coordinate(self) -> HybridCoordinate | None:
        """The vertical grid, None where there is none."""
        return None if self.hybrid is None else HybridCoordinate.from_manifest(self.hybrid)

    @property
    def row_shape(self) -> RowShape:
        """What a network on whole rows reads and writes."""
        return RowShape(self.network_inputs, self.network_outputs)

    @property
    def network_shape(self) -> ColumnShape:
        """Channels and levels of a column network; ContractError for variables that are neither
        profiles nor single values.
        """
        i, o = self.network_inputs, self.network_outputs
        others = [
            f"{v.name} [{', '.join(v.dims)}]"
            for s in (i, o)
            for v in s.variables
            if v.dims and not v.is_profile
        ]
        if others:
            raise ContractError(
                f"a column network takes profiles and single values; {', '.join(others)} need a "
                "network on rows"
            )
        return ColumnShape(
            len(i.profiles),
            len(i.scalars),
            len(o.profiles),
            len(o.scalars),
            self.level_count,
            tuple(v.name for v in (*o.profiles, *o.scalars)),
        )

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> EmulatorContract:
        """Return the contract that a manifest records; ContractError for a graph of which it does
        not say what is inside.
        """
        m = manifest
        if (
            m.network_inputs is None
            or m.network_outputs is None
            or m.normalization is None
            or m.constraints is None
        ):
            raise ContractError(
                f"{m.name!r} is an imported graph: its normalization and constraints are inside it "
                "and unknown, so it cannot be taken apart; use a package made by `climlink export` "
                "here"
            )
        outputs = host_sets(m)[1].of_role("value", "carried")
        return cls(
            dims=m.dims,
            coordinates=m.coordinates,
            input_layout=m.inputs,
            output_layout=outputs.layout(),
            network_input_layout=m.network_inputs,
            network_output_layout=m.network_outputs,
            carried=m.carried,
            batch_granule=m.batch_granule,
            time_step_s=m.time_step_s,
            calendar=m.calendar,
            hybrid=m.hybrid,
            pruned_levels=m.pruned_levels or 0,
            normalization=m.normalization.configuration,
            constraints=m.constraints,
        )


def without_start(inputs: VariableSet) -> VariableSet:
    """Return what a network sees of a host's inputs, in their order: all but the mark of the first
    step, carried state last.
    """
    values, carried = inputs.of_role("value"), inputs.of_role("carried")
    return VariableSet(inputs.name, values.variables + carried.variables, inputs.sizes)


def _sizes_used(*sets: VariableSet) -> dict[str, int]:
    """Return the sizes of the dimensions that variables of some sets have; ContractError where two
    of them differ.
    """
    sizes: dict[str, int] = {}
    for s in sets:
        for name in (d for v in s.variables for d in v.dims):
            if sizes.setdefault(name, s.sizes[name]) != s.sizes[name]:
                raise ContractError(
                    f"dimension {name} is {sizes[name]} long in one set and {s.sizes[name]} in set "
                    f"{s.name!r}"
                )
    return sizes


def host_sets(manifest: Manifest) -> tuple[VariableSet, VariableSet]:
    """Return what the host of a package sends and receives, confidence and carried state
    included.
    """
    sizes = manifest.dims
    return VariableSet.from_layout(manifest.inputs, sizes), VariableSet.from_layout(
        manifest.outputs, sizes
    )


def value_sets(manifest: Manifest) -> tuple[VariableSet, VariableSet]:
    """Return the quantities that a package reads and predicts, without start, carried state and
    confidence.
    """
    inputs, outputs = host_sets(manifest)
    return inputs.of_role("value"), outputs.of_role("value")


def confidence_of(network_outputs: VariableSet) -> VariableSet:
    """Return the confidence of a network's values as variables ``confidence_NAME`` of their own,
    without units.
    """
    variables = tuple(
        Variable(
            f"confidence_{v.name}", "1", f"confidence of {v.long_name}", v.dims, role="confidence"
        )
        for v in network_outputs.of_role("value").variables
    )
    return VariableSet(network_outputs.name, variables, network_outputs.sizes)


def reordered(host: VariableLayout, network: VariableLayout) -> bool:
    """Say whether variables that both rows have stand in another order in the network's than in
    the host's.
    """
    taken = {v.name for v in network.variables}
    both = [v.name for v in host.variables if v.name in taken]
    return both != [v.name for v in network.variables if v.name in both]
