"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from climlink.data.prepare import prepare
from climlink.data.published import read_published
from climlink.data.stamp import Stamp
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.wrappers.statistics import Statistics

FIRST = Stamp.parse("0008-01-30-79200")


STAMPS = [FIRST.plus(i * 7200) for i in range(11)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder of this test's own with eleven synthetic pairs of 6 columns and 8 levels
    across the end of a month.
    """
    return write_dataset(tmp_path / "source", STAMPS)


@pytest.fixture(scope="session")
def shared_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a folder that tests share and do not change."""
    return write_dataset(tmp_path_factory.mktemp("shared") / "source", STAMPS)


@pytest.fixture(scope="session")
def real_store(climsim_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return the store of the fifty real pairs."""
    path = tmp_path_factory.mktemp("real") / "climsim.zarr"
    prepare(climsim_dir, path, split=climsim_dir / "split.yaml")
    return ColumnStore.open(path)


@pytest.fixture(scope="session")
def real_statistics(real_store: ColumnStore) -> Statistics:
    """Return the statistics of the forty real training pairs."""
    return compute_statistics(real_store)


@pytest.fixture(scope="session")
def published(climsim_dir: Path) -> Statistics:
    """Return the published statistics of the v2_rh_mc networks."""
    return read_published(climsim_dir / "normalization")
