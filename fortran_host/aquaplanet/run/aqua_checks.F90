!> Notices when the model leaves what any atmosphere could be, and says where.
module aqua_checks
  use aqua_constants, only: pi, r8
  use aqua_grid, only: gaussian_grid
  implicit none (type, external)
  private

  public :: check_bounds, state_error

  ! [K]; the model's own range is 150 to 330
  real(r8), parameter :: temperature_bounds(2) = [100.0_r8, 400.0_r8]
  real(r8), parameter :: wind_bound = 350.0_r8  ! [m/s]; at 1200 s and T10 far from the CFL limit
  real(r8), parameter :: pressure_bounds(2) = [5.0e4_r8, 1.2e5_r8]         ! [Pa]

contains

  !> '' or the first variable out of bounds or not finite, with column, level, latitude, longitude
  !! and value.
  pure function state_error(grid, u, v, t, ps) result(error)
    type(gaussian_grid), intent(in) :: grid
    real(r8), intent(in) :: u(:, :), v(:, :), t(:, :)     !! [level, column]
    real(r8), intent(in) :: ps(:)                         !! [column], Pa
    character(len=:), allocatable :: error

    error = check_bounds(grid, 'T', 'K', t, temperature_bounds)
    if (len(error) == 0) error = check_bounds(grid, 'U', 'm/s', u, [-wind_bound, wind_bound])
    if (len(error) == 0) error = check_bounds(grid, 'V', 'm/s', v, [-wind_bound, wind_bound])
    if (len(error) == 0) error = check_bounds(grid, 'PS', 'Pa', reshape(ps, [1, size(ps)]), &
                                              pressure_bounds)
  end function state_error

  !> '' or the first value of one field that is not within bounds; NaN is not.
  pure function check_bounds(grid, name, units, field, bounds) result(error)
    type(gaussian_grid), intent(in) :: grid
    character(len=*), intent(in) :: name, units
    real(r8), intent(in) :: field(:, :)                   !! [level, column]
    real(r8), intent(in) :: bounds(2)
    character(len=:), allocatable :: error
    character(len=160) :: text
    integer :: column, k

    error = ''
    if (all(field >= bounds(1) .and. field <= bounds(2))) return
    do column = 1, size(field, 2)
      do k = 1, size(field, 1)
        if (field(k, column) >= bounds(1) .and. field(k, column) <= bounds(2)) cycle
        write (text, '(2a,es12.4,3a,i0,a,i0,a,f6.1,a,f6.1,a)') name, ' is ', field(k, column), &
          ' ', units, ' at column ', column, ', level ', k, ' (latitude ', &
          grid%column_latitude(column) * 180.0_r8 / pi, ', longitude ', &
          grid%column_longitude(column) * 180.0_r8 / pi, ')'
        error = trim(text)
        return
      end do
    end do
  end function check_bounds

end module aqua_checks
