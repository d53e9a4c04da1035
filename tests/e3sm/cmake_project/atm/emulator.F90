! A module of EAM that opens a package which is not there.
module emulator
  use climlink, only: climlink_emulator, climlink_status
  implicit none
  private
  public :: open_nothing
contains
  subroutine open_nothing(said)
    character(len=:), allocatable, intent(out) :: said
    type(climlink_emulator) :: emu
    type(climlink_status) :: status
    call emu%open('no_such_package.pt', status)
    said = status%message
  end subroutine open_nothing
end module emulator

subroutine run_atmosphere()
  use, intrinsic :: iso_fortran_env, only: output_unit
  use emulator, only: open_nothing
  implicit none
  character(len=:), allocatable :: said
  call open_nothing(said)
  write (output_unit, '(a)') said
end subroutine run_atmosphere
