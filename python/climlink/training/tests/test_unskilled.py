"""Outputs without skill on held-out times, found and answered with the training mean; liquid and
ice predicted apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.packages.export import export_run
from climlink.runtime import Emulator
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train
from climlink.training.unskilled import unskilled_entry, with_means
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_STAMPS = tuple(f"0008-{month:02d}-11-03600" for month in range(1, 7))
_HELD = ValidationConfig(source="store")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return a store of four times to train, one to validate and one to test, 24 columns of 16
    levels.
    """
    from climlink.data.prepare import prepare

    folder = tmp_path_factory.mktemp("unskilled")
    write_dataset(folder / "pairs", _STAMPS, n_column=24, level_count=16)
    split = Split(validation=(_STAMPS[4],), test=(_STAMPS[5],))
    prepare(folder / "pairs", folder / "store.zarr", split=split)
    return ColumnStore.open(folder / "store.zarr")


def _config(store: ColumnStore, folder: Path, **fields: Any) -> TrainingConfig:
    base: dict[str, Any] = {
        "name": "small",
        "store": store.path,
        "output": folder / "run",
        "pruned_levels": 3,
        "architecture": {"name": "linear"},
        "validation": {"source": "store"},
        "epochs": 1,
        "batch_size": 24,
        "device": "cpu",
        "threads": 1,
    }
    return TrainingConfig.model_validate({**base, **fields})


@pytest.fixture(scope="module")
def emulator(store: ColumnStore, tmp_path_factory: pytest.TempPathFactory) -> WrappedEmulator:
    """Return an emulator after one epoch."""
    config = _config(store, tmp_path_factory.mktemp("one_epoch"))
    return load_checkpoint(train(config, progress=False).directory).emulator


def test_levels_with_negative_r2_get_the_training_mean(
    store: ColumnStore, emulator: WrappedEmulator
) -> None:
    entry = unskilled_entry(emulator, store, _HELD)
    outputs = emulator.contract.network_outputs
    truth = {
        split: outputs.unpack(torch.from_numpy(store.targets(outputs, store.indices(split))))
        for split in ("train", "validation")
    }
    rows = torch.from_numpy(store.pack(emulator.contract.inputs, store.indices("validation")))
    with torch.no_grad():
        predicted = emulator.physical_outputs(emulator.normalized_forward(rows)[0])
    levels, means = entry.parameters["levels"], entry.parameters["means"]
    counted = 0
    for name in outputs.names:
        t, p = (v.numpy().reshape(24, -1) for v in (truth["validation"][name], predicted[name]))
        error, spread = ((p - t) ** 2).sum(0), ((t - t.mean(0)) ** 2).sum(0)
        expected = np.flatnonzero((spread > 0.0) & (error > spread))
        assert levels.get(name, []) == expected.tolist(), name
        mean = truth["train"][name].numpy().reshape(96, -1).mean(0)[expected]
        np.testing.assert_allclose(means.get(name, []), mean, rtol=1e-12, atol=1e-30)
        counted += len(expected)
    assert 0 < counted < outputs.width, "one epoch must leave outputs of both kinds"
    changed = with_means(emulator, entry)
    with torch.no_grad():
        raw = changed.constraints.rules[0]({}, predicted)
        again = with_means(changed, entry)(rows)
        assert torch.equal(again, changed(rows))
        assert not torch.equal(again, emulator(rows))
    name, at = next((n, k[0]) for n, k in levels.items() if k)
    assert raw[name][:, at].unique().tolist() == [means[name][0]]
    with pytest.raises(TrainingError, match="held-out times only"):
        unskilled_entry(emulator, store, ValidationConfig(source="none"))


def test_test_times_are_never_read(
    store: ColumnStore, emulator: WrappedEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    for method in ("pack", "targets"):
        original = getattr(ColumnStore, method)

        def noted(self: ColumnStore, variables: Any, times: Any, original: Any = original) -> Any:
            read.update(np.atleast_1d(times).tolist())
            return original(self, variables, times)

        monkeypatch.setattr(ColumnStore, method, noted)
    unskilled_entry(emulator, store, _HELD)
    assert read == {*store.indices("train").tolist(), *store.indices("validation").tolist()}


def test_a_package_that_predicts_liquid_and_ice_apart_with_means_for_what_it_cannot(
    store: ColumnStore, tmp_path: Path
) -> None:
    config = _config(store, tmp_path, network_output_set="net368", network_input_set="net_leap_log")
    assert [c.name for c in config.constraints][:2] == ["prune", "stratospheric_water"]
    run = train(config, progress=False).directory
    package = export_run(run, tmp_path / "wrap_model.pt", unskilled_to_mean=True)
    names = [c.name for c in package.manifest.constraints or []]
    assert names == ["unskilled_to_mean", *(c.name for c in config.constraints)]
    rows = package.golden_inputs
    with torch.no_grad():
        plain = load_checkpoint(run).emulator(torch.from_numpy(rows)).numpy()
    scale = np.abs(plain).max(axis=0) + 1e-30
    for off, low, high in (([], 1e-2, np.inf), (["unskilled_to_mean"], 0.0, 1e-5)):
        host = Emulator(package.path, constraints_off=off)
        changed = np.abs(host.run_packed(rows) - plain) / scale
        assert low <= changed.max() <= high


def test_own_constraints_stand_as_they_are(store: ColumnStore, tmp_path: Path) -> None:
    given = [{"name": "positivity"}]
    config = _config(store, tmp_path, network_output_set="net368", constraints=given)
    assert [c.name for c in config.constraints] == ["positivity"]
    assert [c.name for c in _config(store, tmp_path).constraints][1] == "liquid_ice_partition"
