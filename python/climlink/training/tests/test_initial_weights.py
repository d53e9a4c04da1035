"""A run that begins with the network of another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from climlink.training.assembly import assemble
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train

Configure = Callable[..., TrainingConfig]


def test_a_run_begins_with_the_weights_of_another_of_its_kind(
    configure: Configure, tmp_path: Path
) -> None:
    first = train(configure(max_steps=3), progress=False).directory
    theirs = load_checkpoint(first).emulator.state_dict()
    given = {"initial_weights": first, "statistics": first / "statistics.nc", "seed": 8}
    begun = assemble(configure(**given)).emulator.state_dict()
    assert begun.keys() == theirs.keys()
    assert all(torch.equal(begun[k], theirs[k]) for k in theirs)
    alone = assemble(configure(seed=8)).emulator.state_dict()
    assert not all(torch.equal(alone[k], theirs[k]) for k in theirs)

    still = {"learning_rate": 1e-30, "weight_decay": 0.0}  # float32 does not notice
    config = configure(**given, optimizer=still, max_steps=2, output=tmp_path / "second")
    second = load_checkpoint(train(config, progress=False).directory)
    assert all(torch.equal(v, theirs[k]) for k, v in second.emulator.state_dict().items())
    assert second.record.training["initial_weights"] == str(first)

    for changes, message in (
        ({"normalization": {"output_center": "mean"}}, "another normalization"),
        ({"architecture": {"name": "linear"}}, "of another network"),
        ({"network_input_set": "net_v2_features"}, "other network_inputs"),
    ):
        with pytest.raises(TrainingError, match=f"initial_weights.*{message}"):
            assemble(configure(initial_weights=first, **changes))
