"""Where the command line writes: results to standard output, progress and errors to standard error.

A console that cannot show a character (ISO-8859-1 has no ≤) gets one that it can show: text is
never lost to its encoding.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
import unicodedata
from typing import Any

from rich.console import Console

from climlink.progress import errors, progress_bar

__all__ = ["errors", "output", "print_json", "progress_bar", "show_everything"]

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


def print_json(value: Any) -> None:
    """Print a structure as JSON, and nothing else, on standard output; numbers that are not finite
    are an error.
    """
    print(json.dumps(value, indent=1, allow_nan=False))
