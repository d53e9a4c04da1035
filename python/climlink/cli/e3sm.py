"""climlink e3sm case, sourcemods, namelist, check: an emulator into E3SM-MMF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from climlink.cli.console import errors, output, print_json

Root = Annotated[
    Path,
    typer.Option(
        "--e3sm-root", help="checkout of E3SM (the ClimSim fork or master) with its submodules"
    ),
]
Adapter = Annotated[
    Path | None, typer.Option(help="folder of the E3SM adapter instead of the installed one")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(help="Run a package inside E3SM-MMF.", no_args_is_help=True)
    group.command("case")(case)
    group.command("sourcemods")(sourcemods)
    group.command("namelist")(namelist)
    group.command("check")(check)
    app.add_typer(group, name="e3sm")


def case(
    case: Annotated[Path, typer.Argument(help="case file, or a shipped case by name")],
    e3sm_root: Root,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder to write; default: runs/e3sm/NAME")
    ] = None,
    package: Annotated[
        Path | None, typer.Option(help="wrap_model.pt instead of the case's emulator")
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(help="machine instead of the case's: a shipped name or a YAML file"),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="nodes instead of the case's")] = None,
    adapter: Adapter = None,
    submit: Annotated[
        bool,
        typer.Option("--submit", help="run the scripts: create, configure, build, check, submit"),
    ] = False,
) -> None:
    """Write the scripts, namelist and SourceMods of a case.

    Example: `climlink e3sm case e3sm_hybrid_ne30 --e3sm-root ~/E3SM --package wrap_model.pt -o
    runs/e3sm/ne30`
    """
    from climlink.e3sm.case import load_e3sm_case
    from climlink.e3sm.generate import generate_case, run_steps
    from climlink.e3sm.machine import load_machine

    config = load_e3sm_case(case, package=package, machine=machine, nodes=nodes)
    made = generate_case(
        config,
        load_machine(config.machine),
        e3sm_root,
        out or Path("runs/e3sm") / config.name,
        adapter,
    )
    for note in made.notes:
        errors.print(f"note: {note}", markup=False, highlight=False)
    if submit:
        run_steps(made.folder)
    else:
        output.print(
            f"{made.folder}: run 1_create.sh to 4_submit.sh in order", markup=False, highlight=False
        )


def sourcemods(
    e3sm_root: Root,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="SourceMods folder of a case; src.eam is written in it"
        ),
    ],
    adapter: Adapter = None,
) -> None:
    """Write only the SourceMods: the adapter, the call sites that the checkout lacks, and the
    namelist's definition.

    Example: `climlink e3sm sourcemods --e3sm-root ~/E3SM -o my_case/SourceMods`
    """
    from climlink.e3sm.sourcemods import source_mods, write_source_mods

    mods = source_mods(e3sm_root, adapter)
    folder = write_source_mods(mods, out)
    for note in mods.notes:
        errors.print(f"note: {note}", markup=False, highlight=False)
    what = (
        "the driver calls the emulator already"
        if mods.flavor == "fork"
        else "call sites were added to copies of its files"
    )
    output.print(f"{folder}: {', '.join(mods.files)} ({what})", markup=False, highlight=False)


def namelist(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    device: Annotated[str, typer.Option(help="cpu, cuda or auto")] = "auto",
    spin_up: Annotated[
        int | None, typer.Option(min=0, help="steps of E3SM's own physics first; default: 5")
    ] = None,
) -> None:
    """Print the namelist that fits a package, to be added to user_nl_eam.

    Example: `climlink e3sm namelist wrap_model.pt --device cuda >> user_nl_eam`
    """
    from climlink.e3sm.namelist import emulator_namelist

    print(emulator_namelist(package, device, spin_up), end="")


def check(
    folder: Annotated[
        Path, typer.Argument(help="case folder: CIME's, or the one that `climlink e3sm case` wrote")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Check a case before its job is queued: package, namelist, libraries, node shape, restart
    files. Exit code 1 on a finding.

    A note, about what only should be known before, leaves it at 0.

    Example: `climlink e3sm check runs/e3sm/e3sm_v4_ne4/case`
    """
    from climlink.e3sm.check import check_case

    report = check_case(folder)
    if as_json:
        print_json(report.as_dict())
    else:
        for finding in report.findings:
            kind = "" if finding.stops else "note, "
            errors.print(
                f"{kind}{finding.subject}: {finding.problem}\n  -> {finding.remedy}",
                markup=False,
                highlight=False,
            )
        stopping = sum(f.stops for f in report.findings)
        output.print(
            f"{folder}: {stopping} findings, {len(report.findings) - stopping} notes",
            markup=False,
            highlight=False,
        )
    if not report.passed:
        raise typer.Exit(1)
