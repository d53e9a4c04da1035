!> The spherical harmonic transform of many fields at once: FFTW along longitude, matrix products along latitude.
!!
!! Spectral fields are [row, real or imaginary, coefficient], grid fields [row, column], with any number of rows (levels of several
!! variables). Coefficients are ordered by zonal wavenumber m = 0..N, and within it by total wavenumber n = m..N+1: one degree more
!! than the truncation, which winds need. A field is sum over m, n of s(n,m) P(n,m)(sin latitude) exp(i m longitude), with
!! Legendre functions whose mean square is 1, so that the first coefficient is the global mean.
module aqua_transform
  use aqua_blas, only: dgemm
  use aqua_constants, only: r8
  use aqua_fftw, only: c_double_complex, c_ptr, fftw_destroy_plan, fftw_estimate, fftw_execute_dft_c2r, fftw_execute_dft_r2c, &
                       fftw_plan_many_dft_c2r, fftw_plan_many_dft_r2c, fftw_unaligned
  use aqua_grid, only: gaussian_grid
  implicit none (type, external)
  private

  public :: spectral_transform

  !> Legendre functions of one parity and zonal wavenumber [degree, latitude from the equator to the north pole].
  type :: legendre_block
    real(r8), allocatable :: p(:, :)
  end type legendre_block

  type :: spectral_transform
    type(gaussian_grid) :: grid
    integer :: n_row = 0
    integer :: n_coefficient = 0
    integer, allocatable :: first(:)          !! [m], coefficient (m, m)
    integer, allocatable :: zonal(:)          !! [coefficient], m
    integer, allocatable :: total(:)          !! [coefficient], n
    real(r8), allocatable :: epsilon(:)       !! [coefficient], sqrt((n^2 - m^2) / (4 n^2 - 1))
    type(legendre_block), allocatable :: even(:), odd(:)   !! [m]
  contains
    procedure :: initialize
    procedure :: analyze
    procedure :: synthesize
  end type spectral_transform

