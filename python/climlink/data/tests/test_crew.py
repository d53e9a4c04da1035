"""Preparing a store with several processes: the same bytes, whoever writes and whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import LocalCluster

from climlink.data.climsim import find_pairs
from climlink.data.crew import Crew
from climlink.data.errors import DataError, StoreError
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset

CONFIG = StoreConfig(time_chunk=2, lags=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return fourteen consecutive pairs: twelve with lagged inputs, in six blocks."""
    stamps = [Stamp(1, 2, 28).plus(85200 + 1200 * step) for step in range(14)]
    return write_dataset(tmp_path_factory.mktemp("crew") / "tree", stamps)


@pytest.fixture(scope="module")
def alone(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store that one process makes."""
    path = tmp_path_factory.mktemp("alone") / "s.zarr"
    prepare(tree, path, split=Split(), config=CONFIG)
    return path


def content(path: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()
    }


@pytest.mark.long
def test_two_processes_write_the_store_of_one_and_one_goes_on_after_an_error(
    tree: Path, alone: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    broken = find_pairs(tree)[-1].mlo
    whole = broken.read_bytes()
    os.truncate(broken, len(whole) - 100)
    try:
        with pytest.raises(DataError, match="truncated") as caught:
            prepare(tree, store, split=Split(), config=CONFIG, workers=2)
    finally:
        broken.write_bytes(whole)
    assert str(broken) in str(caught.value)
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(store)
    done = prepare(tree, store, split=Split(), config=CONFIG)  # by one process
    assert (done.status, done.records) == ("resumed", 12)
    assert 2 <= done.records_written <= 12
    assert content(store) == content(alone)
    seen: list[int] = []
    whole_again = tmp_path / "again.zarr"
    prepare(
        tree,
        whole_again,
        split=Split(),
        config=CONFIG,
        workers=2,
        progress=lambda records, total: seen.append(records),
    )
    assert (seen[0], seen[-1]) == (0, 12)
    assert content(whole_again) == content(alone)


def test_a_process_elsewhere_writes_the_store_of_one(
    tree: Path, alone: Path, tmp_path: Path
) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=2, memory_limit=0, dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        done = prepare(tree, tmp_path / "s.zarr", split=Split(), config=CONFIG, scheduler=address)
    assert (done.status, done.records_written) == ("made", 12)
    assert content(tmp_path / "s.zarr") == content(alone)


def test_processes_and_a_scheduler_exclude_each_other() -> None:
    assert Crew().is_alone
    with pytest.raises(StoreError, match="workers 2 and the scheduler tcp://h:1 exclude each"):
        Crew(2, "tcp://h:1")
    with pytest.raises(StoreError, match="workers is 0; it must be 1 or more"):
        Crew(0)


def test_no_scheduler_at_an_address_is_told(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("climlink.data.crew._CONNECT_S", 1)
    with pytest.raises(StoreError, match=r"no scheduler of dask at tcp://127\.0\.0\.1:9 .*start"):
        prepare(tree, tmp_path / "s.zarr", split=Split(), scheduler="tcp://127.0.0.1:9")


def test_the_old_store_stays_until_the_new_one_is_complete(
    tree: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.zarr"
    prepare(tree, store, split=Split(), config=StoreConfig(time_chunk=2))
    old = content(store)

    def stop(records: int, total: int) -> None:
        if records == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tree, store, split=Split(), config=CONFIG, progress=stop, overwrite=True)
    assert content(store) == old
    done = prepare(tree, store, split=Split(), config=CONFIG, overwrite=True)
    assert (done.path, done.status, done.records_written) == (store, "resumed", 8)
    assert content(store) == content(alone)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_what_was_begun_to_replace_a_store_with_other_arguments_is_begun_anew(
    tree: Path, alone: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    prepare(tree, store, split=Split(), config=StoreConfig(time_chunk=2))

    def stop(records: int, total: int) -> None:
        raise KeyboardInterrupt

    other = StoreConfig(time_chunk=3)
    with pytest.raises(KeyboardInterrupt):
        prepare(tree, store, split=Split(), config=other, progress=stop, overwrite=True)
    assert prepare(tree, store, split=Split(), config=CONFIG, overwrite=True).status == "made"
    assert content(store) == content(alone)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_a_process_killed_between_two_renames_loses_neither_store(
    tree: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.zarr"
    prepare(tree, store, split=Split(), config=StoreConfig(time_chunk=2))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == ".s.zarr.overwriting":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(tree, store, split=Split(), config=CONFIG, overwrite=True)
    assert not store.exists()
    done = prepare(tree, store, split=Split(), config=CONFIG)
    assert (done.status, done.records_written) == ("already complete", 0)
    assert content(store) == content(alone)


PREPARE = """
import sys
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import StoreConfig
if __name__ == "__main__":
    source, store = sys.argv[1:]
    config = StoreConfig(time_chunk=2, lags=True)
    prepare(source, store, split=Split(), config=config, workers=2)
"""


@pytest.mark.long
def test_killed_clients_and_workers_leave_a_store_that_is_refused_and_resumes(
    tmp_path: Path,
) -> None:
    """Of a tree that takes some seconds first the client is killed, then a worker of the next."""
    import psutil

    stamps = [Stamp(1, 2, 28).plus(1200 * step) for step in range(202)]
    tree = write_dataset(tmp_path / "tree", stamps, n_column=48, level_count=60)
    whole, store = tmp_path / "whole.zarr", tmp_path / "s.zarr"
    expected = prepare(tree, whole, split=Split(), config=CONFIG)
    script = tmp_path / "prepare.py"
    script.write_text(PREPARE, encoding="utf-8")
    marks = store / ".prepare"

    def begin(at_least: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, script, tree, store])
        while process.poll() is None and len(list(marks.glob("block-*"))) < at_least:
            time.sleep(0.1)
        assert process.poll() is None
        return process

    client = begin(4)
    workers = psutil.Process(client.pid).children(recursive=True)
    os.kill(client.pid, signal.SIGKILL)
    assert client.wait() == -signal.SIGKILL
    assert psutil.wait_procs(workers, timeout=60)[1] == []  # none goes on without it
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(store)
    done = len(list(marks.glob("block-*")))
    assert 4 <= done < 100
    client = begin(done + 4)
    children = psutil.Process(client.pid).children(recursive=True)
    one = next(c for c in children if "spawn_main" in " ".join(c.cmdline()))
    os.kill(one.pid, signal.SIGKILL)
    assert client.wait(timeout=300) == 0
    assert ColumnStore.open(store).digest == expected.digest
    assert content(store) == content(whole)
