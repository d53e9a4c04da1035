"""The block ``closure`` of a training file: what it adds, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from climlink.data.store import ColumnStore
from climlink.training.config import TrainingConfig
from climlink.wrappers.contract import EmulatorContract

Configure = Callable[..., TrainingConfig]


def _contract(config: TrainingConfig) -> EmulatorContract:
    store = ColumnStore.open(config.store)
    return config.contract(store.hybrid, store.time_step_s)


def test_it_adds_output_head_and_constraints(configure: Configure) -> None:
    plain = configure()
    assert plain.closure is None
    assert plain.network_configuration == {"hidden": [24]}
    config = configure(closure={}, auxiliary=["aux_slat"])
    contract = _contract(config)
    assert contract.network_outputs.names[-2:] == ("toa_net", "aux_slat")
    assert contract.network_outputs.of_role("value").names[-1] == "toa_net"
    rules = [c.name for c in contract.constraints]
    assert rules == [*(c.name for c in plain.constraints), "water_closure", "energy_closure"]
    assert config.network_configuration["output_heads"] == {"toa_net": [192, 96]}
    resolved = config.resolved().network_configuration
    assert resolved["output_heads"] == {"toa_net": [192, 96]}
    assert resolved["hidden"] == [24]
    assert _contract(plain).outputs == contract.outputs, "a host sees no difference"

    water = configure(closure={"energy": False, "top_level": 7})
    contract = _contract(water)
    assert contract.network_outputs == _contract(plain).network_outputs
    assert contract.constraints[-1].model_dump() == {
        "name": "water_closure",
        "parameters": {"top_level": 7},
    }
    assert "output_heads" not in water.network_configuration


def test_the_loss_knows_the_head(configure: Configure) -> None:
    loss = {"weight_of": {"toa_net": 4.0}}
    assert configure(closure={}, loss=loss).loss.weight_of == {"toa_net": 4.0}
    with pytest.raises(ValidationError, match="toa_net is none"):
        configure(loss=loss)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"closure": {"water": False, "energy": False}}, "leave closure out"),
        ({"closure": {"head": [0]}}, "greater than or equal to 1"),
        (
            {"closure": {}, "constraints": [{"name": "water_closure"}]},
            "closure adds water_closure: leave it out",
        ),
    ],
)
def test_what_it_refuses(configure: Configure, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        configure(**fields)


def test_an_output_that_is_in_the_set_already_is_refused(configure: Configure, tmp_path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text('sets: {with_top: ["*net308", toa_net]}\n', encoding="utf-8")
    sets = {"variables": own, "network_output_set": "with_top"}
    with pytest.raises(ValidationError, match="toa_net stands in network_output_set"):
        configure(closure={}, **sets)
    rules = [*configure().constraints, {"name": "energy_closure"}]
    contract = _contract(configure(constraints=rules, **sets))
    assert contract.constraints[-1].name == "energy_closure", "a network may predict it itself"
