"""The inserted call sites compile and do what they are for: who does a step, in which order, and
nothing without the flag.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from climlink.e3sm.sourcemods import source_mods

ADAPTER = """\
module mmf_nn_emulator
  implicit none
contains
  subroutine mmf_nn_emulator_readnl(nlfile)
    character(len=*), intent(in) :: nlfile
    print '(2a)', 'readnl ', nlfile
  end subroutine mmf_nn_emulator_readnl
  subroutine mmf_nn_emulator_register()
    print '(a)', 'register'
  end subroutine mmf_nn_emulator_register
  subroutine init_neural_net()
    print '(a)', 'init'
  end subroutine init_neural_net
  subroutine mmf_nn_emulator_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out, emulated)
    integer, intent(inout) :: phys_state, phys_tend, pbuf2d, cam_in, cam_out
    real, intent(in) :: ztodt
    logical, intent(out) :: emulated
    emulated = phys_state > 0
    print '(a,l2)', 'run1', emulated
  end subroutine mmf_nn_emulator_run1
  subroutine mmf_nn_emulator_end_run1(phys_state, ztodt, phys_tend, pbuf2d, cam_in, cam_out)
    integer, intent(inout) :: phys_state, phys_tend, pbuf2d, cam_in, cam_out
    real, intent(in) :: ztodt
    print '(a)', 'end_run1'
  end subroutine mmf_nn_emulator_end_run1
end module mmf_nn_emulator
"""

REST_OF_THE_MODEL = """\
module check_energy
contains
  subroutine check_energy_set_print_additional_diagn()
  end subroutine
end module
module phys_control
contains
  subroutine phys_ctl_readnl(file)
    character(len=*), intent(in) :: file
    print '(a)', 'phys_ctl'
  end subroutine
end module
module radiation
contains
  subroutine radiation_readnl(file)
    character(len=*), intent(in) :: file
    print '(a)', 'radiation'
  end subroutine
end module
subroutine crm_physics_register()
  print '(a)', 'crm_register'
end subroutine
subroutine crm_physics_init(phys_state, pbuf2d, species_class)
  integer :: phys_state, pbuf2d, species_class
  print '(a)', 'crm_init'
end subroutine
subroutine t_startf(name)
  character(len=*) :: name
end subroutine
subroutine t_stopf(name)
  character(len=*) :: name
end subroutine
subroutine tphysbc1(ztodt, phys_state)
  real :: ztodt
  integer :: phys_state
  print '(a)', 'physics'
end subroutine
"""

MAIN = """\
program model
  use physpkg, only: phys_init, phys_register, phys_run1
  use runtime_opts, only: read_namelist
  integer :: state = 0, tend = 0, pbuf = 0, cam_in = 0, cam_out = 0, species = 0
  call read_namelist('atm_in')
  call phys_register()
  call phys_init(state, pbuf, species)
  call phys_run1(state, 1200.0, tend, pbuf, cam_in, cam_out)
  state = 1
  call phys_run1(state, 1200.0, tend, pbuf, cam_in, cam_out)
end program model
"""

WITH_FLAG = [
    "phys_ctl",
    "readnl atm_in",
    "radiation",
    "crm_register",
    "register",
    "crm_init",
    "init",
]
WITH_FLAG += ["run1 F", "physics", "end_run1", "run1 T"]
WITHOUT_FLAG = ["phys_ctl", "radiation", "crm_register", "crm_init", "physics", "physics"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(["-DMMF_NN_EMULATOR"], WITH_FLAG), ([], WITHOUT_FLAG)],
    ids=["flag", "no flag"],
)
def test_the_step_is_the_emulators_or_the_models(
    flags: list[str], expected: list[str], master: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "mmf_nn_emulator.F90").write_text(ADAPTER)
    mods = source_mods(master, folder)
    texts = {"a_rest.F90": REST_OF_THE_MODEL, "b_adapter.F90": ADAPTER, "e_main.F90": MAIN}
    texts |= {
        "c_options.F90": mods.files["runtime_opts.F90"],
        "d_physpkg.F90": mods.files["physpkg.F90"],
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    compiled = subprocess.run(
        ["gfortran", *flags, *sorted(texts), "-o", "model"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr
    told = subprocess.run(
        [str(folder / "model")], capture_output=True, text=True, check=True
    ).stdout
    assert [line.strip() for line in told.splitlines()] == expected
