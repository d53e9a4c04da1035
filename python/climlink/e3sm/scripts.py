"""The shell scripts of a case: create, configure, build, submit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from climlink.e3sm.case import E3SMCase
from climlink.e3sm.machine import Layout, Machine
from climlink.e3sm.sourcemods import checkout_flavor, torch_bindings
from climlink.mpi import LAUNCHER_VARIABLE

STEPS = ("1_create.sh", "2_configure.sh", "3_build.sh", "4_submit.sh")
ENVIRONMENT = "env.sh"
CMAKE_FILE = "climlink.cmake"
RECORD = "climlink_case.json"

CMAKE_TEXT = """\
# Links climlink to EAM alone. E3SM reads its macros many times; this acts where EAM's library \
and the model itself are made.
if(PROJECT_NAME STREQUAL "E3SM" AND (COMP_NAME STREQUAL "eam" OR COMP_NAME STREQUAL "cpl"))
  find_package(climlink REQUIRED)
  if(COMP_NAME STREQUAL "eam")
    cmake_language(DEFER CALL target_link_libraries atm PRIVATE climlink::fortran)
  endif()
endif()
"""


def case_scripts(case: E3SMCase, machine: Machine, e3sm_root: Path) -> dict[str, str]:
    """Return the scripts by file name; they need bash, and shellcheck has nothing to say about
    them.
    """
    return {
        ENVIRONMENT: _environment(case, machine, e3sm_root),
        STEPS[0]: _script(case, 1, "makes the case", _create(case, machine)),
        STEPS[1]: _script(case, 2, "sets the case up", _configure(case, machine, e3sm_root)),
        STEPS[2]: _script(case, 3, "builds the model", ['cd "$CASE_ROOT"', "./case.build"]),
        STEPS[3]: _script(
            case, 4, "submits the job" if machine.batch else "runs the model", _submit(machine)
        ),
    }


def layout_of(case: E3SMCase, machine: Machine) -> Layout:
    """Return the machine's layout for the kind of run that the case is."""
    return machine.mmf if case.emulator is None else machine.emulator


def _script(case: E3SMCase, step: int, what: str, lines: list[str]) -> str:
    head = f"""\
#!/usr/bin/env bash
# {case.name}, step {step} of {len(STEPS)}: {what}. Written by `climlink e3sm case`.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
# shellcheck source=env.sh
source "$here/env.sh"
"""
    return head + "\n".join(lines) + "\n"


def _environment(case: E3SMCase, machine: Machine, e3sm_root: Path) -> str:
    lines = [
        "#!/usr/bin/env bash",
        f"# {case.name} on {machine.name}: what the numbered scripts share. CASE_ROOT and "
        "climlink_ROOT may be set before.",
        'scripts_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)',
        f"export E3SM_ROOT={shlex.quote(str(e3sm_root))}",
        'export CASE_ROOT="${CASE_ROOT:-$scripts_folder/case}"',
    ]
    if machine.modules:
        # Module systems read variables that are not set.
        lines += ["set +u", f"module load {' '.join(map(shlex.quote, machine.modules))}", "set -u"]
    if case.emulator is not None:
        lines += [
            'climlink_ROOT="${climlink_ROOT:-$(climlink cmake-prefix)}"',
            "export climlink_ROOT",
            *(f'export {name}_ROOT="$climlink_ROOT/compat"' for name in torch_bindings(e3sm_root)),
        ]
        lines.append(f'export {LAUNCHER_VARIABLE}="${{{LAUNCHER_VARIABLE}:-{machine.launcher}}}"')
    if machine.account_from:
        lines.append(
            f': "${{{machine.account_from}:?set it to the account that the job is charged to}}"'
        )
    return "\n".join(lines) + "\n"


def _create(case: E3SMCase, machine: Machine) -> list[str]:
    layout = layout_of(case, machine)
    options = [
        '--case "$CASE_ROOT"',
        f"--compset {shlex.quote(case.compset)} --res {shlex.quote(case.resolution)}",
        f"--mach {shlex.quote(machine.cime_machine)} --compiler {shlex.quote(machine.compiler)}",
        f"--pecount {case.nodes * layout.ranks_per_node}x{layout.threads}",
    ]
    if machine.account_from:
        options.append(f'--project "${machine.account_from}"')
    return [
        'if [ -e "$CASE_ROOT" ]; then',
        '  echo "$CASE_ROOT is there already; remove it, or set CASE_ROOT to another folder" >&2',
        "  exit 1",
        "fi",
        '"$E3SM_ROOT/cime/scripts/create_newcase" \\\n  ' + " \\\n  ".join(options),
    ]


