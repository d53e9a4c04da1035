!> Opens the package named by the first argument. A climlink built without libtorch can only check it, and says so.
program host
  use, intrinsic :: iso_fortran_env, only: error_unit
  use climlink, only: climlink_emulator, climlink_error_backend, climlink_status
  implicit none (type, external)

  type(climlink_emulator) :: emu
  type(climlink_status) :: status
  character(len=1024) :: package

  call get_command_argument(1, package)
  call emu%open(package, status)
  if (status%code == climlink_error_backend) stop
  if (.not. status%ok()) then
    write (error_unit, '(a)') status%message
    error stop 1
  end if
  call emu%close(status)
end program host
