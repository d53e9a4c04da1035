!> What tests of the embedded model share: the levels of ClimSim, and how a check fails.
module aqua_test_support
  use, intrinsic :: iso_fortran_env, only: int64
  use aqua_constants, only: r8
  use aqua_levels, only: hybrid_levels, make_levels
  implicit none (type, external)
  private

  public :: check, check_close, climsim_levels, random_numbers

contains

  subroutine check(passed, what)
    logical, intent(in) :: passed
    character(len=*), intent(in) :: what

    if (.not. passed) error stop what
  end subroutine check

  subroutine check_close(value, expected, tolerance, what)
    real(r8), intent(in) :: value, expected, tolerance
    character(len=*), intent(in) :: what
    character(len=80) :: text

    write (text, '(2(a,es24.16))') ' is', value, ', expected', expected
    call check(abs(value - expected) <= tolerance, what // trim(text))
  end subroutine check_close

  !> The levels in the YAML file whose path is the program's first argument.
  function climsim_levels() result(levels)
    type(hybrid_levels) :: levels
    character(len=:), allocatable :: text, error
    character(len=1000) :: path
    real(r8) :: hyai(61), hybi(61)
    integer :: unit, n

    call get_command_argument(1, path)
    open (newunit=unit, file=path, access='stream', form='unformatted', action='read', status='old')
    inquire (unit=unit, size=n)
    allocate (character(len=n) :: text)
    read (unit) text
    close (unit)
    call read_list(text, 'hyai: [', hyai)
    call read_list(text, 'hybi: [', hybi)
    call make_levels(hyai, hybi, 1.0e5_r8, levels, error)
    call check(len(error) == 0, 'levels: ' // error)
  end function climsim_levels

  !> The numbers between key and the next closing bracket.
  subroutine read_list(text, key, values)
    character(len=*), intent(in) :: text, key
    real(r8), intent(out) :: values(:)
    character(len=:), allocatable :: numbers
    integer :: first, i, status

    first = index(text, key) + len(key)
    numbers = text(first:first + index(text(first:), ']') - 2)
    do i = 1, len(numbers)
      if (numbers(i:i) == new_line('a')) numbers(i:i) = ' '
    end do
    read (numbers, *, iostat=status) values
    call check(status == 0, 'no list of numbers after ' // key)
  end subroutine read_list

  !> Between -1 and 1, the same in every run (the minimal generator of Park and Miller 1988).
  function random_numbers(n, seed) result(values)
    integer, intent(in) :: n, seed
    real(r8) :: values(n)
    integer(int64), parameter :: modulus = 2147483647_int64
    integer(int64) :: state
    integer :: i

    state = int(seed, int64)
    do i = 1, n
      state = modulo(16807_int64 * state, modulus)
      values(i) = 2.0_r8 * real(state, r8) / real(modulus, r8) - 1.0_r8
    end do
  end function random_numbers

end module aqua_test_support
