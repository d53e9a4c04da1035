"""docs/e3sm.md names every namelist entry with its default, every case and every machine's
folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from climlink.e3sm.entries import DEAD_NAMES, ENTRIES, NEW_PREFIX
from climlink.e3sm.sourcemods import source_mods

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/e3sm.md").read_text()
ENTRY_TABLE = TEXT[TEXT.index("## 7.") :].splitlines()


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return ".true." if default else ".false."
    return f"'{default}'" if isinstance(default, str) and default else str(default)


def test_every_entry_is_in_the_table_with_its_default() -> None:
    for name, entry in ENTRIES.items():
        row = next(
            (line for line in ENTRY_TABLE if line.startswith("|") and f"`{name}`" in line), None
        )
        assert row is not None, name
        if entry.default != "":
            assert row.split("|")[2].strip() == _shown(entry.default), row
        assert (f"| `{name}` |" in row) != name.startswith(NEW_PREFIX)
    assert all(f"`{name}`" in TEXT for name in DEAD_NAMES)


def test_cases_and_anchors_are_those_that_exist(master: Path, adapter: Path) -> None:
    for path in (ROOT / "sim_configs/cases").glob("e3sm_*.yaml"):
        assert f"`{path.stem}`" in TEXT, path
    inserted = sum(
        text.count(": begin")
        for name, text in source_mods(master, adapter).files.items()
        if name.endswith(".F90")
    )
    assert "seven insertions" in TEXT
    assert inserted == 7
    assert re.search(r"`sim_configs/machines/slurm.yaml`", TEXT)
