"""A TorchScript file that climlink did not make: opened, checked for its signature, and run."""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from climlink import _runtime
from climlink.packages.read import PackageError, check_archive, read_archive_file
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import MANIFEST_ENTRY

ROW_MULTIPLE = 16
"""The Runtime's forwards have a multiple of this many rows."""


class GraphError(ClimlinkError):
    """A TorchScript file cannot become a package: what it takes or gives is not what a host
    needs.
    """


@dataclass(frozen=True)
class ForeignGraph:
    """A TorchScript module in evaluation mode, the bytes it was read from, and their digest.

    ``on_rows`` is told the number of rows after every forward.
    """

    path: Path
    module: torch.jit.ScriptModule
    content: bytes
    sha256: str
    was_training: bool
    on_rows: Callable[[int], None] = lambda _rows: None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs for rows [row, n_input]; ``x`` is left as it is whatever the graph
        does.
        """
        return self.forward(x.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for rows [row, n_input], which the graph may write into; GraphError if
        it fails.
        """
        y = _forward(self.module, x, self.path)
        self.on_rows(x.shape[0])
        return y

    def fresh(self) -> ForeignGraph:
        """Return the graph as it was read: a graph that keeps memory has forgotten everything."""
        return replace(self, module=load_graph(self.path, self.content, trust_code=True).eval())


def open_graph(
    path: str | Path,
    *,
    without_prints: bool = False,
    trust_code: bool = False,
    several: bool = False,
) -> ForeignGraph:
    """Return the graph of a TorchScript file on the CPU, if asked for without the statements that
    print.

    ``several``: it need not take one tensor and give one. GraphError if it is none, is a package
    already, cannot be loaded here, or does more than compute (unless ``trust_code``).
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"{path}: no such file; expected a TorchScript file (torch.jit.save)")
    try:
        original = read_archive_file(path)
        check_archive(original, path)
    except PackageError as error:
        raise GraphError(str(error)) from error
    _check_archive(path, original)
    content = _without_prints(original) if without_prints else original
    module = load_graph(path, content, trust_code)
    _check_signature(path, module, several)
    was_training = bool(getattr(module, "training", False))
    return ForeignGraph(
        path, module.eval(), content, hashlib.sha256(original).hexdigest(), was_training
    )


def load_graph(path: Path, content: bytes, trust_code: bool) -> torch.jit.ScriptModule:
    """Return an archive's graph; GraphError if it cannot be loaded, or does more than compute."""
    try:
        if not trust_code:
            _runtime.check_code(content, str(path))
        return torch.jit.load(io.BytesIO(content), map_location="cpu")
    except Exception as error:  # of whatever type the archive provokes
        if getattr(error, "status", "package") == "graph":
            raise GraphError(str(error)) from error
        raise GraphError(
            f"{path}: torch {torch.__version__} cannot load the graph: {reason(error)}. A graph "
            "that prints the number of GPUs loads on a CPU with --without-prints; one that "
            "computes with CUDA needs a torch with CUDA; one of a newer torch needs that torch"
        ) from error


def _without_prints(content: bytes) -> bytes:
    """Return the archive with every statement that prints replaced by ``pass``; the published
    wrappers print at every forward.

    TorchScript stores its code as text, one statement per line. The tables of source positions of
    changed files are left out: they serve error messages only, and would point beside.
    """
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as copy,
    ):
        entries = {name: archive.read(name) for name in archive.namelist()}
        code = {
            name: _PRINT.sub(rb"\1pass", raw)
            for name, raw in entries.items()
            if "/code/" in name and name.endswith(".py")
        }
        changed = {name for name, raw in code.items() if raw != entries[name]}
        for name, raw in entries.items():
            if name.removesuffix(".debug_pkl") not in changed or name in changed:
                copy.writestr(name, code.get(name, raw))
    return buffer.getvalue()


_PRINT = re.compile(rb"^([ \t]*)print\(.*\)$", re.MULTILINE)


def _check_archive(path: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise GraphError(
            f"{path}: not a readable zip archive ({error}): truncated, or not a TorchScript file"
        ) from error
    if any(n.endswith(f"/extra/{MANIFEST_ENTRY}") for n in names):
        raise GraphError(f"{path}: is a climlink package already; there is nothing to import")
    if not any(n.endswith("/constants.pkl") for n in names):
        raise GraphError(
            f"{path}: holds no TorchScript: a file of torch.save, or something else. Script or "
            "trace the module (torch.jit.script(module.eval()).save(PATH)) and import that"
        )


def _check_signature(path: Path, module: torch.jit.ScriptModule, several: bool) -> None:
    """Raise GraphError unless forward takes one tensor and gives one, or any where ``several``."""
    try:
        schema = module._c._get_method("forward").schema
    except RuntimeError as error:
        raise GraphError(f"{path}: the graph has no forward ({reason(error)})") from error
    if several:
        return
    taken = [a for a in schema.arguments[1:] if not a.has_default_value()]
    if len(taken) != 1 or str(taken[0].type) != "Tensor":
        listed = ", ".join(f"{a.name}: {a.type}" for a in taken) or "nothing"
        raise GraphError(
            f"{path}: forward takes {listed}; expected one tensor [column, n_input]: describe them "
            "with --signature, or wrap the module so that it takes one row"
        )
    given = ", ".join(str(r.type) for r in schema.returns)
    if given != "Tensor":
        named = "y = module(x), then " if given.startswith("Dict") else ""
        joined = '(y["prediction"], y["confidence"])' if named else "(prediction, confidence)"
        raise GraphError(
            f"{path}: forward gives {given}; expected one tensor [column, n_output]: describe "
            "several with --signature, or wrap the module so that it joins its results with "
            f"{named}torch.cat({joined}, dim=1), 368 predictions first"
        )


def _forward(module: torch.jit.ScriptModule, x: Tensor, path: Path) -> Tensor:
    try:
        with torch.no_grad():
            result = module(x)
    except Exception as error:  # torch.jit.Error of a `raise` in the graph is no RuntimeError
        offered = f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
        raise GraphError(
            f"{path}: the graph fails on {offered} on the CPU: {reason(error)}"
        ) from error
    if not isinstance(result, Tensor):
        raise GraphError(
            f"{path}: forward gives a {type(result).__name__}; expected one tensor [column, "
            "n_output]"
        )
    return result


def reason(error: Exception) -> str:
    """Return what a TorchScript error says, without its pages of traceback: the last line that
    names an error, else the first.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line
        for line in lines
        if not line.startswith(("The following operation failed", "Traceback of"))
    ] or [type(error).__name__]
    named = [line.split("Error: ", 1)[-1] for line in lines if "Error: " in line]
    return textwrap.shorten((named[-1] if named else told[0]).rstrip(".: "), 300, placeholder=" …")


class CopyingGraph(nn.Module):
    """A graph that writes into its argument, given a copy to write into."""

    def __init__(self, graph: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        """Return the graph's outputs [column, n_output] and leave ``x`` [column, n_input] as it
        is.
        """
        return self.graph(x.clone())
