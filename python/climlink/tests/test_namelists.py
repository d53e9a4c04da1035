"""Namelists that others wrote: read as Fortran reads them, or refused in words; nothing is
printed.
"""

from __future__ import annotations

import pytest

from climlink.namelists import decoded, parse_namelist


def test_groups_and_values() -> None:
    text = "&a\n x = 1.5d0, y = 'b' z = 3*2\n/\n&b\n l = .true.\n/\n"
    assert parse_namelist(text) == {"a": {"x": 1.5, "y": "b", "z": [2, 2, 2]}, "b": {"l": True}}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_comments_and_text_in_any_encoding(encoding: str) -> None:
    text = "&a\n x = 1 ! température à 2 m\n name = 'é'\n/\n"
    assert parse_namelist(decoded(text.encode(encoding))) == {"a": {"x": 1, "name": "é"}}


@pytest.mark.parametrize(
    "entry",
    [
        "x = 'abc",
        "x = (1,2,3)",
        "x(((( = 1",
        "x(1:10:0) = 1",
        f"x{'%a' * 5000} = 1",
        "x = 1000000000*1",
        "x = 1\nx%a = 2",
    ],
)
def test_what_cannot_be_read_is_refused_in_silence(
    entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_namelist(f"&a\n{entry}\n/\n")
    assert capsys.readouterr() == ("", "")