def _configure(case: E3SMCase, machine: Machine, e3sm_root: Path) -> list[str]:
    layout = layout_of(case, machine)
    lines = [
        'cd "$CASE_ROOT"',
        './xmlchange EXEROOT="$CASE_ROOT/build"',
        './xmlchange RUNDIR="$CASE_ROOT/run"',
    ]
    lines += [
        _change("MAX_MPITASKS_PER_NODE", layout.ranks_per_node),
        _change("MAX_TASKS_PER_NODE", layout.tasks_per_node),
        *build_changes(case, e3sm_root),
        *_start(case),
        *_length(case),
        *_job(case, machine),
    ]
    lines += ['cp "$here/user_nl_eam" user_nl_eam', f'cp "$here/{RECORD}" {RECORD}']
    if case.emulator is not None:
        lines += [
            "mkdir -p SourceMods/src.eam",
            'cp "$here"/SourceMods/src.eam/* SourceMods/src.eam/',
        ]
    lines.append("./case.setup")
    if case.emulator is not None:
        lines += [
            f'cp "$here/{CMAKE_FILE}" cmake_macros/{CMAKE_FILE}',
            f"if ! grep -q {CMAKE_FILE} cmake_macros/universal.cmake; then",
            f'  echo "include(\\"\\${{CMAKE_CURRENT_LIST_DIR}}/{CMAKE_FILE}\\")" >> '
            "cmake_macros/universal.cmake",
            "fi",
        ]
    return lines


def build_changes(case: E3SMCase, e3sm_root: Path) -> list[str]:
    """Return the settings that a run needs, of whatever length and on whatever nodes."""
    lines = [
        _change("ATM_NCPL", case.atm_ncpl),
        _change("PIO_NETCDF_FORMAT", "64bit_data"),
    ]
    if case.emulator is None:
        return lines
    definitions = "-DMMF_NN_EMULATOR"
    if case.ocean_only:
        definitions += " -DMMF_NN_EMULATOR_OCN_ONLY"
    if checkout_flavor(e3sm_root) == "fork":
        # Its driver keeps the lagged inputs, in members of physics_state.
        definitions += " -DCLIMLINK_FORK_HISTORY"
    append = f"./xmlchange --append CAM_CONFIG_OPTS=\" -cppdefs ' {definitions} ' \""
    return [*lines, append]


def _start(case: E3SMCase) -> list[str]:
    start = case.start
    lines = [_change("RUN_TYPE", start.type)]
    if start.type != "startup":
        lines += [
            _change("GET_REFCASE", "TRUE"),
            _change("RUN_REFDIR", start.ref_directory),
            _change("RUN_REFCASE", start.ref_case),
            _change("RUN_REFDATE", start.ref_date),
            _change("RUN_REFTOD", f"{start.ref_seconds:05d}"),
        ]
    date = start.date or start.ref_date
    if date is not None:
        lines.append(_change("RUN_STARTDATE", date))
    if start.type == "branch":
        lines.append(_change("START_TOD", start.ref_seconds))
    return lines


def _length(case: E3SMCase) -> list[str]:
    return [
        _change("STOP_OPTION", case.length.option),
        _change("STOP_N", case.length.n),
        _change("RESUBMIT", case.resubmit),
        _change("REST_OPTION", case.restart.option),
        _change("REST_N", case.restart.n),
        _change("DOUT_S", "FALSE"),
    ]


def _job(case: E3SMCase, machine: Machine) -> list[str]:
    if not machine.batch:
        return []
    lines = [_change("JOB_WALLCLOCK_TIME", case.walltime)]
    if machine.queue:
        lines.append(_change("JOB_QUEUE", machine.queue))
    if machine.account_from:
        lines += [
            f'./xmlchange {name}="${machine.account_from}"'
            for name in ("CHARGE_ACCOUNT", "PROJECT")
        ]
    return lines


def _submit(machine: Machine) -> list[str]:
    check = 'climlink e3sm check "$CASE_ROOT"'
    return [
        'cd "$CASE_ROOT"',
        check,
        "./case.submit" if machine.batch else "./case.submit --no-batch",
    ]


def _change(name: str, value: object) -> str:
    return f"./xmlchange {name}={_literal(str(value))}"


def _literal(text: str) -> str:
    """Return text for the shell; a ``$`` is CIME's to expand, and in single quotes shellcheck would
    take it for a mistake.
    """
    if "$" not in text:
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
