"""climlink export, import, inspect, verify: a package is made, looked at, and proved on five
routes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from climlink.cli.compile import (
    Device,
    PrecisionOption,
    R2LossOption,
    ShortPrecision,
    compile_and_tell,
    loss_told,
)
from climlink.cli.console import errors, output, print_json, progress_bar

if TYPE_CHECKING:
    from climlink.packages.read import EmulatorPackage, FloatRows
    from climlink.packages.verify import Verification
    from climlink.wrappers.manifest import ConstraintEntry, Manifest


TRUST_CODE_HELP = "load a graph that does more than compute: only where you trust who made the file"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("export")(export)
    app.command("import")(import_)
    app.command("inspect")(inspect)
    app.command("verify")(verify)


def export(
    run: Annotated[
        Path, typer.Argument(help="run folder made by `climlink train`, or one of its checkpoints")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="package to write")] = Path(
        "wrap_model.pt"
    ),
    columns: Annotated[
        Path | None,
        typer.Option(help="store to choose golden columns from; default: the training store"),
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="export a run that has not spent its epochs, as it is"),
    ] = False,
    unskilled_to_mean: Annotated[
        bool,
        typer.Option(
            "--unskilled-to-mean",
            help="outputs without skill on the run's held-out times become their training mean: "
            "for offline scores, not for coupled runs",
        ),
    ] = False,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=PARAMETERS]",
            help="add a constraint at its place, or replace the run's own; parameters as YAML; "
            "ranges and fits come from the run (may stand several times)",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="leave a constraint out (may stand several times)"),
    ] = None,
    compile_for: Annotated[
        Device | None,
        typer.Option("--compile", help="also compile it, as `climlink compile` does"),
    ] = None,
    precision: PrecisionOption = ShortPrecision.FP32,
    r2_loss: R2LossOption = 1e-3,
) -> None:
    """Make one `wrap_model.pt` of a training run that has finished: its budget of epochs is spent,
    or it ended itself.

    Example: `climlink export runs/unet_small -o wrap_model.pt`

    Example: `climlink export runs/mlp -o held.pt --constraint input_clip
    --constraint 'range_relaxation={rates_per_day: {state_t: 1.0}}' --without stratospheric_water`

    Example: `climlink export runs/mlp --compile cpu --precision bf16`
    """
    from climlink.data.files import require_writable
    from climlink.packages.export import export_package, source_of_run
    from climlink.packages.golden_sources import store_rows

    require_writable(out)
    if compile_for is None and precision is not ShortPrecision.FP32:
        raise typer.BadParameter("--precision is of compiled code: give --compile cpu or cuda too")
    source, store = source_of_run(
        run,
        columns,
        unfinished=unfinished,
        unskilled_to_mean=unskilled_to_mean,
        constraints=[_constraint(text) for text in constraint or []],
        without=without or [],
    )
    package = export_package(source, store_rows(store, source.emulator.contract.inputs), out)
    output.print(
        f"{package.path}: {package.manifest.n_input} inputs, {package.manifest.n_output} outputs, "
        f"SHA-256 {package.digest}"
    )
    for line in _fits(package.manifest):
        output.print(f"  {line}", markup=False, highlight=False)
    if compile_for is not None:
        compile_and_tell(
            package,
            compile_for,
            precision,
            store=store,
            r2_loss=r2_loss,
            emulator=source.emulator,
        )


def _constraint(text: str) -> ConstraintEntry:
    """Return the constraint of NAME or NAME=PARAMETERS; BadParameter where it is not YAML."""
    import yaml
    from pydantic import ValidationError

    from climlink.wrappers.manifest import ConstraintEntry
    from climlink.wrappers.yaml_file import fault

    name, _, parameters = text.partition("=")
    try:
        given = yaml.safe_load(parameters) if parameters.strip() else {}
        return ConstraintEntry.model_validate({"name": name.strip(), "parameters": given})
    except (yaml.YAMLError, ValidationError) as error:
        said = fault(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise typer.BadParameter(
            f"--constraint {text!r}: expected NAME or NAME=PARAMETERS such as "
            f"'input_clip={{margin: 0.1}}': {said}"
        ) from error


def _fits(manifest: Manifest) -> list[str]:
    """Return a line for every constraint that was fitted to data: its skill on held-out times."""
    lines = []
    for entry in manifest.constraints or []:
        r2 = [r for r in entry.parameters.get("held_out_r2") or [] if r is not None]
        if r2:
            told = f"R² on held-out times {min(r2):.2f} to {max(r2):.2f}"
            lines.append(f"{entry.name}: {told}, {len(r2)} levels")
    return lines


def import_(
    old: Annotated[
        Path, typer.Argument(help="TorchScript file (torch.jit.save), such as a published wrapper")
    ],
    input_set: Annotated[
        str | None,
        typer.Option(help="what the graph takes, in physical units: host_v2_q, host_v4_rh, …"),
    ] = None,
    output_set: Annotated[
        str | None,
        typer.Option(help="what it gives, default mmf368; confidence values behind are recognized"),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(help="YAML file: what several tensors hold, instead of sets (docs/import.md)"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="prepared store or folder of ClimSim pairs for golden columns; else synthetic"
        ),
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="grid file with the vertical coordinate, if not with --data")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="package to write")] = Path(
        "wrap_model.pt"
    ),
    name: Annotated[
        str | None, typer.Option(help="name of the package; default: the file's")
    ] = None,
    time_step: Annotated[
        float, typer.Option(min=1e-3, max=1e9, help="seconds over which the tendencies are meant")
    ] = 1200.0,
    legacy_postprocessing: Annotated[
        bool,
        typer.Option(
            "--legacy-postprocessing",
            help="the host clips and zeroes outputs as E3SM's existing coupling does",
        ),
    ] = False,
    tolerance: Annotated[
        float, typer.Option(help="largest difference between routes on one machine")
    ] = 1e-6,
    without_prints: Annotated[
        bool,
        typer.Option("--without-prints", help="take out what the graph prints at every forward"),
    ] = False,
    trust_code: Annotated[bool, typer.Option("--trust-code", help=TRUST_CODE_HELP)] = False,
) -> None:
    """Make a package out of a TorchScript wrapper that climlink did not train: no retraining, the
    same outputs to the bit.

    The graph must take one float32 tensor [column, n_input] and give one [column, n_output]; one
    with several, or with state carried from step to step, is packed into rows by its --signature.
    It is checked for width, type, random numbers, memory, NaN and mixing of columns, and with
    --data for the order of its inputs; what cannot be known of it is null in the manifest.

    Example: `climlink import wrapped_model.pt --input-set host_v2_rh --data DIR -o wrap_model.pt`

    Example: `climlink import v4_unet_wrapper.pt --input-set host_v4_rh --grid grid-info.nc
    --legacy-postprocessing`

    Example: `climlink import rnn_with_memory.pt --signature signature.yaml --data DIR`
    """
    from climlink.data.files import require_writable
    from climlink.packages.import_wrapper import ImportRequest, import_package

    named = input_set is not None
    if named == (signature is not None) or (output_set is not None and not named):
        raise typer.BadParameter("give --input-set (and --output-set), or --signature instead")
    require_writable(out)
    request = ImportRequest(
        input_set=input_set,
        output_set=output_set or "mmf368",
        signature=signature,
        data=data,
        grid=grid,
        name=name,
        time_step_s=time_step,
        host_postprocessing="legacy" if legacy_postprocessing else "none",
        tolerance=tolerance,
        without_prints=without_prints,
        trust_code=trust_code,
    )
    with progress_bar("import") as bar:
        package = import_package(old, request, out, progress=bar)
    manifest = package.manifest
    output.print(
        f"{package.path}: {manifest.n_input} inputs, {manifest.n_output} outputs, SHA-256 "
        f"{package.digest}"
    )
    for line in [
        *_sensitive_columns(manifest),
        *(manifest.imported.findings if manifest.imported else []),
    ]:
        output.print(f"  {line}", markup=False, highlight=False)


def _sensitive_columns(m: Manifest) -> list[str]:
    """Return a sentence where the golden columns are not away from thresholds."""
    if m.golden.sensitivity is None:
        return []
    return [
        "golden columns: too few were away from thresholds, so the least sensitive were taken; "
        f"their outputs move by up to {m.golden.sensitivity:.1e} under perturbations of 1e-6, and "
        "other machines may differ as much"
    ]


def inspect(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    as_json: Annotated[
        bool, typer.Option("--json", help="print the whole manifest as JSON")
    ] = False,
) -> None:
    """Show what a package is, without loading its graph.

    Example: `climlink inspect wrap_model.pt`
    """
    import climlink

    read = climlink.open(package)
    if as_json:
        print_json(read.inspect())
    else:
        _show(read)


def verify(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    data: Annotated[
        Path | None,
        typer.Option(help="folder of ClimSim pairs whose columns go down the routes too"),
    ] = None,
    files: Annotated[
        int, typer.Option(min=1, help="how many of the pairs in --data, evenly spread")
    ] = 2,
    compiled: Annotated[
        Path | None,
        typer.Option(help="compiled artefact that the Runtime's routes run (`climlink compile`)"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="where all routes run: cpu, cuda, cuda:N, xpu, xpu:N or auto")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
    trust_code: Annotated[bool, typer.Option("--trust-code", help=TRUST_CODE_HELP)] = False,
) -> None:
    """Send golden (and real) columns down five routes and compare them: exit code 1 beyond the
    manifest's tolerance.

    Routes: Python eager, Python TorchScript, C++ through pybind11, the C API from a C program,
    Fortran under MPI with two ranks. The last three run the same C++ runtime and must give the
    same bits. A climlink built without Fortran says that the last is missing and judges the others.

    Example: `climlink verify wrap_model.pt --data DIR`

    Example: `climlink verify wrap_model.pt --device cuda`
    """
    import climlink

    read = climlink.open(package, trust_code=trust_code)
    columns = None if data is None else _real_columns(read, data, files)
    with errors.status("verifying") as status:
        result = read.verify(
            columns,
            progress=lambda route: status.update(f"verifying: {route}"),
            compiled=compiled,
            device=device,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _show_routes(read, result, 0 if columns is None else columns.shape[0])
    if not result.passed:
        raise typer.Exit(1)


def _real_columns(package: EmulatorPackage, data: Path, files: int) -> FloatRows:
    import numpy as np

    from climlink.data.climsim import find_pairs
    from climlink.data.columns import read_columns
    from climlink.data.lags import needs_lags, with_history
    from climlink.wrappers.contract import value_sets

    inputs, outputs = value_sets(package.manifest)
    step, pairs = package.manifest.require_time_step(), find_pairs(data)
    pairs = with_history(pairs, step) if needs_lags(inputs.names, inputs.level_count) else pairs
    chosen = sorted(
        {int(i) for i in np.linspace(0, len(pairs) - 1, min(files, len(pairs))).round()}
    )
    stamps = [pairs[i].stamp for i in chosen]
    return read_columns(data, inputs, outputs, stamps=stamps, time_step_s=step).inputs


def _show(package: EmulatorPackage) -> None:
    m = package.manifest
    facts = Table(title=f"{m.name}  ({package.path})", show_header=False, title_justify="left")
    p = m.provenance
    for label, value in (
        ("SHA-256", package.digest),
        ("manifest", f"schema {m.schema_version}"),
        ("inputs", f"{m.inputs.set}, {m.n_input} values"),
        (
            "outputs",
            f"{m.outputs.set}, {m.n_output} values"
            + (", confidence included" if m.has_confidence else ""),
        ),
        *_inside(package),
        ("dimensions", ", ".join(f"{name} {size}" for name, size in m.dims.items()) or "none"),
        (
            "time step",
            "none" if m.time_step_s is None else f"{m.time_step_s:g} s, calendar {m.calendar}",
        ),
        ("carried", ", ".join(f"{p.output} -> {p.input}" for p in m.carried) or "nothing"),
        ("golden samples", "\n".join([_golden(m), *_sensitive_columns(m)])),
        (
            "tolerances",
            ", ".join(
                f"{t.backend}/{t.device}/{t.precision} {t.tolerance:g}" for t in m.tolerances
            ),
        ),
        *(("precision", loss_told(entry)) for entry in m.reduced_precision),
        ("compiled", "\n".join(_engines(package))),
        ("training data", p.data_digest or "not recorded"),
        ("seed", str(p.seed)),
        (
            "made by",
            f"climlink {p.climlink_version}, torch {p.torch_version}, revision "
            f"{p.git_revision or 'unknown'}, on {p.exported_on}",
        ),
    ):
        facts.add_row(label, value)
    output.print(facts)
    for title, layout in (("inputs", m.inputs), ("outputs", m.outputs)):
        table = Table(
            "variable",
            "units",
            "dims",
            "values",
            "offset",
            "lag",
            "role",
            "meaning",
            title=title,
            title_justify="left",
        )
        for v in layout.variables:
            table.add_row(
                v.name,
                v.units,
                ", ".join(v.dims),
                str(v.width),
                str(v.offset),
                str(v.lag),
                v.role,
                v.long_name,
            )
        output.print(table)


def _engines(package: EmulatorPackage) -> list[str]:
    """Return a line for every compiled artefact beside the package: what it is, and whether it
    would run here.
    """
    from climlink.packages.compiled import beside

    lines = []
    for found in beside(package):
        runs = found.obstacle or "would run here, where its SHA-256 is pinned"
        told = found.error if found.artefact is None else f"{found.artefact}; {runs}"
        lines.append(f"{found.path.name}: {told}")
    return lines or ["no artefact beside it: TorchScript runs (`climlink compile` makes one)"]


def _golden(m: Manifest) -> str:
    """Return how many golden samples there are, as sequences where state is carried."""
    g = m.golden
    return (
        str(g.sample_count)
        if g.step_count == 1
        else f"{g.sample_count // g.step_count} sequences of {g.step_count} steps"
    )


def _inside(package: EmulatorPackage) -> list[tuple[str, str]]:
    """Return the facts about the graph: what the manifest says is inside, or that it was imported
    and what was found out.
    """
    from climlink.packages.export import obstacle_to_rebuilding
    from climlink.wrappers.contract import reordered

    m, obstacle = package.manifest, obstacle_to_rebuilding(package)
    unknown = "unknown, inside the imported graph"
    network = (
        ""
        if m.architecture is None
        else f"{m.architecture.name}, {m.architecture.trainable_parameters:,} trainable parameters"
    )
    sets = [
        unknown if s is None else f"{s.set} ({s.width})"
        for s in (m.network_inputs, m.network_outputs)
    ]
    scheme = m.normalization
    facts = [
        ("network", network or unknown),
        ("network sets", " -> ".join(sets)),
        ("pruned levels", unknown if m.pruned_levels is None else str(m.pruned_levels)),
        (
            "normalization",
            unknown
            if scheme is None
            else f"{scheme.configuration.scheme}, buffers {scheme.buffers_digest[:12]}…",
        ),
    ]
    if m.architecture is not None and obstacle is not None:
        facts.insert(1, ("runs", f"as its graph only: {obstacle}"))
    made = m.provenance.training.get("ensemble")
    if made is not None:
        facts.insert(1, ("members", "\n".join(_member(member) for member in made["members"])))
    if m.network_inputs is not None and reordered(m.inputs, m.network_inputs):
        rows = f"host rows: {m.inputs.set} order; the network reads {m.network_inputs.set} order"
        facts.append(("input order", f"{rows}: permuted in the graph"))
    if m.constraints is None:
        facts.append(("constraints", unknown))
    else:
        facts.append(
            (
                "constraints",
                "\n".join(map(_rule, m.constraints)) or "none",
            )
        )
    if m.imported is not None:
        i = m.imported
        facts += [
            ("imported from", f"{i.file}, SHA-256 {i.sha256}, {i.parameter_count:,} parameters"),
            (
                "golden inputs",
                {"synthetic": "synthetic columns: plausible noise, no physics"}.get(
                    i.golden_source, f"real: {i.golden_source}"
                ),
            ),
            ("host postprocessing", i.host_postprocessing),
            ("found", "\n".join(i.findings) or "nothing to report"),
        ]
    return facts


def _rule(entry: ConstraintEntry) -> str:
    """Return a constraint in a line; of a long list only how long it is."""
    told = {
        name: f"{len(value)} values" if isinstance(value, list) and len(value) > 4 else value
        for name, value in entry.parameters.items()
    }
    return f"{entry.name} {told or ''}".strip()


def _member(member: dict[str, Any]) -> str:
    """Return a member of an ensemble in a line; weights by output are only told to be that."""
    weight = member["weight"]
    told = f"{weight:.4g}" if isinstance(weight, float) else "by output"
    known = f"seed {member['seed']}, SHA-256 {member['sha256'][:12]}…"
    return f"{member['name']}, weight {told}, {known}"


def _show_routes(package: EmulatorPackage, result: Verification, real: int) -> None:
    names = [r.route for r in result.routes]
    columns = (
        f"{package.manifest.golden.sample_count} golden"
        + (f" and {real} real" if real else "")
        + " columns"
    )
    table = Table("output", *names, title=f"largest |a-b|/(s+|b|), {columns}", title_justify="left")
    variables = [v.name for v in package.manifest.outputs.of_role("value", "carried")]
    variables += ["confidence"] if package.manifest.has_confidence else []
    for v in variables:
        table.add_row(
            v, *(f"{r.differences[v]:.1e}" if v in r.differences else "-" for r in result.routes)
        )
    table.add_section()
    table.add_row("tolerance", *(f"{r.tolerance:.1e}" for r in result.routes))
    verdicts = {True: "yes", False: "[bold red]no[/]", None: "missing"}
    table.add_row("passed", *(verdicts[r.passed] for r in result.routes))
    table.add_row("same bits", *(_same_bits(result.unequal_values.get(name)) for name in names))
    output.print(table)
    for line in _sensitive_columns(package.manifest):
        output.print(line, markup=False, highlight=False)
    for r in result.routes:
        if r.note is not None:
            output.print(f"{r.route} is {r.note}", markup=False, highlight=False)
        if r.error is not None:
            errors.print(f"{r.route}: {r.error}", markup=False, highlight=False)
        if r.missing is not None:
            told = f"{r.route} was not checked, which is no fault of the package: {r.missing}"
            errors.print(told, markup=False, highlight=False)


def _same_bits(unequal: int | None) -> str:
    """Return a route's cell in the line "same bits"; "-" for those that are not the Runtime's."""
    if unequal is None:
        return "-"
    return "yes" if unequal == 0 else f"[bold red]no, {unequal} values[/]"
