"""A TorchScript file that climlink did not make: opened, and examined before anything is promised about it."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import MANIFEST_ENTRY
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names

CONFIDENCE_SET = "net308"
"""What the confidence block of the published networks speaks about."""

ROW_MULTIPLE = 16
"""The Runtime's forwards have a multiple of this many rows."""


class GraphError(ClimlinkError):
    """A TorchScript file cannot become a package: what it takes or gives is not what a host needs."""


@dataclass(frozen=True)
class ForeignGraph:
    """A TorchScript module in evaluation mode, the bytes it was read from, and their digest."""

    path: Path
    module: torch.jit.ScriptModule
    content: bytes
    sha256: str
    was_training: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs for rows [row, n_input]; ``x`` is left as it is whatever the graph does."""
        return _forward(self.module, x.clone(), self.path)


def open_graph(path: str | Path, *, without_prints: bool = False) -> ForeignGraph:
    """Return the graph of a TorchScript file on the CPU, if asked for without the statements that print.

    GraphError if it is none, is a package already, or cannot be loaded here.
    """
    path = Path(path)
    if not path.is_file():
        raise GraphError(f"{path}: no such file; expected a TorchScript file (torch.jit.save)")
    original = path.read_bytes()
    _check_archive(path, original)
    content = _without_prints(original) if without_prints else original
    try:
        module = torch.jit.load(io.BytesIO(content), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise GraphError(
            f"{path}: torch {torch.__version__} cannot load the graph: {_reason(error)} A graph that prints the number of GPUs loads on a "
            "CPU with --without-prints; one that computes with CUDA needs a torch with CUDA; one of a newer torch needs that torch"
        ) from error
    _check_signature(path, module)
    was_training = bool(getattr(module, "training", False))
    return ForeignGraph(path, module.eval(), content, hashlib.sha256(original).hexdigest(), was_training)


def _without_prints(content: bytes) -> bytes:
    """Return the archive with every statement that prints replaced by ``pass``; the published wrappers print at every forward.

    TorchScript stores its code as text, one statement per line. The tables of source positions of changed files are left out: they
    serve error messages only, and would point beside.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as copy:
        entries = {name: archive.read(name) for name in archive.namelist()}
        code = {name: _PRINT.sub(rb"\1pass", raw) for name, raw in entries.items() if "/code/" in name and name.endswith(".py")}
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
        raise GraphError(f"{path}: not a readable zip archive ({error}): truncated, or not a TorchScript file") from error
    if any(n.endswith(f"/extra/{MANIFEST_ENTRY}") for n in names):
        raise GraphError(f"{path}: is a climlink package already; there is nothing to import")
    if not any(n.endswith("/constants.pkl") for n in names):
        raise GraphError(
            f"{path}: holds no TorchScript: a file of torch.save, or something else. Script or trace the module "
            "(torch.jit.script(module.eval()).save(PATH)) and import that"
        )


def _check_signature(path: Path, module: torch.jit.ScriptModule) -> None:
    """Raise GraphError unless forward takes one tensor and gives one."""
    try:
        schema = module._c._get_method("forward").schema
    except RuntimeError as error:
        raise GraphError(f"{path}: the graph has no forward ({_reason(error)})") from error
    taken = [a for a in schema.arguments[1:] if not a.has_default_value()]
    if len(taken) != 1 or str(taken[0].type) != "Tensor":
        listed = ", ".join(f"{a.name}: {a.type}" for a in taken) or "nothing"
        raise GraphError(f"{path}: forward takes {listed}; expected one tensor [column, n_input]: wrap the module so that it takes one row")
    given = ", ".join(str(r.type) for r in schema.returns)
    if given != "Tensor":
        raise GraphError(
            f"{path}: forward gives {given}; expected one tensor [column, n_output]: wrap the module so that it joins its results with "
            "torch.cat((prediction, confidence), dim=1), 368 predictions first"
        )


def _forward(module: torch.jit.ScriptModule, x: Tensor, path: Path) -> Tensor:
    try:
        with torch.no_grad():
            result = module(x)
    except (RuntimeError, ValueError) as error:
        raise GraphError(f"{path}: the graph fails on float32 {list(x.shape)} on the CPU: {_reason(error)}") from error
    if not isinstance(result, Tensor):
        raise GraphError(f"{path}: forward gives a {type(result).__name__}; expected one tensor [column, n_output]")
    return result


