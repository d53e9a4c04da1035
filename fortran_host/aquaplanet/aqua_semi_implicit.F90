!> The semi-implicit step for gravity waves (Hoskins and Simmons 1975, Q. J. R. Meteorol. Soc. 101, 637): the linear terms act on
!! the mean of the old and the new state, which leaves one system of equations in the divergences of all levels per total
!! wavenumber.
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
    real(r8), dimension(size(self%linear%nu), 2, transform%n_coefficient) :: phi, cooling
    integer :: c, part, l

    l = size(self%linear%nu)
    phi = geopotential(self%linear, state)
    cooling = applied(self%linear%tau, state(l + 1:2 * l, :, :))
    do c = 1, transform%n_coefficient
      do part = 1, 2
        tendency(l + 1:2 * l, part, c) = tendency(l + 1:2 * l, part, c) - laplacian(transform%total(c)) * phi(:, part, c)
        tendency(2 * l + 1:3 * l, part, c) = tendency(2 * l + 1:3 * l, part, c) + cooling(:, part, c)
        tendency(3 * l + 1, part, c) = tendency(3 * l + 1, part, c) &
                                       + dot_product(self%linear%nu, state(l + 1:2 * l, part, c))
      end do
    end do
  end subroutine subtract_linear

  !> From the right-hand side old + dt (tendency - linear) to the mean of the old and the new state, in place.
  subroutine solve(self, transform, state)
    class(semi_implicit), intent(in) :: self
    type(spectral_transform), intent(in) :: transform
    real(r8), intent(inout) :: state(:, :, :)       !! [row, 2, coefficient]
    real(r8), dimension(size(self%linear%nu), 2, transform%n_coefficient) :: d, cooling
    real(r8) :: of_degree(size(self%linear%nu), 2, transform%grid%truncation + 1)
    integer :: c, l, m, n, n_member

    l = size(self%linear%nu)
    d = geopotential(self%linear, state)
    do c = 1, transform%n_coefficient
      d(:, :, c) = state(l + 1:2 * l, :, c) + self%time_step * laplacian(transform%total(c)) * d(:, :, c)
    end do
    do n = 0, transform%grid%truncation
      n_member = n + 1
      do m = 0, n
        of_degree(:, :, m + 1) = d(:, :, transform%first(m) + n - m)
      end do
      of_degree(:, :, :n_member) = applied(self%inverse(:, :, n), of_degree(:, :, :n_member))
      do m = 0, n
        d(:, :, transform%first(m) + n - m) = of_degree(:, :, m + 1)
      end do
    end do
    cooling = applied(self%linear%tau, d)
    do c = 1, transform%n_coefficient
      if (transform%total(c) > transform%grid%truncation) cycle
      state(l + 1:2 * l, :, c) = d(:, :, c)
      state(2 * l + 1:3 * l, :, c) = state(2 * l + 1:3 * l, :, c) - self%time_step * cooling(:, :, c)
      state(3 * l + 1, :, c) = state(3 * l + 1, :, c) - self%time_step * matmul(self%linear%nu, d(:, :, c))
    end do
  end subroutine solve

  !> Geopotential of temperature and surface pressure, with the pressure gradient: gamma T + R Tr ln ps, [level, 2, coefficient].
  function geopotential(linear, state) result(phi)
    type(linear_operators), intent(in) :: linear
    real(r8), intent(in) :: state(:, :, :)
    real(r8) :: phi(size(linear%nu), 2, size(state, 3))
    integer :: l, k

    l = size(linear%nu)
    phi = applied(linear%gamma, state(2 * l + 1:3 * l, :, :))
    do k = 1, l
      phi(k, :, :) = phi(k, :, :) + dry_air_gas * linear%temperature * state(3 * l + 1, :, :)
    end do
  end function geopotential

  !> matrix [level, level] times every column of a field [level, 2, coefficient].
  function applied(matrix, field) result(product)
    real(r8), intent(in) :: matrix(:, :)
    real(r8), intent(in) :: field(:, :, :)
    real(r8) :: product(size(field, 1), size(field, 2), size(field, 3))
    integer :: l, n

    l = size(matrix, 1)
    n = size(field, 2) * size(field, 3)
    call dgemm('N', 'N', l, n, l, 1.0_r8, matrix, l, field, l, 0.0_r8, product, l)
  end function applied

end module aqua_semi_implicit
