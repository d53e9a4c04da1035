"""Errors of the physics contract; everything climlink raises on purpose derives from ClimlinkError."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ClimlinkError(Exception):
    """Base of all deliberate errors: the message says what was expected, what came, where, and what to do."""


class ContractError(ClimlinkError, ValueError):
    """A variable set, normalization, constraint or network does not fit the contract it is used in."""


class ManifestError(ClimlinkError, ValueError):
    """A manifest is missing, not valid, newer than this climlink, or disagrees with its graph."""


def near_names(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the known names closest to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
