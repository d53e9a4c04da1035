"""Errors of the E3SM side."""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class E3SMError(ClimlinkError):
    """A checkout, case folder or package does not fit what the E3SM coupling needs."""
