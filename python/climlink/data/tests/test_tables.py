"""Tables become stores: every kind of file against the pairs its rows came from, restart, what is
not known, and bad input.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.columns import read_columns
from climlink.data.describe import describe
from climlink.data.errors import DataError, SplitError, StoreError
from climlink.data.grid import find_grid, read_grid
from climlink.data.prepare import Prepared, prepare
from climlink.data.split import RowRange, Split
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset
from climlink.data.tables.config import Normalization, TableConfig
from climlink.data.tables.csv_table import CsvTable
from climlink.data.tables.layout import column_names
from climlink.data.tables.source import TableSource
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import variable

STAMPS = [f"0008-02-0{day}-07200" for day in range(1, 9)]
SPLIT = Split(train=(RowRange(rows=(0.0, 0.75)),), test=(RowRange(rows=(0.75, 1.0)),))
COLUMNS, LEVELS, ROW_CHUNK = 6, 8, 32
ROWS = COLUMNS * len(STAMPS)

Rows = tuple[pd.DataFrame, VariableSet, VariableSet]


def pairs_as_rows(
    source: Path,
    level_count: int,
    *,
    inputs: str = "climsim_v2_kaggle",
    outputs: str = "mmf368",
) -> Rows:
    """Return the rows of pairs as the competition has them: sample_id, inputs in float32, targets
    in float64.
    """
    sets = variable_set(inputs, level_count), variable_set(outputs, level_count)
    rows = read_columns(source, *sets)
    values = np.concatenate([rows.inputs.astype(np.float64), rows.targets], axis=1)
    frame = pd.DataFrame(values, columns=[n for s in sets for n in column_names(s)])
    frame.insert(0, "sample_id", [f"train_{i}" for i in range(len(frame))])
    return frame, *sets


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table as pandas does: every number with as many digits as it needs."""
    frame.to_csv(path, index=False)
    return path


def edit_csv(path: Path, line: int, column: str, value: str) -> None:
    """Change one value of a CSV file; ``line`` as editors count, the header is 1."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    rows[line - 1][rows[0].index(column)] = value
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def write_hdf5(path: Path, values: np.ndarray, dataset: str = "data") -> Path:
    """Write an array as ClimSim's training sets have it."""
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=values)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(
        tmp_path_factory.mktemp("pairs"), STAMPS, n_column=COLUMNS, level_count=LEVELS
    )


@pytest.fixture(scope="module")
def rows(pairs: Path) -> Rows:
    return pairs_as_rows(pairs, LEVELS)


@pytest.fixture
def make(pairs: Path, tmp_path: Path) -> Callable[..., Prepared]:
    """Return a function that prepares ``tmp_path / t.zarr`` from a table, with the grid of the
    pairs.
    """

    def run(
        source: Path,
        *,
        split: Split = SPLIT,
        grid: bool = True,
        config: StoreConfig | None = None,
        **more: object,
    ) -> Prepared:
        own = {n: more.pop(n) for n in list(more) if n in TableConfig.model_fields}
        table = TableConfig.model_validate({"row_chunk": ROW_CHUNK} | own)
        base = config or StoreConfig()
        settings = base.model_copy(update={"table": table})
        at = find_grid(pairs) if grid else None
        return prepare(
            source,
            tmp_path / "t.zarr",
            split=split,
            grid=at,
            config=settings,
            **more,  # type: ignore[arg-type]
        )

    return run


def read_all(path: Path, pairs: Path) -> None:
    """Read a table as prepare does, without a store."""
    source = TableSource.find(path, SPLIT, find_grid(pairs), StoreConfig(), None)
    source.read(slice(0, source.n_record), lambda row: None)


def check_rows(store: ColumnStore, rows: Rows, index: slice = slice(None)) -> None:
    """Compare the rows of a store with those a table was made of: inputs as float32, targets as
    float64.
    """
    frame, inputs, outputs = rows
    values = frame.drop(columns="sample_id").to_numpy()[index]
    got = store.pack(inputs, slice(None)), store.targets(outputs, slice(None))
    np.testing.assert_array_equal(got[0], values[:, : inputs.width].astype(np.float32))
    np.testing.assert_array_equal(got[1], values[:, inputs.width :])


