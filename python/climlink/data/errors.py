"""Errors of the data side; each message names the file, the variable, what was expected, what came
and what to do.
"""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class DataError(ClimlinkError, ValueError):
    """A source file is missing, cut short, or does not hold what the catalogue expects."""


class SplitError(ClimlinkError, ValueError):
    """A split names a time twice or names one that the source does not have."""


class StoreError(ClimlinkError, ValueError):
    """A path is not a complete column store of a version this climlink reads, or was prepared with
    other arguments.
    """
