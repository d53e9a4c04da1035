"""Mixing columns of further stores in: what they must share, what they may not train on, and labels
of a package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from climlink.config import ConfigError
from climlink.data.columns import read_columns
from climlink.data.errors import StoreError
from climlink.data.grid import find_grid
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset
from climlink.data.tables.layout import column_names
from climlink.packages.export import ExportSource
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage
from climlink.training.column_data import ColumnData
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder, HostOutputs, host_outputs
from climlink.training.errors import TrainingError
from climlink.wrappers.variable_sets import variable_set

STAMPS = [Stamp(1, 2, 1).plus(1200 * step) for step in range(6)]
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function that makes the store of six times of 12 columns."""
    folder = tmp_path_factory.mktemp("stores")

    def made(name: str, split: Split, seed: int = 0, **tree: Any) -> Path:
        step = tree.pop("time_step_s", 1200)
        tree = {"n_column": 12, "level_count": 60} | tree
        source = write_dataset(folder / f"{name}_source", STAMPS, seed=seed, **tree)
        prepare(source, folder / f"{name}.zarr", split=split, config=StoreConfig(time_step_s=step))
        return folder / f"{name}.zarr"

    return made


@pytest.fixture(scope="module")
def main(make: Make) -> Path:
    return make("main", Split(test=(str(STAMPS[5]),), validation=(str(STAMPS[4]),)))


@pytest.fixture
def data(main: Path, linear_source: ExportSource) -> Callable[..., ColumnData]:
    """Return a function that makes the columns of a run with some keys, of ``main`` unless a store
    is given.
    """

    def made(main: Path = main, **keys: Any) -> ColumnData:
        emulator = linear_source.emulator
        host = HostOutputs(host_outputs([], emulator.contract.outputs), torch.zeros(0))
        config = {
            "name": "small", "store": main, "architecture": {"name": "linear"}, "epochs": 1,
            "batch_size": 8,
        }  # fmt: skip
        encoder = Encoder(ColumnStore.open(main), emulator, host)
        return ColumnData(encoder, TrainingConfig.model_validate(config | keys))

    return made


def lines(rows: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in rows}


def test_columns_come_by_weight_and_none_that_the_run_holds_out(
    make: Make, data: Callable[..., ColumnData]
) -> None:
    train = Split(remainder="unused", train=tuple(str(s) for s in STAMPS[:3]))
    other = ColumnStore.open(make("other", train, seed=1))
    mixed = data(
        stores={"other": {"store": other.path}},
        mix={"other": 1, "main": 2},
        validation={"source": "cut", "every": 4, "offset": 1},
    )
    # Of main 3 of 4 training times, of 12 columns; of the other half as many columns.
    assert mixed.column_count == 36 + 18
    seen = torch.cat([b.targets for b in mixed.train_dataloader()])
    assert seen.shape[0] == 54
    encoder = mixed._encoder.of(other)
    held_out, kept = (lines(encoder.encode(np.array(t)).targets) for t in ([1], [0, 2]))
    assert lines(seen).isdisjoint(held_out)
    assert len(lines(seen) & kept) == 18


def test_other_columns_of_the_same_times_are_no_test_data(
    make: Make, data: Callable[..., ColumnData]
) -> None:
    everywhere = make("wider", Split(), n_column=13)
    mixed = data(stores={"wider": {"store": everywhere}}, mix={"main": 1, "wider": 1})
    assert mixed.column_count == 2 * 48


@pytest.mark.parametrize(
    ("name", "split", "tree", "problem"),
    [
        (
            "tested", Split(), {},
            r"trains on 1 time\(s\) that .*main.zarr holds out .*test: 0001-02-01-06000",
        ),
        ("flat", Split(), {"level_count": 30}, "has another vertical grid than .*main.zarr"),
        (
            "slow", Split(time_step_s=600), {"time_step_s": 600},
            "has a time step of 600 s, .*main.zarr of 1200 s",
        ),
        (
            "idle", Split(remainder="unused", test=(str(STAMPS[0]),)), {},
            "has no time of the training split",
        ),
    ],
)  # fmt: skip
def test_stores_that_do_not_fit_are_refused_by_name(
    make: Make,
    data: Callable[..., ColumnData],
    name: str,
    split: Split,
    tree: dict[str, Any],
    problem: str,
) -> None:
    store = make(name, split, **tree)
    with pytest.raises(StoreError, match=f"stores.{name}: .*{name}.zarr {problem}"):
        data(stores={name: {"store": store}}, mix={"main": 1, name: 1})


