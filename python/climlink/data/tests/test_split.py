"""Splits: the shipped ones, refusals, and properties of ranges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import climlink
from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.data.errors import SplitError
from climlink.data.split import SPLIT_NAMES, RowRange, Split, StampRange, read_split
from climlink.data.stamp import Stamp

STEP = 1200


def stamps_between(first: str, last: str) -> list[Stamp]:
    start, end = Stamp.parse_date(first), Stamp.parse_date(last)
    return [Stamp.from_seconds(s) for s in range(start.seconds, end.seconds + 86400, STEP)]


def counts(split: Split, stamps: list[Stamp]) -> dict[str, int]:
    codes = split.assign(stamps)
    return {name: int((codes == code).sum()) for code, name in enumerate(SPLIT_NAMES)}


@pytest.fixture
def splits_dir(request: pytest.FixtureRequest) -> Path:
    shipped = Path(climlink.__file__).parent / "sim_configs" / "splits"
    return shipped if shipped.is_dir() else request.config.rootpath / "sim_configs" / "splits"


def test_published_split_has_the_published_sizes(splits_dir: Path) -> None:
    stamps = stamps_between("0001-02-01", "0011-02-28")
    got = counts(read_split(splits_dir / "climsim_published.yaml"), stamps)
    # 7 years of 26,280 steps less the one file that each published list drops; 4380 test steps make
    # the published 1,681,920 rows.
    assert got["train"] == 7 * (26280 - 1)
    assert got["validation"] == len(range(26280)[1:-1:7])
    assert got["test"] == 4380
    assert got["test"] * 384 == 1_681_920


def test_published_ranges_are_python_slices_of_the_file_lists(splits_dir: Path) -> None:
    stamps = stamps_between("0008-02-01", "0009-01-31")
    codes = read_split(splits_dir / "climsim_published.yaml").assign(stamps)
    expected = stamps[1:-1:7]
    assert [
        s for s, c in zip(stamps, codes, strict=True) if SPLIT_NAMES[c] == "validation"
    ] == expected


def test_sample_split_is_the_one_beside_the_data(splits_dir: Path, climsim_dir: Path) -> None:
    ours, theirs = (
        read_split(splits_dir / "climsim_sample.yaml"),
        read_split(climsim_dir / "split.yaml"),
    )
    assert ours == theirs
    pairs = [p.stamp for p in find_pairs(climsim_dir)]
    parts = {"unused": 0, "train": 40, "validation": 0, "test": 10, "later": 0}
    assert counts(ours, pairs) == parts


@given(
    stride=st.integers(1, 50),
    data=st.data(),
    first=st.integers(0, 300),
    length=st.integers(0, 300),
    keep=st.integers(1, 7),
)
def test_a_range_does_not_depend_on_which_files_are_present(
    stride: int, data: st.DataObject, first: int, length: int, keep: int
) -> None:
    offset = data.draw(st.integers(0, stride - 1))
    base = Stamp.parse("0003-06-15-00000")
    start, end = base.plus(first * STEP), base.plus((first + length) * STEP)
    split = Split(
        test=(StampRange(start=str(start), end=str(end), stride=stride, offset=offset),),
        remainder="unused",
    )
    stamps = [base.plus(i * STEP) for i in range(700)]
    chosen = [s for s, c in zip(stamps, split.assign(stamps), strict=True) if c]
    assert chosen == stamps[first : first + length + 1][offset::stride]
    some = stamps[::keep]
    assert [s for s, c in zip(some, split.assign(some), strict=True) if c] == [
        s for s in chosen if s in set(some)
    ]


@given(st.integers(2, 12))
def test_strided_ranges_with_all_offsets_partition_the_range(stride: int) -> None:
    stamps = stamps_between("0002-02-27", "0002-03-02")
    total = np.zeros(len(stamps), dtype=int)
    for offset in range(stride):
        part = Split(
            train=(StampRange(start="0002-02-27", end="0002-03-02", stride=stride, offset=offset),),
            remainder="unused",
        )
        total += part.assign(stamps)
    assert (total == 1).all()


@given(st.sets(st.integers(0, 200), min_size=1), st.sets(st.integers(0, 200), min_size=1))
def test_a_stamp_in_two_splits_is_refused_and_only_then(train: set[int], test: set[int]) -> None:
    base = Stamp.parse("0001-01-01-00000")
    stamps = [base.plus(i * STEP) for i in range(201)]
    split = Split(
        train=tuple(str(stamps[i]) for i in train),
        test=tuple(str(stamps[i]) for i in test),
        remainder="unused",
    )
    if train & test:
        with pytest.raises(SplitError, match=str(stamps[min(train & test)])):
            split.assign(stamps)
    else:
        assert set(np.flatnonzero(split.assign(stamps) == SPLIT_NAMES.index("test"))) == test


def test_range_over_a_named_stamp_is_refused_naming_both_splits() -> None:
    split = Split(
        train=(StampRange(start="0001-01-01", end="0001-01-02"),), test=("0001-01-01-01200",)
    )
    with pytest.raises(SplitError, match=r"0001-01-01-01200 \(train and test\)"):
        split.assign(stamps_between("0001-01-01", "0001-01-02"))


def test_a_later_window_is_a_part_of_its_own() -> None:
    stamps = stamps_between("0001-01-01", "0001-01-04")
    days = {"train": "0001-01-01", "test": "0001-01-02", "later": "0001-01-04"}
    parts = {name: ({"start": day, "end": day},) for name, day in days.items()}
    split = Split.model_validate({**parts, "remainder": "unused"})
    assert counts(split, stamps) == {
        "unused": 72, "train": 72, "validation": 0, "test": 72, "later": 72,
    }  # fmt: skip
    assert Split.model_validate_json(split.declaration) == split
    both = Split.model_validate({"test": parts["test"], "later": parts["test"]})
    with pytest.raises(SplitError, match=r"0001-01-02-00000 \(test and later\)"):
        both.assign(stamps)
    turned = Split.model_validate({"test": parts["later"], "later": parts["test"]})
    with pytest.raises(
        SplitError, match="begins at 0001-01-02-00000, but the test ends at 0001-01-04-85200"
    ):
        turned.assign(stamps)


def test_a_split_without_a_later_window_is_declared_as_before_there_were_any() -> None:
    split = Split(test=("0001-01-01-00000",))
    assert json.loads(split.declaration) == {
        "train": [], "validation": [], "test": ["0001-01-01-00000"], "remainder": "train",
        "time_step_s": 1200,
    }  # fmt: skip


def test_absent_stamps_are_listed() -> None:
    split = Split(test=("0001-01-09-00000", "0001-01-01-00000"))
    with pytest.raises(
        SplitError,
        match=r"1 stamp\(s\) of the split are not in the source: 0001-01-09-00000 \(test\)",
    ):
        split.assign(stamps_between("0001-01-01", "0001-01-02"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tests: []\n", "unknown key; did you mean 'test'"),
        (
            "train:\n  - {start: 0001-01-01, end: 0001-01-31, strid: 2}\n",
            r"train\[0\]\.strid: unknown key; did you mean 'stride'",
        ),
        ("train:\n  - {start: 0001-02-01, end: 0001-01-31}\n", "ends .* before it starts"),
        (
            "train:\n  - {start: 0001-01-01, end: 0001-01-31, stride: 2, offset: 2}\n",
            "offset 2 must be below stride 2",
        ),
        ("train:\n  - {start: 0001-02-29, end: 0001-03-31}\n", "no-leap"),
        ("test: ['0001-01-01']\n", "not a time stamp"),
        ("remainder: test\n", "'train', 'validation' or 'unused'"),
        ("test:\n  - {rows: [0.9, 0.1]}\n", "the rows end .0.1. before they start .0.9."),
        ("test:\n  - {rows: [0, 90]}\n", "less than or equal to 1"),
        ("test:\n  - {rows: [0.5]}\n", r"test\[0\]\.rows"),
        (
            "test:\n  - {file: a, row: [0, 1]}\n",
            r"test\[0\]\.row: unknown key; did you mean 'rows'",
        ),
    ],
)
def test_bad_declarations_are_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_split(path)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(0.01, 0.99))
def test_fractions_of_rows_meet_without_gap_or_overlap(sizes: list[int], cut: float) -> None:
    parts = [(f"part_{i}", size) for i, size in enumerate(sizes)]
    whole = Split(
        train=(RowRange(rows=(0.0, cut)),), test=(RowRange(rows=(cut, 1.0)),), remainder="unused"
    )
    codes = whole.assign_rows(parts)
    assert (codes[:-1] <= codes[1:]).all()  # train before test
    assert set(codes) <= {SPLIT_NAMES.index("train"), SPLIT_NAMES.index("test")}
    assert abs((codes == SPLIT_NAMES.index("train")).sum() - cut * sum(sizes)) <= 0.5 + 1e-9
    each = Split(train=(RowRange(file="part_*", rows=(0.0, cut)),), remainder="unused").assign_rows(
        parts
    )
    for (_, size), codes_of_part in zip(parts, np.split(each, np.cumsum(sizes)[:-1]), strict=True):
        assert codes_of_part.sum() == round(cut * size)
