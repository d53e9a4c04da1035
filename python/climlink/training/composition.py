"""A training configuration out of its parts: a recipe, beneath a file, beneath single settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from climlink.architectures import ArchitectureError, find
from climlink.architectures.configuration import PRESET_KEY
from climlink.config import ConfigError, merged
from climlink.installation import find_configuration
from climlink.training.config import TrainingConfig
from climlink.training.keys import every_key
from climlink.wrappers.errors import near_names
from climlink.wrappers.strict_yaml import read_yaml
from climlink.wrappers.yaml_file import fitted, parse_document, read_document

PRESETS = ("published", "small", "tiny")
"""Settings of these names are shipped; the networks have presets of the same names."""

DEFAULT_PRESET = "small"
"""What trains on a laptop: nobody starts the published training by leaving a word out."""

_PRESET = ("architecture", "configuration", PRESET_KEY)
SHORT = {"architecture": ("architecture", "name"), "preset": _PRESET, "data": ("store",)}
"""Short words for settings, and the keys they stand for."""

_RECIPE, _RECORDED = "recipe", "from_recipe"
_WORD = re.compile(r"[A-Za-z_][\w.@-]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

Keys = Sequence[int | str]


@dataclass(frozen=True)
class Layer:
    """A part of a configuration."""

    origin: str
    values: Mapping[str, Any]
    place: Callable[[Keys], str]
    """Where in it a key path stands, for messages."""
    keys: tuple[str, ...] = ()
    """Of the one value that a setting gives."""


@dataclass(frozen=True)
class Composition:
    """A training configuration and the layers it was made of, lowest first."""

    config: TrainingConfig
    layers: tuple[Layer, ...]
    base: str
    """The origin of the layer beneath the settings."""

    def source(self, keys: Keys) -> str | None:
        """Return which layer a value comes from; None for one that nobody gave."""
        given = [layer for layer in self.layers if _depth(layer.values, keys) == len(keys)]
        return given[-1].origin if given else None

    def text(self) -> str:
        """Return the configuration as YAML to train from, presets as explicit numbers; comments
        say where each part comes from.
        """
        values = self.config.resolved().model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, width=10_000, allow_unicode=True)
        lines = text.splitlines()
        for keys, line in _lines_of_keys(read_yaml(text)[0]):
            origin = self.source(keys) or self._preset_of(keys)
            if origin is not None:
                lines[line] += f"  # {' '.join(origin.split())}"
        parts = "; ".join(["climlink's defaults", *(layer.origin for layer in self.layers)])
        head = f"# made of, later over earlier: {' '.join(parts.split())}"
        return "\n".join([head, *lines]) + "\n"

    def _preset_of(self, keys: Keys) -> str | None:
        """Return what a field of the network comes from that nobody gave."""
        preset = self.config.architecture.configuration.get(PRESET_KEY)
        return f"preset {preset}" if preset and tuple(keys[:-1]) == _PRESET[:-1] else None


def load_training(
    config: str | Path | TrainingConfig | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainingConfig:
    """Return a training configuration: a file, a shipped one by name, or the settings of a preset,
    with some keys replaced.

    ``overrides`` are settings as ``compose`` takes them. ConfigError where one does not fit.
    """
    if isinstance(config, TrainingConfig) and not overrides:
        return config
    given = (setting(k, v, f"override of {k}") for k, v in (overrides or {}).items())
    return compose(config, given).config


def compose(
    config: str | Path | TrainingConfig | None, settings: Iterable[Layer] = ()
) -> Composition:
    """Return a training configuration: defaults < recipe < ``config`` < ``settings``.

    Without ``config`` the settings of the preset that they name are taken, or of DEFAULT_PRESET.
    Mappings are merged key by key, lists replaced; another network than the one beneath takes over
    only its preset. Without a name it gets that of its parts. ConfigError names the layer that
    does not fit, its line, and near names.
    """
    above = tuple(settings)
    _require_once(above)
    asked: Mapping[str, Any] = reduce(_together, (layer.values for layer in above), {})
    base = _base(config, asked)
    values = _over(base.values, asked)
    layers: tuple[Layer, ...] = (base, *above)
    recipe = values.pop(_RECIPE, None)
    if recipe is not None:
        layers = (_recipe(recipe, values), *layers)
        values = {**_over(layers[0].values, values), _RECORDED: str(recipe)}
    values.setdefault("name", run_name(values))

    def place(keys: Keys) -> str:
        deepest = max(_depth(layer.values, keys) for layer in layers)
        holds = [layer for layer in layers if _depth(layer.values, keys) == deepest]
        return (holds[-1] if deepest else base).place(keys)

    return Composition(fitted(values, TrainingConfig, place), layers, base.origin)


def word(text: str) -> Layer:
    """Return the setting ``key=value``, the value in YAML; ConfigError if it is none."""
    key, equals, value = text.partition("=")
    if not equals or not _WORD.fullmatch(key):
        raise ConfigError(f"{text!r}: expected key=value, such as seed=43 or loss.delta=2")
    read = parse_document(f"value: {value}", TrainingConfig, text)
    return setting(key, read.values["value"], text)


def is_word(text: str) -> bool:
    """Tell whether an argument is a setting, and not the name or path of a file."""
    return _WORD.fullmatch(text.partition("=")[0]) is not None and "=" in text


def setting(key: str, value: Any, origin: str) -> Layer:
    """Return a layer that gives one value, its key with dots or one of SHORT; ConfigError for an
    unknown key, with near ones.
    """
    keys = full_keys(key, value, origin)
    values = value
    for part in reversed(keys):
        values = {part: values}
    return Layer(origin, values, lambda _: origin, keys)


def full_keys(key: str, value: Any, origin: str) -> tuple[str, ...]:
    """Return the key path that a word stands for."""
    if key in SHORT and not isinstance(value, Mapping):
        return SHORT[key]
    keys = tuple(key.split("."))
    known = [*TrainingConfig.model_fields, _RECIPE, *SHORT]
    if keys[0] not in known:
        deeper = [k.dotted for k in every_key(TrainingConfig) if k.dotted.endswith(f".{key}")]
        near = (
            f"; did you mean {' or '.join(deeper[:3])}?" if deeper else near_names(keys[0], known)
        )
        listed = "`climlink configs training --keys` lists all"
        raise ConfigError(f"{origin}: unknown key {keys[0]!r}{near}; {listed}")
    return keys


def run_name(values: Mapping[str, Any]) -> str:
    """Return what a run is called by default: architecture, recipe, preset and seed."""
    architecture = str(_value(values, SHORT["architecture"], "network"))
    preset = _value(values, _PRESET, next(iter(_presets(values)), None))
    recipe = _value(values, (_RECORDED,), None)
    seed = _value(values, ("seed",), TrainingConfig.model_fields["seed"].default)
    shown = Path(str(recipe)).stem if recipe else None
    parts = (p for p in (architecture, shown, preset, f"seed{seed}") if p)
    return in_a_name("_".join(map(str, parts)))


def in_a_name(text: str) -> str:
    """Return text with what cannot stand in the name of a run replaced by hyphens."""
    return _NOT_IN_NAMES.sub("-", text).strip("-._") or "run"


def _base(config: str | Path | TrainingConfig | None, asked: Mapping[str, Any]) -> Layer:
    """Return the layer beneath the settings."""
    if isinstance(config, TrainingConfig):
        given = "the given configuration"
        return Layer(given, config.model_dump(exclude_unset=True), lambda _: given)
    name = config
    if name is None:
        name = _value(asked, _PRESET, DEFAULT_PRESET)
        if name not in PRESETS:
            near = near_names(str(name), PRESETS)
            own = "settings for a preset of another name are a file: climlink train CONFIG preset="
            raise ConfigError(
                f"no settings for the preset {name!r}{near}; there are {', '.join(PRESETS)}; "
                f"{own}{name}"
            )
    return _file("training", name)


def _file(kind: str, name: str | Path) -> Layer:
    document = read_document(find_configuration(kind, name), TrainingConfig)
    return Layer(f"{kind} {name}", document.values, document.place)


def _recipe(given: Any, values: Mapping[str, Any]) -> Layer:
    """Return the layer of a recipe; ConfigError if there is none, or one was merged before."""
    if not isinstance(given, str):
        raise ConfigError(f"recipe: expected a name or a file, got {given!r:.80}")
    before = values.get(_RECORDED)
    if before is not None:
        raise ConfigError(
            f"recipe {given}: this configuration was made from recipe {before} already, whose "
            "settings are part of it; give the file that it was made from"
        )
    layer = _file("recipes", given)
    if _RECIPE in layer.values:
        raise ConfigError(f"{layer.place([_RECIPE])}: a recipe cannot be made from another recipe")
    return layer


def _require_once(settings: Sequence[Layer]) -> None:
    """Raise ConfigError where two settings give the same key."""
    first: dict[tuple[str, ...], Layer] = {}
    for layer in settings:
        if layer.keys in first:
            both = f"{first[layer.keys].origin} and {layer.origin}"
            raise ConfigError(f"{both}: {'.'.join(layer.keys)} is given twice; keep one")
        first[layer.keys] = layer


def _together(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return two settings as one, in whatever order they were given: no name drops another's
    arguments.
    """
    both = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], Mapping) and isinstance(second[key], Mapping):
            both[key] = _together(first[key], second[key])
    return both


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``upper`` merged over ``lower``; another network takes over the preset of the one
    beneath if it has one of that name.
    """
    values = merged(_named(lower, upper), upper)
    preset = _value(lower, _PRESET, None)
    if preset is not None and preset in _presets(values, [preset]):
        values = merged(_named(setting("preset", preset, "").values, values), values)
    return values


def _named(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``lower`` with the names of what it speaks of where ``upper`` gives one: the default,
    or, where there is none as of networks, whatever ``upper`` names.
    """
    named = dict(lower)
    for key, value in lower.items():
        name = _value(upper, (key, "name"), None)
        if name is not None and isinstance(value, Mapping) and "name" not in value:
            named[key] = {"name": _default_name(key) or name, **value}
    return named


