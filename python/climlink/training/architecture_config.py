"""Which network a training run makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from climlink.architectures import Architecture, ArchitectureError, find
from climlink.config import StrictModel


class ArchitectureConfig(StrictModel):
    """Which network, by name, and its configuration (``preset`` and any field of it)."""

    name: str = Field(
        description="as `climlink configs architectures` lists it, or as ``file`` registers it"
    )
    file: Path | None = Field(
        default=None, description="Python file that registers an own architecture"
    )
    configuration: dict[str, Any] = Field(
        default_factory=dict,
        description="fields of the architecture; preset: published, small or tiny",
    )

    @model_validator(mode="after")
    def _resolves(self) -> ArchitectureConfig:
        try:
            self.find().resolved(self.configuration)
        except ArchitectureError as error:
            raise ValueError(str(error)) from error
        return self

    def find(self) -> Architecture:
        """Return the architecture; ArchitectureError if there is none of that name."""
        return find(self.name, self.file)

    def resolved(self) -> ArchitectureConfig:
        """Return the same architecture with its preset replaced by explicit numbers."""
        explicit = self.find().resolved(self.configuration).model_dump()
        return self.model_copy(update={"configuration": explicit})
