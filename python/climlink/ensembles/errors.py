"""What goes wrong with ensembles."""

from __future__ import annotations

from climlink.wrappers.errors import ClimlinkError


class EnsembleError(ClimlinkError, ValueError):
    """Members, weights, times or a second stage do not fit together."""
