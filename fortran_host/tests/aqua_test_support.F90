!> What tests of the dynamics share: how a check fails, the levels of ClimSim, fields by spectra.
module aqua_test_support
  use, intrinsic :: iso_fortran_env, only: int64
  use aqua_column_types, only: column_inputs
  use aqua_constants, only: r8
  use aqua_grid, only: gaussian_grid, make_grid
  use aqua_grid_tendencies, only: grid_workspace
  use aqua_levels, only: hybrid_levels, make_levels
  use aqua_saturation, only: saturation_specific_humidity
  use aqua_transform, only: spectral_transform
  use aqua_winds, only: fill_synthesis
  implicit none (type, external)
  private

  public :: allocate_inputs, check, check_close, check_value, climsim_levels, random_numbers, &
    random_spectra, sounding, synthesize_state, transform_of

contains

  !> Makes the profiles of a column, all zero.
  pure subroutine allocate_inputs(n_level, inputs)
    integer, intent(in) :: n_level
    type(column_inputs), intent(inout) :: inputs
    real(r8) :: zero(n_level)

    zero = 0.0_r8
    inputs = column_inputs(t=zero, q=zero, qc=zero, qi=zero, u=zero, v=zero, p_mid=zero, dp=zero, &
                           p_int=[zero, 0.0_r8], ozone=zero, ch4=zero, n2o=zero)
  end subroutine allocate_inputs

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

  !> Equal up to a share of the expected value: that which is given, or what gas constants of nine
  !! digits leave.
  subroutine check_value(value, expected, what, share)
    real(r8), intent(in) :: value, expected
    character(len=*), intent(in) :: what
    real(r8), intent(in), optional :: share
    real(r8), parameter :: nine_digits = 1.0e-7_r8

    if (present(share)) then
      call check_close(value, expected, share * abs(expected), what)
    else
      call check_close(value, expected, nine_digits * abs(expected), what)
    end if
  end subroutine check_value

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

  !> A tropical sounding at pressures [level] in Pa; a seed above 0 disturbs it by up to 2 K and
  !! three tenths of its vapour.
  subroutine sounding(p_mid, surface_k, humidity, seed, t, q)
    real(r8), intent(in) :: p_mid(:)
    real(r8), intent(in) :: surface_k, humidity
    integer, intent(in) :: seed
    real(r8), intent(out) :: t(:), q(:)              !! [level], K and kg/kg

    t = max(200.0_r8, surface_k * (p_mid / 1.0e5_r8)**0.19_r8)
    if (seed > 0) t = t + 2.0_r8 * random_numbers(size(t), seed)
    q = min(humidity * saturation_specific_humidity(t, p_mid), 0.02_r8)
    if (seed > 0) q = q * (1.0_r8 + 0.3_r8 * random_numbers(size(t), seed + 1))
    where (p_mid < 1.0e4_r8) q = 3.0e-6_r8
  end subroutine sounding

  !> The transform of T10, T21 or T42.
  function transform_of(truncation) result(transform)
    integer, intent(in) :: truncation
    type(spectral_transform) :: transform
    type(gaussian_grid) :: grid
    character(len=:), allocatable :: error

    call make_grid(truncation, grid, error)
    call check(len(error) == 0, error)
    call transform%initialize(grid)
  end function transform_of

  !> Random coefficients [row, 2, coefficient] within the truncation; those of m = 0 are real.
  function random_spectra(transform, n_row) result(spectra)
    type(spectral_transform), intent(in) :: transform
    integer, intent(in) :: n_row
    real(r8) :: spectra(n_row, 2, transform%n_coefficient)
    integer :: c

    spectra = reshape(random_numbers(size(spectra), 11), shape(spectra))
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) spectra(:, :, c) = 0.0_r8
      if (transform%zonal(c) == 0) spectra(:, 2, c) = 0.0_r8
    end do
  end function random_spectra

  !> Winds, fields and gradients of a state (vorticity, divergence and T by level, then ln ps) on
  !! the grid of work.
  subroutine synthesize_state(transform, state, work)
    type(spectral_transform), intent(inout) :: transform
    real(r8), intent(in) :: state(:, :, :)
    type(grid_workspace), intent(inout) :: work

    call fill_synthesis(transform, state, work%spectra)
    call transform%synthesize(work%spectra, work%fields)
  end subroutine synthesize_state

end module aqua_test_support
