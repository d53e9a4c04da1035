!> The Gaussian grid of a triangular truncation, quadratic: products of two fields are transformed
!! without aliasing.
!!
!! Columns are numbered by longitude first, from the southernmost latitude: column = i + (j - 1)
!! n_lon.
module aqua_grid
  use aqua_constants, only: pi, r8
  implicit none (type, external)
  private

  public :: gaussian_grid, make_grid

  type :: gaussian_grid
    integer :: truncation = 0                   !! Largest total wavenumber.
    integer :: n_lon = 0
    integer :: n_lat = 0
    integer :: n_column = 0
    real(r8), allocatable :: longitude(:)       !! [i], radians east
    real(r8), allocatable :: latitude(:)        !! [j], radians, south to north
    real(r8), allocatable :: sin_latitude(:)    !! [j]
    real(r8), allocatable :: weight(:)          !! [j], Gaussian weights, sum 2
    real(r8), allocatable :: area(:)            !! [column], steradian, sum 4 pi
    real(r8), allocatable :: column_latitude(:), column_longitude(:)  !! [column], radians
  end type gaussian_grid

  integer, parameter :: truncations(3) = [10, 21, 42]
  integer, parameter :: latitudes(3) = [16, 32, 64]

contains

  !> Makes the grid of T10, T21 or T42; error is '' or says what may be asked for.
  subroutine make_grid(truncation, grid, error)
    integer, intent(in) :: truncation
    type(gaussian_grid), intent(out) :: grid
    character(len=:), allocatable, intent(out) :: error
    character(len=80) :: text
    integer :: at, i, j

    error = ''
    at = findloc(truncations, truncation, dim=1)
    if (at == 0) then
      write (text, '(a,i0)') 'truncation must be 10, 21 or 42, not ', truncation
      error = trim(text)
      return
    end if
    grid%truncation = truncation
    grid%n_lat = latitudes(at)
    grid%n_lon = 2 * grid%n_lat
    grid%n_column = grid%n_lon * grid%n_lat
    allocate (grid%sin_latitude(grid%n_lat), grid%weight(grid%n_lat))
    call gauss_legendre(grid%sin_latitude, grid%weight)
    grid%latitude = asin(grid%sin_latitude)
    grid%longitude = [(2.0_r8 * pi * real(i, r8) / real(grid%n_lon, r8), i = 0, grid%n_lon - 1)]
    grid%area = [((grid%weight(j) * 2.0_r8 * pi / real(grid%n_lon, r8), i = 1, grid%n_lon), j = 1, &
                  grid%n_lat)]
    grid%column_latitude = [((grid%latitude(j), i = 1, grid%n_lon), j = 1, grid%n_lat)]
    grid%column_longitude = [((grid%longitude(i), i = 1, grid%n_lon), j = 1, grid%n_lat)]
  end subroutine make_grid

  !> Nodes (south to north, exactly antisymmetric) and weights of Gauss-Legendre quadrature on [-1,
  !! 1], by Newton's method.
  pure subroutine gauss_legendre(node, weight)
    real(r8), intent(out) :: node(:), weight(:)
    integer, parameter :: n_iteration = 10    ! quadratic convergence: six are enough for round-off
    real(r8) :: x, p, slope
    integer :: n, j, iteration

    n = size(node)
    do j = 1, n / 2
      x = cos(pi * (real(j, r8) - 0.25_r8) / (real(n, r8) + 0.5_r8))
      do iteration = 1, n_iteration
        call legendre(n, x, p, slope)
        x = x - p / slope
      end do
      call legendre(n, x, p, slope)
      node(j) = -x
      node(n + 1 - j) = x
      weight(j) = 2.0_r8 / ((1.0_r8 - x**2) * slope**2)
      weight(n + 1 - j) = weight(j)
    end do
  end subroutine gauss_legendre

  !> The Legendre polynomial of degree n and its derivative at x, |x| < 1.
  pure subroutine legendre(n, x, p, slope)
    integer, intent(in) :: n
    real(r8), intent(in) :: x
    real(r8), intent(out) :: p, slope
    real(r8) :: below, above
    integer :: degree

    below = 1.0_r8
    p = x
    do degree = 2, n
      above = (real(2 * degree - 1, r8) * x * p - real(degree - 1, r8) * below) / real(degree, r8)
      below = p
      p = above
    end do
    slope = real(n, r8) * (x * p - below) / (x**2 - 1.0_r8)
  end subroutine legendre

end module aqua_grid
