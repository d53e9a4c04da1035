!> The semi-implicit step for gravity waves (Hoskins and Simmons 1975, Q. J. R. Meteorol. Soc. 101,
!! 637): the linear terms act on the mean of the old and the new state, which leaves one system of
!! equations in the divergences of all levels per total wavenumber.
module aqua_semi_implicit
  use aqua_blas, only: dgemm, dgesv
  use aqua_constants, only: dry_air_gas, earth_radius, r8
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: linear_operators
  implicit none (type, external)
  private

  public :: semi_implicit

  type :: semi_implicit
    real(r8) :: time_step = 0.0_r8            !! Half of the leap [s]
    type(linear_operators) :: linear
    real(r8), allocatable :: inverse(:, :, :) !! [level, level, n = 0..N]
    real(r8), allocatable, private :: phi(:, :, :)
  contains
    procedure :: initialize, subtract_linear, solve
    procedure, private :: find_geopotential
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
    waves = matmul(linear%gamma, linear%tau) + dry_air_gas * linear%temperature &
      * spread(linear%nu, 1, n_level)
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
      if (info /= 0) error = &
        'the semi-implicit system is singular: check the levels and the reference temperature'
    end do
  end subroutine initialize

  !> n (n + 1) / a^2, minus the eigenvalue of the Laplacian, in 1/m2.
  elemental function laplacian(n) result(eigenvalue)
    integer, intent(in) :: n
    real(r8) :: eigenvalue

    eigenvalue = real(n * (n + 1), r8) / earth_radius**2
  end function laplacian

  !> Takes the linear terms of a state from its tendency; rows are vorticity, divergence and
  !! temperature by level, then ln ps.
  subroutine subtract_linear(self, transform, state, tendency)
    class(semi_implicit), intent(inout) :: self
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(in) :: state(3 * size(self%linear%nu) + 1, 2, transform%n_coefficient)
    real(r8), intent(inout) :: tendency(3 * size(self%linear%nu) + 1, 2, transform%n_coefficient)
    integer :: c, part, l

    l = size(self%linear%nu)
    call self%find_geopotential(transform%n_coefficient, state)
    call dgemm('N', 'N', l, 2 * transform%n_coefficient, l, 1.0_r8, self%linear%tau, l, &
               state(l + 1, 1, 1), 3 * l + 1, 1.0_r8, tendency(2 * l + 1, 1, 1), 3 * l + 1)
    do c = 1, transform%n_coefficient
      do part = 1, 2
        tendency(l + 1:2 * l, part, c) = tendency(l + 1:2 * l, part, c) &
          - laplacian(transform%total(c)) * self%phi(:, part, c)
        tendency(3 * l + 1, part, c) = tendency(3 * l + 1, part, c) &
                                       + dot_product(self%linear%nu, state(l + 1:2 * l, part, c))
      end do
    end do
  end subroutine subtract_linear

  !> From the right-hand side old + dt (tendency - linear) to the mean of the old and the new state,
  !! in place. Coefficients beyond the truncation are zero and stay so.
  subroutine solve(self, transform, state)
    class(semi_implicit), intent(inout) :: self
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(inout) :: state(3 * size(self%linear%nu) + 1, 2, transform%n_coefficient)
    real(r8) :: right(size(self%linear%nu), 2, 0:transform%grid%truncation)
    real(r8) :: solution(size(self%linear%nu), 2, 0:transform%grid%truncation)
    integer :: c, part, l, m, n

    l = size(self%linear%nu)
    call self%find_geopotential(transform%n_coefficient, state)
    do n = 0, transform%grid%truncation
      do m = 0, n
        c = transform%first(m) + n - m
        right(:, :, m) = state(l + 1:2 * l, :, c) + self%time_step * laplacian(n) * self%phi(:, :, &
          c)
      end do
      call dgemm('N', 'N', l, 2 * (n + 1), l, 1.0_r8, self%inverse(1, 1, n), l, right, l, 0.0_r8, &
                 solution, l)
      do m = 0, n
        state(l + 1:2 * l, :, transform%first(m) + n - m) = solution(:, :, m)
      end do
    end do
    associate (divergence => self%phi)
      divergence = state(l + 1:2 * l, :, :)
      call dgemm('N', 'N', l, 2 * transform%n_coefficient, l, -self%time_step, self%linear%tau, l, &
                 divergence, l, 1.0_r8, state(2 * l + 1, 1, 1), 3 * l + 1)
    end associate
    do c = 1, transform%n_coefficient
      do part = 1, 2
        state(3 * l + 1, part, c) = state(3 * l + 1, part, c) &
                                    - self%time_step * dot_product(self%linear%nu, &
                                                                   state(l + 1:2 * l, part, c))
      end do
    end do
  end subroutine solve

  !> Geopotential of temperature and surface pressure, with the pressure gradient: gamma T + R Tr ln
  !! ps.
  subroutine find_geopotential(self, n_coefficient, state)
    class(semi_implicit), intent(inout) :: self
    integer, intent(in) :: n_coefficient
    real(r8), intent(in) :: state(3 * size(self%linear%nu) + 1, 2, n_coefficient)
    integer :: l, c, part

    l = size(self%linear%nu)
    if (.not. allocated(self%phi)) allocate (self%phi(l, 2, n_coefficient))
    call dgemm('N', 'N', l, 2 * n_coefficient, l, 1.0_r8, self%linear%gamma, l, &
               state(2 * l + 1, 1, 1), 3 * l + 1, 0.0_r8, self%phi, l)
    do c = 1, n_coefficient
      do part = 1, 2
        self%phi(:, part, c) = self%phi(:, part, c) + dry_air_gas * self%linear%temperature &
          * state(3 * l + 1, part, c)
      end do
    end do
  end subroutine find_geopotential

end module aqua_semi_implicit