def _reason(error: Exception) -> str:
    """Return what a TorchScript error says, without its pages of traceback: its last line that names an error, else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named[-1].split("Error: ", 1)[-1] if named else lines[0]) if lines else type(error).__name__


class CopyingGraph(nn.Module):
    """A graph that writes into its argument, given a copy to write into."""

    def __init__(self, graph: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        """Return the graph's outputs [column, n_output] and leave ``x`` [column, n_input] as it is."""
        return self.graph(x.clone())


@dataclass(frozen=True)
class Examination:
    """What the checks found: outputs of the candidates, whether the graph writes into its argument, and what a user should know."""

    outputs: Tensor
    has_confidence: bool
    writes_argument: bool
    findings: list[str]


def examine(graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor) -> Examination:
    """Run every check of a graph against its declared sets on rows ``x`` [row, n_input]; GraphError for the first that fails."""
    y, writes = _check_output(graph, inputs, outputs, x)
    _check_reads_all_inputs(graph, inputs, outputs, x)
    _check_mode_and_repetition(graph, x, y)
    _check_finite(graph, outputs, y)
    _check_columns_are_independent(graph, x, y)
    return Examination(y, y.shape[1] > outputs.width, writes, _findings(graph, inputs, outputs, x, writes))


def _check_reads_all_inputs(graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor) -> None:
    """Raise GraphError if the graph also takes less than the declared width: it then reads other positions than declared."""
    if _takes(graph, x, inputs.width - 1, outputs):
        smaller = [n for n in _fitting_sets(graph, outputs, x) if variable_set(n, inputs.level_count).width < inputs.width]
        raise GraphError(
            f"{graph.path}: the graph also takes rows of {inputs.width - 1} values, so it does not read all of input set {inputs.name!r} "
            f"({inputs.width}) where that set has it; declare the set it was made for"
            + (f", which may be {' or '.join(smaller)}" if smaller else "")
        )


def _fitting_sets(graph: ForeignGraph, outputs: VariableSet, x: Tensor) -> list[str]:
    """Return the host input sets whose width the graph takes."""
    return [n for n in variable_set_names("host_input") if _takes(graph, x, variable_set(n, outputs.level_count).width, outputs)]


def _takes(graph: ForeignGraph, x: Tensor, width: int, outputs: VariableSet) -> bool:
    """Say whether the graph gives whole output rows for input rows of another width; a slice beyond the end is no error in torch."""
    rows = x[:ROW_MULTIPLE]
    rows = rows[:, :width] if width <= rows.shape[1] else torch.cat([rows, rows[:, : width - rows.shape[1]]], dim=1)
    try:
        y = graph(rows.contiguous())
    except GraphError:
        return False
    return y.dim() == 2 and y.shape[1] in _output_widths(outputs)


def _output_widths(outputs: VariableSet) -> tuple[int, int]:
    """Return the widths of an output row without and with confidence."""
    return outputs.width, outputs.width + variable_set(CONFIDENCE_SET, outputs.level_count).width


def _check_output(graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor) -> tuple[Tensor, bool]:
    """Return the outputs, and whether the graph wrote into its argument; GraphError for another type or shape."""
    argument = x.clone()
    try:
        y = _forward(graph.module, argument, graph.path)
    except GraphError as error:
        fitting = _fitting_sets(graph, outputs, x)
        listed = f"it takes the width of {', '.join(fitting)}" if fitting else "it takes the width of no host input set"
        raise GraphError(f"{error}. That is input set {inputs.name!r} ({inputs.width} values); {listed}") from error
    widths = _output_widths(outputs)
    if y.dtype != torch.float32:
        raise GraphError(f"{graph.path}: the graph gives {y.dtype}; a host reads float32: cast at the end of forward")
    if y.dim() != 2 or y.shape[0] != x.shape[0] or y.shape[1] not in widths:
        raise GraphError(
            f"{graph.path}: the graph gives {list(y.shape)} for {x.shape[0]} columns; expected [{x.shape[0]}, {widths[0]}] for output set "
            f"{outputs.name!r}, or [{x.shape[0]}, {widths[1]}] with {widths[1] - widths[0]} confidence values behind"
        )
    return y.clone(), not torch.equal(argument, x)


