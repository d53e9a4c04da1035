"""Units as texts: `W m-2`, `W/m2` and `W m^-2` are one unit, `hPa` and `Pa` are two."""

from __future__ import annotations

import re

_FACTOR = re.compile(r"([/*.]?)\s*([A-Za-z]+|1(?!\d))(?:\^|\*\*)?([+-]?\d+)?\s*")
_NO_UNIT = ("", "1", "fraction", "none", "unitless", "dimensionless")
_SYMBOLS = {"kelvin": "K", "degk": "K", "pascal": "Pa", "pascals": "Pa"}


def same_units(given: str, expected: str) -> bool:
    """Say whether two texts name one unit, however its powers are written.

    A pure number may stand for a ratio such as kg/kg.
    """
    if given.strip().lower() in _NO_UNIT:
        factors = _powers(expected) or []
        return (
            sum(power for _, power in factors) == 0 and len({symbol for symbol, _ in factors}) < 2
        )
    powers = _powers(given)
    return given == expected or (powers is not None and powers == _powers(expected))


def _powers(units: str) -> list[tuple[str, int]] | None:
    """Return symbols with their powers, sorted; None for a text that is no product of powers.

    Nothing is cancelled: kg/kg is not mol/mol.
    """
    if _FACTOR.sub("", units.strip()):
        return None
    return sorted(
        (_SYMBOLS.get(symbol.lower(), symbol), (-1 if sign == "/" else 1) * int(power or 1))
        for sign, symbol, power in _FACTOR.findall(units)
        if symbol != "1"
    )
