!> Nonlinear tendencies of the primitive equations on the grid, column by column, and their
!! transform.
module aqua_grid_tendencies
  use aqua_constants, only: dry_air_gas, earth_radius, earth_rotation, kappa, r8, virtual_factor
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  use aqua_transform, only: spectral_transform
  use aqua_vertical, only: column_geometry, column_pressures, geopotential
  use aqua_winds, only: curl_of, divergence_of
  implicit none (type, external)
  private

  public :: grid_workspace, grid_tendencies

  !> Fields on the grid and their spectra, in the order of aqua_winds%fill_synthesis.
  type :: grid_workspace
    real(r8), allocatable :: spectra(:, :, :)        !! [5 level + 3, 2, coefficient]
    real(r8), allocatable :: fields(:, :)            !! [5 level + 3, column]
    real(r8), allocatable, private :: products(:, :)             !! [6 level + 1, column]
    real(r8), allocatable, private :: product_spectra(:, :, :)   !! [6 level + 1, 2, coefficient]
  contains
    procedure :: allocate_for, unpack
  end type grid_workspace

contains

  subroutine allocate_for(self, transform, levels)
    class(grid_workspace), intent(inout) :: self
    type(spectral_transform), intent(inout) :: transform
    type(hybrid_levels), intent(in) :: levels

    allocate (self%spectra(5 * levels%n_level + 3, 2, transform%n_coefficient), source=0.0_r8)
    allocate (self%fields(5 * levels%n_level + 3, transform%grid%n_column), source=0.0_r8)
    allocate (self%product_spectra(6 * levels%n_level + 1, 2, transform%n_coefficient), &
              source=0.0_r8)
    allocate (self%products(6 * levels%n_level + 1, transform%grid%n_column), source=0.0_r8)
  end subroutine allocate_for

  !> Wind, temperature and surface pressure.
  subroutine unpack(self, grid, u, v, t, ps)
    class(grid_workspace), intent(in) :: self
    type(gaussian_grid), intent(in) :: grid
    real(r8), intent(out) :: u(:, :), v(:, :), t(:, :), ps(:)
    real(r8) :: per_cosine
    integer :: column, l

    l = size(u, 1)
    do column = 1, grid%n_column
      per_cosine = 1.0_r8 / cos(grid%column_latitude(column))
      u(:, column) = per_cosine * self%fields(:l, column)
      v(:, column) = per_cosine * self%fields(l + 1:2 * l, column)
      t(:, column) = self%fields(4 * l + 1:5 * l, column)
      ps(column) = exp(self%fields(5 * l + 1, column))
    end do
  end subroutine unpack

  !> Tendencies [3 level + 1, 2, coefficient] of vorticity, divergence, T and ln ps, and omega
  !! [level, column] in Pa/s.
  subroutine grid_tendencies(transform, levels, work, reference_temperature, vapor, &
                             surface_geopotential, tendency, omega)
    type(spectral_transform), intent(inout) :: transform
    type(hybrid_levels), intent(in) :: levels
    type(grid_workspace), intent(inout) :: work
    real(r8), intent(in) :: reference_temperature        !! Taken from T before products with
                                                         !! divergence are formed [K]
    real(r8), intent(in) :: vapor(:, :)                  !! [level, column], kg/kg
    real(r8), intent(in) :: surface_geopotential(:)      !! [column], m2/s2
    real(r8), intent(out) :: tendency(:, :, :), omega(:, :)
    type(column_geometry) :: geometry
    real(r8) :: sine, per_cosine
    integer :: column, j, l

    l = levels%n_level
    do column = 1, transform%grid%n_column
      j = (column - 1) / transform%grid%n_lon + 1
      sine = transform%grid%sin_latitude(j)
      per_cosine = 1.0_r8 / cos(transform%grid%latitude(j))
      associate (f => work%fields(:, column), rows => work%products(:, column))
        call column_pressures(levels, exp(f(5 * l + 1)), geometry)
        call column_products(levels, geometry, f, sine, per_cosine, vapor(:, column), &
                             surface_geopotential(column), reference_temperature, rows, &
                             omega(:, column))
      end associate
    end do
    call transform%analyze(work%products, work%product_spectra)
    call assemble(transform, l, work%product_spectra, tendency)
  end subroutine grid_tendencies

  !> One column: fields f as of fill_synthesis. Rows are, by level, the forces on the wind without
  !! the gradient of energy and the flux of temperature, both divided by cos(lat) and eastward
  !! before northward; geopotential and kinetic energy; heating without the divergence of that flux.
  !! The last is the tendency of ln ps.
  pure subroutine column_products(levels, geometry, f, sine, per_cosine, vapor, surface, &
                                  reference_temperature, rows, omega)
    type(hybrid_levels), intent(in) :: levels
    type(column_geometry), intent(in) :: geometry
    real(r8), intent(in) :: f(:), sine, per_cosine, vapor(:), surface, reference_temperature
    real(r8), intent(out) :: rows(:), omega(:)
    real(r8), dimension(levels%n_level) :: u, v, warmer, tv, flow, force, pressure_work
    real(r8) :: flux(0:levels%n_level), gradient_x, gradient_y, ps
    integer :: l

    l = levels%n_level
    ps = exp(f(5 * l + 1))
    gradient_x = per_cosine / earth_radius * f(5 * l + 2)
    gradient_y = per_cosine / earth_radius * f(5 * l + 3)
    u = per_cosine * f(:l)
    v = per_cosine * f(l + 1:2 * l)
    flow = u * gradient_x + v * gradient_y
    call continuity(levels, geometry, ps, flow, f(3 * l + 1:4 * l), flux, pressure_work, &
                    rows(6 * l + 1))
    omega = pressure_work * (levels%p0 * levels%hyam + levels%hybm * ps)
    associate (t => f(4 * l + 1:5 * l), vorticity => f(2 * l + 1:3 * l), &
               divergence => f(3 * l + 1:4 * l))
      tv = t * (1.0_r8 + virtual_factor * vapor)
      warmer = t - reference_temperature
      force = dry_air_gas * tv * geometry%gradient
      rows(:l) = per_cosine * ((vorticity + 2.0_r8 * earth_rotation * sine) * v &
                               - force * gradient_x &
                               - vertical_advection(u, flux, geometry%dp))
      rows(l + 1:2 * l) = -per_cosine * ((vorticity + 2.0_r8 * earth_rotation * sine) * u &
                                         + force * gradient_y &
                                         + vertical_advection(v, flux, geometry%dp))
      rows(2 * l + 1:3 * l) = per_cosine * u * warmer
      rows(3 * l + 1:4 * l) = per_cosine * v * warmer
      rows(4 * l + 1:5 * l) = geopotential(geometry, surface, tv) + 0.5_r8 * (u**2 + v**2)
      rows(5 * l + 1:6 * l) = warmer * divergence + kappa * tv * pressure_work &
        - vertical_advection(t, flux, geometry%dp)
    end associate
  end subroutine column_products

  !> Downward mass flux at interfaces [Pa/s], omega / p on levels [1/s] (eq. 3.13 of Simmons and
  !! Burridge 1981) and the tendency of ln ps [1/s].
  pure subroutine continuity(levels, geometry, ps, flow, divergence, flux, pressure_work, ln_ps)
    type(hybrid_levels), intent(in) :: levels
    type(column_geometry), intent(in) :: geometry
    real(r8), intent(in) :: ps                           !! [Pa]
    real(r8), intent(in) :: flow(:)                      !! Wind times the gradient of ln ps [1/s]
    real(r8), intent(in) :: divergence(:)                !! [1/s]
    real(r8), intent(out) :: flux(0:), pressure_work(:), ln_ps
    real(r8) :: above, mass
    integer :: k, l

    l = levels%n_level
    above = 0.0_r8
    flux(0) = 0.0_r8
    do k = 1, l
      mass = divergence(k) * geometry%dp(k) + (levels%hybi(k + 1) - levels%hybi(k)) * ps * flow(k)
      pressure_work(k) = geometry%gradient(k) * flow(k) &
                         - (geometry%log_ratio(k) * above &
                            + geometry%alpha(k) * mass) / geometry%dp(k)
      above = above + mass
      flux(k) = -above
    end do
    flux(1:) = flux(1:) + levels%hybi(2:) * above
    ln_ps = -above / ps
  end subroutine continuity

  !> Half-sums over both interfaces of a layer (Simmons and Burridge 1981, eq. 2.13); flux is
  !! downward at interfaces [Pa/s].
  pure function vertical_advection(x, flux, dp) result(tendency)
    real(r8), intent(in) :: x(:), flux(0:), dp(:)
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
    type(spectral_transform), intent(inout) :: transform
    integer, intent(in) :: l
    real(r8), intent(in) :: spectra(:, :, :)
    real(r8), intent(out) :: tendency(:, :, :)
    real(r8) :: eigenvalue
    integer :: c

    call curl_of(transform, spectra(:l, :, :), spectra(l + 1:2 * l, :, :), tendency(:l, :, :))
    call divergence_of(transform, spectra(:l, :, :), spectra(l + 1:2 * l, :, :), &
                       tendency(l + 1:2 * l, :, :))
    call divergence_of(transform, spectra(2 * l + 1:3 * l, :, :), spectra(3 * l + 1:4 * l, :, :), &
                       tendency(2 * l + 1:3 * l, :, :))
    do c = 1, transform%n_coefficient
      eigenvalue = real(transform%total(c) * (transform%total(c) + 1), r8) / earth_radius**2
      tendency(l + 1:2 * l, :, c) = tendency(l + 1:2 * l, :, c) &
        + eigenvalue * spectra(4 * l + 1:5 * l, :, c)
      tendency(2 * l + 1:3 * l, :, c) = spectra(5 * l + 1:6 * l, :, c) &
        - tendency(2 * l + 1:3 * l, :, c)
      tendency(3 * l + 1, :, c) = spectra(6 * l + 1, :, c)
    end do
  end subroutine assemble

end module aqua_grid_tendencies
