"""Every key of the YAML files that training reads, as its models say: what docs/training-keys.md is
made of.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_NAMES = {str: "text", int: "integer", float: "number", bool: "true, false", Path: "path"}


@dataclass(frozen=True)
class Key:
    """One key of a file."""

    keys: tuple[str, ...]
    field: FieldInfo
    model: type[BaseModel]
    """That the key stands in."""

    @property
    def dotted(self) -> str:
        """The key as on the command line; NAME and N stand for any name and position."""
        return ".".join(self.keys)

    @property
    def values(self) -> str:
        """What may stand there."""
        bounds = [
            f"{sign} {getattr(part, name)}"
            for part in self.field.metadata
            for name, sign in _BOUNDS.items()
            if getattr(part, name, None) is not None
        ]
        told = _told(self.field.annotation)
        if bounds:
            kind, null, _ = told.partition(" or null")
            told = f"{kind} {', '.join(bounds)}{null}"
        return told

    @property
    def default(self) -> str:
        """What stands there where nobody gives it."""
        if self.field.is_required():
            return "required"
        value = self.field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, BaseModel):
            return ""
        assert value is not PydanticUndefined
        if isinstance(value, list) and value and isinstance(value[0], BaseModel):
            return ", ".join(str(getattr(v, "name", v)) for v in value)
        return _plain(value)

    @property
    def meaning(self) -> str:
        """What it is for."""
        return " ".join((self.field.description or "").split())

    @property
    def models(self) -> list[type[BaseModel]]:
        """What the mappings that may stand there are read by."""
        return [model for model, _ in _models_below(self.field.annotation)]


@cache
def every_key(model: type[BaseModel]) -> tuple[Key, ...]:
    """Return the keys of a model and of the models in it, in the order they are declared.

    A model that stands in several places is walked into at the first.
    """
    return tuple(_walk(model, (), set()))


def keys_page() -> str:
    """Return docs/training-keys.md."""
    from climlink.architectures.registry import every_architecture
    from climlink.training.config import TrainingConfig
    from climlink.training.matrix_config import MatrixConfig

    lines = [
        "# Every key of a training file",
        "",
        "Made by `climlink configs training --keys > docs/training-keys.md` from the models that "
        "read the files: do not edit it. On the command line a key inside another has a dot, "
        "`loss.delta=2`; NAME and N stand for any name and any position.",
        "",
        "`recipe: NAME` (or a file) is not kept as a key: the recipe is merged beneath the file "
        "and recorded as `from_recipe`.",
        *_tables(TrainingConfig, "Training"),
        "",
        "# Every key of an ensemble file",
        "",
        "What `climlink train --matrix` reads.",
        *_tables(MatrixConfig, "Ensemble"),
        "",
        "# Every key of `architecture.configuration`",
        "",
        "`preset` and the fields of the network; a field that is given replaces the preset's.",
    ]
    for architecture in every_architecture()[0]:
        if architecture.origin.kind == "built_in":
            presets = ", ".join(f"`{p}`" for p in architecture.configuration.presets)
            title = f"`{architecture.name}`: {presets}"
            fields = _tables(architecture.configuration, title)
            lines += fields or ["", f"## {title}", "", "It has no fields."]
    return "\n".join(lines) + "\n"


def _walk(model: type[BaseModel], above: tuple[str, ...], seen: set[type]) -> Iterator[Key]:
    seen.add(model)
    for name, field in model.model_fields.items():
        yield Key((*above, name), field, model)
        for below, between in _models_below(field.annotation):
            if below not in seen:
                yield from _walk(below, (*above, name, *between), seen)


def _models_below(
    annotation: Any, between: tuple[str, ...] = ()
) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """Yield the models in a type, and what stands between their keys and the one that has it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, between
        return
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is dict:
        yield from _models_below(parts[1], (*between, "NAME"))
    elif origin in (list, tuple):
        for part in parts:
            yield from _models_below(part, (*between, "N"))
    elif origin is not Literal:
        for part in parts:
            yield from _models_below(part, between)


def _tables(model: type[BaseModel], title: str) -> list[str]:
    """Return a section for a model and one for each in it."""
    lines: list[str] = []
    by_model: dict[type[BaseModel], list[Key]] = {}
    for key in every_key(model):
        by_model.setdefault(key.model, []).append(key)
    sections = {part: ".".join(keys[0].keys[:-1]) for part, keys in by_model.items()}
    for part, keys in by_model.items():
        lines += ["", f"## {title if part is model else f'`{sections[part]}`'}"]
        lines += [
            "",
            *_paragraph(part),
            "| key | values | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{k.dotted}` | {_cell(k.values)} | {_cell(k.default)} | {_meaning(k, sections)} |"
            for k in keys
        ]
    return lines


def _meaning(key: Key, sections: Mapping[type[BaseModel], str]) -> str:
    """Return what a key is for, and where the keys in it stand."""
    below = [sections[m] for m in key.models]
    links = ", ".join(f"[`{s}`](#{s.replace('.', '').lower()})" for s in below)
    return "; ".join(filter(None, [_cell(key.meaning), f"keys: {links}" if links else ""]))


def _paragraph(model: type[BaseModel]) -> list[str]:
    words = " ".join((model.__doc__ or "").replace("``", "`").split())
    return [words, ""] if words else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def _told(annotation: Any) -> str:
    """Return a type in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if annotation in _NAMES:
        return _NAMES[annotation]
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin is Annotated:
        return _told(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_told(p) for p in parts)
    if origin is dict:
        return f"mapping of {_told(parts[0])} to {_told(parts[1])}"
    if origin in (list, tuple):
        return _told_list(origin, parts)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return "any value"


def _told_list(origin: Any, parts: Sequence[Any]) -> str:
    if origin is tuple and Ellipsis not in parts:
        return f"list of {len(parts)}: {', '.join(_told(p) for p in parts)}"
    return f"list of {_told(parts[0])}" if parts else "list"


def _plain(value: Any) -> str:
    """Return a default as YAML has it in one line."""
    return json.dumps(value, ensure_ascii=False, default=_jsonable)


def _jsonable(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
