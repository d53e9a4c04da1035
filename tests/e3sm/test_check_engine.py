"""`climlink e3sm check` of the compiled artefact and the tuning file that a case names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from case_findings import edit, require_only

from climlink.e3sm.check import check_case
from climlink.packages.compile import with_entry
from climlink.packages.compiled import METADATA_ENTRY, CompiledArtefact
from climlink.packages.read import EmulatorPackage

MakeCase = Callable[..., Path]
NAME = "wrap_model.cpu.float32.pt2"


@pytest.fixture
def package(packages: dict[str, EmulatorPackage]) -> EmulatorPackage:
    """Return the package of the cases."""
    return packages["host_v2_q"]


@pytest.fixture
def make_artefact(package: EmulatorPackage) -> Callable[..., CompiledArtefact]:
    """Return a function that puts a file into a case that says of itself what an artefact of the
    package would, but for keywords; nothing here runs its code.
    """

    def make(folder: Path, **changes: Any) -> CompiledArtefact:
        said = {
            "package_sha256": package.digest,
            "device": "cpu",
            "precision": "float32",
            "torch_version": torch.__version__.partition("+")[0],
            "isa": "avx2",
            "cpu_flags": ["avx2"],
            "march": "x86-64-v3",
            "compiler": "g++ 12.2.0",
            "compiled_on": "a login node",
            "climlink_version": "0.1.0",
            **changes,
        }
        content = with_entry(package.path.read_bytes(), METADATA_ENTRY, json.dumps(said).encode())
        (folder / NAME).write_bytes(content)
        return CompiledArtefact.read(folder / NAME)

    return make


def name_it(folder: Path, **entries: str) -> None:
    """Add entries to the case's namelist."""
    added = "".join(f"  {name} = '{value}'\n" for name, value in entries.items())
    edit(folder, "  outputlength = 368\n", f"  outputlength = 368\n{added}")


@pytest.mark.parametrize(
    ("changes", "pinned", "problem"),
    [
        ({}, "0" * 64, "has SHA-256 .*, the case pins 0000"),
        ({"package_sha256": "1" * 64}, None, "was compiled from a package of SHA-256 1111"),
        ({"precision": "bfloat16"}, None, "is bfloat16, which the manifest does not allow"),
    ],
)
def test_what_would_end_the_model(
    make_case: MakeCase,
    make_artefact: Callable[..., CompiledArtefact],
    changes: dict[str, Any],
    pinned: str | None,
    problem: str,
) -> None:
    folder = make_case()
    artefact = make_artefact(folder, **changes)
    name_it(folder, climlink_compiled=NAME, climlink_compiled_digest=pinned or artefact.digest)
    require_only(folder, "compiled", problem)
    assert not check_case(folder).passed


@pytest.mark.parametrize(
    ("changes", "entries", "reason"),
    [
        ({}, {"climlink_compiled_digest": ""}, "climlink_compiled_digest is blank"),
        ({"device": "cuda"}, {}, "it is for cuda, and climlink_device is 'cpu'"),
        ({"torch_version": "1.13.0"}, {}, "it was compiled with torch 1.13.0"),
        ({}, {"climlink_constraints_off": "night"}, "which are compiled in"),
    ],
)
def test_what_would_leave_torchscript_is_a_note(
    make_case: MakeCase,
    make_artefact: Callable[..., CompiledArtefact],
    changes: dict[str, Any],
    entries: dict[str, str],
    reason: str,
) -> None:
    folder = make_case()
    artefact = make_artefact(folder, **changes)
    edit(folder, "climlink_device = 'auto'", "climlink_device = 'cpu'")
    given = {"climlink_compiled_digest": artefact.digest, **entries}
    name_it(folder, climlink_compiled=NAME, **{n: v for n, v in given.items() if v})
    require_only(folder, "compiled", reason)
    assert check_case(folder).passed


def test_a_good_artefact_has_no_findings(
    make_case: MakeCase, make_artefact: Callable[..., CompiledArtefact]
) -> None:
    folder = make_case()
    digest = make_artefact(folder).digest
    name_it(folder, climlink_compiled=NAME, climlink_compiled_digest=digest.upper())
    assert check_case(folder).findings == ()


def test_files_that_are_not_there_or_none(make_case: MakeCase, package: EmulatorPackage) -> None:
    folder = make_case()
    name_it(folder, climlink_compiled="gone.pt2", climlink_compiled_digest="0" * 64)
    require_only(folder, "compiled", "gone.pt2")
    shutil.copy(package.path, folder / "none.pt2")
    edit(folder, "gone.pt2", "none.pt2")
    require_only(folder, "compiled", "compiled.json")
    edit(folder, "  climlink_compiled = ", "  climlink_tuning = ")
    edit(folder, f"  climlink_compiled_digest = '{'0' * 64}'\n", "")
    require_only(folder, "namelist", "climlink_tuning: .* not a tuning file")
    edit(folder, "none.pt2", "tuning.json")
    require_only(folder, "namelist", "climlink_tuning: no file .*tuning.json")


def test_a_pin_without_an_artefact(make_case: MakeCase) -> None:
    folder = make_case()
    name_it(folder, climlink_compiled_digest="0" * 64)
    require_only(folder, "compiled", "climlink_compiled names no artefact")
