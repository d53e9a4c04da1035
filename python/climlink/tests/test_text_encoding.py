"""No text of the package depends on the locale: every file and every pipe that is read or written
as text names its encoding.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("python", "wrappers", "evaluation", "benchmarks", "scripts", "cmake")


def _sources() -> list[Path]:
    return [
        f for name in FOLDERS for f in sorted((ROOT / name).rglob("*.py")) if "tests" not in f.parts
    ]


def _silent_text(tree: ast.AST) -> Iterator[int]:
    """Yield the line of every call that reads or writes text without an encoding."""
    for call in ast.walk(tree):
        if (
            isinstance(call, ast.Call)
            and not any(k.arg in ("encoding", None) for k in call.keywords)
            and _is_text(call)
        ):
            yield call.lineno


def _is_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {k.arg: k.value for k in call.keywords}
    if name in ("read_text", "write_text", "TextIOWrapper"):
        return True
    if name in ("run", "Popen", "check_output"):
        return any(_constant(given.get(key)) is True for key in ("text", "universal_newlines"))
    if name != "open":
        return False
    position = 0 if isinstance(call.func, ast.Attribute) else 1
    mode = given.get(
        "mode", call.args[position] if len(call.args) > position else ast.Constant("r")
    )
    # Other things are opened too, such as ColumnStore.open(path): their argument is no mode.
    return (
        isinstance(_constant(mode), str)
        and "b" not in str(_constant(mode))
        and set(str(_constant(mode))) <= set("rwax+t")
    )


def _constant(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def test_text_has_an_explicit_encoding() -> None:
    sources = _sources()
    assert len(sources) > 100
    found = [
        f"{f.relative_to(ROOT)}:{line}"
        for f in sources
        for line in _silent_text(ast.parse(f.read_bytes()))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "silent"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('rb')", False),
        ("path.open('a', buffering=1)", True),
        ("open(name)", True),
        ("open(name, 'wb')", False),
        ("open(name, mode='w')", True),
        ("ColumnStore.open(store)", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command)", False),
        ("subprocess.Popen(command, text=True, encoding='utf-8')", False),
    ],
)
def test_the_check_sees_what_it_should(code: str, silent: bool) -> None:
    assert list(_silent_text(ast.parse(code))) == ([1] if silent else [])
