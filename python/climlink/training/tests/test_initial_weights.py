"""A run that begins with the network of another one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from climlink.training.assembly import assemble
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train

Configure = Callable[..., TrainingConfig]


def test_a_run_begins_with_the_weights_of_another_of_its_kind(
    configure: Configure,
) -> None:
    first = train(configure(max_steps=3), progress=False).directory
    theirs = load_checkpoint(first).emulator.state_dict()
    given = {"initial_weights": first, "statistics": first / "statistics.nc", "seed": 8}
    parts = assemble(configure(**given))
    begun = parts.emulator.state_dict()
    assert begun.keys() == theirs.keys()
    assert all(torch.equal(begun[k], theirs[k]) for k in theirs)
    assert parts.record.training["initial_weights"] == str(first)
    alone = assemble(configure(seed=8)).emulator.state_dict()
    assert not all(torch.equal(alone[k], theirs[k]) for k in theirs)

    for changes, message in (
        ({"normalization": {"output_center": "mean"}}, "another normalization"),
        ({"architecture": {"name": "linear"}}, "of another network"),
        ({"network_input_set": "net_v2_features"}, "other network_inputs"),
    ):
        with pytest.raises(TrainingError, match=f"initial_weights.*{message}"):
            assemble(configure(initial_weights=first, **changes))
