"""Progress on standard error: a bar, or lines where that is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

errors = Console(stderr=True, soft_wrap=True)

LINE_EVERY_S = 10.0
"""Seconds between lines of progress where standard error is no terminal."""


class Bar:
    """A progress bar that learns its total with the first call: ``bar(done, total, note)``."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None, note="")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show ``done`` of ``total``, and a note such as the speed."""
        self._progress.update(self._task, completed=done, total=total, note=note)


class Lines:
    """Progress for a log: a line with the time left now and then, called as a ``Bar``."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Write ``done`` of ``total`` if the last line is LINE_EVERY_S ago."""
        now = time.monotonic()
        if now - self._last < LINE_EVERY_S:
            return
        self._last = now
        left = f", about {(now - self._start) * (total - done) / done:.0f} s left" if done else ""
        errors.print(
            f"{self._label}: {done} of {total}{left} {note}".rstrip(), markup=False, highlight=False
        )


@contextmanager
def progress_bar(label: str, hidden: bool = False) -> Iterator[Bar | Lines]:
    """Show progress on standard error while the block runs, as a bar or, where that is no terminal,
    in lines; ``hidden`` for scripts.
    """
    if not hidden and not errors.is_terminal:
        yield Lines(label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=errors, disable=hidden) as progress:
        yield Bar(progress, label)
