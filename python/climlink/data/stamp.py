"""Time stamps of ClimSim files: year, month, day and second of the day in the no-leap calendar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import accumulate

from climlink.data.errors import DataError
from climlink.wrappers.constants import SECONDS_PER_DAY as SECONDS_PER_DAY

DAYS_PER_YEAR = 365
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_STARTS = (0, *accumulate(_MONTH_LENGTHS))
_STAMP = re.compile(r"(\d{4})-(\d{2})-(\d{2})-(\d{5})")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


@total_ordering
@dataclass(frozen=True)
class Stamp:
    """One instant of the no-leap calendar, written ``0008-01-14-03600``."""

    year: int
    month: int
    day: int
    second: int = 0

    def __post_init__(self) -> None:
        if not (
            0 <= self.year <= 9999
            and 1 <= self.month <= 12
            and 1 <= self.day <= _MONTH_LENGTHS[self.month - 1]
        ):
            raise DataError(f"{self} is not a date of the no-leap calendar (February has 28 days)")
        if not 0 <= self.second < SECONDS_PER_DAY:
            raise DataError(f"{self}: the second of the day must be 0 to 86399")

    @classmethod
    def parse(cls, text: str) -> Stamp:
        """Return the stamp written as ``YYYY-MM-DD-SSSSS``."""
        match = _STAMP.fullmatch(text)
        if match is None:
            raise DataError(
                f"{text!r} is not a time stamp: expected YYYY-MM-DD-SSSSS, such as 0008-01-14-03600"
            )
        year, month, day, second = (int(group) for group in match.groups())
        return cls(year, month, day, second)

    @classmethod
    def parse_date(cls, text: str) -> Stamp:
        """Return the first instant of the day written as ``YYYY-MM-DD``."""
        match = _DATE.fullmatch(text)
        if match is None:
            raise DataError(f"{text!r} is not a date: expected YYYY-MM-DD, such as 0008-01-14")
        year, month, day = (int(group) for group in match.groups())
        return cls(year, month, day)

    @classmethod
    def from_seconds(cls, seconds: int) -> Stamp:
        """Return the stamp that many seconds after 0000-01-01-00000."""
        days, second = divmod(seconds, SECONDS_PER_DAY)
        year, day_of_year = divmod(days, DAYS_PER_YEAR)
        month = next(m for m in range(12, 0, -1) if _MONTH_STARTS[m - 1] <= day_of_year)
        return cls(year, month, day_of_year - _MONTH_STARTS[month - 1] + 1, second)

    @property
    def seconds(self) -> int:
        """Seconds since 0000-01-01-00000."""
        return (
            self.year * DAYS_PER_YEAR + _MONTH_STARTS[self.month - 1] + self.day - 1
        ) * SECONDS_PER_DAY + self.second

    @property
    def ymd(self) -> int:
        """Date as the integer that the files hold, 80114 for 0008-01-14."""
        return self.year * 10000 + self.month * 100 + self.day

    def plus(self, seconds: int) -> Stamp:
        """Return the stamp ``seconds`` later (earlier if negative)."""
        return Stamp.from_seconds(self.seconds + seconds)

    def since(self, other: Stamp) -> int:
        """Return the seconds from ``other`` to this stamp."""
        return self.seconds - other.seconds

    def __lt__(self, other: Stamp) -> bool:
        return self.seconds < other.seconds

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}-{self.second:05d}"
