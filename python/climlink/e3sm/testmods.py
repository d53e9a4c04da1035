"""CIME's system tests of a case: exact restart (ERS), number of ranks (PEM) and of threads (PET).

CIME finds the changes that tests make in their cases ("testmods") in the checkout, by a name. The
script that starts the tests links the folder there.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from climlink.e3sm.case import FLUX_FIELDS, STATE_FIELDS, SURFACE_FIELDS, E3SMCase, Tape
from climlink.e3sm.machine import Machine
from climlink.e3sm.scripts import CMAKE_TEXT, ENVIRONMENT, build_changes, layout_of
from climlink.e3sm.sourcemods import Flavor
from climlink.e3sm.user_namelist import user_namelist

FOLDER = "testmods"
CASE_MACRO = "user_climlink.cmake"
"""In the folder of each test's case. Clones of a case, as PEM makes one, get its files user_*."""

_EVERY_HOUR = Tape(
    every="hour",
    averaging="I",
    samples_per_file=24,
    fields=STATE_FIELDS + SURFACE_FIELDS + FLUX_FIELDS,
    emulator=True,
)


def testmod_files(
    case: E3SMCase, machine: Machine, e3sm_root: Path, flavor: Flavor
) -> dict[str, str]:
    """Return the files below FOLDER by name; errors as for ``user_namelist``.

    Tests begin at initial conditions with the shortest spin-up, and compare instantaneous fields.
    """
    return {
        f"{FOLDER}/shell_commands": _shell_commands(case, e3sm_root),
        f"{FOLDER}/user_nl_eam": user_namelist(_short(case), machine, flavor),
        f"{FOLDER}/create_tests.sh": _create_tests(case, machine),
    }


def cime_tests(case: E3SMCase, machine: Machine) -> tuple[str, ...]:
    """Return the tests in CIME's words: days, ranks and threads, grid, compset, machine, mods."""
    layout = layout_of(case, machine)
    ranks = case.nodes * layout.ranks_per_node
    plain = f"P{ranks}x{layout.threads}"
    # A test of threads needs two or more; on as many cores, ranks are halved for that.
    threaded = plain if layout.threads > 1 else f"P{max(1, ranks // 2)}x2"
    about = f"{case.resolution}.{case.compset}.{machine.cime_machine}_{machine.compiler}"
    tests = (f"ERS_Ld3_{plain}", f"PEM_Ld2_{plain}", f"PET_Ld2_{threaded}")
    return tuple(f"{test}.{about}.eam-{_mods_name(case)}" for test in tests)


def _mods_name(case: E3SMCase) -> str:
    """Return the name of the testmods; dots and hyphens have a meaning in CIME's test names."""
    return "climlink_" + re.sub(r"\W|-", "_", case.name)


def _short(case: E3SMCase) -> E3SMCase:
    emulator = case.emulator
    assert emulator is not None
    entries = {k: v for k, v in emulator.entries.items() if k != "cb_spinup_step"}
    changes = {
        "history": (_EVERY_HOUR,),
        "emulator": emulator.model_copy(update={"entries": entries}),
    }
    return case.model_copy(update=changes)


def _shell_commands(case: E3SMCase, e3sm_root: Path) -> str:
    lines = [
        "#!/usr/bin/env bash",
        f"# {case.name}: what CIME's tests change in their cases. Written by `climlink e3sm case`.",
        *build_changes(case, e3sm_root),
        f"cat > {CASE_MACRO} <<'END_OF_MACRO'",
    ]
    return "\n".join(lines) + f"\n{CMAKE_TEXT}END_OF_MACRO\n"


def _create_tests(case: E3SMCase, machine: Machine) -> str:
    project = f' --project "${machine.account_from}"' if machine.account_from else ""
    tests = " \\\n  ".join(shlex.quote(name) for name in cime_tests(case, machine))
    return f"""\
#!/usr/bin/env bash
# {case.name}: starts CIME's tests of restart, ranks and threads. Options are create_test's, such as
# --wait or --output-root. Written by `climlink e3sm case`.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
# shellcheck source=../{ENVIRONMENT}
source "$here/../{ENVIRONMENT}"
mods="$E3SM_ROOT/components/eam/cime_config/testdefs/testmods_dirs/eam"
macros="$E3SM_ROOT/cime_config/machines/cmake_macros/universal.cmake"
mkdir -p "$mods"
ln -sfn "$here" "$mods/{_mods_name(case)}"
if ! grep -q {CASE_MACRO} "$macros"; then
  # shellcheck disable=SC2016 # the variable is CMake's
  echo 'include("${{CMAKE_CURRENT_LIST_DIR}}/../{CASE_MACRO}" OPTIONAL)' >> "$macros"
fi
"$E3SM_ROOT/cime/scripts/create_test"{project} "$@" \\
  {tests}
"""
