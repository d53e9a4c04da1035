"""What sources may say where: names of variables, coefficients, defaults; and line lengths."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from climlink.wrappers.variables import shipped_variables

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    "fortran_bridge/src/climlink_lagged_memory.F90",
    "fortran_bridge/e3sm/mmf_nn_fields.F90",
    "fortran_host/aquaplanet/column/aqua_column_table.F90",
    "fortran_host/replay/replay_fields.F90",
}
"""The table of each host, and that of the lagged inputs."""


def tracked(*patterns: str) -> list[str]:
    """Return the tracked files that match."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *patterns],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return listing.stdout.split()


def is_of_a_test(name: str) -> bool:
    return "/tests/" in name or name.startswith("tests/") or "/examples/" in name


def literals(text: str) -> set[str]:
    """Return the texts in single or double quotes, without those in comments."""
    found = set()
    for line in text.splitlines():
        code = re.match(r"""(?:[^!'"]|'[^']*'|"[^"]*")*""", line)
        assert code is not None
        found |= {quoted[1:-1] for quoted in re.findall(r"'[^']*'|\"[^\"]*\"", code[0])}
    return found


def test_variables_are_named_in_tables_only() -> None:
    names = set(shipped_variables())
    named = {
        name: sorted(names & literals((ROOT / name).read_text(encoding="utf-8")))
        for name in tracked("fortran_bridge/*.F90", "fortran_host/*.F90")
        if not is_of_a_test(name)
    }
    outside = {name: found for name, found in named.items() if found and name not in TABLES}
    assert not outside
    assert {name for name, found in named.items() if found} >= TABLES


@pytest.mark.parametrize("coefficient", ["6.11239921", "0.443987641", "6.11147274", "0.00763685"])
def test_saturation_has_one_set_of_coefficients(coefficient: str) -> None:
    sources = tracked("fortran_bridge/*.F90", "fortran_host/*.F90")
    holders = [name for name in sources if coefficient in (ROOT / name).read_text(encoding="utf-8")]
    assert holders == ["fortran_bridge/src/climlink_humidity.F90"]


def test_the_batch_on_a_cpu_has_one_default() -> None:
    sources = tracked("*.F90", "*.cpp", "*.hpp", "*.h", "*.py", "*.pyi")
    typed = re.compile(r"micro_batch\b[^\n]{0,40}=\s*64\b|\"micro_batch\"[^\n]{0,40}64\b")
    holders = [
        name
        for name in sources
        if not is_of_a_test(name) and typed.search((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert holders == ["cpp/src/options.cpp"]


def test_no_line_has_more_than_100_characters() -> None:
    sources = tracked("*.F90", "*.inc", "*.cpp", "*.hpp", "*.h", "*.c", "*.py", "*.pyi", "*.cmake")
    sources += tracked("*CMakeLists.txt", "*.sh", "*.yaml", "*.toml", "Makefile", ".ci/run")
    long = [
        f"{name}:{number}"
        for name in sources
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 100
    ]
    assert not long
