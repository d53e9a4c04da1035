"""What a case folder says: the record that climlink wrote, overridden by what CIME's files and
user_nl_eam say now.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from climlink.data.files import read_json
from climlink.e3sm.case import E3SMCase
from climlink.e3sm.entries import ENTRIES, ENTRY_PREFIXES, GROUP
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.machine import Machine
from climlink.e3sm.namelist import was_for_old_host
from climlink.e3sm.scripts import RECORD, layout_of
from climlink.namelists import decoded, parse_namelist
from climlink.wrappers.manifest import Manifest

USER_NAMELIST = "user_nl_eam"
_LOOSE = "climlink_loose_entries"


@dataclass(frozen=True)
class CaseSettings:
    """A case as it would run now.

    ``emulator`` holds the entries as given, ``other`` those of all other groups; ``fork_driver``:
    the ClimSim fork's driver runs it.
    """

    folder: Path
    case: E3SMCase
    machine: Machine
    emulator: dict[str, Any]
    other: dict[str, Any]
    xml: dict[str, str]
    e3sm_root: Path
    fork_driver: bool = False

    def integer(self, name: str, default: int) -> int:
        """Return a setting of CIME's files as a number; E3SMError if it is none."""
        text = self.xml.get(name)
        try:
            return default if text is None else int(text)
        except ValueError as error:
            raise E3SMError(
                f"{self.folder}: {name} is {text!r}, expected an integer: ./xmlchange {name}=NUMBER"
            ) from error

    @property
    def device(self) -> str:
        """Where inference runs, in the words of climlink_device; cb_use_cuda decides what that
        leaves open.
        """
        named = str(self.emulator.get("climlink_device", ENTRIES["climlink_device"].default))
        cuda = self.emulator.get("cb_use_cuda")
        return named if cuda is None or named != "auto" else "cuda" if cuda else "cpu"

    @property
    def device_text(self) -> str:
        """The entry that says where inference runs, in a message."""
        if self.emulator.get("climlink_device", "auto") == "auto" and self.device != "auto":
            return f"cb_use_cuda is {'.true.' if self.device == 'cuda' else '.false.'}"
        return f"climlink_device is '{self.device}'"

    def applies_legacy(self, manifest: Manifest) -> bool:
        """Return whether the old post-processing is applied, which follows the package unless it is
        given.
        """
        return self.emulator.get("climlink_legacy", was_for_old_host(manifest)) is True

    def in_run_folder(self, text: str) -> Path:
        """Return a path of the namelist; one that is relative is relative to the run folder, where
        the model starts.
        """
        return Path(self.xml.get("RUNDIR", self.folder)) / text

    @property
    def run_type(self) -> str:
        """How the run starts: startup, branch or hybrid."""
        return self.xml.get("RUN_TYPE", self.case.start.type)

    @property
    def continues(self) -> bool:
        """Whether the next job goes on from the restart files of the case itself."""
        return self.xml.get("CONTINUE_RUN", "FALSE") == "TRUE"

    @property
    def level_count(self) -> int:
        """Levels of the model: ``-nlev`` of CAM_CONFIG_OPTS where the case exists, else what the
        compset has.
        """
        given = re.findall(r"-nlev\s+(\d+)", self.xml.get("CAM_CONFIG_OPTS", ""))
        return int(given[-1]) if given else self.case.level_count

    @property
    def ranks(self) -> int:
        """Ranks of the atmosphere."""
        return self.integer(
            "NTASKS_ATM", self.case.nodes * layout_of(self.case, self.machine).ranks_per_node
        )

    @property
    def threads(self) -> int:
        """Threads of a rank of the atmosphere."""
        return self.integer("NTHRDS_ATM", layout_of(self.case, self.machine).threads)

    @property
    def ranks_per_node(self) -> int:
        """Ranks that share a node."""
        return self.integer(
            "MAX_MPITASKS_PER_NODE", layout_of(self.case, self.machine).ranks_per_node
        )


def read_settings(folder: Path) -> CaseSettings:
    """Return what a case folder says; E3SMError for a folder without climlink's record, and for
    files that cannot be read.
    """
    record = folder / RECORD
    try:
        raw = read_json(record)
        case, machine = E3SMCase.model_validate(raw["case"]), Machine.model_validate(raw["machine"])
        root, flavor = Path(raw["e3sm_root"]), raw.get("checkout")
    except OSError as error:
        raise E3SMError(
            f"{folder}: expected a case made by `climlink e3sm case`, found no {RECORD}"
        ) from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise E3SMError(
            f"{record}: not a record of this climlink ({str(error).splitlines()[0]}); make the "
            "case anew"
        ) from error
    emulator, other = read_user_namelist(folder / USER_NAMELIST)
    return CaseSettings(
        folder, case, machine, emulator, other, _read_xml(folder), root, flavor == "fork"
    )


def read_user_namelist(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the emulator's entries and all others; CIME drops group lines, so an entry belongs to
    the emulator by name.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise E3SMError(f"{path}: expected the namelist of a case: {error.strerror}") from error
    try:
        groups = parse_namelist(_with_groups(decoded(raw)))
    except ValueError as error:
        raise E3SMError(
            f"{path}: not a namelist that can be read ({error}): look for a missing quote or slash"
        ) from error
    emulator: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for group, entries in groups.items():
        for name, value in entries.items():
            ours = group == GROUP or name in ENTRIES or name.startswith(ENTRY_PREFIXES)
            (emulator if ours else other)[name] = value
    return emulator, other


def _with_groups(text: str) -> str:
    """Return user_nl text with its loose lines, which CIME allows, in a group of their own."""
    grouped: list[str] = []
    loose: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("&"):
            inside = True
        (grouped if inside else loose).append(line)
        if line.startswith("/"):
            inside = False
    return "\n".join([*grouped, f"&{_LOOSE}", *loose, "/", ""])


def _read_xml(folder: Path) -> dict[str, str]:
    """Return the entries of CIME's env_*.xml by id; those with a value per component as
    ``NTASKS_ATM``.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("env_*.xml")):
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise E3SMError(
                f"{path}: not XML ({error}); restore it, or make the case anew"
            ) from error
        for entry in root.iter("entry"):
            name = entry.get("id", "")
            if entry.get("value") is not None:
                found[name] = entry.get("value", "")
            for value in entry.iter("value"):
                component = value.get("compclass") or value.get("component")
                if component and value.text:
                    found[f"{name}_{component}"] = value.text.strip()
    return {name: _resolved(value, found) for name, value in found.items()}


def _resolved(value: str, known: dict[str, str], depth: int = 10) -> str:
    """Return a value with ``$NAME`` replaced by CIME's entries and ``$ENV{NAME}`` by the
    environment's, as far as they are known.
    """
    value = re.sub(r"\$ENV\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), value)
    replaced = re.sub(r"\$\{?([A-Z_]+)\}?", lambda m: known.get(m[1], m[0]), value)
    return replaced if replaced == value or depth == 0 else _resolved(replaced, known, depth - 1)
