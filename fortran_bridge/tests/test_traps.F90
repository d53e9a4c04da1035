!> A host built with -ffpe-trap=invalid,zero,overflow opens and runs packages, gets failures as
!! statuses, and has its traps afterwards. With a second argument it divides by zero at the end,
!! which must end it.
program test_traps
  use, intrinsic :: ieee_arithmetic, only: ieee_divide_by_zero, ieee_get_halting_mode, &
                                           ieee_invalid, ieee_overflow
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_error_nonfinite, climlink_status, &
                      climlink_variable
  use test_support, only: check, check_error, finish, fixture
  implicit none (type, external)

  integer, parameter :: n_column = 5
  integer, parameter :: n_level = 60
  type(climlink_emulator) :: masked, overflowing
  type(climlink_status) :: status
  real(real64) :: divisor

  call check(all(armed()), 'this program is built with traps')
  call masked%open(fixture('climsim_masked.pt'), status, n_level=n_level)
  call check(status%ok(), 'open: ' // status%message)
  call step(masked, 250.0_real64)
  call check(status%ok(), 'NaN that is masked: ' // status%message)
  call step(masked, 1e300_real64)
  call check_error(status, climlink_error_nonfinite, 'state_t')
  call overflowing%open(fixture('climsim_overflow.pt'), status, n_level=n_level)
  call check(status%ok(), 'open: ' // status%message)
  call step(overflowing, 250.0_real64)
  call check_error(status, climlink_error_nonfinite, 'ptend_v')
  call check(all(armed()), 'traps are armed after open and run')
  call masked%close(status)
  call overflowing%close(status)
  if (command_argument_count() > 1) then
    divisor = real(command_argument_count() - 2, real64)
    print '(es9.2)', 1.0_real64 / divisor
  end if
  call finish()

contains

  function armed() result(modes)
    logical :: modes(3)

    call ieee_get_halting_mode([ieee_invalid, ieee_divide_by_zero, ieee_overflow], modes)
  end function armed

  !> One step with every input 1 but the temperature; leaves the status of the first call that
  !! fails.
  subroutine step(emulator, temperature)
    type(climlink_emulator), intent(inout) :: emulator
    real(real64), intent(in) :: temperature
    real(real64) :: profile(n_column, n_level), heating(n_column, n_level)
    type(climlink_variable) :: input
    integer :: i

    call emulator%begin(n_column, status)
    do i = 1, emulator%n_input()
      if (.not. status%ok()) return
      input = emulator%input(i)
      profile = 1.0_real64
      if (input%name == 'state_t') profile = temperature
      call emulator%set(input%name, profile(:, :input%width), 1, status)
    end do
    if (status%ok()) call emulator%run(status)
    if (.not. status%ok()) return
    call emulator%get('ptend_t', heating, 1, status)
    call check(all(abs(heating - 1e-6_real64 * temperature) < 1e-12_real64 * temperature), &
               'the answer beside the masked NaN')
  end subroutine step

end program test_traps
