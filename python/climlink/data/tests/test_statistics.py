"""Statistics against numpy on the whole array, against the published files, and their file."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from climlink.data.errors import DataError, StoreError
from climlink.data.files import FileError
from climlink.data.moments import CloudMean, Moments
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics, read_statistics, write_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.wrappers.errors import ContractError
from climlink.wrappers.statistics import MOMENTS, Statistics
from climlink.wrappers.variable_sets import variable_set


@pytest.fixture(scope="module")
def store(shared_source: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    path = tmp_path_factory.mktemp("statistics") / "s.zarr"
    split = Split(test=("0008-01-31-00000",), validation=("0008-01-31-14400",))
    prepare(shared_source, path, split=split, config=StoreConfig(time_chunk=3))
    return ColumnStore.open(path)


def relative(got: torch.Tensor, expected: np.ndarray) -> float:
    """Return the largest difference relative to the largest magnitude of the variable."""
    return float(
        np.max(np.abs(got.numpy() - expected)) / max(float(np.max(np.abs(expected))), 1e-300)
    )


def test_moments_equal_numpy_on_the_whole_split(store: ColumnStore) -> None:
    statistics = compute_statistics(store)
    train = store.indices("train")
    assert len(train) == 9
    for name, entry in statistics.variables.items():
        values = (
            store.read([name], train)[name]
            .astype(np.float64)
            .reshape(len(train) * store.n_column, -1)
        )
        if name == "cam_in_SNOWHICE":
            assert entry.left_out == int((values >= 1e20).sum()) == 9 * 3
            values = values[values < 1e20][:, None]
        assert entry.count == len(values)
        assert relative(entry.mean, values.mean(axis=0)) < 1e-12, name
        assert relative(entry.std, values.std(axis=0)) < 1e-11, name
        np.testing.assert_array_equal(entry.minimum, values.min(axis=0))
        np.testing.assert_array_equal(entry.maximum, values.max(axis=0))


def test_every_variable_of_the_host_and_of_derivation_is_covered(store: ColumnStore) -> None:
    names = {
        n
        for s in ("host_v2_q", "host_v2_rh", "net_v2_mc", "mmf368", "net308")
        for n in variable_set(s).names
    }
    assert set(compute_statistics(store).variables) == names


def test_cloud_lambda_is_one_over_the_in_cloud_mean(store: ColumnStore) -> None:
    statistics = compute_statistics(store)
    for name in ("state_qn", "state_q0002", "state_q0003"):
        values = store.read([name], store.indices("train"))[name].astype(np.float64)
        expected = [1.0 / q[q > 1e-7].mean() if (q > 1e-7).any() else 1e7 for q in values.T]
        assert relative(statistics.cloud_lambda[name], np.array(expected)) < 1e-12


def test_lambda_without_any_cloud_is_the_published_cap() -> None:
    clouds = CloudMean(2)
    clouds.add(np.array([[1e-8, 2e-7], [0.0, 4e-7]]))
    np.testing.assert_allclose(clouds.cloud_lambda(), [1e7, 1 / 3e-7])


@pytest.mark.parametrize("times_per_block", [1, 2, 7, 100])
def test_result_does_not_depend_on_the_block_size(store: ColumnStore, times_per_block: int) -> None:
    reference, other = (
        compute_statistics(store),
        compute_statistics(store, times_per_block=times_per_block),
    )
    for name, entry in reference.variables.items():
        for moment in MOMENTS:
            assert relative(getattr(other[name], moment), getattr(entry, moment).numpy()) < 1e-12, (
                name,
                moment,
            )
    for name, values in reference.cloud_lambda.items():
        assert relative(other.cloud_lambda[name], values.numpy()) < 1e-12


@given(
    rows=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-1e3, 1e3)
    ),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    shift=st.sampled_from([0.0, 1e6]),
)
def test_merged_moments_equal_numpy_for_any_blocks(
    rows: np.ndarray, cuts: list[int], shift: float
) -> None:
    rows = rows + shift
    moments = Moments(3)
    for part in np.split(rows, sorted(cuts)):
        moments.add(part)
    got = moments.statistics()
    scale = np.abs(rows).max() + 1e-300
    assert got.count == len(rows)
    np.testing.assert_allclose(got.mean, rows.mean(axis=0), atol=1e-12 * scale)
    np.testing.assert_allclose(got.std, rows.std(axis=0), atol=1e-10 * scale)


def test_a_constant_has_exactly_no_spread() -> None:
    moments = Moments(1)
    for _ in range(7):
        moments.add(np.full((11, 1), 0.1))
    got = moments.statistics()
    assert (got.mean.item(), got.std.item()) == (0.1, 0.0)


def test_a_variable_that_is_fill_everywhere_is_zero_with_no_count() -> None:
    got = Moments(1).statistics()
    assert (got.count, got.mean.item(), got.std.item()) == (0, 0.0, 0.0)


def test_file_round_trip_is_exact(store: ColumnStore, tmp_path: Path) -> None:
    statistics = compute_statistics(store, split="validation")
    write_statistics(statistics, tmp_path / "new" / "statistics.nc")
    again = read_statistics(tmp_path / "new" / "statistics.nc")
    assert again.digest == statistics.digest
    assert (again.source, again.split, again.data_digest) == (
        statistics.source,
        "validation",
        store.digest,
    )
    assert again["cam_in_SNOWHICE"].left_out == statistics["cam_in_SNOWHICE"].left_out
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "statistics.nc"]
    with netCDF4.Dataset(tmp_path / "new" / "statistics.nc") as file:
        assert file["state_q0001"].units == "kg/kg"
        assert file["state_t"].dimensions == ("moment", "level")


def test_failed_write_leaves_the_old_file(
    store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "statistics.nc"
    path.write_bytes(b"old")

    def full_disk(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xarray.Dataset.to_netcdf", full_disk)
    with pytest.raises(FileError, match=r"statistics\.nc: no space is left on this disk"):
        write_statistics(compute_statistics(store), path)
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*part"))


def test_changed_foreign_and_newer_files_are_refused(store: ColumnStore, tmp_path: Path) -> None:
    path = tmp_path / "statistics.nc"
    write_statistics(compute_statistics(store), path)
    with netCDF4.Dataset(path, "a") as file:
        file["state_t"][0, 0] += 1e-9
    with pytest.raises(DataError, match="not those that were written"):
        read_statistics(path)
    with netCDF4.Dataset(path, "a") as file:
        file.climlink_statistics_version = 2
    with pytest.raises(DataError, match="newer than the 1"):
        read_statistics(path)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("n", 1)
    with pytest.raises(DataError, match="no statistics of climlink"):
        read_statistics(path)


def test_empty_split_and_unknown_names(store: ColumnStore) -> None:
    with pytest.raises(StoreError, match="the unused split holds no times"):
        compute_statistics(store, split="unused")
    with pytest.raises(StoreError, match="unknown split 'trian'; did you mean 'train'"):
        compute_statistics(store, split="trian")
    statistics = compute_statistics(store)
    with pytest.raises(ContractError, match="did you mean 'state_q0001'"):
        statistics["state_q001"]


def test_digest_depends_on_every_number_only(store: ColumnStore) -> None:
    statistics = compute_statistics(store)
    renamed = Statistics(statistics.variables, statistics.cloud_lambda, source="elsewhere")
    assert renamed.digest == statistics.digest
    statistics.variables["state_v"].maximum[3] += 1e-9
    assert renamed.digest != compute_statistics(store).digest


def test_real_statistics_are_near_the_published_ones(
    real_statistics: Statistics, published: Statistics
) -> None:
    ours = real_statistics
    theirs = published
    assert relative(ours["state_t"].mean, theirs["state_t"].mean.numpy()) < 0.01
    assert relative(ours["state_q0001"].mean, theirs["state_q0001"].mean.numpy()) < 0.05
    assert relative(ours["pbuf_CH4"].mean, theirs["pbuf_CH4"].mean.numpy()) < 1e-4
    # standard deviations of tendencies over 40 snapshots against 7 years, floors of the published
    # files left out
    for name in (
        "ptend_t",
        "ptend_q0001",
        "ptend_u",
        "ptend_v",
        "cam_out_NETSW",
        "cam_out_PRECC",
        "cam_out_FLWDS",
    ):
        ratio = ours[name].std / theirs[name].std
        assert (ratio[25:] if len(ratio) > 1 else ratio).log().abs().max() < 0.3, name
    ratio = ours.cloud_lambda["state_qn"] / theirs.cloud_lambda["state_qn"]
    assert ratio[25:].log().abs().max() < 0.3
    assert (ours.cloud_lambda["state_qn"][:11] == 1e7).all()
    assert ours["cam_in_SNOWHICE"].maximum.item() < 10.0
    assert ours["cam_in_SNOWHICE"].left_out > 10_000
