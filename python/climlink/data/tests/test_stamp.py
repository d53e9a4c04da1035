"""No-leap calendar arithmetic."""

from __future__ import annotations

import cftime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climlink.data.errors import DataError
from climlink.data.stamp import Stamp

SECONDS = st.integers(0, 9999 * 365 * 86400)


@given(SECONDS)
def test_seconds_round_trip(seconds: int) -> None:
    stamp = Stamp.from_seconds(seconds)
    assert stamp.seconds == seconds
    assert Stamp.parse(str(stamp)) == stamp


@given(st.integers(365 * 86400, 9998 * 365 * 86400), st.integers(-(10**7), 10**7))
def test_arithmetic_agrees_with_cftime(seconds: int, step: int) -> None:
    stamp = Stamp.from_seconds(seconds)
    oracle = cftime.num2date(
        step, f"seconds since {stamp.year:04d}-{stamp.month:02d}-{stamp.day:02d}", calendar="noleap"
    )
    later = Stamp(stamp.year, stamp.month, stamp.day).plus(step)
    assert (later.year, later.month, later.day) == (oracle.year, oracle.month, oracle.day)
    assert later.second == oracle.hour * 3600 + oracle.minute * 60 + oracle.second


@given(SECONDS, SECONDS)
def test_order_is_the_order_of_time_and_of_text(first: int, second: int) -> None:
    a, b = Stamp.from_seconds(first), Stamp.from_seconds(second)
    assert (a < b) == (first < second) == (str(a) < str(b))
    assert b.since(a) == second - first


def test_february_has_28_days() -> None:
    assert str(Stamp.parse("0008-02-28-85200").plus(1200)) == "0008-03-01-00000"
    with pytest.raises(DataError, match="no-leap"):
        Stamp.parse("0008-02-29-00000")


@pytest.mark.parametrize(
    "text",
    ["0008-01-14", "8-01-14-03600", "0008-01-14-3600", "0008-13-01-00000", "0008-01-01-86400", ""],
)
def test_refuses_what_is_not_a_stamp(text: str) -> None:
    with pytest.raises(DataError):
        Stamp.parse(text)


def test_ymd_is_the_integer_of_the_files() -> None:
    assert Stamp.parse("0008-01-14-03600").ymd == 80114