def test_validation_times_of_the_store_are_not_trained_on(
    make: Make, data: Callable[..., ColumnData]
) -> None:
    store = make("checked", Split(test=(str(STAMPS[5]),)))
    keys = {"stores": {"checked": {"store": store}}, "mix": {"main": 1, "checked": 1}}
    data(**keys)
    with pytest.raises(StoreError, match="holds out for validation or test: 0001-02-01-04800"):
        data(**keys, validation={"source": "store"})


def test_a_later_window_is_not_trained_on_either(
    make: Make, data: Callable[..., ColumnData]
) -> None:
    main = make("dated", Split(test=(str(STAMPS[3]),), later=(str(STAMPS[5]),)))
    store = make("long", Split(test=(str(STAMPS[3]),)))
    with pytest.raises(StoreError, match=r"dated\.zarr holds out .*test: 0001-02-01-06000"):
        data(main, stores={"long": {"store": store}}, mix={"main": 1, "long": 1})


@pytest.fixture(scope="module")
def package(linear_package: EmulatorPackage) -> EmulatorPackage:
    return linear_package


def test_a_package_labels_rows_that_have_no_targets(
    main: Path,
    data: Callable[..., ColumnData],
    package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    tree = write_dataset(tmp_path / "tree", STAMPS[:2], n_column=12, level_count=60, seed=5)
    inputs = variable_set("climsim_v2")
    rows = read_columns(tree, inputs, variable_set("mmf368")).inputs
    pd.DataFrame(rows, columns=column_names(inputs)).to_csv(tmp_path / "test.csv", index=False)
    config = StoreConfig.model_validate({"table": {"inputs": "climsim_v2"}})
    split = Split.model_validate({"train": [{"rows": [0.0, 1.0]}]})
    prepare(
        tmp_path / "test.csv", tmp_path / "t.zarr", split=split, grid=find_grid(tree), config=config
    )
    store = {"store": tmp_path / "t.zarr"}
    with pytest.raises(StoreError, match=r"stores.test: .*t.zarr lacks variables .*ptend_t"):
        data(stores={"test": store}, mix={"test": 1})
    labelled = data(stores={"test": store | {"labels": package.path}}, mix={"test": 1})
    assert labelled.column_count == 24
    batch = torch.cat([b.targets for b in labelled.train_dataloader()])
    predicted = Predictor(package).rows(
        ColumnStore.open(tmp_path / "t.zarr").pack(variable_set("host_v2_q"), slice(None))
    )
    emulator = labelled._encoder
    outputs = emulator.contract.network_outputs
    physical = emulator._emulator.normalization.denormalize(batch)[:, outputs.slice("ptend_t")]
    expected = predicted[:, variable_set("mmf368").slice("ptend_t")].astype(np.float64)
    order = [np.lexsort(r.T) for r in (physical.numpy(), expected)]
    scale = np.abs(expected).max()
    # Targets are normalized in float32, of values up to the largest.
    np.testing.assert_allclose(
        physical.numpy()[order[0]] / scale, expected[order[1]] / scale, rtol=0, atol=1e-6
    )


def test_a_run_is_not_resumed_with_other_stores(
    make: Make, data: Callable[..., ColumnData]
) -> None:
    split = Split(test=(str(STAMPS[5]),))
    first, second = make("first", split, seed=2), make("second", split, seed=3)
    begun = data(stores={"more": {"store": first}}, mix={"main": 1, "more": 1})
    again = data(stores={"more": {"store": second}}, mix={"main": 1, "more": 1})
    begun.load_state_dict(begun.state_dict())
    with pytest.raises(TrainingError, match=r"cannot resume: stores\.more or the package"):
        again.load_state_dict(begun.state_dict())


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"mix": {"mian": 1}}, "mix.mian.*no store is named so; known: main"),
        ({"mix": {"main": 0}}, "mix.main.*the weight is 0; it must be positive"),
        ({"stores": {"main": {"store": "x"}}}, "stores.main.*'main' is the name of the run's own"),
        ({"stores": {"more": {"store": "x"}}, "mix": {"main": 1}}, "stores.more.*no weight"),
        ({"stores": {"more": {"store": "x"}}}, "stores.more.*no weight"),
    ],
)
def test_mixes_that_say_nothing_are_refused(keys: dict[str, Any], problem: str) -> None:
    config = {"name": "small", "store": "s", "architecture": {"name": "linear"}, "epochs": 1}
    with pytest.raises(ConfigError, match=problem):
        load_training(TrainingConfig.model_validate(config), keys)
