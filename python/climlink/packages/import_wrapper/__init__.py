"""Import: a package out of a TorchScript file that climlink did not make, such as the published
wrappers.

The graph keeps its own normalization and takes physical units. It is examined (foreign_graph),
golden columns are chosen, and the manifest says what is known; what nobody can know of the graph
stands there as null. The file's own bytes are kept wherever possible, so that a libtorch that read
the old file reads the package.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from climlink.data.climsim import TIME_STEP_S
from climlink.packages.export import (
    golden_entry,
    provenance_entry,
    raw_rows,
    tolerances,
    write_package,
)
from climlink.packages.golden import GOLDEN_COLUMN_COUNT, JUMP, GoldenSamples
from climlink.packages.golden_sequences import check_chain
from climlink.packages.golden_sources import CANDIDATE_COUNT
from climlink.packages.import_wrapper.adapter import adapter, check_tensors
from climlink.packages.import_wrapper.carried_state import (
    first_rows,
    forwards_of_state,
    sequences,
    state_findings,
    with_state,
)
from climlink.packages.import_wrapper.foreign_graph import (
    ROW_MULTIPLE,
    CopyingGraph,
    ForeignGraph,
    GraphError,
    open_graph,
)
from climlink.packages.import_wrapper.golden_rows import choose_golden
from climlink.packages.import_wrapper.graph_examination import (
    COMPANY_ROWS,
    CONFIDENCE_SET,
    PROBE_ROWS,
    Examination,
    NotFiniteError,
    examine,
)
from climlink.packages.import_wrapper.import_columns import (
    ImportColumns,
    NamedSets,
    RowSets,
    import_columns,
)
from climlink.packages.import_wrapper.input_order import finite_orders, order_finding, other_orders
from climlink.packages.import_wrapper.signature import PackedRows, Signature
from climlink.packages.read import EmulatorPackage
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.wrappers.contract import confidence_of
from climlink.wrappers.difference import SAME_KERNELS_TOLERANCE
from climlink.wrappers.errors import ContractError, near_names
from climlink.wrappers.layout import LEVEL
from climlink.wrappers.manifest import (
    GOLDEN_INPUTS_ENTRY,
    GOLDEN_OUTPUTS_ENTRY,
    MANIFEST_ENTRY,
    HybridCoefficients,
    ImportedEntry,
    Manifest,
)
from climlink.wrappers.normalization import output_floor
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names

Progress = Callable[[int, int, str], None]
"""Told how many rows went through the graph, of how many, and what is being done."""

FULL_FORWARDS = 9
"""Forwards of all candidate rows in an import without other orders: 1 to examine, 4 perturbed, 3
routes, 1 of the package.
"""


@dataclass(frozen=True)
class ImportRequest:
    """What the user knows of the file: its sets, the time step its tendencies are meant for [s],
    and the host's part.

    A graph with several tensors has a file ``signature`` instead of the sets (docs/import.md).
    ``data`` is a prepared store or a folder of ClimSim pairs; ``grid`` a grid file for the vertical
    coordinate. ``tolerance`` replaces the largest difference between routes on one machine, for
    graphs whose kernels round more. ``without_prints`` takes out the statements that print, which
    the published wrappers do at every forward. ``trust_code`` leaves out the check of what the
    graph may do.
    """

    input_set: str | None = None
    output_set: str = "mmf368"
    signature: Path | None = None
    data: Path | None = None
    grid: Path | None = None
    name: str | None = None
    time_step_s: float = TIME_STEP_S
    host_postprocessing: Literal["none", "legacy"] = "none"
    tolerance: float = SAME_KERNELS_TOLERANCE
    without_prints: bool = False
    trust_code: bool = False


@intra_op_threads(RUNTIME_THREADS)
def import_package(
    old: str | Path, request: ImportRequest, output: str | Path, progress: Progress | None = None
) -> EmulatorPackage:
    """Write a package made of the TorchScript file ``old``; what stood at ``output`` survives any
    failure.

    Raises GraphError if the graph is not what its sets say or cannot run here, DataError or
    StoreError for the data, ContractError for an unknown set or too few columns, PackageError if
    the file cannot be written.
    """
    old = Path(old)
    signature = None if request.signature is None else Signature.read(request.signature)
    sets = _sets(request, signature)
    meter = _Meter(progress)
    options = {"without_prints": request.without_prints, "trust_code": request.trust_code}
    graph = open_graph(old, **options, several=signature is not None)
    graph = replace(graph, on_rows=meter.ran)
    meter.begin("reading the columns")
    columns = import_columns(sets, request.data, request.grid, request.time_step_s)
    _check_enough(columns)
    findings: list[str] = []
    if signature is not None:
        graph, columns, done = _adapted(graph, signature, columns, request.trust_code)
        findings.append(done)
    meter.begin("examining the graph", columns)
    seen = _examined(graph, columns)
    scale = _difference_scale(columns, seen)
    findings += seen.findings + (state_findings(graph, columns, scale) if columns.carried else [])
    meter.begin("scoring the order of inputs")
    findings.append(order_finding(graph, columns, seen.outputs))
    meter.begin("choosing golden columns")
    script = (
        torch.jit.script(CopyingGraph(graph.module).eval())
        if seen.writes_argument
        else graph.module
    )
    chosen = choose_golden(graph, script, columns, seen.outputs, scale, request.tolerance)
    golden = _golden_entries(script, columns, chosen)
    manifest = _manifest(request, graph, script, columns, seen, findings, scale, chosen, golden)
    content = _with_entries(
        _archive(graph, script), {MANIFEST_ENTRY: manifest.to_json().encode(), **golden}
    )
    meter.begin("checking the package")
    _check_same_outputs(graph, content, columns.rows, seen.outputs)
    write_package(Path(output), content)
    meter.end()
    return EmulatorPackage.read(output)


def _adapted(
    graph: ForeignGraph, signature: Signature, columns: ImportColumns, trust_code: bool
) -> tuple[ForeignGraph, ImportColumns, str]:
    """Return the graph on rows, the columns with whole rows, and a sentence on the adapter."""
    rows = PackedRows.of(signature, columns.inputs, columns.outputs)
    made = adapter(graph, rows)
    check_tensors(made, first_rows(rows, columns.rows[:PROBE_ROWS]))
    packed = made.packed(trust_code)
    return packed, with_state(packed, rows, columns), made.sentence()


def _golden_entries(
    script: torch.jit.ScriptModule,
    columns: ImportColumns,
    chosen: GoldenSamples,
) -> dict[str, bytes]:
    """Return the golden rows and outputs as entries of the package."""
    with torch.no_grad():
        outputs = script(chosen.rows)
    if columns.carried:
        check_chain(sequences(columns), chosen, outputs)
    return {GOLDEN_INPUTS_ENTRY: raw_rows(chosen.rows), GOLDEN_OUTPUTS_ENTRY: raw_rows(outputs)}


class _Meter:
    """Counts the rows that went through the graph, for a progress bar: nearly all of an import's
    time.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._doing = ""
        self._done, self._total = 0, CANDIDATE_COUNT * FULL_FORWARDS

    def begin(self, doing: str, columns: ImportColumns | None = None) -> None:
        """Say what comes next; with the columns it is known how many rows will run."""
        self._doing = doing
        if columns is not None:
            scored = 0 if columns.targets is None else len(other_orders(columns))
            self._total = columns.rows.shape[0] * (FULL_FORWARDS + scored) + _rows_of_small_checks(
                columns
            )
        self.ran(0)

    def ran(self, rows: int) -> None:
        """Take note of a forward of so many rows."""
        self._done = min(self._done + rows, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total, self._doing)

    def end(self) -> None:
        """Show the whole as done: checks that were not needed are not run."""
        self.ran(self._total - self._done)


