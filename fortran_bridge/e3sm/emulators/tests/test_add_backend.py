"""add_backend.py on copies of the framework's files: it changes what it knows and refuses
everything else, whole.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = Path("components/emulators/common/src")
HEADER, FACTORY, BUILD = (
    "inference/inference_backend.hpp",
    "inference/create_inference_backend.cpp",
    "CMakeLists.txt",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the framework."""
    shutil.copytree(HERE / "framework", tmp_path / "e3sm")
    return tmp_path / "e3sm"


def add_backend(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on a checkout."""
    return subprocess.run(
        [sys.executable, str(HERE.parent / "add_backend.py"), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )


def contents(root: Path) -> dict[str, str]:
    """Return every file of the checkout."""
    return {
        str(p.relative_to(root / SOURCES)): p.read_text()
        for p in sorted((root / SOURCES).rglob("*"))
        if p.is_file()
    }


def without_insertions(text: str) -> str:
    """Return a changed file without what lies between the marks."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = inside or line.endswith("climlink inserted this: begin")
        if not inside:
            kept.append(line)
        inside = inside and not line.endswith("climlink inserted this: end")
    return "\n".join(kept).rstrip()


def test_three_files_change_and_only_by_marked_lines(checkout: Path) -> None:
    before = contents(checkout)
    done = add_backend(checkout)
    assert done.returncode == 0, done.stderr
    after = contents(checkout)
    assert {name for name in before if before[name] != after[name]} == {HEADER, FACTORY, BUILD}
    assert len(done.stdout.splitlines()) == 3
    for name in before:
        assert without_insertions(after[name]) == before[name].rstrip()


def test_a_configuration_in_a_file_of_its_own_is_found(checkout: Path) -> None:
    header = checkout / SOURCES / HEADER
    text = header.read_text()
    start, end = text.index("struct InferenceConfig"), text.index("class InferenceBackend")
    config = header.with_name("inference_config.hpp")
    config.write_text("#include <string>\n" + text[start:end])
    header.write_text(text[:start] + text[end:])
    done = add_backend(checkout)
    assert done.returncode == 0, done.stderr
    assert "model_path" in config.read_text()
    assert "model_path" not in header.read_text()
    assert "LIBTORCH" in header.read_text()


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a change of one file of a checkout."""

    def change(root: Path) -> None:
        path = root / SOURCES / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced(HEADER, "STUB,", "NOTHING,"), "expected the line 'STUB,' once, found it 0 times"),
        (replaced(HEADER, "STUB,", "STUB,  // one\n  STUB,"), "found it 2 times"),
        (replaced(HEADER, "STUB,", "STUB,\n  LIBTORCH,"), "LIBTORCH of its own"),
        (replaced(HEADER, "bool verbose = false;", "int verbosity = 0;"), "bool verbose = false;"),
        (replaced(HEADER, "struct InferenceConfig", "struct Settings"), "found it in 0"),
        (replaced(FACTORY, "case BackendType::STUB:", "case 0:"), "case BackendType::STUB:"),
        (
            replaced(BUILD, "add_library(emulator_common", "add_library(other"),
            "add_library(emulator_common ...) once",
        ),
        (lambda root: (root / SOURCES / FACTORY).unlink(), "No such file"),
        (lambda root: shutil.rmtree(root / "components"), "expected struct InferenceConfig"),
    ],
)
def test_an_unknown_checkout_is_refused_whole(
    checkout: Path, change: Callable[[Path], None], said: str
) -> None:
    change(checkout)
    before = contents(checkout)
    done = add_backend(checkout)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Nothing was changed" in done.stderr
    assert contents(checkout) == before


def test_a_second_run_is_refused(checkout: Path) -> None:
    assert add_backend(checkout).returncode == 0
    once = contents(checkout)
    done = add_backend(checkout)
    assert done.returncode == 1
    assert "already has insertions of climlink" in done.stderr
    assert contents(checkout) == once


def test_wrong_usage_is_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE.parent / "add_backend.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "e3sm_root" in done.stderr