def test_csv_is_the_pairs_whatever_the_order_of_its_columns(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame = rows[0]
    done = make(write_csv(tmp_path / "train.csv", frame[[*frame.columns[:0:-1], "sample_id"]]))
    assert (done.status, done.records, done.records_written, done.unit) == (
        "made",
        ROWS,
        ROWS,
        "rows",
    )
    store = ColumnStore.open(tmp_path / "t.zarr")
    check_rows(store, rows)
    assert (store.n_time, store.n_column, store.level_count) == (ROWS, 1, LEVELS)
    assert store.indices("train").tolist() == list(range(36))
    assert store.indices("test").tolist() == list(range(36, 48))
    assert [v.name for v in store.variables] == [*rows[1].names, *rows[2].names]
    assert "cam_in_SNOWHICE" not in {v.name for v in store.variables}
    with pytest.raises(DataError, match="cam_in_SNOWHICE: not in the data"):
        store.pack(variable_set("host_v2_q", LEVELS), [0])


def test_windows_line_ends_quotes_and_spaces_are_read(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame = rows[0]
    path = tmp_path / "train.csv"
    frame.to_csv(path, index=False, lineterminator="\r\n", quoting=1)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    make(path)
    check_rows(ColumnStore.open(tmp_path / "t.zarr"), rows)


def test_parquet_in_several_files_and_row_groups(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame = rows[0]
    folder = tmp_path / "parts"
    folder.mkdir()
    frame[:30].to_parquet(folder / "a.parquet", index=False, row_group_size=11)
    frame[30:].to_parquet(folder / "b.parquet", index=False, row_group_size=100)
    make(
        folder,
        split=Split(
            train=(RowRange(file="a"),),
            test=(RowRange(file="b", rows=(0.0, 0.5)),),
            remainder="unused",
        ),
    )
    store = ColumnStore.open(tmp_path / "t.zarr")
    check_rows(store, rows)
    assert store.indices("train").tolist() == list(range(30))
    assert store.indices("test").tolist() == list(range(30, 39))


@pytest.mark.parametrize("kind", ["npy", "npy, other byte order", "npy, Fortran order", "h5"])
def test_arrays_in_pairs_of_files(
    kind: str,
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, _ = rows
    values = frame.drop(columns="sample_id").to_numpy()
    for name, part in (
        ("11/train", values[:20]),
        ("12/train", values[20:40]),
        ("scoring", values[40:]),
    ):
        for side, array in (
            ("input", part[:, : inputs.width].astype("f4")),
            ("target", part[:, inputs.width :]),
        ):
            path = tmp_path / "arrays" / f"{name}_{side}.{kind[:3].strip(',')}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "h5":
                write_hdf5(path, array)
            else:
                array = array.astype(array.dtype.newbyteorder()) if "byte" in kind else array
                np.save(path, np.asfortranarray(array) if "Fortran" in kind else array)
    files = Split(train=(RowRange(file="*train"),), test=(RowRange(file="scoring"),))
    make(
        tmp_path / "arrays",
        split=files,
        inputs="climsim_v2_kaggle",
        outputs="mmf368",
        values="physical",
    )
    store = ColumnStore.open(tmp_path / "t.zarr")
    order = np.r_[0:48]  # parts by name: 11/train, 12/train, scoring
    check_rows(store, rows, order)
    assert store.indices("test").tolist() == list(range(40, 48))


def test_normalized_arrays_are_undone_with_their_files(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, outputs = rows
    x = frame.drop(columns="sample_id").to_numpy()[:, : inputs.width]
    y = frame.drop(columns="sample_id").to_numpy()[:, inputs.width :]
    mean, low, high, scale = (
        x.mean(axis=0),
        x.min(axis=0),
        x.max(axis=0),
        1.0 / np.maximum(y.std(axis=0), 1e-12),
    )
    constant = high == low
    with np.errstate(invalid="ignore", divide="ignore"):
        normalized = np.where(constant, 0.0, (x - mean) / (high - low))
    files = {}
    for name, numbers, s in (
        ("input_mean", mean, inputs),
        ("input_max", high, inputs),
        ("input_min", low, inputs),
        ("output_scale", scale, outputs),
    ):
        files[name] = str(tmp_path / f"{name}.nc")
        parts = {
            v.name: (
                ("lev",) if v.is_profile else (),
                numbers[s.slice(v.name)] if v.is_profile else numbers[s.offset(v.name)],
            )
            for v in s.variables
        }
        xr.Dataset(parts).to_netcdf(files[name])
    np.save(tmp_path / "train_input.npy", normalized)
    np.save(tmp_path / "train_target.npy", y * scale)
    given = {"inputs": "climsim_v2_kaggle", "outputs": "mmf368"}
    message = "does not say whether its values are physical or normalized"
    with pytest.raises(DataError, match=message):
        make(tmp_path / "train_input.npy", **given)
    with pytest.raises(
        DataError,
        match=r"column state_t_0: is .* outside the plausible range 50 to 1500 of state_t .* not "
        r"normalized",
    ):
        make(tmp_path / "train_input.npy", **given, values="physical")
    with pytest.raises(DataError, match="need the files they were normalized with"):
        make(tmp_path / "train_input.npy", **given, values="normalized", overwrite=True)
    make(
        tmp_path / "train_input.npy",
        **given,
        values="normalized",
        normalization=Normalization(**files),
        overwrite=True,
    )
    store = ColumnStore.open(tmp_path / "t.zarr")
    # Rounding of (x - mean) / span * span + mean in float64, then the store's float32.
    np.testing.assert_allclose(store.pack(inputs, slice(None)), x.astype("f4"), rtol=2e-7, atol=0.0)
    np.testing.assert_allclose(store.targets(outputs, slice(None)), y, rtol=1e-14, atol=0.0)


def test_variables_that_other_stores_derive_are_stored_as_they_are(
    pairs: Path,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, outputs = pairs_as_rows(pairs, LEVELS, inputs="net_v2_mc", outputs="net308")
    values = frame.drop(columns="sample_id").to_numpy()
    write_hdf5(tmp_path / "train_input.h5", values[:, : inputs.width].astype("f4"))
    write_hdf5(tmp_path / "train_target.h5", values[:, inputs.width :])
    make(
        tmp_path / "train_input.h5",
        inputs="net_v2_mc",
        outputs="net308",
        values="physical",
        grid=True,
    )
    store = ColumnStore.open(tmp_path / "t.zarr")
    check_rows(store, (frame, inputs, outputs))
    assert {v.name for v in store.variables} >= {
        "state_rh",
        "state_qn",
        "liq_partition",
        "ptend_qn",
    }
    assert [v.name for v in store.derived] == []
    statistics = compute_statistics(store)
    np.testing.assert_allclose(
        statistics.variables["state_rh"].maximum,
        store.read(["state_rh"], store.indices("train"))["state_rh"].max(axis=0),
    )
    assert set(statistics.cloud_lambda) == {"state_qn"}


def test_what_a_table_does_not_know_is_absent(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    make(write_csv(tmp_path / "train.csv", rows[0]))
    store = ColumnStore.open(tmp_path / "t.zarr")
    for name in ("stamps", "latitude", "longitude", "area"):
        with pytest.raises(
            StoreError,
            match=r"it was made of the table train\.csv, whose rows say neither time nor place",
        ):
            getattr(store, name)
    assert (store.has_stamps, store.has_place, store.name_of(0)) == (False, False, "row 1")
    with xr.open_zarr(store.path, consolidated=False) as dataset:
        assert dataset["state_t"].dims == ("row", "level")
        assert dataset["state_ps"].dims == ("row",)
        assert set(dataset.coords) == {"split", "hyam", "hybm", "hyai", "hybi"}
    found = describe(store.path)
    assert (found["rows"], found["levels"], found["vertical_grid"]) == (ROWS, LEVELS, True)
    assert "columns" not in found
    assert "first" not in found
    assert found["splits"]["test"] == {"rows": 12, "first": 37, "last": 48}
    assert found["variables"]["state_t"]["dimensions"] == "row level"
    message = "neither time nor place, so steps before are not known; leave lags out"
    with pytest.raises(DataError, match=message):
        make(tmp_path / "train.csv", config=StoreConfig(lags=True), overwrite=True)


def test_a_table_without_a_grid_file_has_no_vertical_grid(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "pairs", STAMPS[:1], n_column=COLUMNS, level_count=60)
    frame = pairs_as_rows(source, 60)[0]
    prepare(write_csv(tmp_path / "train.csv", frame), tmp_path / "t.zarr", split=Split())
    store = ColumnStore.open(tmp_path / "t.zarr")
    with pytest.raises(StoreError, match=r"no vertical grid.*prepare it again with --grid GRID"):
        _ = store.hybrid
    with pytest.raises(DataError, match="state_rh needs the pressure of the levels"):
        store.read(["state_rh"], [0])
    statistics = compute_statistics(store)
    assert "state_rh" not in statistics.variables
    assert "state_qn" in statistics.variables
    prepare(tmp_path / "train.csv", tmp_path / "g.zarr", split=Split(), grid=find_grid(source))
    assert ColumnStore.open(tmp_path / "g.zarr").hybrid == read_grid(find_grid(source)).hybrid


def test_inputs_without_targets_and_a_file_of_targets(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, outputs = rows
    columns = frame.columns[1 + inputs.width :]
    test = write_csv(tmp_path / "test.csv", frame.drop(columns=columns))
    make(test)
    store = ColumnStore.open(tmp_path / "t.zarr")
    assert [v.name for v in store.variables] == list(inputs.names)
    with pytest.raises(DataError, match=r"ptend_t.*not in the data"):
        store.targets(outputs, [0])
    solution = frame[["sample_id", *columns]].assign(Usage="Public")
    write_csv(tmp_path / "solution.csv", solution)
    message = r"solution\.csv: line 1: unknown column\(s\): Usage.*--ignore"
    with pytest.raises(DataError, match=message):
        make(test, targets=tmp_path / "solution.csv", overwrite=True)
    make(test, targets=tmp_path / "solution.csv", ignore=("Usage",), overwrite=True)
    check_rows(ColumnStore.open(tmp_path / "t.zarr"), rows)
    with pytest.raises(DataError, match=r"solution\.csv holds targets only: .* --targets"):
        make(tmp_path / "solution.csv", ignore=("Usage",), overwrite=True)
    swapped = solution.iloc[[*range(10), 11, 10, *range(12, ROWS)]]
    write_csv(tmp_path / "solution.csv", swapped)
    with pytest.raises(
        DataError,
        match=r"solution\.csv: line 12, column sample_id: 'train_11', but .*test\.csv: line 12 is "
        r"'train_10'",
    ):
        make(test, targets=tmp_path / "solution.csv", ignore=("Usage",), overwrite=True)


def test_an_interrupted_table_is_refused_and_resumed(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "train.csv", rows[0])

    def stop(row: int, total: int) -> None:
        assert total == ROWS
        if row >= 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(path, progress=stop, row_chunk=7)
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "t.zarr")
    with pytest.raises(StoreError, match=r"different: split\)"):
        make(path, split=Split(), row_chunk=7)
    done = make(path, row_chunk=7)
    assert (done.status, done.records_written) == ("resumed", ROWS - 14)
    check_rows(ColumnStore.open(tmp_path / "t.zarr"), rows)
    assert make(path, row_chunk=7).status == "already complete"
    last = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes() + last.replace(b"train_47", b"train_48"))
    with pytest.raises(StoreError, match="different: parts and columns of the source"):
        make(path, row_chunk=7)


def test_a_block_is_found_by_its_position_in_a_long_file(tmp_path: Path) -> None:
    # More rows than lie between two kept positions (1024), blocks that straddle them, in any order.
    count = 3000
    numbers = np.random.default_rng(1).normal(size=(count, 3))
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    frame.insert(1, "sample_id", [f"s{i}" for i in range(count)])
    table = CsvTable(write_csv(tmp_path / "long.csv", frame))
    assert table.n_row == count
    for start, stop in ((2990, 3000), (0, 5), (1020, 1030), (1024, 2049), (0, 3000)):
        block = table.read(start, stop, (3, 0))
        np.testing.assert_array_equal(block.values, numbers[start:stop][:, [2, 0]])
        assert block.ids == [f"s{i}" for i in range(start, stop)]


BAD_CSV = {
    "missing": (
        lambda f: f.drop(columns="state_u_3"),
        r"line 1: missing column\(s\) of climsim_v2_kaggle: state_u_3",
    ),
    "scalar missing": (
        lambda f: f.drop(columns="state_ps"),
        r"line 1: missing column\(s\) of climsim_v2_kaggle: state_ps",
    ),
    "unknown": (
        lambda f: f.assign(state_tt_0=1.0),
        r"line 1: unknown column\(s\): state_tt_0; did you mean 'state_t_0'",
    ),
    "another set": (
        lambda f: f.assign(cam_in_SNOWHICE=0.0),
        r"unknown column\(s\): cam_in_SNOWHICE.*--inputs",
    ),
    "sample_id twice": (
        lambda f: f.assign(sample_id=["x", *f.sample_id[1:-1], "x"]),
        r"line 49, column sample_id: 'x' stands in .*line 2 too",
    ),
    "no rows": (lambda f: f[:0], "no rows"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_csv_that_does_not_fit(case: str, rows: Rows, pairs: Path, tmp_path: Path) -> None:
    change, message = BAD_CSV[case]
    path = write_csv(tmp_path / "train.csv", change(rows[0].copy()))
    with pytest.raises(DataError, match=message) as caught:
        read_all(path, pairs)
    assert str(path) in str(caught.value)


def test_a_sample_id_that_stands_twice_in_different_blocks_and_files(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame = rows[0].copy()
    frame.loc[45, "sample_id"] = "train_2"
    folder = tmp_path / "parts"
    folder.mkdir()
    write_csv(folder / "a.csv", frame[:40])
    write_csv(folder / "b.csv", frame[40:])
    with pytest.raises(
        DataError,
        match=r"b\.csv: line 7, column sample_id: 'train_2' stands in .*a\.csv: line 4 too",
    ):
        make(folder)
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "t.zarr")


@pytest.mark.parametrize(
    ("line", "column", "value", "message"),
    [
        (20, "state_q0001_5", "wet", r"line 20, column state_q0001_5: 'wet' is not a number"),
        (49, "cam_out_SOLL", "", r"line 49, column cam_out_SOLL: there is no value"),
        (3, "ptend_u_7", "nan", r"line 3, column ptend_u_7: nan is not finite"),
        (3, "state_t_7", "-inf", r"line 3, column state_t_7: -inf is not finite"),
        (
            4,
            "state_t_2",
            "-20.5",
            r"line 4, column state_t_2: is -20.5, outside the plausible range 50 to 1500 of "
            r"state_t",
        ),
        (
            5,
            "ptend_t_2",
            "3.5",
            r"line 5, column ptend_t_2: takes state_t within 1200 s to .* outside .* neither "
            r"normalized nor weighted",
        ),
        (
            6,
            "cam_out_PRECC",
            "7",
            r"line 6, column cam_out_PRECC: is 7, outside the plausible range -1e-06 to 0.001",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_by_line_and_column(
    line: int,
    column: str,
    value: str,
    message: str,
    rows: Rows,
    pairs: Path,
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "train.csv", rows[0])
    edit_csv(path, line, column, value)
    with pytest.raises(DataError, match=message) as caught:
        read_all(path, pairs)
    assert str(path) in str(caught.value)


def test_a_bad_value_leaves_a_store_that_is_refused_and_resumes_once_it_is_mended(
    rows: Rows, make: Callable[..., Prepared], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "train.csv", rows[0])
    edit_csv(path, 40, "state_q0001_5", "x" * len(str(rows[0]["state_q0001_5"][38])))
    with pytest.raises(DataError, match=r"line 40, column state_q0001_5: 'x+' is not a number"):
        make(path)
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "t.zarr")
    write_csv(path, rows[0])
    done = make(path)
    assert (done.status, done.records_written) == ("resumed", ROWS - ROW_CHUNK)
    check_rows(ColumnStore.open(tmp_path / "t.zarr"), rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-30], r"line 49, the last, has no end: the file seems cut short"),
        (
            lambda raw: raw[: raw.rindex(b",", 0, len(raw) // 2)] + b"\n",
            r"line \d+ has \d+ values, the header names",
        ),
        (lambda raw: raw + b"\n", r"line 50 has 0 values"),
        (lambda raw: raw.replace(b"train_9,", b"train_9,,"), r"line 11 has \d+ values"),
        (
            lambda raw: raw.replace(b"state_t_1,", b"state_t_0,", 1),
            r"line 1: column\(s\) twice: state_t_0 \(state_t_0 is column 2 and 3\)",
        ),
        (lambda raw: raw.replace(b"train_9,", b"train_\xff,"), r"line 11: expected UTF-8 text"),
        (lambda raw: b"", "no rows"),
    ],
)
def test_a_csv_whose_lines_are_damaged(
    change: Callable[[bytes], bytes],
    message: str,
    rows: Rows,
    pairs: Path,
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "train.csv", rows[0])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_all(path, pairs)
    assert str(path) in str(caught.value)


def test_arrays_that_do_not_fit(rows: Rows, make: Callable[..., Prepared], tmp_path: Path) -> None:
    frame, inputs, _ = rows
    values = frame.drop(columns="sample_id").to_numpy()
    x, y = values[:, : inputs.width], values[:, inputs.width :]
    given = {"inputs": "climsim_v2_kaggle", "outputs": "mmf368", "values": "physical"}
    source, target = tmp_path / "train_input.npy", tmp_path / "train_target.npy"

    def refused(message: str, a: np.ndarray, b: np.ndarray, **more: object) -> None:
        np.save(source, a)
        np.save(target, b)
        with pytest.raises(DataError, match=message):
            make(source, **{**given, **more})
        assert not (tmp_path / "t.zarr").exists()

    refused(
        r"train_input.npy has 87 values per row, 'climsim_v2_kaggle' has 88: .*--inputs",
        x[:, :-1],
        y,
    )
    refused(r"train_target.npy has \d+ values per row, 'net308' has", x, y, outputs="net308")
    refused(r"train_input.npy is int64, expected float32 or float64", x.astype(int), y)
    refused(r"train_input.npy is float16, expected float32 or float64", np.ones(x.shape, "f2"), y)
    refused(
        r"train_input.npy has the shape \(48, 88, 1\), expected \[row, column\]", x[..., None], y
    )
    refused(r"unequal rows: .*train_input.npy has 48, .*train_target.npy has 47", x, y[:-1])
    refused("88 columns without names: say with --inputs", x, y, inputs=None)
    refused(
        "unknown variable set 'climsim_v2_kagle'; did you mean", x, y, inputs="climsim_v2_kagle"
    )
    np.save(source, x)
    np.save(target, y)
    os.truncate(source, source.stat().st_size - 8)
    with pytest.raises(DataError, match=r"train_input.npy: not a readable .npy file, or cut short"):
        make(source, **given)
    np.save(source, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"train_input.npy: not a readable .npy file"):
        make(source, **given)
    source.unlink()
    message = r"train_target.npy: expected X_input.npy, with its targets"
    with pytest.raises(DataError, match=message):
        make(target, **given)


def test_nan_in_an_array_is_told_by_row_and_column(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, _ = rows
    x = frame.drop(columns="sample_id").to_numpy()[:, : inputs.width].copy()
    x[40, inputs.offset("pbuf_CH4") + 4] = np.nan
    np.save(tmp_path / "train_input.npy", x)
    message = r"train_input.npy: row 41, column pbuf_CH4_4: nan is not finite"
    with pytest.raises(DataError, match=message):
        make(tmp_path / "train_input.npy", inputs="climsim_v2_kaggle", values="physical")
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "t.zarr")


def test_hdf5_that_does_not_fit(rows: Rows, make: Callable[..., Prepared], tmp_path: Path) -> None:
    frame, inputs, _ = rows
    x = frame.drop(columns="sample_id").to_numpy()[:, : inputs.width]
    given = {"inputs": "climsim_v2_kaggle", "values": "physical"}
    path = write_hdf5(tmp_path / "train_input.h5", x, dataset="dat")
    message = r"train_input.h5: no dataset 'data'; did you mean 'dat'\?; there are: dat"
    with pytest.raises(DataError, match=message):
        make(path, **given)
    write_hdf5(path, x)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"train_input.h5: not a readable HDF5 file, or cut short"):
        make(path, **given)
    assert not (tmp_path / "t.zarr").exists()


def test_parquet_that_does_not_fit(
    rows: Rows,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    path = tmp_path / "train.parquet"
    frame = rows[0].copy()
    frame.loc[30, "state_v_1"] = None
    frame.to_parquet(path)
    message = r"train.parquet: row 31, column state_v_1: there is no value"
    with pytest.raises(DataError, match=message):
        make(path)
    rows[0].assign(state_ps="high").to_parquet(path)
    message = r"train.parquet: column state_ps is (large_)?string, expected numbers"
    with pytest.raises(DataError, match=message):
        make(path, overwrite=True)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(DataError, match=r"train.parquet: not a readable Parquet file"):
        make(path)


def test_folders_and_splits_that_do_not_fit(
    rows: Rows,
    pairs: Path,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, inputs, _ = rows
    folder = tmp_path / "kaggle"
    folder.mkdir()
    write_csv(folder / "train.csv", frame)
    message = r"names stamps or dates \(test\), but rows of a table have none: .*rows: "
    with pytest.raises(SplitError, match=message):
        make(folder, split=Split(test=(STAMPS[0],)))
    message = r"no part of the table is named 'val' \(validation\); there are train"
    with pytest.raises(SplitError, match=message):
        make(folder, split=Split(validation=(RowRange(file="val"),)))
    message = r"12 row\(s\) stand in two splits: row 13 \(train and test\)"
    with pytest.raises(SplitError, match=message):
        make(
            folder,
            split=Split(train=(RowRange(rows=(0.0, 0.5)),), test=(RowRange(rows=(0.25, 0.75)),)),
        )
    with pytest.raises(SplitError, match=r"names files or rows \(train\), but pairs have stamps"):
        prepare(pairs, tmp_path / "p.zarr", split=SPLIT)
    write_csv(folder / "test.csv", frame.iloc[:, : 1 + inputs.width])
    with pytest.raises(
        DataError,
        match="the part 'test' holds climsim_v2_kaggle, 'train' holds climsim_v2_kaggle and mmf368",
    ):
        make(folder)
    np.save(folder / "a_input.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"tables of several kinds \(.csv, .npy\)"):
        make(folder)
    with pytest.raises(DataError, match=r"expected a table: \.csv, \.parquet"):
        make(find_grid(pairs))
    assert not (tmp_path / "t.zarr").exists()


def test_weights_are_kept_and_those_that_do_not_fit_refused(
    rows: Rows,
    pairs: Path,
    make: Callable[..., Prepared],
    tmp_path: Path,
) -> None:
    frame, _, outputs = rows
    weights = np.linspace(0.0, 1.0, outputs.width)
    columns = frame.columns[-outputs.width :]
    sample = pd.DataFrame(np.tile(weights, (5, 1)), columns=columns)
    sample.insert(0, "sample_id", range(5))
    path, table = (
        write_csv(tmp_path / "sample_submission.csv", sample),
        write_csv(tmp_path / "train.csv", frame),
    )
    make(table, weights=path)
    found = ColumnStore.open(tmp_path / "t.zarr").target_weights
    assert found is not None
    np.testing.assert_array_equal(np.concatenate([found[n] for n in outputs.names]), weights)
    with pytest.raises(StoreError, match=r"different: weights\)"):
        make(table)
    prepare(pairs, tmp_path / "p.zarr", split=Split(), weights=path)  # pairs may have them too
    assert ColumnStore.open(tmp_path / "p.zarr").target_weights is not None
    edit_csv(path, 4, "ptend_v_3", "0.25")
    with pytest.raises(
        DataError,
        match=r"sample_submission.csv: line 4, column ptend_v_3: another weight than in the first "
        r"row",
    ):
        make(table, weights=path)
    edit_csv(path, 2, "ptend_v_3", "-1")
    message = r"line 2, column ptend_v_3: the weight -1, expected 0 or more"
    with pytest.raises(DataError, match=message):
        make(table, weights=path)
    write_csv(path, sample.drop(columns="ptend_v_3"))
    with pytest.raises(DataError, match=r"missing column\(s\) of mmf368: ptend_v_3"):
        make(table, weights=path)


KILLED = """
import os, signal, sys
from pathlib import Path
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import StoreConfig
from climlink.data.tables.config import TableConfig
def kill(row, total):
    if row >= 21:
        os.kill(os.getpid(), signal.SIGKILL)
source, grid, store = map(Path, sys.argv[1:])
config = StoreConfig(table=TableConfig(row_chunk=7))
prepare(source, store, split=Split(), grid=grid, config=config, progress=kill)
"""


def test_a_killed_process_leaves_a_table_that_is_refused_and_resumes(
    rows: Rows, pairs: Path, make: Callable[..., Prepared], tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "train.csv", rows[0])
    command = [sys.executable, "-c", KILLED, path, find_grid(pairs), tmp_path / "t.zarr"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "t.zarr")
    done = make(path, split=Split(), row_chunk=7)
    assert (done.status, done.records_written) == ("resumed", ROWS - 14)
    check_rows(ColumnStore.open(tmp_path / "t.zarr"), rows)


def test_the_first_releases_normalized_arrays_through_the_command_line(
    climsim_dir: Path,
    tmp_path: Path,
) -> None:
    # The subsampled set: 124 inputs, 128 targets, normalized with the published files.
    inputs = VariableSet("v1", tuple(map(variable, V1_INPUTS)))
    outputs = VariableSet("v1", tuple(map(variable, V1_OUTPUTS)))
    assert (inputs.width, outputs.width) == (124, 128)
    rows = read_columns(climsim_dir, inputs, outputs, stamps=["0008-01-14-03600"])
    folder = climsim_dir / "normalization"
    files = {
        f"input_{part}": folder / "inputs" / f"input_{part}.nc" for part in ("mean", "max", "min")
    }
    files["output_scale"] = folder / "outputs" / "output_scale.nc"
    mean, high, low = (published(files[f"input_{part}"], inputs) for part in ("mean", "max", "min"))
    np.save(tmp_path / "val_input.npy", ((rows.inputs - mean) / (high - low)).astype("f4"))
    np.save(
        tmp_path / "val_target.npy",
        (rows.targets * published(files["output_scale"], outputs)).astype("f4"),
    )
    table = {"normalization": {name: str(path) for name, path in files.items()}}
    (tmp_path / "store.yaml").write_text(yaml.safe_dump({"table": table}))
    given = [
        "--inputs",
        ",".join(V1_INPUTS),
        "--outputs",
        ",".join(V1_OUTPUTS),
        "--values",
        "normalized",
    ]
    command = [
        "data",
        "prepare",
        tmp_path / "val_input.npy",
        "--out",
        tmp_path / "t.zarr",
        "--split",
        "rows_test",
    ]
    done = CliRunner().invoke(
        app, [*map(str, command), *given, "--config", str(tmp_path / "store.yaml")]
    )
    assert done.exit_code == 0, done.output
    assert "384 rows (384 written now)" in done.output
    store = ColumnStore.open(tmp_path / "t.zarr")
    assert len(store.indices("test")) == 384
    # Float32 rounds a normalized value to 6e-8 of itself: of its distance from the mean, in
    # physical units; and the store once more.
    distance = np.abs(rows.inputs - mean) + np.abs(rows.inputs)
    assert (np.abs(store.pack(inputs, slice(None)) - rows.inputs) <= 2e-7 * distance).all()
    tiny = 1e-37  # float32 takes what is smaller for 0
    np.testing.assert_allclose(
        store.targets(outputs, slice(None)), rows.targets, rtol=1e-7, atol=tiny
    )


V1_INPUTS = ("state_t", "state_q0001", "state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX")
FLUXES = ("NETSW", "FLWDS", "PRECSC", "PRECC", "SOLS", "SOLL", "SOLSD", "SOLLD")
V1_OUTPUTS = ("ptend_t", "ptend_q0001", *(f"cam_out_{n}" for n in FLUXES))


def published(path: Path, variables: VariableSet) -> np.ndarray:
    """Return the numbers of a published file in the order of a set."""
    with xr.open_dataset(path) as file:
        return np.concatenate([np.atleast_1d(file[name].values) for name in variables.names])
