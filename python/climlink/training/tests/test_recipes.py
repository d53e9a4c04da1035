"""The shipped recipes: what the network reads and writes in each, and in what they differ from the
standard one.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml

from climlink.data.synthetic import synthetic_hybrid
from climlink.installation import configurations
from climlink.training.config import TrainingConfig
from climlink.wrappers.column_emulator import ColumnShape
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.derived import NetworkFields

# profiles and scalars that the published networks read (reference: 25 + 17 and 23 + 19 channels of
# the larger ones), and the width of the host's row
READ = {
    "standard": (9, 17, 557),
    "confidence": (9, 17, 557),
    "difference": (9, 17, 557),
    "multirepresentation": (25, 17, 557),
    "v6": (23, 19, 1519),
}


def recipe(name: str) -> dict[str, Any]:
    values = yaml.safe_load(configurations("recipes")[name].read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def contract(name: str) -> EmulatorContract:
    """Return the contract of a recipe beneath a minimal training file; loss and architecture do not
    enter it.
    """
    values = {k: v for k, v in recipe(name).items() if k not in ("loss", "architecture")}
    others = {"name": "a", "store": "s.zarr", "epochs": 1, "architecture": {"name": "linear"}}
    return TrainingConfig.model_validate({**values, **others}).contract(
        synthetic_hybrid(60), 1200.0
    )


@pytest.mark.parametrize("name", READ)
def test_a_recipe_gives_the_published_shape(name: str) -> None:
    profiles, scalars, width = READ[name]
    made = contract(name)
    assert made.network_shape == ColumnShape(profiles, scalars, 5, 8, 60)
    assert (made.inputs.width, made.outputs.width, made.pruned_levels) == (width, 368, 15)
    fields = NetworkFields(made.inputs, made.network_inputs, made.coordinate)
    rows = torch.ones(2, width)
    assert fields(rows).shape == (2, made.network_inputs.width)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("confidence", {"architecture", "loss"}),
        ("difference", {"loss"}),
        ("multirepresentation", {"network_input_set", "normalization"}),
        ("v6", {"input_set", "network_input_set", "normalization"}),
    ],
)
def test_a_recipe_differs_from_the_standard_one_only_where_it_is_meant_to(
    name: str, changes: set[str]
) -> None:
    standard, other = recipe("standard"), recipe(name)
    keys = {*standard, *other}
    assert {k for k in keys if standard.get(k) != other.get(k)} == changes
    for key in changes - {"architecture"}:
        if isinstance(standard[key], dict):
            kept = standard[key].items() & other[key].items()
            assert {k for k, _ in kept} >= standard[key].keys() - {"scheme", "humidity_clip"}


def test_what_is_special_in_each() -> None:
    assert recipe("standard")["loss"] == {"kind": "huber", "delta": 1.0}
    assert recipe("confidence")["architecture"] == {"configuration": {"confidence": True}}
    assert recipe("confidence")["loss"]["confidence_weight"] == 1.0
    assert recipe("difference")["loss"]["level_differences"] == {1: 1.0}
    assert contract("v6").normalization.lagged_clip == "range"
    three = contract("multirepresentation").normalization
    assert (three.cloud_transform, three.humidity_clip, three.log_anchor) == (
        True,
        "always",
        "minimum",
    )


@pytest.mark.parametrize("name", READ)
def test_the_options_named_in_the_comments_exist(name: str) -> None:
    """Every ``key: value`` that a comment gives for the original behaviour is accepted."""
    text = configurations("recipes")[name].read_text(encoding="utf-8")
    options = [
        line.removeprefix("#").split("  ") for line in text.splitlines() if line.startswith("#   ")
    ]
    found = [next(part for part in words if part).strip() for words in options]
    assert found or name in ("confidence", "difference")
    for option in found:
        path, value = yaml.safe_load(option).popitem()
        keys = path.split(".")
        others = {"name": "a", "store": "s", "epochs": 1, "architecture": {"name": "linear"}}
        made = TrainingConfig.model_validate(
            {**others, **({keys[0]: value} if len(keys) == 1 else {keys[0]: {keys[1]: value}})}
        )
        dumped: Any = made.model_dump()
        for key in keys:
            dumped = dumped[key]
        assert dumped == value
