"""Strict YAML files as pydantic models: what does not fit is named with file, line, key and the
near keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from climlink.wrappers.errors import ClimlinkError, near_names
from climlink.wrappers.strict_yaml import MAX_BYTES, read_yaml

Model = TypeVar("Model", bound=BaseModel)
_SHOWN_ERRORS = 10


class ConfigError(ClimlinkError, ValueError):
    """A configuration file is missing, is not YAML, or does not fit its model."""


class Document(NamedTuple):
    """A YAML mapping, and where its keys stand."""

    origin: str
    root: yaml.Node | None
    values: dict[str, Any]

    def place(self, keys: Sequence[int | str]) -> str:
        """Return origin and line (from 1) of the deepest part of a key path that is there."""
        return f"{self.origin}, line {_line(self.root, keys)}"


def load_config(path: str | Path, model: type[Model]) -> Model:
    """Return the YAML file ``path`` as an instance of ``model``.

    Raises ConfigError naming the file, the line and the key path, what was expected and what came,
    and for an unknown key the near ones.
    """
    document = read_document(path, model)
    return fitted(document.values, model, document.place)


def read_document(path: str | Path, model: type[BaseModel]) -> Document:
    """Return the mapping in a YAML file, not yet held against ``model``; ConfigError where it
    cannot be read or is none.
    """
    path = Path(path)
    try:
        with path.open(
            "rb"
        ) as stream:  # bounded: a pipe has no size, and a wrong file may have any
            content = stream.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: expected UTF-8 text, but byte {error.start} is not"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{path}: expected a configuration of at most {MAX_BYTES >> 20} MiB, this file is "
            "longer"
        )
    return parse_document(text, model, origin=str(path))


def parse_config(text: str, model: type[Model], origin: str) -> Model:
    """Return YAML ``text`` as an instance of ``model``; ``origin`` is what a ConfigError calls
    it.
    """
    document = parse_document(text, model, origin)
    return fitted(document.values, model, document.place)


def parse_document(text: str, model: type[BaseModel], origin: str) -> Document:
    """Return the mapping in YAML ``text``, not yet held against ``model``; ConfigError if it is
    none.
    """
    try:
        root, raw = read_yaml(text)
    except yaml.YAMLError as error:
        line, problem = _yaml_problem(error, text)
        raise ConfigError(f"{origin}, line {line}: not valid YAML: {problem}") from error
    if not isinstance(raw, dict):
        known = ", ".join(model.model_fields)
        got = "nothing" if raw is None else repr(raw)[:60]
        raise ConfigError(f"{origin}: expected a mapping with some of the keys {known}; got {got}")
    return Document(origin, root, raw)


def fitted(
    values: Mapping[str, Any],
    model: type[Model],
    place: Callable[[Sequence[int | str]], str],
) -> Model:
    """Return values as an instance of ``model``; in a ConfigError ``place`` says where a key path
    stands.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_explain(problem, values, model, place) for problem in problems[:_SHOWN_ERRORS]]
        more = (
            f"\n(and {len(problems) - _SHOWN_ERRORS} more)" if len(problems) > _SHOWN_ERRORS else ""
        )
        raise ConfigError("\n".join(lines) + more) from error


def misfit(problems: Iterable[tuple[tuple[str | int, ...], str]]) -> ValidationError:
    """Return the error for a model's validator to raise that names keys below it and what is wrong
    with each.
    """
    told = ((k, PydanticCustomError("misfit", "{problem}", {"problem": p})) for k, p in problems)
    details = [InitErrorDetails(type=problem, loc=keys, input={}) for keys, problem in told]
    return ValidationError.from_exception_data("misfit", details)


def _explain(
    problem: Any,
    raw: Any,
    model: type[BaseModel],
    place: Callable[[Sequence[int | str]], str],
) -> str:
    """Return one line about one pydantic error."""
    keys = _data_path(problem["loc"], raw)
    where = f"{place(keys)}: {_dotted(keys) or 'the file'}"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, keys[:-1])
        return (
            f"{where}: unknown key{near_names(str(keys[-1]), known)}; known keys: "
            f"{', '.join(known) or 'none'}"
        )
    if problem["type"] == "missing":
        return f"{where}: this key is required and missing"
    return f"{where}: {said(problem)}"


def fault(error: ValidationError) -> str:
    """Return what does not fit first: its key, what was expected, and what came."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {said(first)}" if key else said(first)


def said(problem: Any) -> str:
    """Return what one pydantic error says, a validator of climlink's own in its own words, and what
    came where that is not among them.
    """
    value, own = problem["input"], problem["type"] == "value_error"
    text = str(problem["ctx"]["error"]) if own else problem["msg"]
    told = isinstance(value, dict) or (own and str(value) in text)
    return text if told else f"{text}, got {value!r:.80}"


def _data_path(loc: Sequence[int | str], raw: Any) -> list[int | str]:
    """Return pydantic's location without the names of union members, which are not keys of the
    file.
    """
    path: list[int | str] = []
    value = raw
    for position, key in enumerate(loc):
        if isinstance(value, dict) and (key in value or position == len(loc) - 1):
            path.append(key)
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            path.append(key)
            value = value[key]
    return path


def _known_keys(model: type[BaseModel], keys: Sequence[int | str]) -> list[str]:
    """Return the keys that the model accepts at a key path."""
    kinds: list[Any] = [model]
    for key in keys:
        kinds = [below for kind in kinds for below in _below(kind, key)]
    return sorted({name for kind in kinds for m in _models_in(kind) for name in m.model_fields})


def _below(annotation: Any, key: int | str) -> list[Any]:
    """Return the annotations of what stands under a key of a value of a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return [fields[str(key)].annotation] if key in fields else []
    args = get_args(annotation)
    if get_origin(annotation) is dict:
        return [args[1]]
    if isinstance(key, int) and get_origin(annotation) in (list, tuple):
        return list(args)
    return [below for part in args for below in _below(part, key)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return every pydantic model named anywhere inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]


def _line(root: yaml.Node | None, keys: Sequence[int | str]) -> int:
    """Return the line (from 1) of the deepest node of a key path that the file has."""
    if root is None:
        return 1
    node, line = root, root.start_mark.line
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line
    return int(line) + 1


def _dotted(keys: Sequence[int | str]) -> str:
    """Return a key path as ``train[0].start``."""
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in keys).lstrip(".")


def _yaml_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line (from 1) and the words of a YAML error."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        return (mark.line if mark else 0) + 1, words
    assert isinstance(error, yaml.reader.ReaderError)
    return text.count(
        "\n", 0, error.position
    ) + 1, f"the character {chr(error.character)!r} is not allowed"
