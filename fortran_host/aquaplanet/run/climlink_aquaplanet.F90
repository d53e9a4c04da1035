!> The embedded climate model: an idealized moist aquaplanet, alone or with an emulator in place of
!! its column physics.
!!
!!     mpirun -np 2 climlink-aquaplanet NAMELIST
!!     climlink-aquaplanet --list-settings
!!     climlink-aquaplanet --check-settings=NAMELIST
!!
!! Settings: aqua_settings.F90. Exit code 0 when the run finished, 1 on failure, 2 on wrong usage,
!! 3 when the model left its bounds or the emulator failed; what was written until then stays
!! readable.
program climlink_aquaplanet
  use, intrinsic :: iso_fortran_env, only: output_unit
  use aqua_run, only: run_case
  use aqua_settings, only: aquaplanet_settings, list_settings, read_settings
  use host_parallel, only: end_parallel, only_argument, rank, require, start_parallel
  implicit none (type, external)

  character(len=*), parameter :: checking = '--check-settings='
  type(aquaplanet_settings) :: settings
  character(len=:), allocatable :: argument, error
  integer :: exit_code

  call start_parallel('climlink-aquaplanet')
  argument = only_argument()
  if (argument == '--list-settings') then
    if (rank == 0) call list_settings(output_unit)
    exit_code = 0
  else if (index(argument, checking) == 1) then
    call read_settings(argument(len(checking) + 1:), settings, error)
    call require(error)
    exit_code = 0
  else
    call read_settings(argument, settings, error)
    call require(error)
    call run_case(settings, exit_code)
  end if
  call end_parallel()
  if (exit_code /= 0) stop exit_code, quiet=.true.
end program climlink_aquaplanet
