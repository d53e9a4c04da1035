"""The promise of climlink.wrappers.errors: whatever climlink raises on purpose is a
ClimlinkError.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import climlink._runtime
from climlink.wrappers.errors import ClimlinkError

ROOT = Path(__file__).parents[3]
FOLDERS = {
    "python/climlink": "climlink",
    "wrappers": "climlink.wrappers",
    "evaluation": "climlink.evaluation",
}


def _modules() -> Iterator[str]:
    """Yield the name of every module of the package; the command ``python -m climlink`` would
    run.
    """
    for folder, package in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            if "tests" not in parts and parts[-1] != "__main__":
                yield ".".join((package, *parts)).removesuffix(".__init__")


def test_every_exception_of_the_package_is_a_climlink_error() -> None:
    found: dict[str, type[Exception]] = {}
    for name in (*_modules(), "climlink._runtime"):
        for value in vars(importlib.import_module(name)).values():
            if (
                isinstance(value, type)
                and issubclass(value, Exception)
                and value.__module__.startswith("climlink")
            ):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    assert {
        "EmulatorError",
        "ClassicFormatError",
        "ConfigError",
        "EvaluationError",
        "FileError",
    } <= {v.__name__ for v in found.values()}
    assert [name for name, value in found.items() if not issubclass(value, ClimlinkError)] == []


def test_an_error_of_the_runtime_is_also_what_it_was() -> None:
    assert issubclass(climlink._runtime.EmulatorError, RuntimeError)