def _check_mode_and_repetition(graph: ForeignGraph, x: Tensor, y: Tensor) -> None:
    """Raise GraphError if the same rows do not give the same bits, in evaluation mode and in the mode of the file."""
    for _ in range(2):
        if not _same(graph(x), y):
            raise GraphError(f"{graph.path}: the graph gives other outputs for the same rows when it runs again: it draws random numbers")
    if graph.was_training:
        graph.module.train()
        try:
            as_saved = graph(x)
        finally:
            graph.module.eval()
        if not _same(as_saved, y):
            raise GraphError(
                f"{graph.path}: the file was saved in training mode and gives other outputs there than in evaluation mode: it is not clear "
                "which were meant; call module.eval() before scripting and saving"
            )


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


def _check_finite(graph: ForeignGraph, outputs: VariableSet, y: Tensor) -> None:
    bad = torch.nonzero(~torch.isfinite(y))
    if bad.shape[0]:
        position = int(bad[0, 1])
        owner = next((v.name for v in outputs.variables if position in range(*outputs.slice(v.name).indices(y.shape[1]))), "confidence")
        raise GraphError(
            f"{graph.path}: {bad[:, 0].unique().numel()} of {y.shape[0]} plausible columns give outputs that are not finite, the first in "
            f"{owner}: the layout of the declared input set, or the graph, is wrong"
        )


INDEPENDENCE = 1e-3
"""Largest difference |a-b|/(s+|b|) of a column in other company: above what kernels round (5e-7, a float32 liquid/ice split makes 1e-4
of it), far below a real dependence."""


def _check_columns_are_independent(graph: ForeignGraph, x: Tensor, y: Tensor) -> None:
    """Raise GraphError if a column's outputs hang on its place or on the other columns of the batch."""
    scale = y.to(torch.float64).std(dim=0).clamp(min=1e-30)
    order = torch.arange(x.shape[0] - 1, -1, -1)
    spoiled = x[:ROW_MULTIPLE].clone()
    spoiled[3] = float("nan")
    others = [i for i in range(ROW_MULTIPLE) if i != 3]
    trials = (
        ("in reverse order", graph(x[order])[order], y),
        ("in a smaller batch", graph(x[:ROW_MULTIPLE]), y[:ROW_MULTIPLE]),
        ("beside a column of NaN", graph(spoiled)[others], y[others]),
    )
    for words, got, expected in trials:
        worst = float(scaled_difference(got, expected, scale).max())
        if not worst <= INDEPENDENCE:
            raise GraphError(
                f"{graph.path}: columns {words} give outputs that differ by {worst:.1e}: the graph mixes the columns of a batch "
                "(a mean over the batch, for example), so its results would depend on the number of ranks"
            )


def _findings(graph: ForeignGraph, inputs: VariableSet, outputs: VariableSet, x: Tensor, writes: bool) -> list[str]:
    """Return what is legal but worth knowing."""
    found = []
    if writes:
        found.append("the graph writes into its argument; the package gives it a copy")
    if _takes(graph, x, inputs.width + 1, outputs):
        found.append(f"the graph takes rows longer than {inputs.width} without complaint; climlink never sends them, another host may")
    if graph.was_training:
        found.append("the file was saved in training mode; its outputs are the same as in evaluation mode")
    if "prim::Print(" in str(graph.module.inlined_graph):
        found.append("the graph prints at every forward, on every rank")
    hidden = [v.name for v in inputs.variables if _hides_nan(graph, x, inputs.slice(v.name).stop - 1)]
    if hidden:
        found.append(f"NaN in one value of {', '.join(hidden)} gives finite outputs: only a check of the inputs can see it")
    return found


def _hides_nan(graph: ForeignGraph, x: Tensor, position: int) -> bool:
    """Say whether NaN at one input leaves all outputs finite."""
    rows = x[:ROW_MULTIPLE].clone()
    rows[:, position] = float("nan")
    return bool(torch.isfinite(graph(rows)).all())
