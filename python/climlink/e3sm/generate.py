"""``climlink e3sm case``: a folder with everything that makes, builds and runs one case, and a
record of what it was made of.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climlink.data.files import replacing
from climlink.e3sm.case import E3SMCase
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.machine import Machine
from climlink.e3sm.scripts import CMAKE_FILE, CMAKE_TEXT, RECORD, STEPS, case_scripts, layout_of
from climlink.e3sm.sourcemods import checkout_flavor, source_mods, write_source_mods
from climlink.e3sm.testmods import FOLDER as TESTMODS
from climlink.e3sm.testmods import testmod_files
from climlink.e3sm.user_namelist import user_namelist
from climlink.provenance import climlink_version


@dataclass(frozen=True)
class GeneratedCase:
    """A written case folder and what its owner must know."""

    folder: Path
    notes: tuple[str, ...]


def generate_case(
    case: E3SMCase, machine: Machine, e3sm_root: Path, folder: Path, adapter: Path | None = None
) -> GeneratedCase:
    """Write scripts, user_nl_eam, SourceMods, the CMake line and the record to ``folder``, which
    must be empty or absent.

    Raises E3SMError for a folder in use or a checkout that is not recognized, and what reading the
    package raises; nothing is written then.
    """
    folder, e3sm_root = folder.resolve(), e3sm_root.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise E3SMError(f"{folder} is not empty; choose another folder with -o, or remove it")
    create = e3sm_root / "cime/scripts/create_newcase"
    if not create.is_file():
        raise E3SMError(
            f"{create} is not there: expected a checkout of E3SM with its submodules (git "
            "submodule update --init --recursive)"
        )
    _require_columns(case, machine)
    files = case_scripts(case, machine, e3sm_root)
    files["user_nl_eam"] = user_namelist(case, machine, checkout_flavor(e3sm_root))
    mods = None if case.emulator is None else source_mods(e3sm_root, adapter)
    if mods is not None:
        files[CMAKE_FILE] = CMAKE_TEXT
        files |= testmod_files(case, machine, e3sm_root, mods.flavor)
    files[RECORD] = (
        json.dumps(
            _record(case, machine, e3sm_root, None if mods is None else mods.flavor), indent=1
        )
        + "\n"
    )
    for name, text in files.items():
        with replacing(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                beside.chmod(0o755)
    if mods is not None:
        write_source_mods(mods, folder / "SourceMods")
        (folder / TESTMODS / "SourceMods").symlink_to("../SourceMods")
    return GeneratedCase(folder, () if mods is None else mods.notes)


def run_steps(folder: Path) -> None:
    """Run the numbered scripts one after the other; E3SMError with the step and its exit code if
    one fails.
    """
    bash = shutil.which("bash")
    if bash is None:
        raise E3SMError("bash is not installed; the scripts of a case need it")
    for step in STEPS:
        code = subprocess.run([bash, str(folder / step)], check=False).returncode
        if code != 0:
            raise E3SMError(
                f"{folder / step} ended with exit code {code}; mend what it says above, then go on "
                "with this script"
            )


def _require_columns(case: E3SMCase, machine: Machine) -> None:
    ranks = case.nodes * layout_of(case, machine).ranks_per_node
    if ranks > case.columns:
        raise E3SMError(
            f"{case.name}: {ranks} ranks are more than the {case.columns} columns of "
            f"{case.resolution}: take fewer nodes"
        )


def _record(
    case: E3SMCase, machine: Machine, e3sm_root: Path, flavor: str | None
) -> dict[str, Any]:
    return {
        "case": case.model_dump(mode="json"),
        "machine": machine.model_dump(mode="json"),
        "e3sm_root": str(e3sm_root),
        "checkout": flavor,
        "climlink": climlink_version(),
    }
