"""climlink: trained emulators of cloud and convection physics inside Fortran climate models."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {"register_architecture": "climlink.architectures"}
"""Public name -> the module that has it, imported when it is first used."""


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
