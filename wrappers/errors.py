"""Errors of the physics contract; everything climlink raises on purpose derives from
ClimlinkError.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from typing import Any


class ClimlinkError(Exception):
    """Base of all deliberate errors: the message says what was expected, what came, where, and what
    to do.
    """


class ContractError(ClimlinkError, ValueError):
    """A variable set, normalization, constraint or network does not fit the contract it is used
    in.
    """


class ManifestError(ClimlinkError, ValueError):
    """A manifest is missing, not valid, newer than this climlink, or disagrees with its graph."""


def near_names(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the known names closest to ``name``, or an empty
    string.
    """
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def told(error: BaseException) -> str:
    """Return an error of a user's own code in one line: its kind, its message, and the file and
    line that raised it.
    """
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        (f, line) for f, line in traceback.walk_tb(error.__traceback__) if _is_own(f.f_globals)
    ]
    place = f" ({frames[-1][0].f_code.co_filename}, line {frames[-1][1]})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _is_own(module: dict[str, Any]) -> bool:
    """Say whether the names of a module are those of a user's own: not of the machinery."""
    top = str(module.get("__name__", "")).split(".")[0]
    return top not in ("climlink", "torch", "importlib") and not top.startswith("_frozen")