contains

  subroutine initialize(self, grid)
    class(spectral_transform), intent(inout) :: self
    type(gaussian_grid), intent(in) :: grid
    integer :: m, n, at, n_trunc

    n_trunc = grid%truncation
    self%grid = grid
    self%n_coefficient = sum([(n_trunc + 2 - m, m = 0, n_trunc)])
    allocate (self%first(0:n_trunc), self%even(0:n_trunc), self%odd(0:n_trunc))
    allocate (self%zonal(self%n_coefficient), self%total(self%n_coefficient), self%epsilon(self%n_coefficient))
    at = 0
    do m = 0, n_trunc
      self%first(m) = at + 1
      do n = m, n_trunc + 1
        at = at + 1
        self%zonal(at) = m
        self%total(at) = n
        self%epsilon(at) = recursion_factor(n, m)
      end do
      call make_legendre(grid, m, self%even(m)%p, self%odd(m)%p)
    end do
  end subroutine initialize

  elemental function recursion_factor(n, m) result(epsilon)
    integer, intent(in) :: n, m
    real(r8) :: epsilon

    epsilon = sqrt(real(n**2 - m**2, r8) / real(4 * n**2 - 1, r8))
  end function recursion_factor

  !> P(n,m) for n = m..N+1 by the three-term recursion over n, split by the parity of n - m.
  subroutine make_legendre(grid, m, even, odd)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: m
    real(r8), allocatable, intent(out) :: even(:, :), odd(:, :)
    real(r8) :: p(m:grid%truncation + 1), x
    integer :: n, j, n_half, n_last

    n_half = grid%n_lat / 2
    n_last = grid%truncation + 1
    allocate (even((n_last - m) / 2 + 1, n_half), odd((n_last - m + 1) / 2, n_half))
    do j = 1, n_half
      x = grid%sin_latitude(n_half + j)
      p(m) = 1.0_r8
      do n = 1, m
        p(m) = p(m) * sqrt(real(2 * n + 1, r8) / real(2 * n, r8)) * sqrt(1.0_r8 - x**2)
      end do
      p(m + 1) = x * p(m) / recursion_factor(m + 1, m)
      do n = m + 2, n_last
        p(n) = (x * p(n - 1) - recursion_factor(n - 1, m) * p(n - 2)) / recursion_factor(n, m)
      end do
      even(:, j) = p(m:n_last:2)
      odd(:, j) = p(m + 1:n_last:2)
    end do
  end subroutine make_legendre

  !> Grid to spectral: s(n,m) = 1/2 sum over latitudes of weight P(n,m) times the m-th Fourier coefficient.
  subroutine analyze(self, field, spectral)
    class(spectral_transform), intent(in) :: self
    real(r8), intent(in), contiguous :: field(:, :)              !! [row, column]
    real(r8), intent(out), contiguous :: spectral(:, :, :)       !! [row, 2, coefficient]
    complex(c_double_complex), allocatable :: fourier(:, :, :)
    real(r8), allocatable :: folded(:, :, :, :)
    type(c_ptr) :: plan
    integer :: n_row, n_lon, n_half, j, m

    n_row = size(field, 1)
    n_lon = self%grid%n_lon
    n_half = self%grid%n_lat / 2
    allocate (fourier(n_row, 0:n_lon / 2, self%grid%n_lat), folded(n_row, 2, n_half, 2))
    plan = plan_forward(n_row, n_lon)
    do j = 1, self%grid%n_lat
      call forward(plan, n_row * n_lon, field(:, (j - 1) * n_lon + 1:j * n_lon), n_row * (n_lon / 2 + 1), fourier(1, 0, j))
    end do
    call fftw_destroy_plan(plan)
    do m = 0, self%grid%truncation
      call fold(self%grid, n_row, fourier(:, m, :), folded)
      call project(n_row, n_half, size(self%even(m)%p, 1), folded(1, 1, 1, 1), self%even(m)%p, spectral(:, :, self%first(m):))
      call project(n_row, n_half, size(self%odd(m)%p, 1), folded(1, 1, 1, 2), self%odd(m)%p, spectral(:, :, self%first(m) + 1:))
    end do
  end subroutine analyze

  !> Sums and differences of both hemispheres, weighted.
  pure subroutine fold(grid, n_row, fourier, folded)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: n_row
    complex(c_double_complex), intent(in) :: fourier(n_row, grid%n_lat)
    real(r8), intent(out) :: folded(n_row, 2, grid%n_lat / 2, 2)     !! [row, 2, latitude, even or odd]
    real(r8) :: factor
    integer :: j, n_half

    n_half = grid%n_lat / 2
    do j = 1, n_half
      factor = 0.5_r8 * grid%weight(n_half + j) / real(grid%n_lon, r8)
      associate (north => fourier(:, n_half + j), south => fourier(:, n_half + 1 - j))
        folded(:, 1, j, 1) = factor * (real(north) + real(south))
        folded(:, 2, j, 1) = factor * (aimag(north) + aimag(south))
        folded(:, 1, j, 2) = factor * (real(north) - real(south))
        folded(:, 2, j, 2) = factor * (aimag(north) - aimag(south))
      end associate
    end do
  end subroutine fold

  !> Every other coefficient from here on: the product of folded latitudes with Legendre functions of one parity.
  subroutine project(n_row, n_half, n_degree, folded, p, spectral)
    integer, intent(in) :: n_row, n_half, n_degree
    real(r8), intent(in) :: folded(*), p(*)
    real(r8), intent(inout) :: spectral(*)

    if (n_degree == 0) return
    call dgemm('N', 'T', 2 * n_row, n_degree, n_half, 1.0_r8, folded, 2 * n_row, p, n_degree, 0.0_r8, spectral, 4 * n_row)
  end subroutine project

  !> Spectral to grid.
  subroutine synthesize(self, spectral, field)
    class(spectral_transform), intent(in) :: self
    real(r8), intent(in), contiguous :: spectral(:, :, :)        !! [row, 2, coefficient]
    real(r8), intent(out), contiguous :: field(:, :)             !! [row, column]
    complex(c_double_complex), allocatable :: fourier(:, :, :)
    real(r8), allocatable :: folded(:, :, :, :)
    type(c_ptr) :: plan
    integer :: n_row, n_lon, n_half, j, m

    n_row = size(field, 1)
    n_lon = self%grid%n_lon
    n_half = self%grid%n_lat / 2
    allocate (fourier(n_row, 0:n_lon / 2, self%grid%n_lat), folded(n_row, 2, n_half, 2))
    fourier = (0.0_r8, 0.0_r8)
    do m = 0, self%grid%truncation
      call expand(n_row, n_half, size(self%even(m)%p, 1), spectral(:, :, self%first(m):), self%even(m)%p, folded(1, 1, 1, 1))
      call expand(n_row, n_half, size(self%odd(m)%p, 1), spectral(:, :, self%first(m) + 1:), self%odd(m)%p, folded(1, 1, 1, 2))
      do j = 1, n_half
        associate (even => folded(:, :, j, 1), odd => folded(:, :, j, 2))
          fourier(:, m, n_half + j) = cmplx(even(:, 1) + odd(:, 1), even(:, 2) + odd(:, 2), c_double_complex)
          fourier(:, m, n_half + 1 - j) = cmplx(even(:, 1) - odd(:, 1), even(:, 2) - odd(:, 2), c_double_complex)
        end associate
      end do
    end do
    plan = plan_backward(n_row, n_lon)
    do j = 1, self%grid%n_lat
      call backward(plan, n_row * (n_lon / 2 + 1), fourier(1, 0, j), n_row * n_lon, field(:, (j - 1) * n_lon + 1:j * n_lon))
    end do
    call fftw_destroy_plan(plan)
  end subroutine synthesize

  subroutine expand(n_row, n_half, n_degree, spectral, p, folded)
    integer, intent(in) :: n_row, n_half, n_degree
    real(r8), intent(in) :: spectral(*), p(*)
    real(r8), intent(inout) :: folded(*)

    call dgemm('N', 'N', 2 * n_row, n_half, n_degree, 1.0_r8, spectral, 4 * n_row, p, n_degree, 0.0_r8, folded, 2 * n_row)
  end subroutine expand

  !> Plans are estimated and for unaligned arrays, so that every rank and run computes in the same way.
  function plan_forward(n_row, n_lon) result(plan)
    integer, intent(in) :: n_row, n_lon
    type(c_ptr) :: plan
    real(r8), allocatable :: grid(:)
    complex(c_double_complex), allocatable :: fourier(:)

    allocate (grid(n_row * n_lon), fourier(n_row * (n_lon / 2 + 1)))
    plan = fftw_plan_many_dft_r2c(1, [n_lon], n_row, grid, [n_lon], n_row, 1, fourier, [n_lon / 2 + 1], n_row, 1, &
                                  ior(fftw_estimate, fftw_unaligned))
  end function plan_forward

  function plan_backward(n_row, n_lon) result(plan)
    integer, intent(in) :: n_row, n_lon
    type(c_ptr) :: plan
    real(r8), allocatable :: grid(:)
    complex(c_double_complex), allocatable :: fourier(:)

    allocate (grid(n_row * n_lon), fourier(n_row * (n_lon / 2 + 1)))
    plan = fftw_plan_many_dft_c2r(1, [n_lon], n_row, fourier, [n_lon / 2 + 1], n_row, 1, grid, [n_lon], n_row, 1, &
                                  ior(fftw_estimate, fftw_unaligned))
  end function plan_backward

  subroutine forward(plan, n_grid, grid, n_fourier, fourier)
    type(c_ptr), intent(in) :: plan
    integer, intent(in) :: n_grid, n_fourier
    real(r8), intent(in) :: grid(n_grid)
    complex(c_double_complex), intent(inout) :: fourier(n_fourier)
    real(r8) :: copy(n_grid)

    copy = grid      ! FFTW may overwrite its input
    call fftw_execute_dft_r2c(plan, copy, fourier)
  end subroutine forward

  subroutine backward(plan, n_fourier, fourier, n_grid, grid)
    type(c_ptr), intent(in) :: plan
    integer, intent(in) :: n_grid, n_fourier
    complex(c_double_complex), intent(inout) :: fourier(n_fourier)
    real(r8), intent(inout) :: grid(n_grid)

    call fftw_execute_dft_c2r(plan, fourier, grid)
  end subroutine backward

end module aqua_transform
