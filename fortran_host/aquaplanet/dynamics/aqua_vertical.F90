!> Vertical finite differences of Simmons and Burridge (1981, Mon. Wea. Rev. 109, 758) on hybrid
!! levels, and their linear form about an isothermal state of rest, on which the semi-implicit step
!! stands.
module aqua_vertical
  use aqua_constants, only: dry_air_gas, kappa, r8
  use aqua_levels, only: hybrid_levels, interface_pressure
  implicit none (type, external)
  private

  public :: column_geometry, linear_operators, column_pressures, geopotential, make_linear

  !> What follows from the surface pressure of a column [level].
  type :: column_geometry
    real(r8), allocatable :: dp(:)          !! Thickness [Pa]
    real(r8), allocatable :: log_ratio(:)   !! ln(p(k+1/2) / p(k-1/2))
    real(r8), allocatable :: alpha(:)       !! 1 - p(k-1/2) / dp ln(p(k+1/2) / p(k-1/2)), eq. 3.19
    real(r8), allocatable :: gradient(:)    !! Factor of R Tv grad ln ps, eq. 3.17
  end type column_geometry

  !> The linear operators at a reference temperature and surface pressure.
  type :: linear_operators
    real(r8) :: temperature = 0.0_r8        !! [K]
    real(r8), allocatable :: gamma(:, :)    !! Geopotential from temperature [level, level]
    real(r8), allocatable :: tau(:, :)      !! Cooling by divergence [level, level]
    real(r8), allocatable :: nu(:)          !! Decrease of ln ps by divergence [level]
  end type linear_operators

contains

  pure subroutine column_pressures(levels, ps, geometry)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps                            !! [Pa]
    type(column_geometry), intent(inout) :: geometry
    real(r8) :: p(levels%n_level + 1)
    integer :: n

    n = levels%n_level
    p = interface_pressure(levels, ps)
    geometry%dp = p(2:) - p(:n)
    geometry%log_ratio = log(p(2:) / p(:n))
    geometry%alpha = 1.0_r8 - p(:n) / geometry%dp * geometry%log_ratio
    geometry%gradient = ps / geometry%dp * (levels%hybi(:n) * geometry%log_ratio &
                                            + geometry%alpha * (levels%hybi(2:) - levels%hybi(:n)))
  end subroutine column_pressures

  !> Geopotential of midpoints [level] in m2/s2 from virtual temperature, eq. 3.21.
  pure function geopotential(geometry, surface, virtual_temperature) result(phi)
    type(column_geometry), intent(in) :: geometry
    real(r8), intent(in) :: surface                       !! [m2/s2]
    real(r8), intent(in) :: virtual_temperature(:)        !! [level], K
    real(r8) :: phi(size(virtual_temperature))
    real(r8) :: below
    integer :: k

    below = surface
    do k = size(phi), 1, -1
      phi(k) = below + dry_air_gas * virtual_temperature(k) * geometry%alpha(k)
      below = below + dry_air_gas * virtual_temperature(k) * geometry%log_ratio(k)
    end do
  end function geopotential

  !> The operators gamma, tau and nu; the pressure gradient of an isothermal column is R T grad ln
  !! ps on every level.
  subroutine make_linear(levels, temperature, ps, linear)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: temperature                   !! [K]
    real(r8), intent(in) :: ps                            !! [Pa]
    type(linear_operators), intent(out) :: linear
    type(column_geometry) :: geometry
    integer :: k, n

    n = levels%n_level
    call column_pressures(levels, ps, geometry)
    linear%temperature = temperature
    allocate (linear%gamma(n, n), linear%tau(n, n), source=0.0_r8)
    do k = 1, n
      linear%gamma(k, k) = dry_air_gas * geometry%alpha(k)
      linear%gamma(k, k + 1:) = dry_air_gas * geometry%log_ratio(k + 1:)
      linear%tau(k, k) = kappa * temperature * geometry%alpha(k)
      linear%tau(k, :k - 1) = kappa * temperature * geometry%log_ratio(k) * geometry%dp(:k &
        - 1) / geometry%dp(k)
    end do
    linear%nu = geometry%dp / ps
  end subroutine make_linear

end module aqua_vertical
