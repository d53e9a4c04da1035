"""Case files: which host model runs, and with what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from climlink.config import ConfigError, StrictModel, load_config, validated
from climlink.installation import configuration_base, find_configuration
from climlink.online.aquaplanet import AquaplanetConfig
from climlink.online.replay import ReplayConfig

CaseConfig = ReplayConfig | AquaplanetConfig


_COMMANDS = {
    "replay": "climlink online run",
    "aquaplanet": "climlink online run",
    "e3sm": "climlink e3sm case",
}


class _Host(BaseModel):
    """The one key that every case file has."""

    host: Literal["replay", "aquaplanet", "e3sm"]


def require_host(path: Path, *wanted: str) -> str:
    """Return the host of a case file; ConfigError names the command for it if it is none of the
    wanted ones.
    """
    host = load_config(path, _Host).host
    if host not in wanted:
        raise ConfigError(
            f"{path}: expected a case of host {' or '.join(wanted)}, got host {host}; "
            f"`{_COMMANDS[host]} {path}` is the command for it"
        )
    return host


def load_case(path: str | Path, **overrides: Any) -> CaseConfig:
    """Read a case file, or a shipped case by its name, and apply overrides that are not None.

    Paths in the file become absolute (see configuration_base); those of overrides are relative to
    the caller.

    ``package`` is the package of a replay, and that of the emulator in the embedded model. Raises
    ConfigError for what does not fit the host's model or its program's entries, and for an override
    that the host does not have.
    """
    path = find_configuration("cases", path)
    host = require_host(path, "replay", "aquaplanet")
    model: type[ReplayConfig | AquaplanetConfig] = (
        ReplayConfig if host == "replay" else AquaplanetConfig
    )
    base = configuration_base(path)
    values = absolute_paths(load_config(path, model), base)
    if values.get("selection", {}).get("split") is not None:
        values["selection"]["split"] = str(
            find_configuration("splits", values["selection"]["split"], base)
        )
    for name, value in overrides.items():
        if value is None:
            continue
        if name == "package" and model is AquaplanetConfig:
            values.setdefault("emulator", {})["package"] = value
        elif name not in model.model_fields:
            raise ConfigError(f"{path}: the host {values['host']} takes no {name}")
        else:
            values[name] = value
    case = validated(values, model, str(path))
    if isinstance(case, AquaplanetConfig):
        try:
            case.check_entries()
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return case


def absolute_paths(model: StrictModel, base: Path) -> dict[str, Any]:
    """Return the keys that the file gives, with paths made absolute, also within its parts."""
    values: dict[str, Any] = {}
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, Path):
            value = base / value
        elif isinstance(value, StrictModel):
            value = absolute_paths(value, base)
        values[name] = value
    return values
