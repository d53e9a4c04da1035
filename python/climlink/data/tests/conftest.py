"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from climlink.data.stamp import Stamp
from climlink.data.synthetic import write_dataset

FIRST = Stamp.parse("0008-01-30-79200")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with eleven synthetic pairs of 6 columns and 8 levels across the end of a month."""
    return write_dataset(tmp_path / "source", [FIRST.plus(i * 7200) for i in range(11)])
