"""The catalogue fits the sources; the runner tells what a test notices from what none does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

HERE = Path(__file__).parent
PACKAGE = "def larger(a, b):\n    return a if a > b else b\n"
CHECK = "from made import larger\n\ndef test_larger():\n    assert larger(2, 1) == 2\n"


@pytest.fixture
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutation_run", HERE / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation_run"] = module
    spec.loader.exec_module(module)
    return module


def test_every_change_of_the_catalogue_can_be_made(run: ModuleType) -> None:
    mutations = run.read_catalogue(HERE / "catalogue.yaml")
    for mutation in mutations:
        text = (run.ROOT / mutation.file).read_text(encoding="utf-8")
        assert mutation.apply(text) != text
        assert (run.ROOT / mutation.test.pytest.partition("::")[0]).exists()
        assert bool(mutation.test.pytest) != bool(mutation.test.ctest and mutation.test.targets)
    assert len({(m.file, m.old, m.new) for m in mutations}) == len(mutations)


def test_operators_change_code_and_not_comments(run: ModuleType) -> None:
    text = "x = 2.5 * y  ! 1.5 < 2\nif (a < b) z = min(a + b, 1)\n"
    made = [m.what for m in run.sweep(text, "a.F90", run.Test("t"))]
    assert made == [
        "line 1: x = 3.125 * y  ! 1.5 < 2",
        "line 2: if (a > b) z = min(a + b, 1)",
        "line 2: if (a < b) z = min(a - b, 1)",
        "line 2: if (a < b) z = max(a + b, 1)",
    ]


@pytest.mark.long
def test_a_survivor_and_a_stale_change_fail_the_run(
    tmp_path: Path,
    run: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "made.py").write_text(PACKAGE)
    (tmp_path / "test_made.py").write_text(CHECK)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / ".gitignore").write_text("/build/\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    changes = {"smaller": ("a > b", "a < b"), "equal": ("a > b", "a >= b"), "gone": ("a != b", "a")}
    listed = [{"what": what, "old": old, "new": new} for what, (old, new) in changes.items()]
    tests = {"made": {"pytest": "test_made.py"}}
    catalogue = tmp_path / "catalogue.yaml"
    mutations = {"made.py": {"made": listed}}
    catalogue.write_text(yaml.safe_dump({"tests": tests, "mutations": mutations}))
    arguments = ["--root", str(tmp_path), "--catalogue", str(catalogue)]
    assert run.main(arguments) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["noticed", "SURVIVED", "OUT", "1"]
    assert told[-1] == "1 of 3 noticed"
    assert run.main([*arguments, "smaller"]) == 0
    assert (tmp_path / "made.py").read_text() == PACKAGE
    (tmp_path / "test_made.py").write_text(CHECK.replace("== 2", "== 3"))
    assert run.main(arguments) == 1
    assert "made fails without any change" in capsys.readouterr().err
