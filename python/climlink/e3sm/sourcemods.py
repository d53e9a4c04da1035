"""SourceMods: the adapter's files, the call sites that a checkout lacks, and the namelist's
definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from climlink.config import load_config
from climlink.data.files import replacing
from climlink.e3sm.entries import ENTRIES
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.insertions import MARK, Hooks, insert
from climlink.installation import InstallationError, shared_folder

FOLDER = "src.eam"
EMULATOR_FILE = "mmf_nn_emulator.F90"
FORK_PROCEDURES = ("mmf_nn_emulator_readnl", "init_neural_net", "neural_net")
"""What the fork's driver calls."""

TORCH_BINDINGS = ("FTorch", "pytorch_proxy", "pytorch_fort_proxy")
"""CMake packages of FTorch and pytorch-fortran, which climlink's compat folder answers."""

_AS_IT_IS = "latin-1"
"""Any bytes read and written so are the same bytes again: a model's sources are in no encoding that
can be relied on.
"""

_PHYSPKG = "components/eam/src/physics/crm/physpkg.F90"
_DEFINITION = "components/eam/bld/namelist_files/namelist_definition.xml"
_SAMXX = "components/eam/src/physics/crm/samxx/CMakeLists.txt"
_CMAKE_COMMENT = r'("(?:\\.|[^"\\])*")|#\[(=*)\[.*?\]\2\]|#[^\n]*'
_DEFINITION_END = "</namelist_definition>"

Flavor = Literal["fork", "master"]


@dataclass(frozen=True)
class SourceMods:
    """Files to place in SourceMods/src.eam by name, the kind of checkout they are for, and what its
    owner must know.
    """

    flavor: Flavor
    files: dict[str, str]
    notes: tuple[str, ...]


def checkout_flavor(root: Path) -> Flavor:
    """Return fork where the driver calls the emulator module already, else master; E3SMError if
    ``root`` is no checkout with the MMF.
    """
    physpkg = _read(root, _PHYSPKG)
    calls = (
        re.search(r"^\s*call\s+init_neural_net\b", physpkg, flags=re.MULTILINE | re.IGNORECASE)
        is not None
    )
    return "fork" if calls and MARK not in physpkg else "master"


def source_mods(root: Path, adapter: Path | None = None) -> SourceMods:
    """Return what goes into SourceMods/src.eam for the checkout ``root``; ``adapter`` replaces the
    installed adapter's folder.

    Raises E3SMError for a checkout that is not recognized, and for an adapter that is not installed
    or lacks a procedure.
    """
    flavor = checkout_flavor(root)
    files = adapter_files(adapter)
    if flavor == "fork":
        _require_procedures(files, FORK_PROCEDURES, flavor)
    else:
        hooks = load_config(Path(__file__).with_name("master_hooks.yaml"), Hooks)
        _require_procedures(files, hooks.procedures, flavor)
        for item in hooks.files:
            files[Path(item.file).name] = insert(
                _read(root, item.file), item.insertions, str(root / item.file)
            )
    files[Path(_DEFINITION).name] = extended_definition(
        _read(root, _DEFINITION), str(root / _DEFINITION)
    )
    return SourceMods(flavor, files, _notes(root))


def write_source_mods(mods: SourceMods, folder: Path) -> Path:
    """Write the files to ``folder/src.eam`` and return it; E3SMError, and nothing written, if
    another file has one of their names.
    """
    target = folder / FOLDER
    for name, text in mods.files.items():
        there = target / name
        if there.exists() and there.read_text(encoding=_AS_IT_IS) != text:
            raise E3SMError(
                f"{there}: there is another file of this name; move it away, then write the "
                "SourceMods again"
            )
    for name, text in mods.files.items():
        with replacing(target / name) as beside:
            beside.write_text(text, encoding=_AS_IT_IS)
    return target


