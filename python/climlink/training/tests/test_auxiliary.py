"""A run with auxiliary targets: trained, exported, and the same to a host as one without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from climlink.config import ConfigError, parse_config
from climlink.data.grid import find_grid
from climlink.data.prepare import prepare
from climlink.data.split import RowRange, Split
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.tables.config import TableConfig
from climlink.packages.export import eager_emulator, export_run
from climlink.runtime import Emulator
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train
from climlink.wrappers.auxiliary import auxiliary_names
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.variable_sets import variable_set


def _config(store: Path, output: Path, **fields: Any) -> TrainingConfig:
    base = {
        "name": "a",
        "store": store,
        "output": output,
        "epochs": 1,
        "batch_size": 24,
        "device": "cpu",
        "threads": 1,
        "architecture": {"name": "linear"},
    }
    return TrainingConfig.model_validate({**base, **fields})


def test_a_run_learns_them_and_its_package_keeps_them_to_itself(
    synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    config = _config(
        synthetic_store.path,
        tmp_path / "run",
        auxiliary=auxiliary_names(),
        epochs=20,
        optimizer={"learning_rate": 0.03, "weight_decay": 0.0},
        loss={"outputs": ["aux_slat", "aux_state_class"]},
    )
    result = train(config, progress=False)
    trained = load_checkpoint(result.directory)
    outputs = trained.contract.network_outputs
    x = torch.from_numpy(synthetic_store.pack(trained.contract.inputs, [0, 1, 2]))
    truth = synthetic_store.targets(outputs, [0, 1, 2])[:, outputs.offset("aux_slat")]
    with torch.no_grad():
        rows, _ = trained.emulator.normalized_forward(x)
    guess = rows[:, outputs.offset("aux_slat")].numpy()
    # 72 columns, 557 inputs: a linear network can tell them all apart, if it is taught to.
    assert np.corrcoef(guess, truth)[0, 1] > 0.8
    package = export_run(result.directory, tmp_path / "wrap_model.pt")
    m = package.manifest
    assert m.outputs.of_role("auxiliary") == []
    assert m.n_output == 368
    assert m.network_outputs is not None
    names = [v.name for v in m.network_outputs.of_role("auxiliary")]
    assert names == list(outputs.of_role("auxiliary").names)
    with torch.no_grad():
        expected = trained.emulator.eval()(x)
        assert torch.equal(eager_emulator(package)(x), expected)
    received = torch.from_numpy(Emulator(package.path).run_packed(x.numpy()))
    scale = np.concatenate(
        [np.resize(m.difference_scale[v.name], v.width) for v in m.outputs.variables]
    )
    difference = scaled_difference(received, expected, torch.from_numpy(scale))
    assert float(difference.max()) < m.tolerance("torchscript", "cpu", "float32")


def test_a_table_that_cannot_give_one_is_refused_before_anything_is_done(
    synthetic_store: ColumnStore, synthetic_dir: Path, tmp_path: Path
) -> None:
    sets = [variable_set(n, synthetic_store.level_count) for n in ("climsim_v2", "mmf368")]
    parts = [synthetic_store.pack(sets[0], [0]), synthetic_store.targets(sets[1], [0])]
    for name, values in zip(("input", "target"), parts, strict=True):
        np.save(tmp_path / f"train_{name}.npy", values.astype(np.float32))
    prepare(
        tmp_path,
        tmp_path / "table.zarr",
        split=Split(train=(RowRange(rows=(0.0, 1.0)),)),
        grid=find_grid(synthetic_dir),
        config=StoreConfig(
            table=TableConfig(inputs="climsim_v2", outputs="mmf368", values="physical")
        ),
    )
    config = _config(tmp_path / "table.zarr", tmp_path / "run", auxiliary=["ptend_rh", "aux_slat"])
    with pytest.raises(TrainingError, match=r"auxiliary target aux_slat: .*neither time nor place"):
        train(config, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("auxiliary: [aux_lat]\n", ["auxiliary", "unknown auxiliary target 'aux_lat'", "aux_slat"]),
        ("auxiliary: [ptend_rh, ptend_rh]\n", ["auxiliary", "stands twice"]),
        (
            "loss: {auxiliary_weight_of: {ptend_rh: 1.0}}\n",
            ["loss.auxiliary_weight_of", "ptend_rh", "there are none"],
        ),
        ("loss: {outputs: [ptend_x]}\n", ["loss.outputs", "ptend_x"]),
    ],
)
def test_a_wrong_name_is_told_with_its_key(keys: str, words: list[str]) -> None:
    text = "name: a\nstore: s\nepochs: 1\narchitecture: {name: linear}\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text + keys, TrainingConfig, "a.yaml")
    for word in words:
        assert word in str(caught.value)
