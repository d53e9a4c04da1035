"""Memory does not grow with a source: trees of the high-resolution grid, and tables of many
rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from climlink.data.climsim import file_name
from climlink.data.columns import read_columns
from climlink.data.grid import find_grid, read_grid
from climlink.data.pairs import PairSource
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import GRID_NAME, write_dataset
from climlink.data.tables.layout import column_names
from climlink.wrappers.variable_sets import variable_set

STAMPS = [f"0001-02-01-{1200 * step:05d}" for step in range(9)]
MEBIBYTE = 2**20
PREPARE = """
import json, resource, sys
from pathlib import Path
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import StoreConfig
source, grid, store, table = sys.argv[1:]
config = StoreConfig.model_validate({"table": json.loads(table)})
prepare(source, store, split=Split(), grid=grid, config=config)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak_bytes(
    source: Path,
    grid: Path,
    store: Path,
    table: dict[str, object] | None = None,
) -> int:
    """Return the largest memory of a process that prepares a store."""
    command = [sys.executable, "-c", PREPARE, source, grid, store, json.dumps(table or {})]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize(
    "name", ["ClimSim_high-res_grid-info.nc", "ClimSim_low-res_aqua-planet_grid-info.nc"]
)
def test_trees_of_other_grids_are_read_alike(name: str, tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "tree", STAMPS, n_column=400, level_count=8)
    (source / GRID_NAME).rename(source / name)
    prepare(source, tmp_path / "s.zarr", split=Split())
    store = ColumnStore.open(tmp_path / "s.zarr")
    assert (store.n_time, store.n_column, store.time_chunk) == (9, 400, 7)
    inputs, outputs = variable_set("host_v2_q", 8), variable_set("mmf368", 8)
    rows = read_columns(source, inputs, outputs)
    np.testing.assert_array_equal(store.pack(inputs, slice(None)), rows.inputs)
    np.testing.assert_array_equal(store.targets(outputs, slice(None)), rows.targets)


@pytest.mark.parametrize(
    ("n_column", "expected"), [(6, 8), (384, 8), (385, 7), (3072, 1), (21600, 1)]
)
def test_times_of_a_block_by_the_size_of_the_grid(
    n_column: int,
    expected: int,
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path / "tree", STAMPS[:1], n_column=n_column, level_count=1)
    assert PairSource.find(tmp_path / "tree", Split(), None, StoreConfig()).block_size == expected
    assert (
        PairSource.find(tmp_path / "tree", Split(), None, StoreConfig(time_chunk=3)).block_size == 3
    )


PLAN = """
import resource, sys, time
from pathlib import Path
from climlink.data.plan import make_plan
from climlink.data.store import StoreConfig
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
plan = make_plan(Path(sys.argv[1]), "climsim_published", None, StoreConfig(lags=True), None, None)
plan.arguments()
assert (plan.source.n_record, len(plan.blocks)) == (210_238, 26_280)
assert len(plan.source.part(plan.blocks[9000]).known) == 10
print(peak() - before, time.process_time())
"""


@pytest.mark.long
def test_the_whole_published_tree_is_planned(tmp_path: Path) -> None:
    write_dataset(tmp_path / "tree", [], n_column=384, level_count=60)
    for step in range(210_240):
        stamp = Stamp(1, 2, 1).plus(1200 * step)
        folder = tmp_path / "tree" / f"{stamp.year:04d}-{stamp.month:02d}"
        if stamp.second == 0:
            folder.mkdir(exist_ok=True)
        for kind in ("mli", "mlo"):
            (folder / file_name(kind, stamp)).touch()
    command = [sys.executable, "-c", PLAN, tmp_path / "tree"]
    memory, cpu_s = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    # A pair's two paths and its stamp are 2 kB as Python objects; measured were 450 MiB and 20 s.
    assert int(memory) < 210_240 * 4096
    assert float(cpu_s) < 120


@pytest.mark.long
def test_memory_does_not_grow_with_a_high_resolution_tree(tmp_path: Path) -> None:
    peaks = []
    for count in (1, 4):
        source = write_dataset(
            tmp_path / f"tree{count}", STAMPS[:count], n_column=21_600, level_count=60
        )
        peaks.append(peak_bytes(source, find_grid(source), tmp_path / f"s{count}.zarr"))
    pair = 21_600 * 60 * 8 * 15  # bytes of its profiles in float64
    assert peaks[1] < peaks[0] + 0.5 * pair
    store = ColumnStore.open(tmp_path / "s4.zarr")
    assert (store.n_time, store.n_column, store.level_count) == (4, 21_600, 60)
    assert read_grid(find_grid(source)).n_column == 21_600


@pytest.mark.long
@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
def test_memory_does_not_grow_with_a_table(kind: str, tmp_path: Path) -> None:
    pairs = write_dataset(tmp_path / "pairs", STAMPS, n_column=20, level_count=8)
    inputs, outputs = variable_set("climsim_v2_kaggle", 8), variable_set("mmf368", 8)
    rows = read_columns(pairs, inputs, outputs)
    values = np.concatenate([rows.inputs, rows.targets], axis=1)
    peaks, sizes = [], []
    for times in (12, 120):
        many = np.tile(values, (times, 1))
        folder = tmp_path / f"{kind}{times}"
        folder.mkdir()
        if kind == "npy":
            np.save(folder / "train_input.npy", many[:, : inputs.width])
            np.save(folder / "train_target.npy", many[:, inputs.width :])
        else:
            frame = pd.DataFrame(many, columns=[*column_names(inputs), *column_names(outputs)])
            frame.insert(0, "sample_id", np.arange(len(many)))
            if kind == "csv":
                frame.to_csv(folder / "train.csv", index=False)
            else:
                frame.to_parquet(
                    folder / "train.parquet",
                    row_group_size=2000,
                    use_dictionary=False,
                    compression=None,
                )
        sizes.append(sum(f.stat().st_size for f in folder.iterdir()))
        table = {"row_chunk": 1000, "inputs": inputs.name, "outputs": outputs.name}
        table |= {"values": "physical"} if kind == "npy" else {}
        peaks.append(peak_bytes(folder, find_grid(pairs), tmp_path / f"{kind}{times}.zarr", table))
    assert sizes[1] - sizes[0] > 15 * MEBIBYTE
    assert peaks[1] < peaks[0] + 0.5 * (sizes[1] - sizes[0])
