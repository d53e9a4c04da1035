!> The spherical harmonic transform of many fields at once: FFTW along longitude, matrix products
!! along latitude.
!!
!! Spectral fields are [row, real or imaginary, coefficient], grid fields [row, column], with any
!! number of rows (levels of several variables). Coefficients are ordered by zonal wavenumber m =
!! 0..N, and within it by total wavenumber n = m..N+1: one degree more than the truncation, which
!! winds need. A field is sum over m, n of s(n,m) P(n,m)(sin latitude) exp(i m longitude), with
!! Legendre functions whose mean square is 1, so that the first coefficient is the global mean.
module aqua_transform
  use aqua_blas, only: dgemm
  use aqua_constants, only: r8
  use aqua_fftw, only: c_double_complex, c_int, c_ptr, fftw_backward, fftw_destroy_plan, &
                       fftw_estimate, fftw_execute_dft, fftw_forward, fftw_plan_many_dft, &
                       fftw_unaligned
  use aqua_grid, only: gaussian_grid
  implicit none (type, external)
  private

  public :: spectral_transform

  !> Legendre functions of one parity and zonal wavenumber [degree, latitude from the equator to the
  !! north pole].
  type :: legendre_block
    real(r8), allocatable :: p(:, :)
  end type legendre_block

  type :: spectral_transform
    type(gaussian_grid) :: grid
    integer :: n_coefficient = 0
    integer, allocatable :: first(:)          !! [m], coefficient (m, m)
    integer, allocatable :: zonal(:)          !! [coefficient], m
    integer, allocatable :: total(:)          !! [coefficient], n
    real(r8), allocatable :: epsilon(:)       !! [coefficient], sqrt((n^2 - m^2) / (4 n^2 - 1))
    type(legendre_block), allocatable, private :: even(:), odd(:)  !! [m]
    !> A latitude and its mirror image: before and after FFT
    complex(c_double_complex), allocatable, private :: line(:), waves(:)
    real(r8), allocatable, private :: folded(:)             !! Fourier coefficients of all latitudes
  contains
    procedure :: initialize, analyze, synthesize
    procedure, private :: reserve
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
    allocate (self%zonal(self%n_coefficient), self%total(self%n_coefficient), &
              self%epsilon(self%n_coefficient))
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

  !> Grid to spectral: s(n,m) = 1/2 sum over latitudes of weight P(n,m) times the m-th Fourier
  !! coefficient.
  subroutine analyze(self, field, spectral)
    class(spectral_transform), intent(inout) :: self
    real(r8), intent(in), contiguous :: field(:, :)              !! [row, column]
    real(r8), intent(out), contiguous :: spectral(:, :, :)       !! [row, 2, coefficient]
    type(c_ptr) :: plan
    integer :: n_row, n_pair, j, m

    n_row = size(field, 1)
    n_pair = (n_row + 1) / 2
    call self%reserve(n_row)
    plan = plan_of(n_pair, self%grid%n_lon, fftw_forward, self%line, self%waves)
    do j = 1, self%grid%n_lat / 2
      call fold(self%grid, j, n_row, n_pair, field, self%line)
      call fftw_execute_dft(plan, self%line, self%waves)
      call separate(self%grid, j, n_row, n_pair, self%waves, self%folded)
    end do
    call fftw_destroy_plan(plan)
    do m = 0, self%grid%truncation
      call project(self%grid, n_row, m, 0, self%folded, self%even(m)%p, &
                   spectral(:, :, self%first(m):))
      call project(self%grid, n_row, m, 1, self%folded, self%odd(m)%p, &
                   spectral(:, :, self%first(m) + 1:))
    end do
  end subroutine analyze

  !> Spectral to grid.
  subroutine synthesize(self, spectral, field)
    class(spectral_transform), intent(inout) :: self
    real(r8), intent(in), contiguous :: spectral(:, :, :)        !! [row, 2, coefficient]
    real(r8), intent(out), contiguous :: field(:, :)             !! [row, column]
    type(c_ptr) :: plan
    integer :: n_row, n_pair, j, m

    n_row = size(field, 1)
    n_pair = (n_row + 1) / 2
    call self%reserve(n_row)
    do m = 0, self%grid%truncation
      call expand(self%grid, n_row, m, 0, spectral(:, :, self%first(m):), self%even(m)%p, &
                  self%folded)
      call expand(self%grid, n_row, m, 1, spectral(:, :, self%first(m) + 1:), self%odd(m)%p, &
                  self%folded)
    end do
    plan = plan_of(n_pair, self%grid%n_lon, fftw_backward, self%waves, self%line)
    do j = 1, self%grid%n_lat / 2
      call join(self%grid, j, n_row, n_pair, self%folded, self%waves)
      call fftw_execute_dft(plan, self%waves, self%line)
      call unfold(self%grid, j, n_row, n_pair, self%line, field)
    end do
    call fftw_destroy_plan(plan)
  end subroutine synthesize

  !> Room for the transform of n_row rows, kept from call to call: fresh memory of this size costs
  !! as much as the transform.
  subroutine reserve(self, n_row)
    class(spectral_transform), intent(inout) :: self
    integer, intent(in) :: n_row
    integer :: n_line, n_folded

    n_line = (n_row + 1) / 2 * self%grid%n_lon * 2
    n_folded = n_row * 2 * (self%grid%truncation + 1) * self%grid%n_lat
    if (allocated(self%line)) then
      if (size(self%line) >= n_line .and. size(self%folded) >= n_folded) return
      deallocate (self%line, self%waves, self%folded)
    end if
    allocate (self%line(n_line), self%waves(n_line), self%folded(n_folded))
  end subroutine reserve

  !> Plans are estimated and for unaligned arrays, so that every rank and run computes in the same
  !! way. Two real rows are transformed as one complex row, both parities of a latitude at once.
  function plan_of(n_pair, n_lon, direction, from, to) result(plan)
    integer, intent(in) :: n_pair, n_lon
    integer(c_int), intent(in) :: direction
    complex(c_double_complex), intent(inout) :: from(2 * n_pair * n_lon), to(2 * n_pair * n_lon)
    type(c_ptr) :: plan

    plan = fftw_plan_many_dft(1, [n_lon], 2 * n_pair, from, [n_lon], 2 * n_pair, 1, to, [n_lon], &
                              2 * n_pair, 1, direction, ior(fftw_estimate, fftw_unaligned))
  end function plan_of

  !> Sums and differences of the j-th latitudes from the equator, [pair of rows, even or odd,
  !! longitude].
  pure subroutine fold(grid, j, n_row, n_pair, field, line)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: j, n_row, n_pair
    real(r8), intent(in) :: field(n_row, grid%n_lon, grid%n_lat)
    complex(c_double_complex), intent(inout) :: line(n_pair, 2, grid%n_lon)
    integer :: i, k

    associate (north => field(:, :, grid%n_lat / 2 + j), &
               south => field(:, :, grid%n_lat / 2 + 1 - j))
      do i = 1, grid%n_lon
        do k = 1, n_row / 2
          line(k, 1, i) = cmplx(north(2 * k - 1, i) + south(2 * k - 1, i), &
                                north(2 * k, i) + south(2 * k, i), c_double_complex)
          line(k, 2, i) = cmplx(north(2 * k - 1, i) - south(2 * k - 1, i), &
                                north(2 * k, i) - south(2 * k, i), c_double_complex)
        end do
        if (n_pair == n_row / 2) cycle
        line(n_pair, 1, i) = cmplx(north(n_row, i) + south(n_row, i), 0.0_r8, c_double_complex)
        line(n_pair, 2, i) = cmplx(north(n_row, i) - south(n_row, i), 0.0_r8, c_double_complex)
      end do
    end associate
  end subroutine fold

  !> The spectra of both rows of a pair, weighted. With z = x + i y, X(m) = (Z(m) + Z*(-m)) / 2 and
  !! Y(m) = (Z(m) - Z*(-m)) / 2i.
  pure subroutine separate(grid, j, n_row, n_pair, waves, folded)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: j, n_row, n_pair
    complex(c_double_complex), intent(in) :: waves(n_pair, 2, 0:grid%n_lon - 1)
    !> [row, part, parity, m, latitude]
    real(r8), intent(inout) :: folded(n_row, 2, 2, 0:grid%truncation, grid%n_lat / 2)
    complex(c_double_complex) :: a, b
    real(r8) :: factor
    integer :: k, m, parity

    factor = 0.25_r8 * grid%weight(grid%n_lat / 2 + j) / real(grid%n_lon, r8)
    do m = 0, grid%truncation
      do parity = 1, 2
        do k = 1, n_row / 2
          a = waves(k, parity, m)
          b = waves(k, parity, modulo(grid%n_lon - m, grid%n_lon))
          folded(2 * k - 1, 1, parity, m, j) = factor * (real(a) + real(b))
          folded(2 * k, 1, parity, m, j) = factor * (aimag(a) + aimag(b))
          folded(2 * k - 1, 2, parity, m, j) = factor * (aimag(a) - aimag(b))
          folded(2 * k, 2, parity, m, j) = factor * (real(b) - real(a))
        end do
        if (n_pair == n_row / 2) cycle
        folded(n_row, 1, parity, m, j) = 2.0_r8 * factor * real(waves(n_pair, parity, m))
        folded(n_row, 2, parity, m, j) = 2.0_r8 * factor * aimag(waves(n_pair, parity, m))
      end do
    end do
  end subroutine separate

  !> The inverse of separate, and zeros for waves beyond the truncation.
  pure subroutine join(grid, j, n_row, n_pair, folded, waves)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: j, n_row, n_pair
    !> [row, part, parity, m, latitude]
    real(r8), intent(in) :: folded(n_row, 2, 2, 0:grid%truncation, grid%n_lat / 2)
    complex(c_double_complex), intent(inout) :: waves(n_pair, 2, 0:grid%n_lon - 1)
    integer :: k, m, parity

    do parity = 1, 2
      associate (of_mean => folded(:, 1, parity, 0, j))
        waves(:n_row / 2, parity, 0) = cmplx(of_mean(1:n_row - 1:2), of_mean(2:n_row:2), &
                                             c_double_complex)
        if (n_pair > n_row / 2) waves(n_pair, parity, 0) = cmplx(of_mean(n_row), 0.0_r8, &
                                                                 c_double_complex)
      end associate
    end do
    do m = 1, grid%truncation
      do parity = 1, 2
        associate (x => folded(:, 1, parity, m, j), y => folded(:, 2, parity, m, j))
          do k = 1, n_row / 2
            waves(k, parity, m) = cmplx(x(2 * k - 1) - y(2 * k), x(2 * k) + y(2 * k - 1), &
                                        c_double_complex)
            waves(k, parity, grid%n_lon - m) = cmplx(x(2 * k - 1) + y(2 * k), x(2 * k) &
                                                     - y(2 * k - 1), c_double_complex)
          end do
          if (n_pair == n_row / 2) cycle
          waves(n_pair, parity, m) = cmplx(x(n_row), y(n_row), c_double_complex)
          waves(n_pair, parity, grid%n_lon - m) = cmplx(x(n_row), -y(n_row), c_double_complex)
        end associate
      end do
    end do
    waves(:, :, grid%truncation + 1:grid%n_lon - grid%truncation - 1) = (0.0_r8, 0.0_r8)
  end subroutine join

  !> Both latitudes from their even and odd parts.
  pure subroutine unfold(grid, j, n_row, n_pair, line, field)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: j, n_row, n_pair
    complex(c_double_complex), intent(in) :: line(n_pair, 2, grid%n_lon)
    real(r8), intent(inout) :: field(n_row, grid%n_lon, grid%n_lat)
    integer :: i, k

    associate (north => field(:, :, grid%n_lat / 2 + j), &
               south => field(:, :, grid%n_lat / 2 + 1 - j))
      do i = 1, grid%n_lon
        do k = 1, n_row / 2
          north(2 * k - 1, i) = real(line(k, 1, i)) + real(line(k, 2, i))
          north(2 * k, i) = aimag(line(k, 1, i)) + aimag(line(k, 2, i))
          south(2 * k - 1, i) = real(line(k, 1, i)) - real(line(k, 2, i))
          south(2 * k, i) = aimag(line(k, 1, i)) - aimag(line(k, 2, i))
        end do
        if (n_pair == n_row / 2) cycle
        north(n_row, i) = real(line(n_pair, 1, i)) + real(line(n_pair, 2, i))
        south(n_row, i) = real(line(n_pair, 1, i)) - real(line(n_pair, 2, i))
      end do
    end associate
  end subroutine unfold

  !> Every other coefficient from here on: the product of folded latitudes with Legendre functions
  !! [degree, latitude].
  subroutine project(grid, n_row, m, parity, folded, p, spectral)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: n_row, m, parity
    real(r8), intent(in) :: folded(2 * n_row, 0:1, 0:grid%truncation, grid%n_lat / 2), p(:, :)
    real(r8), intent(inout) :: spectral(*)

    if (size(p) == 0) return
    call dgemm('N', 'T', 2 * n_row, size(p, 1), size(p, 2), 1.0_r8, folded(1, parity, m, 1), &
               4 * n_row * (grid%truncation + 1), p, size(p, 1), 0.0_r8, spectral, 4 * n_row)
  end subroutine project

  !> The inverse of project: one parity of the latitudes.
  subroutine expand(grid, n_row, m, parity, spectral, p, folded)
    type(gaussian_grid), intent(in) :: grid
    integer, intent(in) :: n_row, m, parity
    real(r8), intent(in) :: spectral(*), p(:, :)
    real(r8), intent(inout) :: folded(2 * n_row, 0:1, 0:grid%truncation, grid%n_lat / 2)

    call dgemm('N', 'N', 2 * n_row, size(p, 2), size(p, 1), 1.0_r8, spectral, 4 * n_row, p, &
               size(p, 1), 0.0_r8, folded(1, parity, m, 1), 4 * n_row * (grid%truncation + 1))
  end subroutine expand

end module aqua_transform
