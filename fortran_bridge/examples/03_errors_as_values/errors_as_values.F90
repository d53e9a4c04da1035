!> With a status argument nothing ends the process: the host decides what an error means.
program errors_as_values
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_error_file, climlink_error_nonfinite, &
                      climlink_error_variable, climlink_status
  implicit none (type, external)

  integer, parameter :: n_column = 4, n_level = 6
  type(climlink_emulator) :: emu
  type(climlink_status) :: status
  real(r8) :: t(n_column, n_level)
  character(len=1024) :: package

  call emu%open('no_such_package.pt', status)
  call expect(climlink_error_file)

  call get_command_argument(1, package)
  call emu%open(package, status, n_level=n_level, time_step=1200.0_r8)
  if (.not. status%ok()) error stop 'the package should open'
  call emu%begin(n_column, status)

  t = 280.0_r8
  call emu%set('state_temperature', t, 1, status)
  call expect(climlink_error_variable)

  t(3, 2) = ieee_value(t(3, 2), ieee_quiet_nan)
  call emu%set('state_t', t, 1, status)
  call expect(climlink_error_nonfinite)

  ! The emulator is usable after an error: the host repairs the column and goes on.
  t(3, 2) = t(3, 3)
  call emu%set('state_t', t, 1, status)
  if (.not. status%ok()) error stop 'repaired values should be taken'
  call emu%close(status)

contains

  !> Shows an error that this example provokes on purpose.
  subroutine expect(code)
    integer, intent(in) :: code

    write (output_unit, '(3a,/,2x,a)') 'error "', status%name(), '":', status%message
    if (status%code /= code) error stop 'another error than expected'
  end subroutine expect

end program errors_as_values
