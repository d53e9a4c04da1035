"""How large the Fortran of the project is: statements, procedures and their lengths, by folder.

    benchmarks/fortran_size.py [--revision REV]...

Statements are counted without comments, continued lines joined, `;` taken apart; the length of a
procedure is its lines from the first to `end`, comments and blank lines included. Several
revisions stand beside each other. Tests and examples are counted apart.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "bridge": ("fortran_bridge/src/", "fortran_bridge/compat/src/", "fortran_bridge/tools/"),
    "E3SM adapter": ("fortran_bridge/e3sm/",),
    "embedded model": ("fortran_host/aquaplanet/",),
    "replay": ("fortran_host/replay/",),
    "common to hosts": ("fortran_host/common/",),
}
PROCEDURE = re.compile(
    r"\s*(?:(?:pure|elemental|impure|module|recursive)\s+)*(subroutine|function)\s+(\w+)", re.I
)


def sources(revision: str | None) -> Iterator[tuple[str, str]]:
    """Yield path and text of every Fortran source of a revision, or of the working tree."""
    command = ["git", "-C", str(ROOT)]
    if revision is None:
        listing = subprocess.run(
            [*command, "ls-files"], capture_output=True, text=True, encoding="utf-8", check=True
        )
        for name in listing.stdout.split():
            if name.endswith((".F90", ".inc")):
                yield name, (ROOT / name).read_text(encoding="utf-8")
        return
    listing = subprocess.run(
        [*command, "ls-tree", "-r", "--name-only", revision],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    for name in listing.stdout.split():
        if name.endswith((".F90", ".inc")):
            shown = [*command, "show", f"{revision}:{name}"]
            yield (
                name,
                subprocess.run(
                    shown, capture_output=True, text=True, encoding="utf-8", check=True
                ).stdout,
            )


def code_of(line: str) -> str:
    """Return a line without its comment; a `!` within a text is none."""
    quote = ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "!":
            return line[:at]
    return line


def statements(text: str) -> list[str]:
    """Return the statements of a source, continued lines joined."""
    found: list[str] = []
    pending = ""
    for line in text.splitlines():
        code = line.strip() if line.startswith("#") else code_of(line).strip()
        if not code:
            continue
        pending += code.removeprefix("&")
        if pending.endswith("&"):
            pending = pending[:-1]
            continue
        outside = re.sub(r"'[^']*'|\"[^\"]*\"", "''", pending)
        found += [part for part in outside.split(";") if part.strip()]
        pending = ""
    return found


def lengths(text: str) -> list[int]:
    """Return the number of lines of every procedure with a body."""
    found, stack, interface = [], [], False
    for at, line in enumerate(text.splitlines()):
        code = code_of(line).strip().lower()
        if re.match(r"(abstract\s+)?interface\b", code):
            interface = True
        elif re.match(r"end\s*interface\b", code):
            interface = False
        elif re.match(r"end\s*(subroutine|function|procedure)\b", code):
            if stack and not interface:
                found.append(at - stack.pop() + 1)
        elif PROCEDURE.match(code) and not interface and not code.startswith("end"):
            stack.append(at)
    return found


def part_of(name: str) -> str:
    """Return the part a source belongs to; tests and examples are one part."""
    if "/tests/" in name or "/examples/" in name or name.startswith("tests/"):
        return "tests and examples"
    return next((p for p, folders in PARTS.items() if name.startswith(folders)), "other")


def measure(revision: str | None) -> dict[str, tuple[int, list[int]]]:
    """Return statements and procedure lengths of every part."""
    sizes: dict[str, tuple[int, list[int]]] = {}
    for name, text in sources(revision):
        count, long = sizes.get(part_of(name), (0, []))
        sizes[part_of(name)] = (count + len(statements(text)), long + lengths(text))
    return sizes


def main() -> None:
    """Print a table for every revision."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--revision", action="append", help="default: the working tree")
    for revision in parser.parse_args().revision or [None]:
        print(f"{revision or 'working tree'}: statements, procedures (median, p90, longest)")
        total = 0
        for part, (count, long) in sorted(measure(revision).items()):
            total += count if part != "tests and examples" else 0
            long = sorted(long) or [0]
            p90 = long[int(0.9 * (len(long) - 1))]
            shape = f"{len(long):4} ({statistics.median(long):.0f}, {p90}, {long[-1]})"
            print(f"  {part:20} {count:6}   {shape}")
        print(f"  {'without tests':20} {total:6}")


if __name__ == "__main__":
    main()
