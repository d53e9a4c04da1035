!> Checks for test programs: every failed check is reported, and finish ends the program with exit
!! code 1 if there was one.
module test_support
  use, intrinsic :: iso_fortran_env, only: error_unit, int64, real32, real64
  use climlink, only: climlink_options, climlink_status
  implicit none (type, external)
  private

  public :: check, check_error, fixture, finish, option, same_bits

  !> Levels of the package column.pt, and the gains of its outputs (make_bridge_fixtures.py).
  integer, parameter, public :: n_level = 6
  real(real32), parameter, public :: gain_t = 1e-6_real32
  real(real32), parameter, public :: gain_q = -1e-5_real32
  real(real32), parameter, public :: gain_ps = 3e-13_real32
  real(real32), parameter, public :: gain_solar = 0.5_real32
  real(real64), parameter, public :: time_step = 1200.0_real64

  integer :: n_failed = 0

contains

  subroutine check(passed, what)
    logical, intent(in) :: passed
    character(len=*), intent(in) :: what

    if (passed) return
    n_failed = n_failed + 1
    write (error_unit, '(2a)') 'FAILED: ', what
  end subroutine check

  !> The status is the expected failure and its message holds the text.
  subroutine check_error(status, code, text)
    type(climlink_status), intent(in) :: status
    integer, intent(in) :: code
    character(len=*), intent(in) :: text
    character(len=:), allocatable :: message

    message = '(no message)'
    if (allocated(status%message)) message = status%message
    if (status%code == code .and. index(message, text) > 0) return
    n_failed = n_failed + 1
    write (error_unit, '(a,i0,4a,i0,2a)') 'FAILED: expected code ', code, ' and "', text, &
      '", got code', ' ', status%code, ': ', message
  end subroutine check_error

  !> True where both values are the same to the last bit, the sign of zero and the kind of NaN
  !! included.
  elemental function same_bits(a, b) result(yes)
    real(real64), intent(in) :: a
    real(real64), intent(in) :: b
    logical :: yes

    yes = transfer(a, 0_int64) == transfer(b, 0_int64)
  end function same_bits

  !> Path of a fixture: the first command argument is their folder.
  function fixture(name) result(path)
    character(len=*), intent(in) :: name
    character(len=:), allocatable :: path
    character(len=1024) :: folder

    call get_command_argument(1, folder)
    path = trim(folder) // '/' // name
  end function fixture

  !> Options of which one is not the library's default.
  function option(name, value) result(options)
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: value
    type(climlink_options) :: options

    call options%set(name, value)
  end function option

  !> Ends the program with exit code 1 if a check failed.
  subroutine finish()
    if (n_failed > 0) error stop 1
  end subroutine finish

end module test_support
