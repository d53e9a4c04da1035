"""Auxiliary outputs in the contract and in the emulator: they stand in the network's row and
nowhere else.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from climlink.wrappers.auxiliary import auxiliary_names, auxiliary_variables, with_targets
from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.contract import EmulatorContract, confidence_of
from climlink.wrappers.errors import ContractError
from climlink.wrappers.network_check import check_network
from climlink.wrappers.normalization import OUTPUT_FLOORS, output_scale
from climlink.wrappers.packing import ColumnRows
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

TARGETS = ("aux_slat", "ptend_rh", "aux_state_class")


def _contract(make, outputs: VariableSet | None = None) -> EmulatorContract:
    plain = make.contract()
    return EmulatorContract.of(
        inputs=plain.inputs,
        outputs=plain.outputs,
        network_inputs=plain.network_inputs,
        network_outputs=outputs or with_targets(plain.network_outputs, TARGETS),
        hybrid=plain.coordinate,
        time_step_s=plain.time_step_s,
        pruned_levels=plain.pruned_levels,
        constraints=plain.constraints,
    )


def _statistics(make) -> Statistics:
    std = torch.linspace(0.0, 2e-5, make.levels, dtype=torch.float64)
    zero = torch.zeros_like(std)
    known = make.statistics(make.levels)
    rh = VariableStatistics(zero, std, -std, std)
    return dataclasses.replace(known, variables={**known.variables, "ptend_rh": rh})


class Numbered(RowNetwork):
    """Gives the first inputs as outputs, and the position of each output as its confidence."""

    def __init__(self, n_output: int, n_confidence: int) -> None:
        super().__init__()
        self.has_confidence: bool = True
        self.n_output: int = n_output
        self.register_buffer("position", torch.arange(float(n_confidence)))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows[:, : self.n_output], self.position.expand(rows.shape[0], -1)


def test_a_host_receives_what_it_would_without_them(make) -> None:
    """The same network's rows, cut to the values, through the contract without auxiliary outputs
    give the same host rows, bit for bit, in Python and TorchScript.
    """
    plain, contract = make.contract(), _contract(make)
    values, width = plain.network_outputs.width, contract.network_outputs.width
    assert width == values + 1 + make.levels + 5
    network = Numbered(width, values)
    check_network(network, contract)
    emulator = WrappedEmulator(contract, network).fit(_statistics(make)).eval()
    without = WrappedEmulator(plain, Numbered(values, values)).fit(_statistics(make)).eval()
    x = make.rows(plain, 20)
    assert torch.equal(emulator(x), without(x))
    assert torch.equal(torch.jit.script(emulator)(x), without(x))
    rows, confidence = emulator.normalized_forward(x)
    assert rows.shape == (20, width)
    assert torch.equal(confidence, torch.arange(float(values)).expand(20, -1))
    assert confidence_of(contract.network_outputs).width == values


class Ordered(ColumnEmulator):
    """Gives the position of every value among profiles and scalars, as output and as confidence."""

    has_confidence = True

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = self.shape
        n = s.profile_outputs * s.level_count
        every = torch.arange(float(n + s.scalar_outputs)).expand(profiles.shape[0], -1)
        return every[:, :n].reshape(-1, s.profile_outputs, s.level_count), every[:, n:], every


def test_confidence_of_a_column_network_stands_where_its_output_does(make) -> None:
    """A profile behind scalars, as ptend_rh is, moves in the row, and confidence with it; that of
    auxiliary outputs has no reader.
    """
    contract = _contract(make)
    network = Ordered(contract.network_shape)
    rows, confidence = ColumnRows(network, contract.network_inputs, contract.network_outputs)(
        torch.zeros(2, contract.network_inputs.width)
    )
    check_network(network, contract)
    assert torch.equal(rows[:, : contract.network_outputs.of_role("value").width], confidence)
    place = contract.network_outputs.offset("cam_out_NETSW")
    assert rows[0, place] != place, "the order of channels would show nothing"


def test_bounded_targets_are_not_scaled_and_tendencies_have_a_floor(make) -> None:
    outputs = _contract(make).network_outputs
    scale = output_scale(outputs, _statistics(make))
    expected = torch.linspace(0.0, 2e-5, make.levels, dtype=torch.float64).clamp(
        min=OUTPUT_FLOORS["1/s"]
    )
    assert torch.equal(scale[outputs.slice("ptend_rh")], expected)
    for name in ("aux_slat", "aux_state_class_1", "aux_state_class_5"):
        assert float(scale[outputs.offset(name)]) == 1.0


def test_their_place_is_in_the_networks_outputs_behind_the_values(make) -> None:
    plain = make.contract()
    target = auxiliary_variables(["aux_slat"])
    outputs = plain.network_outputs
    first = VariableSet("first", target + outputs.variables, outputs.sizes)
    with pytest.raises(ValidationError, match=r"order value, confidence, auxiliary, carried"):
        _contract(make, first)
    fields = {n: getattr(plain, n) for n in type(plain).model_fields}
    for key in ("input_layout", "output_layout", "network_input_layout"):
        variables = VariableSet.from_layout(getattr(plain, key), plain.dims)
        more = VariableSet("more", variables.variables + target, variables.sizes).layout()
        with pytest.raises(ValidationError, match="aux_slat of set 'more' has role 'auxiliary'"):
            EmulatorContract(**{**fields, key: more})


def test_an_unknown_target_and_one_given_twice_are_refused(make) -> None:
    outputs = make.contract().network_outputs
    with pytest.raises(ContractError, match=r"unknown auxiliary target 'aux_lat'.*aux_slat"):
        with_targets(outputs, ["aux_lat"])
    with pytest.raises(ContractError, match="'aux_slat' stands twice"):
        with_targets(outputs, ["aux_slat", "aux_slat"])
    whole = with_targets(outputs, auxiliary_names())
    assert whole.width == outputs.width + 8 + make.levels + 5
    assert whole.of_role("value").names == outputs.names
