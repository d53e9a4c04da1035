"""Batches of a table: every row once, in an order that reads neighbours together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from climlink.data.columns import read_columns
from climlink.data.grid import find_grid
from climlink.data.prepare import prepare
from climlink.data.split import RowRange, Split
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.tables.config import TableConfig
from climlink.data.tables.layout import column_names
from climlink.packages.export import ExportSource, export_run
from climlink.packages.golden_sources import store_rows
from climlink.training.config import TrainingConfig
from climlink.training.data import (
    Batch,
    Encoder,
    HostOutputs,
    host_outputs,
)
from climlink.training.loader import BlockReader, Blocks, ColumnLoader
from climlink.training.order import EpochOrder
from climlink.training.run import train
from climlink.training.validation import HeldOutTimes
from climlink.wrappers.variable_sets import variable_set


@pytest.fixture(scope="module")
def table_store(synthetic_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return the store of a table of the synthetic pairs with all 557 inputs, in chunks of 40
    rows.
    """
    folder = tmp_path_factory.mktemp("table")
    inputs, outputs = variable_set("climsim_v2"), variable_set("mmf368")
    rows = read_columns(synthetic_dir, inputs, outputs)
    values = np.concatenate([rows.inputs, rows.targets], axis=1)
    frame = pd.DataFrame(values, columns=[*column_names(inputs), *column_names(outputs)])
    frame.to_csv(folder / "train.csv", index=False)
    split = Split(train=(RowRange(rows=(0.0, 0.75)),), validation=(RowRange(rows=(0.75, 1.0)),))
    config = StoreConfig(table=TableConfig(inputs="climsim_v2", row_chunk=40))
    prepare(
        folder / "train.csv",
        folder / "t.zarr",
        split=split,
        grid=find_grid(synthetic_dir),
        config=config,
    )
    return ColumnStore.open(folder / "t.zarr")


@pytest.fixture(scope="module")
def encoder(table_store: ColumnStore, linear_source: ExportSource) -> Encoder:
    nothing = HostOutputs(
        host_outputs([], linear_source.emulator.contract.outputs),
        torch.zeros(0, dtype=torch.float64),
    )
    return Encoder(table_store, linear_source.emulator, nothing)


def rows_of(batches: list[Batch]) -> np.ndarray:
    return torch.cat([b.targets for b in batches]).numpy()


def test_streamed_batches_hold_every_row_once_and_read_neighbours_together(
    encoder: Encoder,
    table_store: ColumnStore,
) -> None:
    times = table_store.indices("train")
    assert (len(times), table_store.read_together) == (72, 5)
    blocks = Blocks([encoder], [times])
    order = EpochOrder(blocks.sizes, [1.0], pool_columns=20, batch_size=16, seed=3)
    streamed = ColumnLoader(BlockReader(blocks), order)
    batches = list(streamed)
    assert len(batches) == len(streamed) == 5
    whole = encoder.encode(times).targets.numpy()
    rows = [int(np.flatnonzero((whole == row).all(axis=1))[0]) for row in rows_of(batches)]
    assert sorted(rows) == list(range(72))
    assert rows != sorted(rows)
    # The first block of 20 rows is 4 groups of 5 neighbours and the last, short one; one by one it
    # would be 12 or so.
    assert len({row // 5 for row in rows[:16]}) <= 5


def test_validation_batches_are_neighbouring_rows_in_order(
    encoder: Encoder,
    table_store: ColumnStore,
) -> None:
    times = table_store.indices("validation")
    ordered = HeldOutTimes(table_store, encoder.contract, times)
    batches = list(ordered)
    assert [len(b.truth) for b in batches] == [5, 5, 5, 5, 4]
    assert len(ordered) == 5
    outputs = encoder.contract.outputs
    assert torch.equal(
        torch.cat([b.truth for b in batches]),
        torch.from_numpy(table_store.targets(outputs, times)),
    )


def test_golden_columns_are_chosen_from_as_many_rows_as_from_pairs(
    table_store: ColumnStore,
) -> None:
    # A table's times are rows: eight times of it would be eight columns.
    assert store_rows(table_store, variable_set("host_v2_q")).shape == (72, 557)


def test_a_network_is_trained_on_a_table_and_exported(
    table_store: ColumnStore, tmp_path: Path
) -> None:
    config = TrainingConfig.model_validate(
        {
            "name": "small",
            "store": table_store.path,
            "output": tmp_path / "run",
            "architecture": {"name": "linear"},
            "validation": {"source": "store"},
            "epochs": 2,
            "batch_size": 16,
            "memory_limit_gib": 1e-4,  # streamed: 72 rows of 3.5 kB are more
            "device": "cpu",
            "threads": 1,
        }
    )
    train(config, progress=False)
    package = export_run(tmp_path / "run", tmp_path / "wrap_model.pt")
    assert package.manifest.provenance.data_digest == table_store.digest
    assert package.manifest.hybrid == table_store.hybrid.entry()
    times = table_store.indices("validation")
    with torch.no_grad():
        predicted = package.load()(
            torch.from_numpy(table_store.pack(variable_set("host_v2_q"), times))
        )
    assert predicted.shape == (24, 368)
    assert bool(torch.isfinite(predicted).all())
