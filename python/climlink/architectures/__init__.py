"""The networks that emulate columns and rows, by name; how to add one is in
docs/add-an-architecture.md.

``build`` turns a name and a configuration into a network, ``find`` into all that is known of it;
both refuse what they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from climlink.architectures.configuration import ArchitectureConfiguration
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.registry import (
    Architecture,
    ArchitectureOrigin,
    Built,
    find,
    known_names,
    load_built_in,
    register_architecture,
)
from climlink.wrappers.column_emulator import (
    ColumnEmulator,
    ColumnShape,
    RowNetwork,
    RowShape,
    no_confidence,
)

__all__ = [
    "Architecture",
    "ArchitectureConfiguration",
    "ArchitectureError",
    "ArchitectureOrigin",
    "ColumnEmulator",
    "ColumnShape",
    "RowNetwork",
    "RowShape",
    "architecture_names",
    "build",
    "find",
    "no_confidence",
    "preset_names",
    "register_architecture",
    "resolve_configuration",
]


def architecture_names() -> list[str]:
    """Return the names that ``build`` may accept, those of installed projects included; nothing is
    loaded.
    """
    return known_names()


def preset_names(name: str) -> list[str]:
    """Return the presets of one architecture."""
    return list(find(name).configuration.presets)


def resolve_configuration(name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with its preset replaced by explicit numbers: what a manifest
    records.
    """
    return find(name).resolved(configuration).model_dump()


def build(name: str, configuration: Mapping[str, Any], shape: ColumnShape | RowShape) -> Built:
    """Return a network with fresh weights from torch's random numbers.

    ``configuration`` may hold ``preset`` (``preset_names``, default: the first) and any field of
    the architecture. ArchitectureError names unknown architectures, presets and keys with
    the near ones, and values that do not fit.
    """
    return find(name).build(configuration, shape)


load_built_in()