def adapter_files(folder: Path | None = None) -> dict[str, str]:
    """Return the adapter's Fortran sources by file name; E3SMError if the folder has no
    ``mmf_nn_emulator.F90``.
    """
    try:
        folder = shared_folder("e3sm") if folder is None else folder
    except InstallationError as error:
        raise E3SMError(f"the E3SM adapter is not installed: {error}") from error
    files = {p.name: p.read_text(encoding=_AS_IT_IS) for p in sorted(folder.glob("*.F90"))}
    if EMULATOR_FILE not in files:
        raise E3SMError(
            f"{folder}: expected the E3SM adapter with {EMULATOR_FILE}, found "
            f"{', '.join(files) or 'no Fortran file'}"
        )
    return files


def extended_definition(text: str, origin: str) -> str:
    """Return namelist_definition.xml with the entries that it lacks; those of the fork stay as they
    are.
    """
    if text.count(_DEFINITION_END) != 1:
        raise E3SMError(
            f"{origin}: expected {_DEFINITION_END} once, found it {text.count(_DEFINITION_END)} "
            "times; is this EAM's file?"
        )
    known = set(re.findall(r"<entry\s+id=[\"']([^\"']+)[\"']", text))
    missing = [e for name, e in ENTRIES.items() if name not in known]
    if not missing:
        return text
    block = (
        f"<!-- {MARK}: begin -->\n"
        + "".join(e.definition() for e in missing)
        + f"<!-- {MARK}: end -->\n"
    )
    return text.replace(_DEFINITION_END, block + _DEFINITION_END)


def _require_procedures(files: dict[str, str], procedures: tuple[str, ...], flavor: Flavor) -> None:
    text = "\n".join(files.values())
    absent = [
        p
        for p in procedures
        if not re.search(rf"^\s*subroutine\s+{p}\b", text, flags=re.MULTILINE | re.IGNORECASE)
    ]
    if absent:
        driver = (
            "the ClimSim fork's driver calls"
            if flavor == "fork"
            else "the call sites for E3SM master need"
        )
        other = (
            ""
            if flavor == "fork"
            else ", or use the ClimSim fork, whose driver calls the emulator module already"
        )
        raise E3SMError(
            f"the adapter has no subroutine {', '.join(absent)}, which {driver}: update "
            f"climlink{other}"
        )


def torch_bindings(root: Path) -> tuple[str, ...]:
    """Return the CMake packages of torch bindings that the checkout's cloud-resolving model finds
    or links; comments do not count.
    """
    path = root / _SAMXX
    if not path.is_file():
        return ()
    text = _without_comments(path.read_text(encoding=_AS_IT_IS))
    found = re.findall(r"\bfind_package\s*\(\s*(\w+)", text, flags=re.IGNORECASE)
    linked = re.findall(r"\btarget_link_libraries\s*\(\s*samxx\b([^)]*)", text, flags=re.IGNORECASE)
    words = {*found, *(word.split("::")[0] for part in linked for word in part.split())}
    return tuple(name for name in TORCH_BINDINGS if name in words)


def _without_comments(text: str) -> str:
    """Return CMake text without comments; a # in quotes begins none."""
    return re.sub(_CMAKE_COMMENT, lambda m: m[1] or " ", text, flags=re.DOTALL)


def _notes(root: Path) -> tuple[str, ...]:
    names = torch_bindings(root)
    if not names:
        return ()
    exports = " ".join(f"{name}_ROOT=$(climlink cmake-prefix)/compat" for name in names)
    return (
        f"{root / _SAMXX} links {' and '.join(names)} into the cloud-resolving model. climlink "
        "answers these names itself, so that one torch library is linked: the scripts of a case "
        f"do so; for a case of your own, export {exports}",
    )


def _read(root: Path, name: str) -> str:
    try:
        return (root / name).read_text(encoding=_AS_IT_IS)
    except OSError as error:
        raise E3SMError(
            f"{root}: expected a checkout of E3SM with {name}: {error.strerror}"
        ) from error
