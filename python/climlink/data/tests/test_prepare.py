"""Preparing a store: content against the files, restart after a crash and after SIGKILL,
refusals.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from climlink.data import blocks
from climlink.data import prepare as module
from climlink.data.classic_netcdf import required_bytes
from climlink.data.climsim import find_pairs, read_pair
from climlink.data.errors import DataError, SplitError, StoreError
from climlink.data.grid import find_grid, read_grid
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore, StoreConfig

SPLIT = Split(test=("0008-01-31-00000",))
CONFIG = StoreConfig(time_chunk=2)


def content(path: Path) -> dict[str, bytes]:
    """Return every file of a folder by relative name."""
    return {
        str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()
    }


def test_store_holds_the_files_values(source: Path, tmp_path: Path) -> None:
    done = prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    assert (done.status, done.records, done.records_written) == ("made", 11, 11)
    store = ColumnStore.open(tmp_path / "s.zarr")
    assert store.digest == done.digest
    grid = read_grid(find_grid(source))
    for index, pair in enumerate(find_pairs(source)):
        columns = read_pair(pair, grid)
        for name, values in store.read(list(columns), [index]).items():
            np.testing.assert_array_equal(
                values, columns[name].astype(store.dtype_of(name)), err_msg=name
            )
    assert store.dtype_of("state_t") == "float32"
    assert store.dtype_of("ptend_t") == store.dtype_of("cam_out_PRECC") == "float64"
    assert store.hybrid == grid.hybrid
    np.testing.assert_array_equal(store.latitude, grid.latitude)
    assert [str(store.stamps[i]) for i in store.indices("test")] == ["0008-01-31-00000"]
    assert len(store.indices("train")) == 10
    assert len(store.indices("validation")) == len(store.indices("unused")) == 0


def test_xarray_reads_the_store(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    with xr.open_zarr(tmp_path / "s.zarr", consolidated=False) as dataset:
        assert dataset["state_t"].dims == ("time", "column", "level")
        assert dataset["ptend_q0001"].attrs["units"] == "kg/kg/s"
        assert {
            "stamp",
            "split",
            "latitude",
            "longitude",
            "area",
            "hyam",
            "hybm",
            "hyai",
            "hybi",
        } <= set(dataset.coords)
        assert str(dataset["stamp"].values[0]) == "0008-01-30-79200"
        first = dataset["time"].values[0]
        assert (first.year, first.month, first.day, first.hour) == (8, 1, 30, 22)
        assert first.calendar == "noleap"
        assert np.isfinite(dataset["state_t"].values).all()


def test_tendencies_are_differenced_before_the_cast(source: Path, tmp_path: Path) -> None:
    config = StoreConfig(
        time_chunk=4, tendency_dtype="float32", dtypes={"ptend_t": "float64", "state_t": "float64"}
    )
    prepare(source, tmp_path / "s.zarr", split=SPLIT, config=config)
    store = ColumnStore.open(tmp_path / "s.zarr")
    exact = read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    got = store.read(["ptend_t", "ptend_u", "state_t"], [0])
    np.testing.assert_array_equal(got["ptend_t"], exact["ptend_t"])
    np.testing.assert_array_equal(got["ptend_u"], exact["ptend_u"].astype("f4"))
    np.testing.assert_array_equal(got["state_t"], exact["state_t"])


def test_second_call_does_nothing(source: Path, tmp_path: Path) -> None:
    first = prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    before = content(tmp_path / "s.zarr")
    again = prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    assert (again.status, again.records_written, again.digest) == (
        "already complete",
        0,
        first.digest,
    )
    assert content(tmp_path / "s.zarr") == before


@pytest.mark.parametrize("where", ["_write_block", "replacing", "_finish"])
def test_exception_anywhere_leaves_a_store_that_is_refused_and_resumes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store, whole = tmp_path / "s.zarr", tmp_path / "whole.zarr"
    prepare(source, whole, split=SPLIT, config=CONFIG)
    place = module if where == "_finish" else blocks
    original, calls = getattr(place, where), []

    def fail_at_third(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3 or where == "_finish":
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(place, where, fail_at_third)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, store, split=SPLIT, config=CONFIG)
    with pytest.raises(StoreError, match=r"incomplete.*prepare command again to resume"):
        ColumnStore.open(store)
    seen: list[int] = []
    done = prepare(
        source, store, split=SPLIT, config=CONFIG, progress=lambda pairs, total: seen.append(pairs)
    )
    assert done.status == "resumed"
    assert done.records_written == (0 if where == "_finish" else 7)
    assert seen[-1] == 11
    assert content(store) == content(whole)


KILL = """
import os, signal, sys
from climlink.data import blocks, skeleton
from climlink.data import prepare as main
from climlink.data.split import Split
from climlink.data.store import StoreConfig
source, store, where = sys.argv[1:]
module = skeleton if where == "_coordinate" else blocks
original, calls = getattr(module, where), []
def kill_at_third(*args, **more):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **more)
setattr(module, where, kill_at_third)
split = Split(test=("0008-01-31-00000",))
main.prepare(source, store, split=split, config=StoreConfig(time_chunk=2))
"""


@pytest.mark.parametrize("where", ["_coordinate", "_write_block", "replacing"])
def test_sigkill_anywhere_leaves_a_store_that_is_refused_and_resumes(
    source: Path, tmp_path: Path, where: str
) -> None:
    store, whole = tmp_path / "s.zarr", tmp_path / "whole.zarr"
    prepare(source, whole, split=SPLIT, config=CONFIG)
    killed = subprocess.run(
        [sys.executable, "-c", KILL, source, store, where], env=dict(os.environ), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(
        StoreError, match="incomplete" if where != "_coordinate" else "no column store here"
    ):
        ColumnStore.open(store)
    done = prepare(source, store, split=SPLIT, config=CONFIG)
    assert done.status == ("made" if where == "_coordinate" else "resumed")
    assert content(store) == content(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "source", "whole.zarr"]


def interrupt(source: Path, store: Path) -> None:
    """Leave an unfinished store."""

    def stop(pairs: int, total: int) -> None:
        if pairs == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, store, split=SPLIT, config=CONFIG, progress=stop)


def test_other_arguments_are_refused_and_named(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    interrupt(source, store)
    with pytest.raises(StoreError, match=r"different: split\)"):
        prepare(source, store, split=Split(test=("0008-01-31-07200",)), config=CONFIG)
    with pytest.raises(StoreError, match=r"different: store configuration"):
        prepare(source, store, split=SPLIT, config=StoreConfig(time_chunk=2, input_dtype="float64"))
    pair = find_pairs(source)[-1]
    pair.mli.unlink()
    pair.mlo.unlink()
    with pytest.raises(StoreError, match=r"different: stamps of the source\).*--overwrite"):
        prepare(source, store, split=SPLIT, config=CONFIG)
    done = prepare(source, store, split=SPLIT, config=CONFIG, overwrite=True)
    assert (done.status, done.records) == ("made", 10)


def test_moved_source_resumes(source: Path, tmp_path: Path) -> None:
    interrupt(source, tmp_path / "s.zarr")
    moved = source.rename(tmp_path / "elsewhere")
    assert prepare(moved, tmp_path / "s.zarr", split=SPLIT, config=CONFIG).status == "resumed"


def test_digest_changes_with_the_content_of_one_file(source: Path, tmp_path: Path) -> None:
    first = prepare(source, tmp_path / "a.zarr", split=SPLIT, config=CONFIG)
    same = prepare(source, tmp_path / "b.zarr", split=SPLIT, config=StoreConfig(time_chunk=5))
    path = find_pairs(source)[4].mlo
    raw = bytearray(path.read_bytes())
    needed = required_bytes(path)
    assert needed is not None
    raw[needed - 1] ^= 1  # the last bit of the last value
    path.write_bytes(raw)
    changed = prepare(source, tmp_path / "c.zarr", split=SPLIT, config=CONFIG)
    assert first.digest == same.digest != changed.digest


def test_broken_pair_stops_and_the_rest_goes_on_after_repair(source: Path, tmp_path: Path) -> None:
    path = find_pairs(source)[6].mli
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 100)
    with pytest.raises(DataError, match="truncated") as caught:
        prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    assert str(path) in str(caught.value)
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "s.zarr")
    path.write_bytes(whole)
    done = prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    assert (done.status, done.records_written) == ("resumed", 5)


def test_a_file_exchanged_after_its_block_was_done_is_read_again(
    source: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    interrupt(source, store)
    exchanged = find_pairs(source)[0].mli
    exchanged.write_bytes(exchanged.read_bytes() + bytes(4))
    assert (
        prepare(source, store, split=SPLIT, config=CONFIG).records_written == 9
    )  # blocks 0 and 2 to 5
    exchanged.write_bytes(exchanged.read_bytes() + bytes(4))
    with pytest.raises(StoreError, match="complete, but its source files have changed"):
        prepare(source, store, split=SPLIT, config=CONFIG)


def test_refusals_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    with pytest.raises(SplitError, match="not in the source"):
        prepare(source, store, split=Split(test=("0009-01-01-00000",)))
    with pytest.raises(
        StoreError, match="names 'state_tt', which a store does not hold; did you mean 'state_t'"
    ):
        prepare(source, store, split=SPLIT, config=StoreConfig(dtypes={"state_tt": "float64"}))
    with pytest.raises(
        StoreError, match=r"the split counts steps of 1200 s, the store's time step is 600 s"
    ):
        prepare(source, store, split=SPLIT, config=StoreConfig(time_step_s=600))
    find_pairs(source)[0].mlo.unlink()
    with pytest.raises(DataError, match="without their mlo"):
        prepare(source, store, split=SPLIT)
    assert not store.exists()


def test_overwrite_never_removes_what_is_not_a_store(source: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(StoreError, match="not a column store"):
        prepare(source, precious, split=SPLIT, overwrite=True)
    with pytest.raises(StoreError, match="not a column store"):
        prepare(source, precious, split=SPLIT)
    assert (precious / "thesis.tex").exists()


def test_lost_chunk_is_never_read_as_data(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "s.zarr", split=SPLIT, config=CONFIG)
    shutil.rmtree(tmp_path / "s.zarr" / "state_t" / "c" / "2")
    store = ColumnStore.open(tmp_path / "s.zarr")
    store.read(["state_t"], [0, 1])
    with pytest.raises(
        StoreError, match="state_t is not finite at 0008-01-31-21600; a chunk is missing"
    ):
        store.read(["state_t"], slice(None))


def test_fifty_real_pairs_make_a_store(real_store: ColumnStore) -> None:
    assert (real_store.n_time, real_store.n_column, real_store.level_count) == (50, 384, 60)
    assert len(real_store.indices("train")) == 40
    assert len(real_store.indices("test")) == 10
