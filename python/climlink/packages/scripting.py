"""Scripting: a Python module becomes a TorchScript graph, or its author is told which line stands
in the way and what helps.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.jit.frontend import FrontendError

from climlink.wrappers.errors import ContractError

_CURES = {
    "variable number of arguments|keyword-only": "give forward and its helpers fixed arguments "
    "with types",
    "Python type: '(list|dict|tuple)'": "hold layers in an nn.ModuleList or nn.ModuleDict",
    "numpy|scipy|weak reference": "use torch's own functions; what is computed once is a buffer",
    r"Could not infer|Tensor \(inferred\)|annotation|value of type": "annotate arguments and "
    "results",
}
"""What helps against which complaint of TorchScript."""

_OTHERWISE = (
    "typed arguments instead of *args, nn.ModuleList for loops over layers, plain torch instead of "
    "numpy and generators, @torch.jit.unused for what inference does not need, or "
    "torch.jit.trace(module, rows), if no decision in forward depends on values"
)


Place = tuple[str, str, int]
"""A module that is not torch, and the file and line that use it."""


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """Return the module as a TorchScript graph; ContractError names the line that does not script,
    and the usual cures.
    """
    try:
        return torch.jit.script(module)
    except (RuntimeError, TypeError, ValueError, AttributeError, OSError, FrontendError) as error:
        problem = _problem(error, module)
        cure = next((cure for pattern, cure in _CURES.items() if re.search(pattern, problem)), None)
        helps = f"{cure}; other usual cures: {_OTHERWISE}" if cure else f"usual cures: {_OTHERWISE}"
        name = type(module).__name__
        raise ContractError(f"{name} does not script: {problem}; {helps}") from error


def _problem(error: Exception, module: nn.Module) -> str:
    """Return what TorchScript objects to, with the place and the line of code."""
    text = str(error)
    lines = [line.strip(" :") for line in text.splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    place = re.search(r'File "([^"]+)", line (\d+)', text)
    if place is not None:
        return f"{said}{_shown(place[1], int(place[2]))}"
    # TorchScript names no place where it meets what it cannot even look at: numpy's functions.
    foreign = next(
        (found for part in module.modules() for found in _foreign_names(type(part).forward, set())),
        None,
    )
    return said if foreign is None else f"{foreign[0]} is not torch{_shown(*foreign[1:])} ({said})"


def _shown(file: str, line: int) -> str:
    code = linecache.getline(file, line).strip()
    return f", {file}, line {line}{f': `{code}`' if code else ''}"


def _foreign_names(function: Callable[..., Any], seen: set[object]) -> Iterator[Place]:
    """Yield modules other than torch that a function, or one that it names, takes something from:
    name, file, line.
    """
    if not isinstance(function, FunctionType) or function in seen:
        return
    if function.__module__.split(".")[0] in ("torch", "climlink"):
        return
    seen.add(function)
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):
        return
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Name)):
        named = function.__globals__.get(node.id)
        if isinstance(named, ModuleType) and named.__name__.split(".")[0] not in (
            "torch",
            "math",
            "typing",
        ):
            yield named.__name__, function.__code__.co_filename, first + node.lineno - 1
        elif isinstance(named, FunctionType):
            yield from _foreign_names(named, seen)
