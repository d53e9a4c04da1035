"""Truth of auxiliary targets: from place and time of a store's columns, from states and
tendencies; and what a table of rows cannot say.
"""

from __future__ import annotations

from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
import torch

from climlink.data.climsim import find_pairs
from climlink.data.columns import derive
from climlink.data.derivations import state_class
from climlink.data.errors import DataError, StoreError
from climlink.data.grid import find_grid
from climlink.data.prepare import prepare
from climlink.data.split import RowRange, Split
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.data.tables.layout import column_names
from climlink.wrappers.auxiliary import auxiliary_names, auxiliary_variables
from climlink.wrappers.thermodynamics import relative_humidity
from climlink.wrappers.variable_sets import VariableSet, variable_set


@pytest.fixture(scope="module")
def store(shared_source: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    path = tmp_path_factory.mktemp("auxiliary") / "store.zarr"
    prepare(
        shared_source,
        path,
        split=Split(train=tuple(str(p.stamp) for p in find_pairs(shared_source))),
    )
    return ColumnStore.open(path)


def _column(store: ColumnStore, name: str, times: list[int]) -> np.ndarray:
    return np.asarray(store.read([name], times)[name]).reshape(len(times), store.n_column, -1)


def test_place_and_time_are_the_columns_own(store: ColumnStore, shared_source: Path) -> None:
    """Latitude and longitude as the grid file has them, the time as cftime counts it."""
    times = [7, 0, 10]
    with netCDF4.Dataset(find_grid(shared_source)) as grid:
        lat, lon = (np.deg2rad(np.asarray(grid[n][...])) for n in ("lat", "lon"))
    for name, expected in (
        ("aux_slat", np.sin(lat)),
        ("aux_clat", np.cos(lat)),
        ("aux_slon", np.sin(lon)),
        ("aux_clon", np.cos(lon)),
    ):
        for at_time in _column(store, name, times):
            np.testing.assert_allclose(at_time[:, 0], expected, atol=1e-15)
    for k, time in enumerate(times):
        stamp = store.stamps[time]
        date = cftime.DatetimeNoLeap(stamp.year, stamp.month, stamp.day)
        day = stamp.second / 86400.0
        year = (date.dayofyr - 1 + day) / 365.0
        for name, function, turns in (
            ("aux_sin_year", np.sin, year),
            ("aux_cos_year", np.cos, year),
            ("aux_sin_day", np.sin, day),
            ("aux_cos_day", np.cos, day),
        ):
            got = _column(store, name, times)[k, :, 0]
            np.testing.assert_allclose(got, function(2.0 * np.pi * turns), atol=1e-12)


def test_humidity_tendency_is_the_difference_of_the_files_states(
    climsim_dir: Path, tmp_path: Path
) -> None:
    stamp = "0008-07-07-54000"
    files = {kind: next(climsim_dir.rglob(f"*.{kind}.{stamp}.nc")) for kind in ("mli", "mlo")}
    (tmp_path / "pairs").mkdir()
    for path in files.values():
        (tmp_path / "pairs" / path.name).symlink_to(path)
    prepare(
        tmp_path / "pairs",
        tmp_path / "store.zarr",
        split=Split(test=(stamp,)),
        grid=find_grid(climsim_dir),
    )
    humidity = {}
    with netCDF4.Dataset(files["mli"]) as before:
        pressure = np.asarray(before["state_pmid"][...])
    for kind, path in files.items():
        with netCDF4.Dataset(path) as dataset:
            t, q = (np.asarray(dataset[n][...]) for n in ("state_t", "state_q0001"))
        humidity[kind] = relative_humidity(*(torch.from_numpy(a) for a in (t, q, pressure))).numpy()
    expected = ((humidity["mlo"] - humidity["mli"]) / 1200.0).T
    got = ColumnStore.open(tmp_path / "store.zarr").read(["ptend_rh"], [0])["ptend_rh"]
    assert np.abs(expected).max() > 1e-5
    # States are stored in float32: 6e-8 of T and q, times d ln RH/dT of up to 0.2 per K.
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * humidity["mli"].max() / 1200.0)


def test_the_class_of_a_column_is_the_last_that_fits() -> None:
    none, some, rain = 0.0, 2e-5, 2e-8  # 2e-8 m/s is 1.7 mm per day
    liquid = np.array([none, 1e-6, some, none, some, some])
    ice = np.array([none, none, none, some, some, some])
    columns = {
        "state_q0002": np.stack([liquid * 0.1, liquid], axis=1),
        "state_q0003": np.stack([ice, ice * 0.0], axis=1),
        "cam_out_PRECC": np.array([0.0, 1e-9, 0.0, 0.0, 0.0, rain]),
    }
    assert state_class(columns).tolist() == [1, 1, 2, 3, 4, 5]
    names = [v.name for v in auxiliary_variables(["aux_state_class"])]
    one_hot = np.stack(list(derive(names, columns, None).values()), axis=1)
    assert one_hot.sum(axis=1).tolist() == [1.0] * 6
    assert (one_hot.argmax(axis=1) + 1).tolist() == [1, 1, 2, 3, 4, 5]


def test_every_target_can_be_packed_and_none_enters_the_statistics(store: ColumnStore) -> None:
    whole = VariableSet("all", auxiliary_variables(auxiliary_names()), {"level": store.level_count})
    targets = store.targets(whole, [3, 4])
    assert targets.shape == (2 * store.n_column, whole.width)
    assert np.isfinite(targets).all()
    computed = {v.name for v in store.derived} | set(compute_statistics(store).variables)
    assert computed.isdisjoint(whole.names)


def test_a_table_of_rows_has_neither_place_nor_time(
    store: ColumnStore, shared_source: Path, tmp_path: Path
) -> None:
    sets = [variable_set(n, store.level_count) for n in ("climsim_v2_kaggle", "mmf368")]
    rows = np.concatenate(
        [store.pack(sets[0], [0]).astype(np.float64), store.targets(sets[1], [0])], axis=1
    )
    header = ",".join(["sample_id", *(n for s in sets for n in column_names(s))])
    lines = [",".join([f"train_{i}", *map(repr, row.tolist())]) for i, row in enumerate(rows)]
    (tmp_path / "train.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    prepare(
        tmp_path / "train.csv",
        tmp_path / "table.zarr",
        split=Split(train=(RowRange(rows=(0.0, 1.0)),)),
        grid=find_grid(shared_source),
    )
    table = ColumnStore.open(tmp_path / "table.zarr")
    for name in ("aux_slat", "aux_clon", "aux_cos_year", "aux_sin_day"):
        with pytest.raises(StoreError, match=r"train\.csv, whose rows say neither time nor place"):
            table.read([name], [0])
    got, expected = (s.read(["ptend_rh"], [0])["ptend_rh"] for s in (table, store))
    np.testing.assert_allclose(got, expected[:1], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["aux_slat", "ptend_rh"])
def test_rows_of_which_nothing_is_said_are_refused(name: str, store: ColumnStore) -> None:
    columns = store.read(["state_t", "state_q0001", "state_ps", "ptend_t", "ptend_q0001"], [0])
    with pytest.raises(DataError, match=rf"{name} needs place, time and time step"):
        derive([name], columns, store.hybrid)
