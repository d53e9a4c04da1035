"""The tables of docs/architectures.md are those that the benchmark makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST_OF_TIME = 6
"""Column of the first table from which on a machine's times stand."""


def _rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of tables that begin with an architecture and a recipe or
    preset, without times.
    """
    rows = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    known = {"standard", "confidence", "difference", "multirepresentation", "v6", "small", "tiny"}
    return [r[:FIRST_OF_TIME] for r in rows if len(r) >= FIRST_OF_TIME and r[1] in known]


@pytest.mark.long
def test_the_documented_tables_are_what_the_benchmark_makes(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    command = [sys.executable, "benchmarks/architectures.py", "--no-time", "-o", str(table)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8")
    made = _rows(table.read_text(encoding="utf-8"))
    assert len(made) == 6 * 5 + 6 * 2
    assert made == _rows((ROOT / "docs/architectures.md").read_text(encoding="utf-8"))
    assert all(row[2] == row[3] and row[4] == "equal" for row in made[:30])
