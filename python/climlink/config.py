"""What every configuration of climlink is: a strict model, read from YAML by load_config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from climlink.wrappers.yaml_file import (
    ConfigError,
    Model,
    fault,
    load_config,
    misfit,
    parse_config,
)

__all__ = [
    "ConfigError",
    "StrictModel",
    "TimeStep",
    "load_config",
    "merged",
    "misfit",
    "parse_config",
    "validated",
]

TimeStep = Annotated[float, Field(ge=1e-3, le=1e9, description="time step in s")]
"""Outside of these bounds its inverse, or a count of steps, does not fit the numbers of a model."""

_BELONGS_TO_NAME = ("arguments", "configuration", "file")
"""Keys beside a ``name`` that say nothing of another network, optimizer or schedule."""


class StrictModel(BaseModel):
    """Base of configuration models: unknown keys are refused, values cannot be changed after
    loading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def validated(values: Mapping[str, Any], model: type[Model], origin: str) -> Model:
    """Return values that are no longer text of a file as an instance of ``model``; a ConfigError
    names the first key that does not fit.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {fault(error)}") from error


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overrides`` in it: mappings key by key, other values as a whole.

    Where a mapping gets another ``name`` (a network, an optimizer), or one at all, what belongs to
    the old one is left out.
    """
    result = dict(base)
    for key, value in overrides.items():
        old = result.get(key)
        if not (isinstance(old, Mapping) and isinstance(value, Mapping)):
            result[key] = value
            continue
        renamed = "name" in value and value["name"] != old.get("name")
        kept = {k: v for k, v in old.items() if not (renamed and k in _BELONGS_TO_NAME)}
        result[key] = merged(kept, value)
    return result
