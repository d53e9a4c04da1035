"""Scripting: a Python module becomes a TorchScript graph, or its author is told which line stands in the way and what helps."""

from __future__ import annotations

import re

import torch
from torch import nn

from climlink.wrappers.errors import ContractError

_CURES = (
    "usual cures: annotate arguments and results with their types; replace *args, **kwargs, generators and numpy by plain torch; "
    "loop over an nn.ModuleList instead of a list; call helpers that are functions with typed arguments; mark what inference does not "
    "need with @torch.jit.unused; or pass torch.jit.trace(module, rows), if no decision in forward depends on values"
)


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """Return the module as a TorchScript graph; ContractError names the line that does not script, and the usual cures."""
    try:
        return torch.jit.script(module)
    except (RuntimeError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ContractError(f"{type(module).__name__} does not script: {_told(error)}; {_CURES}") from error


def _told(error: Exception) -> str:
    """Return what TorchScript objects to, with the line and its place."""
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    place = re.search(r'File "([^"]+)", line (\d+)', str(error))
    marked = next((i for i, line in enumerate(lines) if set(line.strip()) <= set("~^.<- HERE") and "~" in line), 0)
    code = lines[marked - 1].strip() if marked else ""
    where = f", {place[1]}, line {place[2]}" if place else ""
    return f"{lines[0].strip(' :') if lines else type(error).__name__}{where}{f': `{code}`' if code else ''}"
