"""Reading a store: rows in a variable set's order, derived inputs, refusals, and what describe
says.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from climlink.data.columns import read_columns
from climlink.data.describe import describe
from climlink.data.errors import DataError, StoreError
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore, StoreConfig
from climlink.wrappers.variable_sets import variable_set


@pytest.fixture(scope="module")
def store(shared_source: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    prepare(
        shared_source,
        path,
        split=Split(test=("0008-01-31-00000",)),
        config=StoreConfig(time_chunk=4),
    )
    return ColumnStore.open(path)


def numpy_relative_humidity(t: np.ndarray, q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Independent float64 RH of the published polynomials."""
    liquid = [
        6.11239921,
        0.443987641,
        0.142986287e-1,
        0.264847430e-3,
        0.302950461e-5,
        0.206739458e-7,
        0.640689451e-10,
    ]
    liquid += [-0.952447341e-13, -0.976195544e-15]
    ice = [
        6.11147274,
        0.503160820,
        0.188439774e-1,
        0.420895665e-3,
        0.615021634e-5,
        0.602588177e-7,
        0.385852041e-9,
    ]
    ice += [0.146898966e-11, 0.252751365e-14]
    over_liquid = 100 * np.polynomial.polynomial.polyval(np.maximum(t - 273.16, -80), liquid)
    cold = np.maximum(t - 273.16, -100)
    quadratic = 100 * (0.00763685 + cold * (0.000151069 + cold * 7.48215e-7))
    over_ice = np.where(t > 185, 100 * np.polynomial.polynomial.polyval(t - 273.16, ice), quadratic)
    over_ice = np.where(t > 273.15, over_liquid, over_ice)
    w = np.clip((t - 253.16) / 20, 0, 1)
    return 461 * p * q / (287 * (w * over_liquid + (1 - w) * over_ice))


def test_rows_are_time_major_and_in_the_order_of_the_set(store: ColumnStore) -> None:
    variables = variable_set("host_v2_q", store.level_count)
    rows = store.pack(variables, [7, 2])
    assert rows.dtype == np.float32
    assert rows.shape == (2 * store.n_column, variables.width)
    for name in variables.names:
        raw = np.asarray(zarr.open_array(store.path / name, mode="r")[...])
        expected = np.concatenate([raw[7], raw[2]]).reshape(2 * store.n_column, -1)
        np.testing.assert_array_equal(rows[:, variables.slice(name)], expected)


def test_slices_lists_and_arrays_select_the_same(store: ColumnStore) -> None:
    variables = variable_set("mmf368", store.level_count)
    reference = store.targets(variables, slice(3, 6))
    assert reference.dtype == np.float64
    np.testing.assert_array_equal(store.targets(variables, [3, 4, 5]), reference)
    np.testing.assert_array_equal(
        store.targets(variables, np.array([5, 4, 3]))[::-1][: store.n_column][::-1],
        reference[: store.n_column],
    )


def test_relative_humidity_is_computed_in_float64(store: ColumnStore) -> None:
    variables = variable_set("host_v2_rh", store.level_count)
    rows = store.pack(variables, slice(None))
    raw = {
        n: store.read([n], slice(None))[n].astype(np.float64)
        for n in ("state_t", "state_q0001", "state_ps")
    }
    pressure = store.hybrid.p0_pa * np.array(store.hybrid.hyam) + raw["state_ps"][
        :, None
    ] * np.array(store.hybrid.hybm)
    expected = numpy_relative_humidity(raw["state_t"], raw["state_q0001"], pressure)
    np.testing.assert_allclose(rows[:, variables.slice("state_rh")], expected, rtol=1e-6)


def test_total_cloud_and_its_tendency_are_sums(store: ColumnStore) -> None:
    read = store.read(
        ["state_qn", "state_q0002", "state_q0003", "ptend_qn", "ptend_q0002", "ptend_q0003"], [1]
    )
    np.testing.assert_array_equal(
        read["state_qn"], read["state_q0002"].astype("f8") + read["state_q0003"].astype("f8")
    )
    np.testing.assert_array_equal(read["ptend_qn"], read["ptend_q0002"] + read["ptend_q0003"])
    net = variable_set("net308", store.level_count)
    np.testing.assert_array_equal(
        store.targets(net, [1])[:, net.slice("ptend_qn")], read["ptend_qn"]
    )


def test_store_and_files_give_the_same_rows(store: ColumnStore, shared_source: Path) -> None:
    inputs, outputs = variable_set("host_v2_q", 8), variable_set("mmf368", 8)
    rows = read_columns(
        shared_source, inputs, outputs, stamps=["0008-01-31-07200", "0008-01-30-79200"]
    )
    assert [str(s) for s in rows.stamps] == ["0008-01-31-07200", "0008-01-30-79200"]
    indices = [store.stamps.index(s) for s in rows.stamps]
    np.testing.assert_array_equal(rows.inputs, store.pack(inputs, indices))
    np.testing.assert_array_equal(rows.targets, store.targets(outputs, indices))
    assert rows.n_column == store.n_column


def test_columns_of_a_stamp_that_is_absent(shared_source: Path) -> None:
    with pytest.raises(DataError, match="no mli/mlo pair for 0009-01-01-00000"):
        read_columns(
            shared_source,
            variable_set("host_v2_q", 8),
            variable_set("mmf368", 8),
            stamps=["0009-01-01-00000"],
        )


@pytest.mark.parametrize("name", ["host_v4_q", "host_v6_rh"])
def test_lagged_inputs_are_refused_by_name(store: ColumnStore, name: str) -> None:
    with pytest.raises(DataError, match=r"state_t_dyn, .*tm_state_u_prvphy.*consecutive files"):
        store.pack(variable_set(name, store.level_count), [0])