def _rows_of_small_checks(columns: ImportColumns) -> int:
    """Return about how many rows the checks run that need a part of the columns only."""
    whole, part = min(COMPANY_ROWS, columns.rows.shape[0]), ROW_MULTIPLE
    of_state = forwards_of_state(columns) if columns.carried else 0
    return whole + 4 * PROBE_ROWS + part * (6 + len(columns.inputs.variables)) + of_state


def _check_enough(columns: ImportColumns) -> None:
    count = columns.rows.shape[0]
    if count < GOLDEN_COLUMN_COUNT:
        raise ContractError(
            f"the data have {count} columns; an import needs {GOLDEN_COLUMN_COUNT} for its golden "
            "columns: give more"
        )


def _examined(graph: ForeignGraph, columns: ImportColumns) -> Examination:
    """Return what the examination found; a graph that is finite in another order only is refused
    with that order's name.
    """
    try:
        return examine(graph, columns.inputs, columns.outputs, columns.rows)
    except NotFiniteError as error:
        elsewhere = finite_orders(graph, columns)
        if not elsewhere:
            raise
        raise GraphError(
            f"{error}; in the order of {' or '.join(elsewhere)} all outputs are finite"
        ) from error


def _sets(request: ImportRequest, signature: Signature | None) -> RowSets:
    """Return the quantities of the rows; ContractError for a request that cannot be met."""
    if not request.time_step_s > 0:
        raise ContractError(
            f"the time step must be a positive number of seconds, got {request.time_step_s:g}"
        )
    if not SAME_KERNELS_TOLERANCE <= request.tolerance <= JUMP:
        raise ContractError(
            f"the tolerance must be {SAME_KERNELS_TOLERANCE:g} to {JUMP:g}, got "
            f"{request.tolerance:g}"
        )
    if signature is not None and request.input_set is None:
        return signature
    if signature is not None or request.input_set is None:
        raise ContractError("give the name of an input set, or a signature for several tensors")
    for role, name in (("host_input", request.input_set), ("host_output", request.output_set)):
        known = variable_set_names(role)
        if name not in known:
            raise ContractError(
                f"{name!r} is not a {role} set{near_names(name, known)}; choose one of "
                f"{', '.join(known)}"
            )
    return NamedSets(request.input_set, request.output_set)


