!> Makes the mass fluxes of transport agree with the surface pressure of the dynamics (Rotman et al.
!! 2004, J. Geophys. Res. 109, D04303): the fluxes are completed by the gradient of a potential that
!! solves the discrete Poisson equation of the same faces.
module aqua_pressure_fixer
  use aqua_constants, only: pi, r8
  use aqua_fftw, only: c_double_complex, c_ptr, fftw_estimate, fftw_execute_dft_c2r, &
                       fftw_execute_dft_r2c, fftw_plan_dft_c2r_1d, fftw_plan_dft_r2c_1d, &
                       fftw_unaligned
  use aqua_grid, only: gaussian_grid
  implicit none (type, external)
  private

  public :: pressure_fixer

  type :: pressure_fixer
    integer :: n_lon = 0
    integer :: n_lat = 0
    real(r8), allocatable :: east(:)      !! [latitude], conductance of the faces between longitudes
    real(r8), allocatable :: north(:)     !! [face 0..n_lat], of the faces between latitudes; 0 at
                                          !! the poles
    type(c_ptr), private :: forward, backward
  contains
    procedure :: initialize, solve
    procedure, private :: solve_wave
  end type pressure_fixer

contains

  subroutine initialize(self, grid)
    class(pressure_fixer), intent(inout) :: self
    type(gaussian_grid), intent(in) :: grid
    real(r8), allocatable :: row(:)
    complex(c_double_complex), allocatable :: waves(:)
    real(r8) :: edge
    integer :: j

    self%n_lon = grid%n_lon
    self%n_lat = grid%n_lat
    allocate (self%east(grid%n_lat), self%north(0:grid%n_lat), row(grid%n_lon), &
              waves(grid%n_lon / 2 + 1))
    self%north = 0.0_r8
    edge = -1.0_r8
    do j = 1, grid%n_lat
      self%east(j) = grid%weight(j) / (1.0_r8 - grid%sin_latitude(j)**2) &
        * real(grid%n_lon, r8) / (2.0_r8 * pi)
      edge = edge + grid%weight(j)
      if (j < grid%n_lat) self%north(j) = sqrt(1.0_r8 - edge**2) * 2.0_r8 &
                                          * pi / real(grid%n_lon, r8) &
                                          / (grid%latitude(j + 1) - grid%latitude(j))
    end do
    self%forward = fftw_plan_dft_r2c_1d(grid%n_lon, row, waves, ior(fftw_estimate, fftw_unaligned))
    self%backward = fftw_plan_dft_c2r_1d(grid%n_lon, waves, row, ior(fftw_estimate, fftw_unaligned))
  end subroutine initialize

  !> Fluxes through the eastern and northern faces of cells [longitude, latitude] whose divergence
  !! out of every cell is the source given, which sums to zero.
  subroutine solve(self, source, flux_east, flux_north)
    class(pressure_fixer), intent(in) :: self
    real(r8), intent(in) :: source(self%n_lon, self%n_lat)
    real(r8), intent(out) :: flux_east(self%n_lon, self%n_lat), flux_north(self%n_lon, self%n_lat)
    real(r8) :: row(self%n_lon), potential(self%n_lon, self%n_lat)
    complex(c_double_complex) :: waves(self%n_lon / 2 + 1, self%n_lat), one(self%n_lon / 2 + 1)
    integer :: j, m

    do j = 1, self%n_lat
      row = source(:, j)
      call fftw_execute_dft_r2c(self%forward, row, one)
      waves(:, j) = one / real(self%n_lon, r8)
    end do
    do m = 0, self%n_lon / 2
      call self%solve_wave(m, waves(m + 1, :))
    end do
    do j = 1, self%n_lat
      one = waves(:, j)
      call fftw_execute_dft_c2r(self%backward, one, row)
      potential(:, j) = row
      flux_east(:, j) = self%east(j) * (cshift(row, 1) - row)
    end do
    do j = 1, self%n_lat - 1
      flux_north(:, j) = self%north(j) * (potential(:, j + 1) - potential(:, j))
    end do
    flux_north(:, self%n_lat) = 0.0_r8
  end subroutine solve

  !> The potential of one zonal wave [latitude], in place of its source, by elimination from south
  !! to north. The mean potential of the zonal mean is free: it is 0 in the southernmost cell, whose
  !! equation the others imply.
  pure subroutine solve_wave(self, m, wave)
    class(pressure_fixer), intent(in) :: self
    integer, intent(in) :: m
    complex(c_double_complex), intent(inout) :: wave(:)
    real(r8) :: ratio(self%n_lat), diagonal, pivot
    integer :: j, first

    first = merge(2, 1, m == 0)
    if (m == 0) wave(1) = 0.0_r8
    ratio = 0.0_r8
    do j = first, self%n_lat
      diagonal = -self%north(j - 1) - self%north(j) &
                 - self%east(j) * 2.0_r8 &
                 * (1.0_r8 - cos(2.0_r8 * pi * real(m, r8) / real(self%n_lon, r8)))
      pivot = diagonal
      if (j > first) pivot = pivot - self%north(j - 1) * ratio(j - 1)
      ratio(j) = self%north(j) / pivot
      if (j > first) wave(j) = wave(j) - self%north(j - 1) * wave(j - 1)
      wave(j) = wave(j) / pivot
    end do
    do j = self%n_lat - 1, first, -1
      wave(j) = wave(j) - ratio(j) * wave(j + 1)
    end do
  end subroutine solve_wave

end module aqua_pressure_fixer