def test_wrong_level_count_and_times(store: ColumnStore) -> None:
    with pytest.raises(StoreError, match="has 8 levels, the set 'host_v2_q' was made for 60"):
        store.pack(variable_set("host_v2_q"), [0])
    with pytest.raises(StoreError, match=r"has 11 times \(0 to 10\); asked for 11 to 11"):
        store.read(["state_t"], [11])


def test_open_refuses_what_is_not_a_complete_store(store: ColumnStore, tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match="no column store here; make one with: climlink data prepare"
    ):
        ColumnStore.open(tmp_path / "absent.zarr")
    with pytest.raises(StoreError, match="not a column store"):
        ColumnStore.open(tmp_path)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="has no integer attribute climlink_store_version"):
        ColumnStore.open(tmp_path / "other.zarr")
    newer = tmp_path / "newer.zarr"
    shutil.copytree(store.path, newer)
    zarr.open_group(newer, mode="r+").update_attributes({"climlink_store_version": 3})
    message = "version 3 is newer than the 2 this climlink reads; update climlink"
    with pytest.raises(StoreError, match=message):
        ColumnStore.open(newer)


def test_damaged_chunk_is_refused(store: ColumnStore, tmp_path: Path) -> None:
    shutil.copytree(store.path, tmp_path / "damaged.zarr")
    chunk = next(
        p for p in sorted((tmp_path / "damaged.zarr" / "state_u" / "c").rglob("*")) if p.is_file()
    )
    chunk.write_bytes(chunk.read_bytes()[:-10])
    store = ColumnStore.open(tmp_path / "damaged.zarr")
    with pytest.raises(StoreError, match=r"state_u cannot be read .* damaged"):
        store.read(["state_u"], [0])


def test_describe(store: ColumnStore) -> None:
    seen: list[int] = []
    description = describe(store.path, progress=lambda done, total: seen.append(done))
    json.dumps(description, allow_nan=False)
    assert description["complete"] is True
    assert description["digest"] == store.digest
    assert (description["times"], description["columns"], description["levels"]) == (11, 6, 8)
    assert description["splits"]["train"] == {
        "times": 10,
        "first": "0008-01-30-79200",
        "last": "0008-01-31-64800",
    }
    assert description["splits"]["validation"] == {"times": 0, "first": None, "last": None}
    entry = description["variables"]["ptend_q0001"]
    values = store.read(["ptend_q0001"], slice(None))["ptend_q0001"]
    assert (entry["units"], entry["dimensions"], entry["dtype"]) == (
        "kg/kg/s",
        "time column level",
        "float64",
    )
    assert (entry["minimum"], entry["maximum"]) == (values.min(), values.max())
    assert 0 < entry["bytes_on_disk"] < description["bytes_on_disk"]
    assert set(description["variables"]) == {v.name for v in store.variables}
    assert seen[-1] == len(store.variables)


def test_describe_an_unfinished_store(shared_source: Path, tmp_path: Path) -> None:
    def stop(pairs: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(shared_source, tmp_path / "s.zarr", split=Split(), progress=stop)
    description = describe(tmp_path / "s.zarr")
    assert description["complete"] is False
    assert description["digest"] is None
    assert "minimum" not in description["variables"]["state_t"]


def test_a_store_of_an_older_version_is_refused_with_the_command_that_renews_it(
    shared_source: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.zarr"
    prepare(shared_source, path, split=Split())
    group = zarr.open_group(path, mode="r+")
    group.update_attributes({"climlink_store_version": 1})
    message = (
        r"version 1 is older than the 2 .*: climlink data prepare SOURCE --out .*old\.zarr --split "
        r"SPLIT --overwrite"
    )
    with pytest.raises(StoreError, match=message):
        ColumnStore.open(path)
    with pytest.raises(StoreError, match=message):
        prepare(shared_source, path, split=Split())
    assert prepare(shared_source, path, split=Split(), overwrite=True).status == "made"
    assert ColumnStore.open(path).n_time == 11


def test_the_variables_are_those_that_the_store_lists(store: ColumnStore, tmp_path: Path) -> None:
    path = tmp_path / "own.zarr"
    shutil.copytree(store.path, path)
    group = zarr.open_group(path, mode="r+")
    listed = group.attrs["variables"]
    assert [r["name"] for r in listed] == [v.name for v in store.variables]
    assert listed[0] == {
        "name": "state_t",
        "units": "K",
        "long_name": "air temperature",
        "dims": ["level"],
        "width": 8,
    }
    own = {
        "name": "soil_moisture",
        "units": "m3/m3",
        "long_name": "soil moisture",
        "dims": [],
        "width": 1,
    }
    group.create_array("soil_moisture", data=np.ones((11, 6)))
    group.update_attributes(
        {"variables": [*(r for r in listed if r["name"] != "cam_in_SNOWHICE"), own]}
    )
    changed = ColumnStore.open(path)
    assert changed.variables[-1].name == "soil_moisture"
    assert (changed.variables[-1].units, changed.variables[-1].is_profile) == ("m3/m3", False)
    assert changed.read(["soil_moisture"], [0])["soil_moisture"].tolist() == [1.0] * 6
    with pytest.raises(DataError, match="cam_in_SNOWHICE: not in the data"):
        changed.pack(variable_set("host_v2_q", 8), [0])
    group.update_attributes({"variables": [{**listed[0], "units": "degC"}]})
    message = r"holds state_t in 'degC' over \['level'\], the catalogue has it in 'K'"
    with pytest.raises(StoreError, match=message):
        ColumnStore.open(path)
