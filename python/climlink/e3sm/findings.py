"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that would stop or spoil the job, and what to do about it; ``stops`` is false for
    what only should be known before.
    """

    subject: str
    problem: str
    remedy: str
    stops: bool = True
