"""Members out of one training: epochs that were kept, averaged, exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.ensembles.checkpoints import epoch_files
from climlink.ensembles.errors import EnsembleError


def test_epochs_that_were_not_kept_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("epoch_8.ckpt", "epoch_10.ckpt", "last.ckpt"):
        (folder / name).touch()
    files = epoch_files(tmp_path, [10, 8])
    assert [f.name for f in files] == ["epoch_10.ckpt", "epoch_8.ckpt"]
    with pytest.raises(EnsembleError, match="no checkpoint of epoch 9; kept: 8, 10"):
        epoch_files(tmp_path, [8, 9])
    with pytest.raises(EnsembleError, match="give each once"):
        epoch_files(tmp_path, [8, 8])
    with pytest.raises(EnsembleError, match="train with `keep_checkpoints`"):
        epoch_files(tmp_path / "elsewhere", [1])


@pytest.mark.long
def test_a_member_is_the_mean_of_the_epochs(synthetic_store: ColumnStore, tmp_path: Path) -> None:
    from climlink.training.checkpoint import load_checkpoint
    from climlink.training.config import TrainingConfig
    from climlink.training.run import train

    settings = {
        "name": "kept",
        "store": str(synthetic_store.path),
        "output": str(tmp_path / "run"),
        "architecture": {"name": "linear", "configuration": {}},
        "epochs": 3,
        "batch_size": 24,
        "keep_checkpoints": 3,
        "device": "cpu",
    }
    train(TrainingConfig.model_validate(settings), progress=False)
    out = tmp_path / "member.ckpt"
    line = ["ensemble", "checkpoints", str(tmp_path / "run"), "--epochs", "1,3", "-o", str(out)]
    run = CliRunner().invoke(app, line)
    assert run.exit_code == 0, run.output
    first, last, got = (
        load_checkpoint(p).emulator.network.state_dict()
        for p in (*epoch_files(tmp_path / "run", [1, 3]), out)
    )
    for name, value in got.items():
        if value.is_floating_point():
            expected = (first[name].double() + last[name].double()) / 2.0
            # float32 once more
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-9)
    assert any(not torch.equal(first[n], last[n]) for n in first)
    member = tmp_path / "member.pt"
    exported = CliRunner().invoke(app, ["export", str(out), "-o", str(member)])
    assert exported.exit_code == 0, exported.output
