!> Nonlinear tendencies of the primitive equations on the grid, column by column, and their transform.
module aqua_grid_tendencies
  use aqua_constants, only: dry_air_gas, earth_radius, earth_rotation, kappa, r8, virtual_factor
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: column_geometry, column_pressures, geopotential
  use aqua_winds, only: curl_and_divergence
  implicit none (type, external)
  private

  public :: grid_workspace, grid_tendencies

  !> Fields on the grid and their spectra, in the order of aqua_winds%fill_synthesis.
  type :: grid_workspace
    real(r8), allocatable :: spectra(:, :, :)        !! [5 level + 3, 2, coefficient]
    real(r8), allocatable :: fields(:, :)            !! [5 level + 3, column]
  contains
    procedure :: allocate_for
    procedure :: unpack
  end type grid_workspace

  !> Products of one column [level]: what is to be transformed.
  type :: column_products
    real(r8), allocatable :: force_u(:), force_v(:)  !! Without the gradient of energy [m/s2]
    real(r8), allocatable :: energy(:)               !! Geopotential and kinetic energy [m2/s2]
    real(r8), allocatable :: heating(:)              !! Of temperature, without the flux divergence [K/s]
    real(r8) :: ln_ps = 0.0_r8                       !! [1/s]
  end type column_products

