"""Variables: names, units, dimensions and meanings; the shipped catalogue is variables.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL, Role, VariableEntry

_FOLDER = Path(__file__).parent
ENCODINGS = ("variable", "log", "exponential")
"""Representations that the normalization makes: scaled by one number per variable, signed
logarithm, exponential cloud transform.
"""

FEATURES = ("log10", "step", "step2", "second_step", "not_positive", "unfilled")
"""Representations that are fields of their own: logarithm above a floor, differences to the level
above and to the one above that, second difference, x <= 0, fill value as zero.
"""

REPRESENTATIONS = ENCODINGS + FEATURES
"""What a network input may be besides the value itself, written ``name@representation``."""


@dataclass(frozen=True)
class Variable:
    """One quantity: name, units, meaning, names of its dimensions, lag in time steps, and its role
    in a row.

    Network inputs may carry a quantity in another encoding, written ``name@representation``.
    """

    name: str
    units: str
    long_name: str = ""
    dims: tuple[str, ...] = ()
    lag: int = 0
    role: Role = "value"
    plausible: tuple[float, float] | None = field(default=None, compare=False)
    """Smallest and largest value that a file may hold, in ``units``; None for what is computed."""

    @property
    def is_profile(self) -> bool:
        """True for a value per level."""
        return self.dims == (LEVEL,)

    @property
    def base_name(self) -> str:
        """Catalogue name without the representation."""
        return self.name.split("@")[0]

    @property
    def representation(self) -> str:
        """How the quantity is encoded, empty for the value itself."""
        return self.name.partition("@")[2]

    @property
    def field_name(self) -> str:
        """Name of the physical field that is normalized, and of its statistics: encodings share the
        field of their base.
        """
        return self.name if self.representation in FEATURES else self.base_name

    def represented(self, representation: str) -> Variable:
        """Return the variable in another encoding; ContractError names the near ones."""
        if representation not in REPRESENTATIONS:
            raise ContractError(
                f"unknown representation {representation!r} of "
                f"{self.name}{near_names(representation, REPRESENTATIONS)}"
            )
        meaning = f"{self.long_name}, {representation} representation"
        return Variable(f"{self.name}@{representation}", "1", meaning, self.dims, self.lag)

    @classmethod
    def from_entry(cls, entry: VariableEntry) -> Variable:
        """Return the variable of a manifest's record."""
        return cls(
            entry.name, entry.units, entry.long_name, tuple(entry.dims), entry.lag, entry.role
        )


@cache
def shipped_variables() -> dict[str, Variable]:
    """Return the catalogue: ClimSim's variables, by name."""
    raw = yaml.safe_load((_FOLDER / "variables.yaml").read_text(encoding="utf-8"))
    return {
        name: _variable(name, dims, **entry)
        for dims, section in (((LEVEL,), raw["profiles"]), ((), raw["scalars"]))
        for name, entry in section.items()
    }


def _variable(
    name: str,
    dims: tuple[str, ...],
    *,
    units: str,
    long_name: str,
    lag: int = 0,
    range: Sequence[float | str] | None = None,
) -> Variable:
    # Keyword by keyword: an unquoted comma in a meaning makes a key that nobody knows.
    # YAML 1.1 takes 1e-4 for a text; float() reads both.
    plausible = None if range is None else (float(range[0]), float(range[1]))
    return Variable(name, units, long_name, dims, lag=lag, plausible=plausible)


def variable(name: str) -> Variable:
    """Return the catalogue's variable, or one of its representations (``state_t@log``);
    ContractError names the near ones.
    """
    base, marked, representation = name.partition("@")
    known = shipped_variables().get(base)
    if known is None:
        raise ContractError(f"unknown variable {name!r}{near_names(base, shipped_variables())}")
    return known.represented(representation) if marked else known


def variable_names() -> list[str]:
    """Return every name of the catalogue, sorted."""
    return sorted(shipped_variables())
