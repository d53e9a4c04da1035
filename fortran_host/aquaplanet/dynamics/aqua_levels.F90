!> The hybrid vertical coordinate: p(k+1/2) = p0 hyai(k) + hybi(k) ps, from the model top down
!! (Simmons and Burridge 1981).
module aqua_levels
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: hybrid_levels, make_levels, interface_pressure, midpoint_pressure, reference_pressure

  real(r8), parameter :: reference_surface = 1.0e5_r8     !! [Pa]

  !> Coefficients at interfaces [n_level + 1] and midpoints [n_level].
  type :: hybrid_levels
    integer :: n_level = 0
    real(r8) :: p0 = 1.0e5_r8               !! [Pa]
    real(r8), allocatable :: hyai(:), hybi(:)
    real(r8), allocatable :: hyam(:), hybm(:)
  end type hybrid_levels

contains

  !> Builds the levels from interface coefficients; error is '' or says what is wrong with them.
  subroutine make_levels(hyai, hybi, p0, levels, error)
    real(r8), intent(in) :: hyai(:)         !! [n_level + 1]
    real(r8), intent(in) :: hybi(:)         !! [n_level + 1]
    real(r8), intent(in) :: p0              !! [Pa]
    type(hybrid_levels), intent(out) :: levels
    character(len=:), allocatable, intent(out) :: error
    integer :: n

    error = ''
    n = size(hyai) - 1
    if (size(hybi) /= size(hyai) .or. n < 2) then
      error = 'hyai and hybi need the same number of interfaces, three or more'
    else if (.not. (p0 > 0.0_r8 .and. all(abs(hyai) <= 1.0_r8) .and. all(abs(hybi) <= 1.0_r8))) then
      error = 'p0 must be positive, and hyai and hybi between 0 and 1'
    else if (any(hyai(2:) + hybi(2:) <= hyai(:n) + hybi(:n)) .or. hyai(1) + hybi(1) <= 0.0_r8) then
      error = 'hyai + hybi must be positive and increase downward'
    else if (abs(hyai(n + 1)) > 0.0_r8 .or. abs(hybi(n + 1) - 1.0_r8) > 0.0_r8) then
      error = 'the lowest interface must be the surface: hyai 0 and hybi 1'
    end if
    if (len(error) > 0) return
    levels = hybrid_levels(n_level=n, p0=p0, hyai=hyai, hybi=hybi, &
                           hyam=0.5_r8 * (hyai(:n) + hyai(2:)), &
                           hybm=0.5_r8 * (hybi(:n) + hybi(2:)))
  end subroutine make_levels

  !> Pressure at interfaces [n_level + 1] in Pa, for a surface pressure in Pa.
  pure function interface_pressure(levels, ps) result(p)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps
    real(r8) :: p(levels%n_level + 1)

    p = levels%p0 * levels%hyai + levels%hybi * ps
  end function interface_pressure

  !> Pressure at midpoints [n_level] in Pa, for a surface pressure in Pa.
  pure function midpoint_pressure(levels, ps) result(p)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps
    real(r8) :: p(levels%n_level)

    p = levels%p0 * levels%hyam + levels%hybm * ps
  end function midpoint_pressure

  !> Pressure at midpoints [n_level] in Pa, by which users name levels.
  pure function reference_pressure(levels) result(p)
    type(hybrid_levels), intent(in) :: levels
    real(r8) :: p(levels%n_level)

    p = midpoint_pressure(levels, reference_surface)
  end function reference_pressure

end module aqua_levels
