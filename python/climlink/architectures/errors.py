"""Errors of the architectures."""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class ArchitectureError(ClimlinkError, ValueError):
    """An architecture is unknown, its configuration is not valid, or it does not fit the shape of
    the columns.
    """
