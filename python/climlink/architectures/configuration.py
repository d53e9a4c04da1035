"""What every architecture's configuration has in common: strict fields and named presets that
resolve to explicit numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError

from climlink.architectures.errors import ArchitectureError
from climlink.wrappers.errors import near_names
from climlink.wrappers.layout import Strict
from climlink.wrappers.yaml_file import fault

Configuration = TypeVar("Configuration", bound="ArchitectureConfiguration")

PRESET_KEY = "preset"


class ArchitectureConfiguration(Strict):
    """Numbers that fix an architecture but for the shape of its columns; ``presets`` are named
    starting points, the first the default.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}


class ColumnConfiguration(ArchitectureConfiguration):
    """What networks on columns that can also predict their confidence have in common."""

    confidence: bool = Field(
        default=False, description="also predict a confidence for every output, by a second head"
    )


def resolve(
    architecture: str, kind: type[Configuration], configuration: Mapping[str, Any]
) -> Configuration:
    """Return explicit numbers from a mapping that may name a ``preset`` (default: the first) and
    override some of its fields.

    ArchitectureError names the architecture, the key, what was expected, and for an unknown key or
    preset the near ones.
    """
    fields = dict(configuration)
    preset = fields.pop(PRESET_KEY, next(iter(kind.presets)))
    if preset not in kind.presets:
        near = near_names(str(preset), kind.presets)
        raise ArchitectureError(
            f"architecture {architecture!r} has no preset {preset!r}{near}; known: "
            f"{', '.join(kind.presets)}"
        )
    unknown = [key for key in fields if key not in kind.model_fields]
    if unknown:
        known = [PRESET_KEY, *kind.model_fields]
        raise ArchitectureError(
            f"architecture {architecture!r}: unknown key "
            f"{unknown[0]!r}{near_names(unknown[0], known)}; known keys: {', '.join(known)}"
        )
    try:
        return kind.model_validate({**kind.presets[preset], **fields})
    except ValidationError as error:
        raise ArchitectureError(f"architecture {architecture!r}: {fault(error)}") from error