contains

  subroutine allocate_for(self, transform, levels)
    class(grid_workspace), intent(inout) :: self
    type(spectral_transform), intent(in) :: transform
    type(hybrid_levels), intent(in) :: levels

    allocate (self%spectra(5 * levels%n_level + 3, 2, transform%n_coefficient), source=0.0_r8)
    allocate (self%fields(5 * levels%n_level + 3, transform%grid%n_column), source=0.0_r8)
  end subroutine allocate_for

  !> Wind, temperature and surface pressure.
  subroutine unpack(self, grid, u, v, t, ps)
    class(grid_workspace), intent(in) :: self
    type(gaussian_grid), intent(in) :: grid
    real(r8), intent(out) :: u(:, :), v(:, :), t(:, :), ps(:)
    real(r8) :: cosine
    integer :: column, l

    l = size(u, 1)
    do column = 1, grid%n_column
      cosine = cos(grid%latitude((column - 1) / grid%n_lon + 1))
      u(:, column) = self%fields(:l, column) / cosine
      v(:, column) = self%fields(l + 1:2 * l, column) / cosine
      t(:, column) = self%fields(4 * l + 1:5 * l, column)
      ps(column) = exp(self%fields(5 * l + 1, column))
    end do
  end subroutine unpack

  !> Tendencies [3 level + 1, 2, coefficient] of vorticity, divergence, T and ln ps, and omega [level, column] in Pa/s.
  subroutine grid_tendencies(transform, levels, work, reference_temperature, vapor, surface_geopotential, tendency, omega)
    type(spectral_transform), intent(in) :: transform
    type(hybrid_levels), intent(in) :: levels
    type(grid_workspace), intent(in) :: work
    real(r8), intent(in) :: reference_temperature        !! Taken from T before products with divergence are formed [K]
    real(r8), intent(in) :: vapor(:, :)                  !! [level, column], kg/kg
    real(r8), intent(in) :: surface_geopotential(:)      !! [column], m2/s2
    real(r8), intent(out) :: tendency(:, :, :)
    real(r8), intent(out) :: omega(:, :)
    real(r8), allocatable :: products(:, :), spectra(:, :, :)
    type(column_geometry) :: geometry
    type(column_products) :: made
    real(r8) :: sine, cosine
    integer :: column, j, l

    l = levels%n_level
    allocate (products(6 * l + 1, transform%grid%n_column), spectra(6 * l + 1, 2, transform%n_coefficient))
    do column = 1, transform%grid%n_column
      j = (column - 1) / transform%grid%n_lon + 1
      sine = transform%grid%sin_latitude(j)
      cosine = cos(transform%grid%latitude(j))
      associate (f => work%fields(:, column), rows => products(:, column))
        call column_pressures(levels, exp(f(5 * l + 1)), geometry)
        call column_tendencies(levels, geometry, f, sine, cosine, vapor(:, column), surface_geopotential(column), &
                               reference_temperature, made, omega(:, column))
        rows(:l) = made%force_u / cosine
        rows(l + 1:2 * l) = made%force_v / cosine
        rows(2 * l + 1:3 * l) = f(:l) / cosine**2 * (f(4 * l + 1:5 * l) - reference_temperature)
        rows(3 * l + 1:4 * l) = f(l + 1:2 * l) / cosine**2 * (f(4 * l + 1:5 * l) - reference_temperature)
        rows(4 * l + 1:5 * l) = made%energy
        rows(5 * l + 1:6 * l) = made%heating
        rows(6 * l + 1) = made%ln_ps
      end associate
    end do
    call transform%analyze(products, spectra)
    call assemble(transform, l, spectra, tendency)
  end subroutine grid_tendencies

  !> One column: fields f as of fill_synthesis.
  pure subroutine column_tendencies(levels, geometry, f, sine, cosine, vapor, surface, reference_temperature, made, omega)
    type(hybrid_levels), intent(in) :: levels
    type(column_geometry), intent(in) :: geometry
    real(r8), intent(in) :: f(:), sine, cosine, vapor(:), surface, reference_temperature
    type(column_products), intent(inout) :: made
    real(r8), intent(out) :: omega(:)
    real(r8), dimension(levels%n_level) :: u, v, t, tv, flow, mass, pressure_work
    real(r8) :: flux(0:levels%n_level), gradient_x, gradient_y, ps, above
    integer :: k, l

    l = levels%n_level
    ps = exp(f(5 * l + 1))
    u = f(:l) / cosine
    v = f(l + 1:2 * l) / cosine
    t = f(4 * l + 1:5 * l)
    tv = t * (1.0_r8 + virtual_factor * vapor)
    gradient_x = f(5 * l + 2) / (earth_radius * cosine)
    gradient_y = f(5 * l + 3) / (earth_radius * cosine)
    flow = u * gradient_x + v * gradient_y
    mass = f(3 * l + 1:4 * l) * geometry%dp + (levels%hybi(2:) - levels%hybi(:l)) * ps * flow
    above = 0.0_r8
    flux(0) = 0.0_r8
    do k = 1, l
      pressure_work(k) = geometry%gradient(k) * flow(k) &
                         - (geometry%log_ratio(k) * above + geometry%alpha(k) * mass(k)) / geometry%dp(k)
      above = above + mass(k)
      flux(k) = -above
    end do
    flux(1:) = flux(1:) + levels%hybi(2:) * above
    made%ln_ps = -above / ps
    omega = pressure_work * (0.5_r8 * (levels%hyai(:l) + levels%hyai(2:)) * levels%p0 &
                             + 0.5_r8 * (levels%hybi(:l) + levels%hybi(2:)) * ps)
    made%force_u = (f(2 * l + 1:3 * l) + 2.0_r8 * earth_rotation * sine) * v - dry_air_gas * tv * geometry%gradient * gradient_x &
                   - vertical_advection(u, flux, geometry%dp)
    made%force_v = -(f(2 * l + 1:3 * l) + 2.0_r8 * earth_rotation * sine) * u - dry_air_gas * tv * geometry%gradient * gradient_y &
                   - vertical_advection(v, flux, geometry%dp)
    made%energy = geopotential(geometry, surface, tv) + 0.5_r8 * (u**2 + v**2)
    made%heating = (t - reference_temperature) * f(3 * l + 1:4 * l) + kappa * tv * pressure_work &
                   - vertical_advection(t, flux, geometry%dp)
  end subroutine column_tendencies

  !> Half-sums over both interfaces of a layer (Simmons and Burridge 1981, eq. 2.13); flux is downward at interfaces [Pa/s].
  pure function vertical_advection(x, flux, dp) result(tendency)
    real(r8), intent(in) :: x(:)
    real(r8), intent(in) :: flux(0:)
    real(r8), intent(in) :: dp(:)
    real(r8) :: tendency(size(x))
    real(r8) :: step(0:size(x))
    integer :: l

    l = size(x)
    step(0) = 0.0_r8
    step(1:l - 1) = flux(1:l - 1) * (x(2:) - x(:l - 1))
    step(l) = 0.0_r8
    tendency = 0.5_r8 * (step(1:) + step(:l - 1)) / dp
  end function vertical_advection

  !> From the spectra of the products to tendencies of the prognostic fields.
  subroutine assemble(transform, l, spectra, tendency)
    type(spectral_transform), intent(in) :: transform
    integer, intent(in) :: l
    real(r8), intent(in) :: spectra(:, :, :)
    real(r8), intent(out) :: tendency(:, :, :)
    real(r8), allocatable :: unused(:, :, :), heat_flux(:, :, :)
    real(r8) :: eigenvalue
    integer :: c

    allocate (unused(l, 2, transform%n_coefficient), heat_flux(l, 2, transform%n_coefficient))
    call curl_and_divergence(transform, spectra(:l, :, :), spectra(l + 1:2 * l, :, :), tendency(:l, :, :), &
                             tendency(l + 1:2 * l, :, :))
    call curl_and_divergence(transform, spectra(2 * l + 1:3 * l, :, :), spectra(3 * l + 1:4 * l, :, :), unused, heat_flux)
    do c = 1, transform%n_coefficient
      eigenvalue = real(transform%total(c) * (transform%total(c) + 1), r8) / earth_radius**2
      tendency(l + 1:2 * l, :, c) = tendency(l + 1:2 * l, :, c) + eigenvalue * spectra(4 * l + 1:5 * l, :, c)
      tendency(2 * l + 1:3 * l, :, c) = spectra(5 * l + 1:6 * l, :, c) - heat_flux(:, :, c)
      tendency(3 * l + 1, :, c) = spectra(6 * l + 1, :, c)
    end do
  end subroutine assemble

end module aqua_grid_tendencies
