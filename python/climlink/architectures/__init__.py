"""The networks that emulate columns, by name.

``build`` is the only way in: it turns a name and a configuration into a ColumnEmulator, and refuses what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from climlink.architectures.configuration import ArchitectureConfiguration, resolve
from climlink.architectures.errors import ArchitectureError
from climlink.architectures.linear import Linear, LinearConfiguration
from climlink.architectures.mlp import MLP, MLPConfiguration
from climlink.architectures.unet import UNet, UNetConfiguration
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape
from climlink.wrappers.errors import near_names

__all__ = ["ArchitectureError", "architecture_names", "build", "preset_names", "resolve_configuration"]


@dataclass(frozen=True)
class _Architecture:
    """A network class, called with (shape, configuration), and the model of its configuration."""

    network: Any
    configuration: type[ArchitectureConfiguration]


_ARCHITECTURES: dict[str, _Architecture] = {
    "linear": _Architecture(Linear, LinearConfiguration),
    "mlp": _Architecture(MLP, MLPConfiguration),
    "unet": _Architecture(UNet, UNetConfiguration),
}


def architecture_names() -> list[str]:
    """Return the names that ``build`` accepts."""
    return list(_ARCHITECTURES)


def preset_names(name: str) -> list[str]:
    """Return the presets of one architecture."""
    return list(_find(name).configuration.presets)


def resolve_configuration(name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with its preset replaced by explicit numbers: what a manifest records."""
    return resolve(name, _find(name).configuration, configuration).model_dump()


def build(name: str, configuration: Mapping[str, Any], shape: ColumnShape) -> ColumnEmulator:
    """Return a network with fresh weights from torch's random numbers.

    ``configuration`` may hold ``preset`` (``standard`` or ``small``, default ``standard``) and any field of the architecture.
    ArchitectureError names unknown architectures, presets and keys with the near ones, and values that do not fit.
    """
    entry = _find(name)
    network: ColumnEmulator = entry.network(shape, resolve(name, entry.configuration, configuration))
    return network


def _find(name: str) -> _Architecture:
    if name not in _ARCHITECTURES:
        raise ArchitectureError(f"unknown architecture {name!r}{near_names(name, _ARCHITECTURES)}; known: {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[name]
