!> Opens the package named by the first argument. A climlink built without libtorch can only check
!! it, and says so.
program host
  use, intrinsic :: iso_fortran_env, only: error_unit
  use climlink, only: climlink_emulator, climlink_error_backend, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climlink_coupling, only: climlink_coupling_policy
  use climlink_lagged_memory, only: climlink_lags
  implicit none (type, external)

  type(climlink_coupling_policy) :: policy
  type(climlink_carried) :: carried
  type(climlink_lags) :: lags
  type(climlink_emulator) :: emu
  type(climlink_status) :: status
  character(len=1024) :: package

  if (policy%needs_reference(1) .or. lags%ready() .or. carried%has_state()) then
    error stop 'a new policy is full coupling, and a new memory is empty'
  end if
  call get_command_argument(1, package)
  call emu%open(package, status)
  if (status%code == climlink_error_backend) stop
  if (.not. status%ok()) then
    write (error_unit, '(a)') status%message
    error stop 1
  end if
  call emu%close(status)
end program host
