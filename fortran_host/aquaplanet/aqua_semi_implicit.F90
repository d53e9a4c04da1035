!> The semi-implicit step for gravity waves (Hoskins and Simmons 1975, Q. J. R. Meteorol. Soc. 101, 637): the linear terms act on the
!! mean of the old and the new state, which leaves one system of equations in the divergences of all levels per total wavenumber.
module aqua_semi_implicit
  use aqua_constants, only: dry_air_gas, earth_radius, r8
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: linear_operators
  implicit none (type, external)
  private

  public :: semi_implicit

  interface
    subroutine dgesv(n, nrhs, a, lda, ipiv, b, ldb, info)
      import :: r8
      implicit none (type, external)
      integer, intent(in) :: n, nrhs, lda, ldb
      real(r8), intent(inout) :: a(lda, *), b(ldb, *)
      integer, intent(out) :: ipiv(*), info
    end subroutine dgesv
  end interface

  type :: semi_implicit
    real(r8) :: time_step = 0.0_r8            !! Half of the leap [s]
    type(linear_operators) :: linear
    real(r8), allocatable :: inverse(:, :, :) !! [level, level, n = 0..N]
  contains
    procedure :: initialize
    procedure :: subtract_linear
    procedure :: solve
  end type semi_implicit

contains

  !> Inverts I + dt^2 n (n+1) / a^2 (gamma tau + R T nu) for every total wavenumber.
  subroutine initialize(self, linear, n_truncation, time_step, error)
    class(semi_implicit), intent(inout) :: self
    type(linear_operators), intent(in) :: linear
    integer, intent(in) :: n_truncation
    real(r8), intent(in) :: time_step
    character(len=:), allocatable, intent(out) :: error
    real(r8), allocatable :: waves(:, :), matrix(:, :)
    integer, allocatable :: pivots(:)
    integer :: n_level, n, k, info

    error = ''
    n_level = size(linear%nu)
    self%linear = linear
    self%time_step = time_step
    waves = matmul(linear%gamma, linear%tau) + dry_air_gas * linear%temperature * spread(linear%nu, 1, n_level)
    if (allocated(self%inverse)) deallocate (self%inverse)
    allocate (self%inverse(n_level, n_level, 0:n_truncation), pivots(n_level))
    do n = 0, n_truncation
      matrix = time_step**2 * laplacian(n) * waves
      self%inverse(:, :, n) = 0.0_r8
      do k = 1, n_level
        matrix(k, k) = matrix(k, k) + 1.0_r8
        self%inverse(k, k, n) = 1.0_r8
      end do
      call dgesv(n_level, n_level, matrix, n_level, pivots, self%inverse(:, :, n), n_level, info)
      if (info /= 0) error = 'the semi-implicit system is singular: check the levels and the reference temperature'
    end do
  end subroutine initialize

  !> n (n + 1) / a^2, minus the eigenvalue of the Laplacian, in 1/m2.
  elemental function laplacian(n) result(eigenvalue)
    integer, intent(in) :: n
    real(r8) :: eigenvalue

    eigenvalue = real(n * (n + 1), r8) / earth_radius**2
  end function laplacian

  !> Takes the linear terms of a state from its tendency; rows are vorticity, divergence and temperature by level, then ln ps.
  subroutine subtract_linear(self, transform, state, tendency)
    class(semi_implicit), intent(in) :: self
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(in) :: state(:, :, :)          !! [row, 2, coefficient]
    real(r8), intent(inout) :: tendency(:, :, :)
    integer :: c, part, l

    l = size(self%linear%nu)
    do c = 1, transform%n_coefficient
      do part = 1, 2
        associate (d => state(l + 1:2 * l, part, c), t => state(2 * l + 1:3 * l, part, c), ln_ps => state(3 * l + 1, part, c))
          tendency(l + 1:2 * l, part, c) = tendency(l + 1:2 * l, part, c) - laplacian(transform%total(c)) &
            * (matmul(self%linear%gamma, t) + dry_air_gas * self%linear%temperature * ln_ps)
          tendency(2 * l + 1:3 * l, part, c) = tendency(2 * l + 1:3 * l, part, c) + matmul(self%linear%tau, d)
          tendency(3 * l + 1, part, c) = tendency(3 * l + 1, part, c) + dot_product(self%linear%nu, d)
        end associate
      end do
    end do
  end subroutine subtract_linear

  !> From the right-hand side old + dt (tendency - linear) to the mean of the old and the new state, in place.
  subroutine solve(self, transform, state)
    class(semi_implicit), intent(in) :: self
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(inout) :: state(:, :, :)       !! [row, 2, coefficient]
    real(r8) :: d(size(self%linear%nu))
    integer :: c, part, l, n

    l = size(self%linear%nu)
    do c = 1, transform%n_coefficient
      n = transform%total(c)
      if (n > transform%grid%truncation) cycle
      do part = 1, 2
        associate (t => state(2 * l + 1:3 * l, part, c), ln_ps => state(3 * l + 1, part, c))
          d = state(l + 1:2 * l, part, c) + self%time_step * laplacian(n) &
              * (matmul(self%linear%gamma, t) + dry_air_gas * self%linear%temperature * ln_ps)
          d = matmul(self%inverse(:, :, n), d)
          t = t - self%time_step * matmul(self%linear%tau, d)
          ln_ps = ln_ps - self%time_step * dot_product(self%linear%nu, d)
          state(l + 1:2 * l, part, c) = d
        end associate
      end do
    end do
  end subroutine solve

end module aqua_semi_implicit
