"""Constraints switched off in the graph: what is left is the graph that was built without them, bit
for bit.
"""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from climlink.wrappers.errors import ContractError

NEEDED = "liquid_ice_partition"  # makes ptend_q0002 and ptend_q0003


def _built_without(make, names: set[str], x: Tensor) -> Tensor:
    """Return what an emulator of the same weights gives whose contract does not list the
    constraints.
    """
    contract = make.contract(constraints=tuple(n for n in make.all_constraints if n not in names))
    with torch.no_grad():
        return make.emulator(contract)(x)


def _wild(make) -> Tensor:
    """Return columns in which every rule has something to do: the network is random, half of the
    columns are at night.
    """
    contract = make.contract()
    x = make.rows(contract, 32)
    sun = contract.inputs.offset("pbuf_COSZRS")
    x[::2, sun] = 0.0
    return x


def test_every_rule_alone_switched_off_is_the_graph_built_without_it(make) -> None:
    x = _wild(make)
    with torch.no_grad():
        whole = make.emulator(make.contract())(x)
        for name in make.all_constraints:
            if name == NEEDED:
                continue
            emulator = make.emulator(make.contract())
            emulator.constraints.switch_off([name])
            expected = _built_without(make, {name}, x)
            script = torch.jit.script(emulator)
            assert torch.equal(emulator(x), expected), name
            assert torch.equal(script(x), expected), name
            assert torch.equal(torch.jit.freeze(script)(x), expected), name
            assert not torch.equal(expected, whole), (
                f"{name} does nothing to these columns: the test would not notice it"
            )
            assert not any(key.startswith(name + "/") for key in emulator.constraint_changes(x))


@settings(max_examples=8, deadline=None)
@given(
    off=st.sets(
        st.sampled_from(
            [
                "prune",
                "output_mask",
                "stratospheric_water",
                "positivity",
                "night",
                "net_shortwave_closure",
            ]
        )
    )
)
def test_any_set_of_rules_switched_in_a_saved_graph(make, off: set[str]) -> None:
    x = _wild(make)
    saved = io.BytesIO()
    torch.jit.save(torch.jit.script(make.emulator(make.contract())), saved)
    saved.seek(0)
    script = torch.jit.load(saved)
    rules = dict(zip(script.constraints.names, script.constraints.rules.children(), strict=True))
    for name in off:
        rules[name].enabled = False
    with torch.no_grad():
        assert torch.equal(torch.jit.freeze(script)(x), _built_without(make, off, x))


def test_a_rule_that_makes_outputs_has_no_use_for_its_switch(make) -> None:
    emulator = make.emulator(make.contract())
    with pytest.raises(
        ContractError, match=r"liquid_ice_partition.*ptend_q0002, ptend_q0003 would not exist"
    ):
        emulator.constraints.switch_off([NEEDED])
    assert {r.name: r.makes for r in emulator.constraints.rules if r.makes} == {
        NEEDED: "ptend_q0002, ptend_q0003"
    }


def test_unknown_names_are_refused_with_the_near_ones(make) -> None:
    with pytest.raises(
        ContractError,
        match=r"no constraint 'nihgt'; did you mean 'night'\?.*there are: "
        r"input_clip, unskilled_to_mean, stable_top",
    ):
        make.emulator(make.contract()).constraints.switch_off(["nihgt"])


def test_switches_are_no_parameters(make) -> None:
    """Checkpoints made before there were switches load, and those made since load there."""
    assert not any(
        "enabled" in key or "makes" in key for key in make.emulator(make.contract()).state_dict()
    )
