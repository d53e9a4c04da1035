"""Reading Fortran namelists that others wrote."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import f90nml

_MOST_REPEATS = 100_000  # of n*value; namelists of E3SM repeat some hundred


def parse_namelist(text: str) -> dict[str, Any]:
    """Return the groups of a namelist by name; ValueError, with what is known of the reason, where
    it cannot be read.
    """
    repeats = [int(n) for n in re.findall(r"\b(\d{1,18})\*", text)]
    if max(repeats, default=0) > _MOST_REPEATS:
        raise ValueError(
            f"a value stands there {max(repeats)} times; at most {_MOST_REPEATS} are read"
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # f90nml prints its tables where it is lost
            groups: dict[str, Any] = f90nml.reads(text).todict()
    except (
        ValueError,
        LookupError,
        StopIteration,
        AttributeError,
        TypeError,
        AssertionError,
        RecursionError,
    ) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return groups


def decoded(raw: bytes) -> str:
    """Return the text of a namelist: Fortran knows no encoding, and older editors write Latin-1
    into comments.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
