"""Errors of evaluation."""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class EvaluationError(ClimlinkError, ValueError):
    """Truth and prediction, or a package and its inputs, do not fit each other."""