def _default_name(key: str) -> str | None:
    """Return what a mapping of a training file is about that names nothing."""
    field = TrainingConfig.model_fields.get(key)
    fields = getattr(field.annotation, "model_fields", {}) if field else {}
    return fields["name"].default if "name" in fields and not fields["name"].is_required() else None


def _presets(values: Mapping[str, Any], unknown: Sequence[str | None] = ()) -> Sequence[str | None]:
    """Return the presets of the network that a configuration names; ``unknown`` for one that is not
    there, which validation refuses.
    """
    name, file = (_value(values, ("architecture", k), None) for k in ("name", "file"))
    if not isinstance(name, str):
        return unknown
    try:
        return list(find(name, file).configuration.presets)
    except ArchitectureError:
        return unknown


def _value(values: Mapping[str, Any], keys: Keys, default: Any) -> Any:
    found: Any = values
    for key in keys:
        if not isinstance(found, Mapping) or found.get(key) is None:
            return default
        found = found[key]
    return found


def _depth(values: Mapping[str, Any], keys: Keys) -> int:
    """Return how many keys of a path are there."""
    found: Any = values
    for depth, key in enumerate(keys):
        if not isinstance(found, Mapping) or key not in found:
            return depth
        found = found[key]
    return len(keys)


def _lines_of_keys(
    node: yaml.Node | None, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the key path and line (from 0) of each value that is no mapping, where a comment fits
    behind it.
    """
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        keys = (*above, str(key.value))
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _lines_of_keys(value, keys)
        elif not isinstance(value, yaml.ScalarNode) or value.end_mark.line == key.start_mark.line:
            yield keys, key.start_mark.line