def _difference_scale(columns: ImportColumns, seen: Examination) -> Tensor:
    """Return s of the difference formula, float64 [n_output].

    Values have the spread of targets, else of outputs; confidence and carried state have 1.
    """
    values = columns.outputs.of_role("value")
    truth = seen.outputs[:, : values.width] if columns.targets is None else columns.targets
    floors = [output_floor(v) for v in values.variables for _ in range(values.width_of(v.name))]
    scale = torch.maximum(
        truth.to(torch.float64).std(dim=0, correction=0), torch.tensor(floors, dtype=torch.float64)
    )
    return torch.cat([scale, torch.ones(seen.outputs.shape[1] - len(scale), dtype=torch.float64)])


def _archive(graph: ForeignGraph, script: torch.jit.ScriptModule) -> bytes:
    """Return the zip of the graph: the file's own bytes, or those of the graph behind a copy of its
    argument.
    """
    if script is graph.module:
        return graph.content
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    return buffer.getvalue()


def _with_entries(content: bytes, entries: dict[str, bytes]) -> bytes:
    """Return a TorchScript archive with extra files added; nothing in it changes."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].split("/")[0]
        for name, raw in entries.items():
            archive.writestr(f"{root}/extra/{name}", raw)
    return buffer.getvalue()


def _check_same_outputs(graph: ForeignGraph, content: bytes, rows: Tensor, outputs: Tensor) -> None:
    """Raise GraphError unless the package's graph gives the old file's outputs to the bit."""
    if not torch.equal(replace(graph, content=content).fresh()(rows), outputs):
        raise GraphError(
            f"{graph.path}: the package gives other outputs than the file it was made from; please "
            "report this"
        )


def _manifest(
    request: ImportRequest,
    graph: ForeignGraph,
    script: torch.jit.ScriptModule,
    columns: ImportColumns,
    seen: Examination,
    findings: list[str],
    scale: Tensor,
    chosen: GoldenSamples,
    golden: dict[str, bytes],
) -> Manifest:
    inputs, outputs = columns.inputs, columns.outputs
    if request.without_prints:
        findings = [*findings, "statements that print were taken out on request"]
    network_outputs = (
        variable_set(CONFIDENCE_SET, inputs.level_count) if seen.has_confidence else None
    )
    confidence = () if network_outputs is None else confidence_of(network_outputs).variables
    parts = outputs.of_role("value").variables + confidence + outputs.of_role("carried").variables
    whole = VariableSet(outputs.name, parts, outputs.sizes).layout()
    used = {d for v in inputs.variables + parts for d in v.dims}
    used |= {LEVEL} if columns.hybrid else set()
    replay = tolerances(chosen, request.tolerance / SAME_KERNELS_TOLERANCE)
    return Manifest(
        name=request.name or graph.path.stem,
        dims={d: n for d, n in inputs.sizes.items() if d in used},
        inputs=inputs.layout(),
        outputs=whole,
        carried=list(columns.carried),
        batch_granule=ROW_MULTIPLE,
        network_inputs=None,
        network_outputs=None if network_outputs is None else network_outputs.layout(),
        time_step_s=request.time_step_s,
        hybrid=_hybrid(columns),
        pruned_levels=None,
        normalization=None,
        constraints=None,
        constants=None,
        architecture=None,
        allowed_precisions=["float32"],
        difference_scale=_by_name(scale, outputs.of_role("value"))
        | {v.name: [1.0] for v in whole.of_role("confidence", "carried")},  # no units
        tolerances=replay,
        same_kernels_tolerance=request.tolerance,
        operators=sorted(torch.jit.export_opnames(script)),
        golden=golden_entry(chosen, golden, replay),
        provenance=provenance_entry(None, None, {}),
        imported=ImportedEntry(
            file=graph.path.name,
            sha256=graph.sha256,
            parameter_count=sum(p.numel() for p in graph.module.parameters()),
            golden_source=columns.source,
            input_copied=seen.writes_argument,
            host_postprocessing=request.host_postprocessing,
            findings=findings,
        ),
    )


def _hybrid(columns: ImportColumns) -> HybridCoefficients | None:
    return None if columns.hybrid is None else columns.hybrid.entry()


def _by_name(scale: Tensor, outputs: VariableSet) -> dict[str, list[float]]:
    return {n: scale[outputs.slice(n)].tolist() for n in outputs.names}
