"""What the adapter's Fortran declares as entries of its namelist group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from climlink.e3sm.errors import E3SMError

GROUP = "mmf_nn_emulator_nl"
SOURCE = "mmf_nn_settings.F90"

Kind = Literal["integer", "logical", "real", "char"]
Value = int | bool | float | str

_OF_EAM = {"fieldname_lenp2": 26, "pflds": 1000}
"""Parameters that the model itself has; the length is that of its older versions."""

_NOT_GIVEN = "not_given"
_DECLARATION = re.compile(
    r"^(?P<type>integer|logical|real|character)(?:\((?:len=)?(?P<length>\w+)\))?, public"
    r"(?:, protected)? :: (?P<name>\w+)(?:\((?P<count>\w+)\))?(?: = (?P<value>.+))?$"
)


@dataclass(frozen=True)
class Declaration:
    """One entry: Fortran type, length of its text, number of values (0: not an array), and default;
    None where the package or the library decides.
    """

    name: str
    kind: Kind
    length: int
    count: int
    default: Value | None


def read_declarations(folder: Path) -> tuple[Declaration, ...]:
    """Return the entries of the adapter in a folder, in the order of its namelist group.

    Raises E3SMError where an entry of the group is not declared in the way of this file.
    """
    lines = _statements((folder / SOURCE).read_text(encoding="utf-8"))
    group = next(line for line in lines if line.startswith(f"namelist /{GROUP}/"))
    constants = {**_OF_EAM, **_constants(lines)}
    found = {m["name"]: m for m in map(_DECLARATION.match, lines) if m}
    names = [name.strip() for name in group.split("/")[2].split(",")]
    absent = [name for name in names if name not in found]
    if absent:
        raise E3SMError(
            f"{folder / SOURCE}: expected a declaration of {', '.join(absent)}, found none of the "
            "form `integer, public :: name = 1`: update climlink"
        )
    return tuple(_declaration(found[name], constants) for name in names)


def _statements(text: str) -> list[str]:
    """Return the statements, each on one line, without comments."""
    code = [re.sub(r"\s*!.*", "", line).strip() for line in text.splitlines()]
    return re.sub(r"&\n", "", "\n".join(line for line in code if line)).splitlines()


def _constants(lines: list[str]) -> dict[str, int]:
    """Return the module's integer parameters that are plain numbers."""
    declared = [line.split("::")[1] for line in lines if line.startswith("integer, parameter")]
    return {
        m[1]: int(m[2]) for m in re.finditer(r"(\w+) = (\d+)\b(?! *[+*/-])", ",".join(declared))
    }


def _declaration(match: re.Match[str], constants: dict[str, int]) -> Declaration:
    def number(text: str | None) -> int:
        return 0 if text is None else constants[text] if text in constants else int(text)

    kinds: dict[str, Kind] = {"integer": "integer", "logical": "logical", "real": "real"}
    kind = kinds.get(match["type"], "char")
    length = number(match["length"]) if kind == "char" else 0
    return Declaration(match["name"], kind, length, number(match["count"]), _value(match["value"]))


def _value(text: str | None) -> Value | None:
    if text is None or text == _NOT_GIVEN:
        return None
    if text in (".true.", ".false."):
        return text == ".true."
    if text.startswith("'"):
        return text[1:-1].strip()
    return int(text) if text.lstrip("-").isdigit() else float(text.removesuffix("_r8"))
