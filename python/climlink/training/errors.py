"""Errors of training."""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class TrainingError(ClimlinkError, RuntimeError):
    """A run cannot start, go on or be read: the message says what was expected, what came and what
    to do.
    """
