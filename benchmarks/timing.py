"""Interleaved timing: ratios of a subject to a baseline, pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def ratio(
    subject: Callable[[], object],
    baseline: Callable[[], object],
    pairs: int = 15,
    target_s: float = 0.1,
) -> tuple[float, float, float]:
    """Return (median, lowest, highest) of time(subject)/time(baseline) over interleaved pairs, each
    at least ``target_s`` long.
    """
    for call in (subject, baseline, subject, baseline):
        call()
    repeats = max(1, round(target_s / max(_seconds(baseline, 1), 1e-6)))
    ratios = []
    for _ in range(pairs):
        b = _seconds(baseline, repeats)
        ratios.append(_seconds(subject, repeats) / b)
    return statistics.median(ratios), min(ratios), max(ratios)


def report(label: str, values: tuple[float, float, float]) -> None:
    """Print one line: median and range."""
    print(f"{label:64s} {values[0]:6.2f}   ({values[1]:.2f} to {values[2]:.2f})")
