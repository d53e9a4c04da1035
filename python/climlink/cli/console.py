"""Where the command line writes: results to standard output, progress and errors to standard error.

A console that cannot show a character (ISO-8859-1 has no ≤) gets one that it can show: text is
never lost to its encoding.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN = {
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+/-", "×": "x", "·": ".", "−": "-", "–": "-",
    "—": "-", "→": "->", "←": "<-", "↔": "<->", "∞": "inf", "σ": "sigma", "Δ": "Delta", "µ": "u",
    "μ": "u", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "█": "#",
}  # fmt: skip


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks; \\xNN for a byte of a file name
    that is no text.
    """
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain_character, error.object[error.start : error.end])), error.end


def _plain_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _PLAIN.get(character) or decomposed or "?"


codecs.register_error("climlink", _plain)


def show_everything() -> None:
    """Let standard output and error replace what they cannot encode instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="climlink")


# Rich takes 80 characters where there is no terminal, and would cut names and digests in a log.
output = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
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


def print_json(value: Any) -> None:
    """Print a structure as JSON, and nothing else, on standard output; numbers that are not finite
    are an error.
    """
    print(json.dumps(value, indent=1, allow_nan=False))
