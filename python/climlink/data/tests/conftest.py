"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from climlink.data.prepare import prepare
from climlink.data.published import read_published
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.wrappers.statistics import Statistics

FIRST = Stamp.parse("0008-01-30-79200")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with eleven synthetic pairs of 6 columns and 8 levels across the end of a month."""
    return write_dataset(tmp_path / "source", [FIRST.plus(i * 7200) for i in range(11)])


@pytest.fixture(scope="session")
def real_store(climsim_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return the store of the fifty real pairs."""
    path = tmp_path_factory.mktemp("real") / "climsim.zarr"
    prepare(climsim_dir, path, split=climsim_dir / "split.yaml")
    return ColumnStore.open(path)


@pytest.fixture(scope="session")
def published(climsim_dir: Path) -> Statistics:
    """Return the published statistics of the v2_rh_mc networks."""
    return read_published(climsim_dir / "normalization")
